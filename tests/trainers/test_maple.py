"""MaPLe against loops written from its paper, one prompt and one image at a time through the clip package's modules."""

import logging

import plain
import pytest
import torch
import torch.nn.functional as F
from clip import clip
from methods import CLASSNAMES, batch_of, build, check_loss, task_cross_entropy

from softcpt.backbones import load_clip
from softcpt.prompts.deep import context_of_words


def naive(trainer, image, words="a photo of a"):
    """Text features (C, E) and image features (B, E)."""
    learned = [trainer.learned.ctx, *trainer.learned.deep]
    seen = [F.linear(p, f.weight, f.bias) for p, f in zip(learned, trainer.learned.couplings)]
    texts = torch.stack([plain.text_feature(plain.reference(), name, learned, words) for name in CLASSNAMES])
    return texts, torch.stack([plain.image_feature(plain.reference(), x, seen) for x in image])


@pytest.mark.parametrize(
    "options, words",
    [((), "a photo of a"), (("DEPTH", 1, "N_CTX", 4), "a photo of a"), (("CTX_INIT", "", "N_CTX", 3), "")],
)
def test_features_loss_and_gradients_match_the_paper(toy_root, tmp_path, options, words):
    trainer = build(toy_root, tmp_path, "MaPLe", *options)
    batch = batch_of(trainer)
    texts, images = naive(trainer, batch["img"], words)
    torch.testing.assert_close(trainer.text_features(), texts, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(trainer.image_features(batch["img"]), images, rtol=1e-4, atol=1e-5)
    logits = trainer.clip.logit_scale.exp() * F.normalize(images, dim=1) @ F.normalize(texts, dim=1).T
    check_loss(trainer, batch, task_cross_entropy(logits, batch["label"]))


def test_parameters_are_prompts_and_couplings(toy_root, tmp_path):
    trainer = build(toy_root, tmp_path, "MaPLe")
    assert trainer.n_params == 2 * (2 * 64) + 2 * (64 * 64 + 64)  # J = 2 layers of the tiny image tower
    words = trainer.clip.text.token_embedding(clip.tokenize("a photo")[0, 1:3])
    assert torch.equal(trainer.learned.ctx.detach(), words)


def test_excessive_depth_is_logged_and_reduced(toy_root, tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        trainer = build(toy_root, tmp_path, "MaPLe")
    assert len(trainer.learned.couplings) == 2 and "DEPTH is 9, but this CLIP has towers of 2 layers" in caplog.text


def test_first_words_are_learned_and_the_others_fixed():
    model, key = load_clip(f"{plain.GOLDEN}/tiny_vit.npz@quickgelu"), "TRAINER.MAPLE.N_CTX"

    def embedded(words):
        return model.text.token_embedding(torch.tensor(clip._tokenizer.encode(words)))

    for count, learned, fixed in ((2, "a photo", "of a rose."), (4, "a photo of a", "rose.")):
        context, template = context_of_words("a photo of a", count, ["rose"], model, key)
        assert torch.equal(context.ctx, embedded(learned))
        assert torch.equal(template.tokens[0, :-1], embedded(fixed)) and template.lengths[0] == len(embedded(fixed)) + 1
    context, template = context_of_words("", 3, ["rose"], model, key)
    assert context.ctx.shape == (3, 64) and torch.equal(template.tokens[0, :-1], embedded("rose."))
