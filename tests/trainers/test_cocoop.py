"""CoCoOp against the plain path: a prompt of 77 tokens for each image and class."""

import math

import plain
import pytest
import torch
import torch.nn.functional as F
from methods import CLASSNAMES, TASK, build, check_loss, relative, task_cross_entropy


def plain_cocoop_logits(trainer, image):
    """(B, C): every prompt of every image through the 77 tokens of the clip package."""
    x = F.normalize(trainer.clip.encode_image(image), dim=-1)
    rows = []
    for feature in x:
        context = trainer.learned.ctx + trainer.learned.meta_net(feature)  # (M, D)
        features = plain.features(plain.reference(), CLASSNAMES, context.expand(len(CLASSNAMES), -1, -1))
        rows.append(trainer.clip.logit_scale.exp() * F.normalize(features, dim=-1) @ feature)
    return torch.stack(rows)


@pytest.mark.parametrize("chunk", [2048, 7])
def test_logits_and_gradients_match_the_plain_path(toy_root, tmp_path, chunk):
    trainer = build(toy_root, tmp_path, "CoCoOp", opts=("TRAINER.TEXT_CHUNK", chunk))
    torch.nn.init.ones_(trainer.learned.meta_net.linear1.bias)
    batch = {"img": torch.randn(4, 3, 32, 32), "label": torch.tensor([1, 4, 9, 0])}
    expected = plain_cocoop_logits(trainer, batch["img"])
    assert relative(trainer.model_inference(batch["img"]), expected.detach()) < 1e-5
    check_loss(trainer, batch, task_cross_entropy(expected, batch["label"]))


def test_one_prefix_per_image_and_only_classes_of_its_task(toy_root, tmp_path, monkeypatch):
    trainer = build(toy_root, tmp_path, "CoCoOp")
    shapes, encoder = [], trainer.text_encoder
    monkeypatch.setattr(
        trainer, "text_encoder", lambda *args: shapes.append([len(a) for a in args[:2]]) or encoder(*args)
    )
    trainer.compute_loss(torch.randn(8, 32), torch.tensor([0, 3, 9, 1, 5, 6, 7, 8]))
    assert shapes == [[8, 3 + 2 + 5 + 3 + 4 * 5]]


def test_test_loop_computes_only_logits_of_the_own_task(toy_root, tmp_path):
    trainer = build(toy_root, tmp_path, "CoCoOp")
    image, label = torch.randn(3, 3, 32, 32), torch.tensor([4, 0, 7])
    everything = trainer.model_inference(image)
    with torch.no_grad():
        mine = trainer.class_logits(trainer.image_features(image), None, task=TASK[label])
    own = TASK == TASK[label].unsqueeze(1)
    torch.testing.assert_close(mine[own], everything[own])
    assert (mine[~own] == -math.inf).all()
