"""An exported classifier with the methods of scikit-learn's classifiers."""

import difflib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from softcpt.backbones.precision import PRECISIONS, Precision, as_earlier

from .exports import Export, read_export
from .images import Images, image_batches, listed, transform_of
from .predictions import check_finite
from .tower import TunedTower, load_tower


def load_classifier(
    path: str | os.PathLike,
    backbone: str | None = None,
    device: str | torch.device | None = None,
    precision: str | None = None,
) -> "Classifier":
    """The classifier of an export.

    Args:
        path: a file written by scripts/export.py.
        backbone: name or file of its CLIP; needed unless that is a published one, or the demo's.
        device: "cpu" or "cuda"; by default a GPU if there is one.
        precision: one of `PRECISIONS`, such as "fp32" or "amp"; by default that of the run, in the type that it had.

    Raises:
        FileNotFoundError: no such file, or no weights of its CLIP.
        ValueError: not an export, a damaged one, one of another schema, or another CLIP.
    """
    path, device = Path(path), torch.device(device or Precision.default_device())
    export = read_export(path)
    if precision is not None and precision not in PRECISIONS:
        raise ValueError(f"precision: {precision!r} is not legal; one of {', '.join(PRECISIONS)}")
    numbers = Precision(precision or as_earlier(export.precision, device), device)
    return Classifier(export, load_tower(export, path, backbone, numbers), numbers, str(path))


class Classifier:
    """Predicts the classes of images among those of a task.

    `images` is a path, a PIL image, an array of uint8 (H, W, 3), (H, W, 4) or (H, W), a list of these, or a tensor
    (B, 3, H, W) made by `transform`. Files and PIL images are turned as their EXIF entries say if the run did so.
    `task` is the name of a task and may be left out if there is only one.

    Attributes:
        tasks: names of the tasks.
        classes_: {task: its class names (R,)}, in the order of the columns.
        export: templates, metrics, preprocessing and provenance.
        transform: makes a tensor (3, H, W) from an RGB image.
    """

    def __init__(
        self, export: Export, tower: TunedTower, precision: Precision, source: str = "the run or export"
    ) -> None:
        self.export, self.precision, self.device = export, precision, precision.device
        self.source = source  # for messages
        self.tower = tower.to(self.device).eval().requires_grad_(False)
        self.tasks = [task["name"] for task in export.tasks]
        self.classes_ = {task["name"]: np.array(task["classnames"], dtype=object) for task in export.tasks}
        self.heads = {name: head.to(self.device) for name, head in zip(self.tasks, export.heads)}
        self.transform: Callable[[Image.Image], Tensor] = transform_of(export.preprocessing)

    def predict(
        self, images: Images | Tensor, task: str | None = None, batch_size: int = 64, workers: int = 0
    ) -> np.ndarray:
        """The most likely class name of each image, (B,)."""
        best = self.decision_function(images, task, batch_size, workers).argmax(1)
        return self.classes_[self.task_named(task)][best]

    def predict_proba(
        self, images: Images | Tensor, task: str | None = None, batch_size: int = 64, workers: int = 0
    ) -> np.ndarray:
        """Probabilities (B, R) of the task's classes, in the order of `classes_`."""
        return torch.from_numpy(self.decision_function(images, task, batch_size, workers)).softmax(1).numpy()

    def decision_function(
        self, images: Images | Tensor, task: str | None = None, batch_size: int = 64, workers: int = 0
    ) -> np.ndarray:
        """Logits (B, R) of the task's classes. Raises OSError, naming the file, for an image that cannot be read, and
        ValueError for logits that are not finite."""
        name = self.task_named(task)
        parts: list[np.ndarray] = [np.empty((0, len(self.classes_[name])), np.float32)]
        for batch in self.batches(images, batch_size, workers):
            logits = self.logits(self.features(batch), name).cpu()
            check_finite(logits, [f"image {sum(map(len, parts)) + i}" for i in range(len(logits))], self.source)
            parts.append(logits.numpy())
        return np.concatenate(parts)

    def zero_shot_weights(self, task: str | None = None) -> Tensor:
        """Class features (E, C) with columns of length 1. As in open_clip's zero-shot code, logits are `logit_scale`
        times normalised image features times these weights.

        Raises ValueError, with the reason, if the classifier does not have this form.
        """
        name = self.task_named(task)
        head = self.heads[name]
        reason = head.not_cosine or ("the image tower is changed, too" if self.export.tunes_images else "")
        if reason:
            raise ValueError(f"task {name!r} is not a zero-shot classifier: {reason}")
        return torch.nn.functional.normalize(head.weight, dim=-1).T.cpu()

    def logit_scale(self, task: str | None = None) -> float:
        """The factor of a task's logits."""
        return self.heads[self.task_named(task)].scale

    @torch.no_grad()
    def features(self, images: Tensor) -> Tensor:
        """Image features (B, E) of a tensor (B, 3, H, W), not normalised."""
        with self.precision.autocast():
            return self.tower(images.to(self.device)).float()

    @torch.no_grad()
    def logits(self, features: Tensor, task: str | None = None) -> Tensor:
        """Logits (B, R) of image features (B, E)."""
        return self.heads[self.task_named(task)](features)

    def task_named(self, task: str | None = None) -> str:
        """`task`, or the only task for None. Raises ValueError, with the names, for an unknown one."""
        if task is not None and task in self.tasks:
            return task
        if task is None and len(self.tasks) == 1:
            return self.tasks[0]
        near = difflib.get_close_matches(task or "", self.tasks, n=1)
        what = "there are several tasks" if task is None else f"no task {task!r}"
        what += f" (did you mean {near[0]!r}?)" if near else ""
        raise ValueError(f"task: {what}; name one of {', '.join(self.tasks)}")

    def batches(self, images: Images | Tensor, batch_size: int = 64, workers: int = 0) -> Iterator[Tensor]:
        """Images as tensors (B, 3, H, W). Raises OSError, with the file, for an image that cannot be read, and
        ValueError for a tensor or array of another shape or dtype."""
        if isinstance(images, Tensor):
            shape = (3, *self.export.preprocessing.size)
            if images.dim() != 4 or tuple(images.shape[1:]) != shape:
                raise ValueError(f"images of shape {tuple(images.shape)}, expected (B, {', '.join(map(str, shape))})")
            yield from images.split(batch_size)
            return
        for batch in image_batches(listed(images), self.transform, self.export.upright, batch_size, workers):
            if batch.errors:
                raise OSError(batch.errors[0][1])
            yield batch.images
