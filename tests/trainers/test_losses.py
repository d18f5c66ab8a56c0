"""Losses against naive loops written from the paper."""

import math

import pytest
import torch
import torch.nn.functional as F
from methods import cosine

from trainers.engine.losses import (
    classes_of_present_tasks,
    distillation_loss,
    knowledge_distance,
    multitask_cross_entropy,
    project_conflicting,
    sample_classes,
)

CLASS_TASK = torch.tensor([0, 0, 0, 1, 1, 2, 2, 2, 2, 2])


def naive_loss(logits, label):
    """Eq. 8: mean over the batch of -log softmax over the classes of the sample's own task."""
    total = 0.0
    for row, target in zip(logits, label.tolist()):
        own = [c for c in range(10) if CLASS_TASK[c] == CLASS_TASK[target]]
        total += math.log(sum(math.exp(row[c]) for c in own)) - row[target]
    return total / len(label)


def test_multitask_cross_entropy_is_the_papers_sum():
    torch.manual_seed(0)
    logits, label = torch.randn(8, 10, requires_grad=True), torch.tensor([0, 2, 3, 4, 5, 9, 9, 1])
    loss = multitask_cross_entropy(logits, label, CLASS_TASK)
    assert loss.item() == pytest.approx(naive_loss(logits.detach(), label).item(), rel=1e-5)
    loss.backward()
    foreign = CLASS_TASK != CLASS_TASK[label][:, None]
    assert (logits.grad[foreign] == 0).all() and (logits.grad[~foreign] != 0).all()
    assert logits.grad.isfinite().all()


def test_loss_over_present_tasks_equals_loss_over_all():
    logits, label = torch.randn(4, 10), torch.tensor([5, 0, 9, 2])
    rows = classes_of_present_tasks(label, CLASS_TASK)
    assert rows.tolist() == [0, 1, 2, 5, 6, 7, 8, 9]
    expected = multitask_cross_entropy(logits, label, CLASS_TASK)
    assert torch.equal(multitask_cross_entropy(logits[:, rows], label, CLASS_TASK, rows), expected)


@pytest.mark.parametrize("rate", [0.1, 0.5, 1.0])
def test_class_sampling_keeps_positives_and_a_share_of_negatives(rate):
    torch.manual_seed(0)
    label = torch.tensor([5, 6, 0])
    rows = classes_of_present_tasks(label, CLASS_TASK)
    kept = sample_classes(rows, label, CLASS_TASK, rate).tolist()
    assert kept == sorted(set(kept)) and {0, 5, 6} <= set(kept) <= set(rows.tolist())
    assert sum(c < 3 for c in kept) == 1 + math.ceil(rate * 2)
    assert sum(c >= 5 for c in kept) == 2 + math.ceil(rate * 3)


def test_class_sampling_draws_anew():
    torch.manual_seed(0)
    label = torch.tensor([5])
    draws = {tuple(sample_classes(torch.arange(5, 10), label, CLASS_TASK, 0.25).tolist()) for _ in range(40)}
    assert draws == {(5, 6), (5, 7), (5, 8), (5, 9)}


def test_knowledge_distance_is_one_minus_the_mean_cosine():
    torch.manual_seed(0)
    learned, teacher = torch.randn(5, 4, requires_grad=True), torch.randn(5, 4)
    distance = knowledge_distance(learned, teacher)
    expected = 1 - sum(cosine(a, b) for a, b in zip(learned.tolist(), teacher.tolist())) / 5
    assert distance.item() == pytest.approx(expected, rel=1e-5)
    distance.backward()
    assert learned.grad.isfinite().all() and learned.grad.any()
    assert knowledge_distance(teacher, 3 * teacher).item() == pytest.approx(0, abs=1e-6)
    squared = sum((F.normalize(learned, dim=1) - F.normalize(teacher, dim=1)).square().sum(1)) / 5
    assert distance.item() == pytest.approx(squared.item() / 2, rel=1e-5)  # the paper's form


@pytest.mark.parametrize("strength", [1.0, 0.8])
def test_conflicting_gradient_is_projected(strength):
    torch.manual_seed(0)
    gradient, general = torch.randn(3, 4), torch.randn(3, 4)
    if (gradient * general).sum() > 0:
        general = -general
    g, u = gradient.flatten().tolist(), general.flatten().tolist()
    norm = math.sqrt(sum(x * x for x in u))
    u = [x / norm for x in u]
    dot = sum(x * y for x, y in zip(g, u))
    expected = [x - strength * dot * y for x, y in zip(g, u)]
    projected = project_conflicting(gradient, general, strength)
    assert projected.flatten().tolist() == pytest.approx(expected, rel=1e-5)
    assert (projected * general).sum().item() == pytest.approx((1 - strength) * dot * norm, abs=1e-5)
    assert torch.equal(project_conflicting(gradient, -general, strength), gradient)
    assert torch.equal(project_conflicting(gradient, torch.zeros(3, 4), strength), gradient)


def test_distillation_loss_is_a_cross_entropy_within_the_task():
    torch.manual_seed(0)
    logits, teacher = torch.randn(3, 5), torch.randn(3, 5)
    own = torch.tensor([[1, 1, 1, 0, 0], [0, 0, 0, 1, 1], [1, 1, 1, 0, 0]]).bool()
    temperature, expected = 2.0, 0.0
    for b in range(3):
        z = [v / temperature for v, o in zip(logits[b].tolist(), own[b]) if o]
        t = [v / temperature for v, o in zip(teacher[b].tolist(), own[b]) if o]
        log_z = math.log(sum(map(math.exp, z)))
        total_t = sum(map(math.exp, t))
        expected -= temperature**2 * sum(math.exp(x) / total_t * (y - log_z) for x, y in zip(t, z)) / 3
    masked = logits.masked_fill(~own, -math.inf).requires_grad_()
    loss = distillation_loss(masked, teacher.masked_fill(~own, -math.inf), temperature)
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    loss.backward()
    assert masked.grad.isfinite().all()
