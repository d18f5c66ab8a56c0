"""CLIP-LoRA, W + gamma B A, against its public code (figures in tests/golden) and against loops."""

import copy
import math

import plain
import pytest
import torch
import torch.nn.functional as F
from clip import clip
from methods import (
    CLASSNAMES,
    TEMPLATES,
    batch_of,
    build,
    relative,
    resumes_after_two_epochs,
    task_cross_entropy,
)
from public_code import BATCHES, EPOCHS, case_of, check_gradients, check_training

from softcpt.backbones.layers import Attention
from softcpt.prompts import encoder as text_encoder
from trainers.parts.low_rank import LowRankUpdate

PAPER = ("OPTIM.NAME", "adamw", "OPTIM.LR", 2e-4, "OPTIM.WEIGHT_DECAY", 1e-2, "OPTIM.MAX_EPOCH", EPOCHS)


def randomise(trainer, std=0.1):
    with torch.no_grad():
        for parameter in trainer.learned.parameters():
            parameter.normal_(std=std)


# -- the public code's figures ---------------------------------------------------------------------------------------


@pytest.fixture
def case(toy_root, tmp_path):
    opts = (*PAPER, "TRAINER.CLIPLORA.DROPOUT", 0.0, "DATALOADER.TRAIN_X.BATCH_SIZE", 3)
    case = case_of("single-CLIPLoRA", toy_root, tmp_path, "CLIPLoRA", *opts)
    assert len(case.trainer.train_loader_x) == BATCHES  # the schedule's length
    return case


def test_logits_loss_and_gradients_match_the_public_code(case):
    arrays, trainer, batches = case
    image, label = batches[0]["img"], batches[0]["label"]
    assert relative(trainer.model_inference(image), arrays["logits"]) < 1e-4  # merged
    assert (
        relative(
            trainer.class_logits(trainer.image_features(image), trainer.class_features()).detach(), arrays["logits"]
        )
        < 1e-4
    )  # branches
    loss, _ = trainer.compute_loss(image, label)
    assert relative(loss.detach(), arrays["loss"]) < 1e-4
    loss.backward()
    check_gradients(case)


def test_thirty_steps_match_the_public_code(case):
    check_training(case)


def test_it_starts_as_zero_shot_clip(case, toy_root, tmp_path):
    arrays, _, batches = case
    trainer = build(toy_root, tmp_path / "new", "CLIPLoRA", dataset="ToySingle")
    assert relative(trainer.model_inference(batches[0]["img"]), arrays["zero_shot"]) < 1e-4


# -- oracles ---------------------------------------------------------------------------------------------------------


def updated_reference(trainer):
    """The clip package's model with W + gamma B A written into its weights, one row at a time."""
    model = copy.deepcopy(plain.reference())
    for name, transformer in (("text", model.transformer), ("image", model.visual.transformer)):
        for update, block in zip(trainer.learned[name], transformer.resblocks):
            width = update.a.shape[2]
            for i in range(3):
                for row in range(width):
                    added = sum(update.b[i, row, r] * update.a[i, r] for r in range(update.a.shape[1]))
                    block.attn.in_proj_weight[i * width + row] += added.detach() / math.sqrt(2)
    return model


