"""PromptSRC against its public code (figures in tests/golden) and against loops."""

import logging

import numpy as np
import plain
import pytest
import torch
import torch.nn.functional as F
from clip import clip
from methods import (
    CLASSNAMES,
    TASK,
    batch_of,
    build,
    check_loss,
    relative,
    resumes_after_two_epochs,
)
from public_code import EPOCHS, case_of, check_gradients, check_training

from softcpt.prompts.zero_shot import IMAGENET
from trainers import promptsrc
from trainers.parts.averaging import gaussian_weights


@pytest.fixture(autouse=True)
def all_templates(monkeypatch):
    monkeypatch.setattr(promptsrc, "IMAGENET", IMAGENET)


# -- the public code's figures ---------------------------------------------------------------------------------------


@pytest.fixture
def case(toy_root, tmp_path):
    opts = ("OPTIM.LR", 0.0025, "TRAINER.PROMPTSRC.GPA_MEAN", 3.0)
    return case_of("single-PromptSRC", toy_root, tmp_path, "PromptSRC", *opts)


def test_logits_losses_and_gradients_match_the_public_code(case):
    arrays, trainer, batches = case
    image, label = batches[0]["img"], batches[0]["label"]
    assert relative(trainer.model_inference(image), arrays["logits"]) < 1e-4
    assert relative(trainer.teacher, arrays["teacher"]) < 1e-4
    with torch.no_grad():
        frozen = trainer.logits(trainer.clip.encode_image(image), trainer.teacher)
    assert relative(frozen, arrays["frozen_logits"]) < 1e-4
    loss, logs = trainer.compute_loss(image, label)
    assert relative(loss.detach(), arrays["loss"]) < 1e-4
    cross_entropy = (loss - logs["text"] - logs["image"] - logs["divergence"]).item()
    assert cross_entropy == pytest.approx(float(arrays["cross_entropy"]), rel=1e-4)
    loss.backward()
    check_gradients(case)


def test_thirty_steps_and_the_average_match_the_public_code(case):
    check_training(case, after_epoch=case.trainer.average_prompts)
    np.testing.assert_allclose(gaussian_weights(EPOCHS, 3, 1), case.arrays["gauss"], rtol=1e-6)
    assert gaussian_weights(1, 300, 1).tolist() == [1.0]  # far from the mean: no division of zero by zero


# -- oracles ---------------------------------------------------------------------------------------------------------


def naive(trainer, image, words="a photo of a"):
    """Text features (C, E) and image features (B, E), one prompt and one image at a time."""
    model, prompts = plain.reference(), trainer.learned
    texts = torch.stack([plain.text_feature(model, name, [prompts.ctx, *prompts.text], words) for name in CLASSNAMES])
    return texts, torch.stack([plain.image_feature(model, x, list(prompts.image)) for x in image])


def test_loss_and_gradients_match_the_paper(toy_root, tmp_path):
    trainer = build(toy_root, tmp_path, "PromptSRC", "TEXT_LOSS_WEIGHT", 5.0, "IMAGE_LOSS_WEIGHT", 3.0)
    batch, model = batch_of(trainer), plain.reference()
    image, label = batch["img"], batch["label"]
    texts, images = naive(trainer, image)
    torch.testing.assert_close(trainer.text_features(), texts, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(trainer.image_features(image), images, rtol=1e-4, atol=1e-5)

    frozen_texts = torch.stack(
        [model.encode_text(clip.tokenize([x.format(name) for x in IMAGENET])).mean(0) for name in CLASSNAMES]
    )
    frozen_images = model.encode_image(image)
    texts, images, frozen_texts, frozen_images = (
        F.normalize(x, dim=1) for x in (texts, images, frozen_texts, frozen_images)
    )
    scale = model.logit_scale.exp()
    cross_entropy, divergence = [], []
    for b, y in enumerate(label.tolist()):
        own = (TASK == TASK[y]).nonzero().squeeze(1)
        q = (scale * texts[own] @ images[b]).softmax(0)
        p = (scale * frozen_texts[own] @ frozen_images[b]).softmax(0)
        cross_entropy.append(-q[own.tolist().index(y)].log())
        divergence.append(sum(p[c] * (p[c] / q[c]).log() for c in range(len(own))) / len(own))
    present = torch.isin(TASK, TASK[label])
    distances = [(a - b).abs().mean() for a, b in ((texts[present], frozen_texts[present]), (images, frozen_images))]
    expected = sum(cross_entropy) / len(label) + sum(divergence) / len(label) + 5 * distances[0] + 3 * distances[1]

    logs = check_loss(trainer, batch, expected)
    assert logs["image"] == pytest.approx(3 * distances[1].item(), rel=1e-4)


def test_run_ends_with_the_average_of_its_epochs(toy_root, tmp_path, monkeypatch):
    options = ("GPA_MEAN", 2.0, "GPA_STD", 1.5)
    opts = ("OPTIM.MAX_EPOCH", 3, "TRAIN.CHECKPOINT_FREQ", 1)
    whole = build(toy_root, tmp_path / "whole", "PromptSRC", *options, opts=opts)
    seen, run_epoch = [], whole.run_epoch
    monkeypatch.setattr(whole, "run_epoch", lambda: run_epoch() or seen.append(whole.learned.ctx.detach().clone()))
    whole.train()
    weights = gaussian_weights(3, 2.0, 1.5).tolist()
    torch.testing.assert_close(whole.learned.ctx.detach(), sum(w * ctx for w, ctx in zip(weights, seen)))
    assert not torch.allclose(whole.learned.ctx.detach(), seen[-1])
    resumes_after_two_epochs(toy_root, tmp_path, "PromptSRC", whole, *options, opts=opts)


# -- towers ----------------------------------------------------------------------------------------------------------


def test_parameters_are_prompts_of_both_towers(toy_root, tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        trainer = build(toy_root, tmp_path, "PromptSRC", "N_CTX_VISION", 2)
    assert trainer.n_params == 3 * 4 * 64 + 2 * 2 * 64  # three layers of the text tower, two of the image tower
    words = trainer.clip.text.token_embedding(clip.tokenize("a photo of a")[0, 1:5])
    assert torch.equal(trainer.learned.ctx.detach(), words)
    assert "PROMPT_DEPTH_TEXT is 9, but this CLIP has towers of 3 layers" in caplog.text
    assert "PROMPT_DEPTH_VISION is 9, but this CLIP has towers of 2 layers" in caplog.text


def test_resnet_is_refused_but_takes_text_prompts(toy_root, tmp_path):
    opts = ("MODEL.BACKBONE.NAME", "scripts/demo/tiny_clip.npz", "OPTIM.MAX_EPOCH", 1, "FEATURES.TRAIN_VIEWS", 1)
    with pytest.raises(
        ValueError, match="takes none: it is a ResNet; use a plain vision transformer, or .*PROMPT_DEPTH_VISION 0"
    ):
        build(toy_root, tmp_path / "run", "PromptSRC", opts=opts)
    trainer = build(toy_root, tmp_path / "run", "PromptSRC", "PROMPT_DEPTH_VISION", 0, opts=opts)
    assert not trainer.tunes_images
    trainer.train()
    assert len(list((tmp_path / "features").glob("*.safetensors"))) == 3  # views, test, validation
