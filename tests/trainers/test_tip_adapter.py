"""Tip-Adapter and Tip-Adapter-F against their public code, and against a naive cache over several tasks."""

import math

import numpy as np
import plain
import pytest
import torch
import torch.nn.functional as F
from methods import (
    CLASSNAMES,
    TASK,
    TEMPLATES,
    batch_of,
    build,
    check_loss,
    relative,
    resumes_after_two_epochs,
    task_cross_entropy,
)
from public_code import golden, single_batches

from softcpt.tasks import Task
from trainers.parts.shot_cache import cache_logits, search_grid
from trainers.parts.validation import metric_of, shares_of_metric, split_by_task

SEARCH = ("SEARCH_SCALE", (13.0, 10.0), "SEARCH_STEPS", (40, 20))


def public(toy_root, tmp_path, name, *opts):
    """(figures, trainer on the shots of the public code's run, images (6, 8, ...), labels (6, 8))."""
    options = ("VIEWS", 3, "ALPHA", 2.0, *SEARCH)
    trainer = build(toy_root, tmp_path, name, *options, dataset="ToySingle", opts=opts)
    images, label = single_batches()
    trainer.clip.logit_scale.data.fill_(math.log(100))  # the public code's own
    with torch.no_grad():
        views = [trainer.clip.encode_image(images[:4].flatten(0, 1).roll(v, -1)) for v in range(3)]
    state = {**trainer.learned.state_dict(), "keys": torch.zeros(32, 32), "labels": label[:4].flatten()}
    trainer.learned.load_state_dict(state)
    trainer.view_features = lambda count: torch.stack(views[:count], dim=1)
    trainer.features_of = lambda items: (trainer.clip.encode_image(images[4]), label[4])
    return golden("single-TipAdapter"), trainer, images, label


def test_keys_search_and_logits_match_the_public_code(toy_root, tmp_path):
    arrays, trainer, images, _ = public(toy_root, tmp_path, "TipAdapter")
    assert relative(F.normalize(trainer.text_features(), dim=1), arrays["clip_weights"]) < 1e-4
    trainer.fill_cache()
    assert relative(trainer.learned.keys, arrays["keys"]) < 1e-4
    assert relative(trainer.model_inference(images[5]), arrays["logits"]) < 1e-4
    with torch.no_grad():
        trainer.fit()
    np.testing.assert_allclose([trainer.learned.beta.item(), trainer.learned.alpha.item()], arrays["search"], rtol=1e-6)
    assert relative(trainer.model_inference(images[5]), arrays["searched_logits"]) < 1e-4


def test_twenty_steps_match_the_public_code(toy_root, tmp_path):
    optim = ("OPTIM.NAME", "adamw", "OPTIM.LR", 0.001, "OPTIM.WEIGHT_DECAY", 0.01, "OPTIM.WARMUP_EPOCH", 0)
    arrays, trainer, images, label = public(toy_root, tmp_path, "TipAdapterF", *optim, "OPTIM.MAX_EPOCH", 10)
    assert len(trainer.train_loader_x) == 2  # so the schedule has the 20 steps
    trainer.fill_cache()
    losses, rates = [], []
    trainer.num_batches = 4
    for trainer.epoch in range(5):
        for trainer.batch_idx in range(4):
            rates.append(trainer.get_current_lr())
            batch = {"img": images[trainer.batch_idx], "label": label[trainer.batch_idx], "domain": torch.zeros(8)}
            losses.append(trainer.forward_backward(batch)["loss"])
            if len(losses) == 1:
                assert relative(trainer.learned.keys.grad, arrays["grads"]) < 1e-4
    np.testing.assert_allclose(rates, arrays["lrs"], rtol=1e-6)
    np.testing.assert_allclose(losses, arrays["losses"], rtol=1e-4)
    assert relative(trainer.learned.keys.detach(), arrays["final_keys"]) < 1e-4
    trainer.search()
    found = [trainer.learned.beta.item(), trainer.learned.alpha.item()]
    np.testing.assert_allclose(found, arrays["final_search"], rtol=1e-6)
    assert relative(trainer.model_inference(images[5]), arrays["final_logits"]) < 1e-4


def naive_logits(trainer, x):
    """(B, C): the keys of each class answer with its task's alpha and beta."""
    t = F.normalize(plain.zero_shot(CLASSNAMES, TEMPLATES), dim=1)
    x, prompts = F.normalize(x, dim=1), trainer.learned
    rows = []
    for f in x:
        row = []
        for c in range(10):
            alpha, beta = prompts.alpha[TASK[c]], prompts.beta[TASK[c]]
            keys = [key for key, label in zip(prompts.keys, prompts.labels) if label == c]
            row.append(trainer.clip.logit_scale.exp() * f @ t[c])
            row[-1] = row[-1] + alpha * sum(torch.exp(-beta * (1 - f @ key)) for key in keys)
        rows.append(torch.stack(row))
    return torch.stack(rows)


