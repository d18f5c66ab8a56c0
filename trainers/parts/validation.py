"""Searching a setting on validation shots: the tasks' shots and metrics."""

import numpy as np
import torch
from torch import Tensor

from softcpt.tasks import Task


def split_by_task(features: Tensor, label: Tensor, class_task: Tensor) -> list[tuple[Tensor, Tensor]]:
    """For each of the T tasks, features (N_t, E) and labels (N_t,) within the task.

    Args:
        features: (N, E); label: (N,) global; class_task: (C,) the task of every class.
    """
    task, counts = class_task[label], class_task.bincount()
    offset = counts.cumsum(0) - counts  # (T,) the first class of each task
    return [(features[task == t], label[task == t] - offset[t]) for t in range(len(counts))]


def shares_of_metric(task: Task, label: Tensor) -> Tensor:
    """(N,) what each right prediction adds to the task's metric, in fp64: 1 / N for accuracy, and for the mean recall
    1 / (classes that occur x images of the class)."""
    if task.metric == "accuracy":
        return torch.full((len(label),), 1 / len(label), dtype=torch.double, device=label.device)
    count = label.bincount()
    return 1 / ((count > 0).sum() * count[label]).double()


def metric_of(task: Task, prediction: np.ndarray, label: np.ndarray) -> float:
    """The task's metric, accuracy or mean recall of the classes that occur, of labels (N,)."""
    right = prediction == label
    if task.metric == "accuracy":
        return float(right.mean())
    return float(np.mean([right[label == c].mean() for c in np.unique(label)]))