def test_features_and_loss_match_clip_with_updated_weights(toy_root, tmp_path):
    trainer = build(toy_root, tmp_path, "CLIPLoRA", "DROPOUT", 0.0)
    randomise(trainer)
    batch = batch_of(trainer)
    model = updated_reference(trainer)
    tokens = clip.tokenize([template.format(name) for template, name in zip(TEMPLATES, CLASSNAMES)])
    texts, images = model.encode_text(tokens), model.encode_image(batch["img"])
    for gradients in (True, False):  # by branches, and merged
        with torch.set_grad_enabled(gradients):
            torch.testing.assert_close(trainer.text_features(), texts, rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(trainer.image_features(batch["img"]), images, rtol=1e-4, atol=1e-5)
    logits = model.logit_scale.exp() * F.normalize(images, dim=1) @ F.normalize(texts, dim=1).T
    loss, _ = trainer.compute_loss(batch["img"], batch["label"])
    assert loss.item() == pytest.approx(task_cross_entropy(logits, batch["label"]).item(), rel=1e-4)


def test_dropout_is_drawn_only_in_training():
    attention = Attention(8, 2)
    for parameter in attention.parameters():
        torch.nn.init.normal_(parameter)
    update = LowRankUpdate(8, 2, 1.0, 0.5)
    torch.nn.init.normal_(update.b)
    update.a.data[1:], update.b.data[1:] = update.a.data[0].clone(), update.b.data[0].clone()
    x = torch.ones(1, 64, 8)
    added = (attention.project(x, "qkv", update) - attention.project(x, "qkv")).unflatten(-1, (3, 8))
    assert not torch.allclose(added[:, :, 0], added[:, :, 1])  # another mask for each matrix
    assert not torch.allclose(added[0, 0], added[0, 1])  # and for each token
    expected = F.linear(F.linear(x, update.a[0]), update.b[0])
    assert (
        added.mean(1) - expected[:, :1]
    ).abs().mean() < 0.5 * expected.abs().mean()  # the mean is as without dropout
    for inference in (torch.no_grad(), torch.inference_mode()):
        with inference:
            assert torch.equal(attention.project(x, "qkv", update), attention.project(x, "qkv", update))


def test_merged_weight_is_rounded_once():
    attention, update = Attention(8, 2), LowRankUpdate(8, 2, 1.0, 0.0)
    for parameter in (attention.in_proj_weight, update.b):
        torch.nn.init.normal_(parameter)
    attention.in_proj_weight.data = attention.in_proj_weight.data.to(torch.bfloat16)
    exact = attention.in_proj_weight.double() + (update.b.double() @ update.a.double()).flatten(0, 1)
    assert torch.equal(update.merged(attention.in_proj_weight), exact.float().to(torch.bfloat16))


# -- what is tuned, and how long -------------------------------------------------------------------------------------


def test_parameters_are_two_factors_per_matrix(toy_root, tmp_path):
    trainer = build(toy_root, tmp_path, "CLIPLoRA")
    assert trainer.n_params == (3 + 2) * 3 * 2 * 2 * 64  # layers of both towers, q k v, A and B, rank, width
    assert not any(block.b.any() for blocks in trainer.learned.values() for block in blocks)
    assert (trainer.variant, trainer.tunes_images) == ("", True)
    text = build(toy_root, tmp_path, "CLIPLoRA", "TOWERS", "text")
    assert (text.variant, text.n_params, text.tunes_images) == ("text-tower", 3 * 3 * 2 * 2 * 64, False)


def test_tuning_only_images_encodes_no_text(toy_root, tmp_path, monkeypatch):
    trainer = build(
        toy_root, tmp_path / "run", "CLIPLoRA", "TOWERS", "image", opts=("OPTIM.MAX_EPOCH", 1, "TEST.NO_TEST", True)
    )
    monkeypatch.setattr(trainer, "text_encoder", None)
    trainer.train()


def test_resnet_is_refused_but_its_text_tower_can_be_tuned(toy_root, tmp_path):
    opts = ("MODEL.BACKBONE.NAME", "scripts/demo/tiny_clip.npz", "OPTIM.MAX_EPOCH", 1)
    with pytest.raises(
        ValueError, match="takes none: it is a ResNet; use a plain vision transformer, or TRAINER.CLIPLORA.TOWERS text"
    ):
        build(toy_root, tmp_path / "run", "CLIPLoRA", opts=opts)
    views = ("FEATURES.TRAIN_VIEWS", 1)  # allowed, as only the text tower is tuned
    trainer = build(toy_root, tmp_path / "run", "CLIPLoRA", "TOWERS", "text", opts=(*opts, *views))
    trainer.train()
    assert len(list((tmp_path / "features").glob("*.safetensors"))) == 3  # views, test, validation


def test_steps_per_shot_set_the_epochs_and_the_schedule(toy_root, tmp_path):
    opts = (*PAPER, "DATASET.NUM_SHOTS", 4)
    trainer = build(toy_root, tmp_path / "run", "CLIPLoRA", "STEPS_PER_SHOT", 3, opts=opts)
    batches = len(trainer.train_loader_x)
    assert trainer.max_epoch == math.ceil(12 / batches) and 12 % batches  # the last epoch ends early
    rates, forward_backward = [], trainer.forward_backward
    trainer.forward_backward = lambda batch: rates.append(trainer.get_current_lr()) or forward_backward(batch)
    trainer.train()
    steps = 12
    expected = [1e-6 + (2e-4 - 1e-6) * (1 + math.cos(math.pi * step / steps)) / 2 for step in range(steps)]
    assert rates == pytest.approx(expected) and trainer.get_current_lr() == pytest.approx(1e-6)
    with pytest.raises(ValueError, match="STEPS_PER_SHOT: 3, but DATASET.NUM_SHOTS is -1"):
        build(toy_root, tmp_path / "all", "CLIPLoRA", "STEPS_PER_SHOT", 3)


def test_resumed_run_ends_identically_and_tower_weights_never_change(toy_root, tmp_path):
    opts = ("OPTIM.MAX_EPOCH", 3, "TRAIN.CHECKPOINT_FREQ", 1)
    whole = build(toy_root, tmp_path / "whole", "CLIPLoRA", opts=opts)
    before = {name: value.clone() for name, value in whole.clip.state_dict().items()}
    whole.train()
    assert all(torch.equal(value, before[name]) for name, value in whole.clip.state_dict().items())
    resumes_after_two_epochs(toy_root, tmp_path, "CLIPLoRA", whole, opts=opts)


def test_checkpointed_chunks_repeat_their_dropout(toy_root, tmp_path, monkeypatch):
    opts = ("TRAINER.TEXT_CHUNK", 3)
    trainer = build(toy_root, tmp_path, "CLIPLoRA", "DROPOUT", 0.5, opts=opts)
    randomise(trainer)
    gradients = []
    for _ in range(2):
        torch.manual_seed(0)
        loss = trainer.text_features().square().sum()
        gradients.append(torch.autograd.grad(loss, list(trainer.learned["text"].parameters())))
        # The second time nothing is recomputed in the backward pass.
        monkeypatch.setattr(text_encoder, "checkpoint", lambda function, *args, use_reentrant: function(*args))
    for value, expected in zip(*gradients):
        torch.testing.assert_close(value, expected)