def test_cache_matches_loops_and_trains_within_tasks(toy_root, tmp_path):
    trainer = build(toy_root, tmp_path, "TipAdapterF")
    batch = batch_of(trainer)
    with torch.no_grad():
        trainer.fill_cache()
        trainer.learned.alpha.copy_(torch.tensor([1.0, 2.0, 0.5]))
        trainer.learned.beta.copy_(torch.tensor([1.0, 3.0, 5.5]))
    expected = naive_logits(trainer, trainer.image_features(batch["img"]))
    torch.testing.assert_close(trainer.model_inference(batch["img"]), expected.detach(), rtol=1e-4, atol=1e-4)
    check_loss(trainer, batch, task_cross_entropy(expected, batch["label"]))


def test_key_is_the_mean_of_its_views(toy_root, tmp_path):
    trainer = build(toy_root, tmp_path, "TipAdapter", "VIEWS", 3)
    trainer.fill_cache()
    views = trainer.view_features(3)
    expected = [F.normalize(sum(views[i, v] for v in range(3)), dim=0) for i in range(40)]
    torch.testing.assert_close(trainer.learned.keys, torch.stack(expected))
    assert trainer.learned.labels.tolist() == [item.label for item in trainer.dm.dataset.train_x]
    more = build(toy_root, tmp_path / "more", "TipAdapter", "VIEWS", 3, opts=("FEATURES.TRAIN_VIEWS", 5))
    torch.testing.assert_close(more.view_features(3), views)  # the first of them


@pytest.mark.parametrize("metric", ["accuracy", "mean_per_class"])
def test_search_takes_the_first_best_by_the_metric(metric):
    torch.manual_seed(0)
    zero_shot, affinity = torch.randn(9, 4), 2 * torch.rand(9, 6) - 1
    labels, right = torch.tensor([0, 1, 2, 3, 0, 2]), torch.tensor([0, 0, 0, 0, 1, 1, 2, 3, 3])
    betas, alphas = torch.tensor([0.1, 1.0, 4.0]), torch.tensor([0.1, 0.5, 2.0, 6.0])
    task, best = Task("x", tuple("abcd"), metric), -1
    for beta in betas:
        for alpha in alphas:
            logits = zero_shot.clone()
            for b, row in enumerate(affinity):
                for a, y in zip(row, labels):
                    logits[b, y] += alpha * torch.exp(-beta * (1 - a))
            score = round(metric_of(task, logits.argmax(1).numpy(), right.numpy()), 9)
            if score > best:
                best, expected = score, (alpha.item(), beta.item())
    assert search_grid(zero_shot, affinity, labels, right, shares_of_metric(task, right), (betas, alphas)) == expected


def test_class_without_a_shot_has_an_empty_cache():
    logits = cache_logits(torch.zeros(2, 0), torch.zeros(0, dtype=torch.long), 3, 1.0, 1.0)
    assert torch.equal(logits, torch.zeros(2, 3))


def test_features_are_split_by_task():
    features, label = torch.arange(5.0).unsqueeze(1), torch.tensor([9, 3, 0, 4, 5])
    parts = split_by_task(features, label, TASK)
    assert [(x.flatten().tolist(), y.tolist()) for x, y in parts] == [([2], [0]), ([1, 3], [0, 1]), ([0, 4], [4, 0])]


@pytest.mark.parametrize(
    "name, fixed", [("LinearProbe", ("C", 1.0)), ("TipAdapter", ("SEARCH", False)), ("TipAdapterF", ("SEARCH", False))]
)
def test_search_needs_validation_shots_that_are_not_test_images(toy_root, tmp_path, name, fixed):
    trainer = build(toy_root, tmp_path, name, opts=("OPTIM.MAX_EPOCH", 1))
    data, option = trainer.dm.dataset, f"TRAINER.{name.upper()}.{fixed[0]}"
    for val, reason in (
        (data.test, "30 of them are test images"),
        ([item for item in data.val if item.domain != 1], "none for texture recognition"),
        (None, "none for flower recognition, texture"),
    ):
        data._val = val
        with pytest.raises(ValueError, match=f"{reason}.*{option}"):
            trainer.train()
    other = build(toy_root, tmp_path / "fixed", name, *fixed, opts=("OPTIM.MAX_EPOCH", 1))
    other.dm.dataset._val = None
    other.train()


def test_keys_are_saved_with_their_number(toy_root, tmp_path):
    trainer = build(toy_root, tmp_path / "run", "TipAdapterF", "SEARCH_STEPS", (5, 5))
    trainer.train()
    assert not torch.equal(trainer.learned.alpha, torch.full((3,), 1.17))
    other = build(toy_root, tmp_path / "other", "TipAdapterF", opts=("DATASET.NUM_SHOTS", 1))
    assert other.learned.keys.shape == (10, 32)
    other.load_model(str(tmp_path / "run"))
    assert other.learned.keys.shape == (40, 32)
    image = batch_of(trainer)["img"]
    assert torch.equal(other.model_inference(image), trainer.model_inference(image))


def test_resumed_run_keeps_its_learned_keys(toy_root, tmp_path):
    options, opts = ("SEARCH_STEPS", (5, 5)), ("OPTIM.MAX_EPOCH", 3, "TRAIN.CHECKPOINT_FREQ", 1)
    whole = build(toy_root, tmp_path / "whole", "TipAdapterF", *options, opts=opts)
    whole.train()
    resumes_after_two_epochs(toy_root, tmp_path, "TipAdapterF", whole, *options, opts=opts)
