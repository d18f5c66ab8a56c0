"""MaPLe against loops written from its paper, one prompt and one image at a time through the clip package's modules."""

import logging

import plain
import pytest
import torch
import torch.nn.functional as F
from clip import clip
from methods import CLASSNAMES, TASK, batch_of, build, relative, serves_new_classes

import train
from backbones.tokenizers import clip_tokenizer
from trainers.modules.prompts.deep import split_words


def naive(trainer, image, words="a photo of a"):
    """Text features (C, E) and image features (B, E)."""
    learned = [trainer.prompts.ctx, *trainer.prompts.deep]
    seen = [F.linear(p, f.weight, f.bias) for p, f in zip(learned, trainer.prompts.couplings)]
    texts = torch.stack([plain.text_feature(plain.reference(), name, learned, words) for name in CLASSNAMES])
    return texts, torch.stack([plain.image_feature(plain.reference(), x, seen) for x in image])


@pytest.mark.parametrize(
    "options, words",
    [((), "a photo of a"), (("DEPTH", 1, "N_CTX", 4), "a photo of a"), (("CTX_INIT", "", "N_CTX", 3), "")],
)
def test_features_loss_and_gradients_match_the_paper(toy_root, tmp_path, options, words):
    trainer = build(toy_root, tmp_path, "MaPLe", *options)
    batch = batch_of(trainer)
    image, label = batch["img"], batch["label"]
    texts, images = naive(trainer, image, words)
    torch.testing.assert_close(trainer.text_features(), texts, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(trainer.image_features(image), images, rtol=1e-4, atol=1e-5)

    loss, _ = trainer.compute_loss(trainer.image_features(image), label)
    found = torch.autograd.grad(loss, list(trainer.prompts.parameters()))
    logits = trainer.clip.logit_scale.exp() * F.normalize(images, dim=1) @ F.normalize(texts, dim=1).T
    own = TASK == TASK[label].unsqueeze(1)
    expected_loss = F.cross_entropy(logits.masked_fill(~own, -torch.inf), label)
    assert loss.item() == pytest.approx(expected_loss.item(), rel=1e-4)
    expected = torch.autograd.grad(expected_loss, list(trainer.prompts.parameters()))
    for (key, _), value, other in zip(trainer.prompts.named_parameters(), found, expected):
        assert relative(value, other) < 1e-3, key


def test_parameters_are_prompts_and_couplings(toy_root, tmp_path):
    trainer = build(toy_root, tmp_path, "MaPLe")
    assert trainer.n_params == 2 * (2 * 64) + 2 * (64 * 64 + 64)  # J = 2 layers of the tiny image tower
    words = trainer.clip.text.token_embedding(clip.tokenize("a photo")[0, 1:3])
    assert torch.equal(trainer.prompts.ctx.detach(), words)


def test_excessive_depth_is_logged_and_reduced(toy_root, tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        trainer = build(toy_root, tmp_path, "MaPLe")
    assert len(trainer.prompts.couplings) == 2 and "DEPTH is 9, but this CLIP has towers of 2 layers" in caplog.text


def test_first_words_are_learned():
    tokenizer = clip_tokenizer(clean_as_transformers=False)
    key = "TRAINER.MAPLE.N_CTX"
    assert split_words("a photo of a", 2, tokenizer, key) == ("a photo", "of a")
    assert split_words("a photo of a", 4, tokenizer, key) == ("a photo of a", "")
    assert split_words("", 3, tokenizer, key) == ("", "")


def test_base_prompts_serve_new_classes(toy_root, tmp_path):
    serves_new_classes(toy_root, tmp_path, "MaPLe")


def test_resnet_is_refused(toy_root, tmp_path):
    opts = ("MODEL.BACKBONE.NAME", "scripts/demo/tiny_clip.npz")
    with pytest.raises(ValueError, match="takes none: it is a ResNet; use a ViT of .* such as CoOp"):
        build(toy_root, tmp_path, "MaPLe", opts=opts)


def test_cached_views_are_refused(toy_root, tmp_path):
    with pytest.raises(ValueError, match="FEATURES.TRAIN_VIEWS: 2, but MaPLe changes the image tower"):
        build(toy_root, tmp_path, "MaPLe", opts=("FEATURES.TRAIN_VIEWS", 2))


@pytest.mark.parametrize("name", ["vit_b16", "vit_b32"])
def test_configs_are_valid(name):
    path = train.PROJECT_ROOT / "configs" / "trainers" / "MaPLe" / f"{name}.yaml"
    cfg = train.setup_cfg(train.parse_args(["--trainer", "MaPLe", "--config-file", str(path)]))
    assert (cfg.OPTIM.LR, cfg.OPTIM.MAX_EPOCH, cfg.DATALOADER.TRAIN_X.BATCH_SIZE) == (0.0035, 5, 4)
    assert (cfg.TRAINER.MAPLE.DEPTH, cfg.TRAINER.MAPLE.N_CTX) == (9, 2)


def test_script_defaults_to_a_vit(call):
    _, calls, _ = call("scripts/maple/main.sh", "general10", "16", SEEDS="1")
    assert "configs/trainers/MaPLe/vit_b16.yaml" in calls[0] and "/MaPLe/vit_b16_16shots/default/seed1" in calls[0]
    _, calls, _ = call("scripts/maple/main.sh", "general10", "16", "vit_b32", "OPTIM.LR", "0.1", SEEDS="1")
    assert "configs/trainers/MaPLe/vit_b32.yaml" in calls[0] and "/vit_b32_16shots/LR-0.1/" in calls[0]
    _, calls, _ = call("scripts/maple/main.sh", "demo", "4", SEEDS="1")
    assert "configs/trainers/MaPLe/tiny_vit.yaml" in calls[0] and "/MaPLe/tiny_vit_4shots/default/seed1" in calls[0]
