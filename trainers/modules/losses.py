"""Losses and their pieces as pure functions of tensors."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def multitask_cross_entropy(logits: Tensor, label: Tensor, class_task: Tensor, rows: Tensor | None = None) -> Tensor:
    """Cross-entropy of each sample over the classes of its own task, averaged over the joint batch (SoftCPT, Eq. 8).

    Args:
        logits: (B, R) of the classes `rows`.
        label: (B,) global class labels, each of them among `rows`.
        class_task: (C,) the task of every class.
        rows: (R,) sorted class labels that the logits' columns stand for; None for all C.

    Returns:
        a scalar.
    """
    column = label if rows is None else torch.searchsorted(rows, label)
    return F.cross_entropy(within_task(logits, label, class_task, rows), column)


def within_task(logits: Tensor, label: Tensor, class_task: Tensor, rows: Tensor | None = None) -> Tensor:
    """The logits (B, R) with -inf at the classes of other tasks than the sample's own; arguments as above."""
    column_task = class_task if rows is None else class_task[rows]
    foreign = column_task.unsqueeze(0) != class_task[label].unsqueeze(1)  # (B, R)
    return logits.masked_fill(foreign, -math.inf)


def classes_of_present_tasks(label: Tensor, class_task: Tensor) -> Tensor:
    """(R,) sorted labels of all classes of the tasks that occur in `label` (B,): no other class has a gradient."""
    present = torch.zeros(int(class_task[-1]) + 1, dtype=torch.bool, device=label.device)
    present[class_task[label]] = True
    return present[class_task].nonzero().squeeze(1)


def sample_classes(rows: Tensor, label: Tensor, class_task: Tensor, rate: float) -> Tensor:
    """A random subset of the candidate classes `rows`: all classes that occur in the batch, and in each task
    ceil(rate x n) of its n other classes (SoftCPT's class sampling, which bounds the memory of one step).

    Args:
        rows: (R,) sorted candidate labels.
        label: (B,) labels of the batch, all among `rows`.
        class_task: (C,) the task of every class.
        rate: in (0, 1].

    Returns:
        (R',) sorted labels.
    """
    positive = torch.zeros_like(class_task, dtype=torch.bool)
    positive[label] = True
    kept = [rows[positive[rows]]]
    negative = rows[~positive[rows]]
    for task in class_task[negative].unique():
        candidates = negative[class_task[negative] == task]
        chosen = torch.randperm(len(candidates), device=candidates.device)[: math.ceil(rate * len(candidates))]
        kept.append(candidates[chosen])
    return torch.cat(kept).sort().values
