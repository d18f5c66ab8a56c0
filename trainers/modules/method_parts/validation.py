"""Searching a setting on validation shots: checks of the shots, and the tasks' metrics."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from datasets.multitask import Task


def refuse_test_images(dataset: Any, searched: str, instead: str) -> None:
    """Raise ValueError if validation images are test images, as in CoOp's ImageNet.

    Args:
        dataset: of Dassl's, with `val` and `test`.
        searched: what is searched, for the message: "LinearProbe searches C".
        instead: what the user can do instead.
    """
    test = {item.impath for item in dataset.test}
    shared = [item.impath for item in dataset.val or [] if item.impath in test]
    if shared:
        raise ValueError(
            f"{searched} on validation shots, but {len(shared)} of them are test images (say {shared[0]}): {instead}"
        )


def check_validation(dataset: Any, tasks: Sequence[Task], class_task: Tensor, searched: str, instead: str) -> None:
    """Raise ValueError if a task has no validation shots, or some of them are test images; arguments as above, and
    class_task (C,), the task of every class."""
    refuse_test_images(dataset, searched, instead)
    there = {int(class_task[item.label]) for item in dataset.val or []}
    missing = [task.name for t, task in enumerate(tasks) if t not in there]
    if missing:
        raise ValueError(
            f"{searched} on validation shots, and there are none for {', '.join(missing)}: give the data set "
            f"validation images, or {instead}"
        )


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
