"""The test of a method, and of zero-shot CLIP beside it."""

import logging
import math
import time
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from datasets.alike import alike
from softcpt import distributed
from softcpt.tasks import Task

from .all_images import trains_on_all
from .choosing import check_split
from .saving import SavingTrainer

logger = logging.getLogger(__name__)


class ZeroShot:
    """Zero-shot CLIP, which shows after a test which tasks did not gain from training; nothing is chosen by it.

    Args:
        features: (C, E) of the hand-made prompts, fp32, not normalised.
        evaluator: of its own, which counts its predictions.
    """

    def __init__(self, tasks: Sequence[Task], features: Tensor, evaluator: Any) -> None:
        self.tasks, self.features, self.evaluator = tasks, features, evaluator

    def judge(self, image_features: Tensor, label: Tensor) -> None:
        """Count a batch: image_features (B, E), label (B,) global. Unscaled cosines make the same predictions."""
        with torch.autocast(image_features.device.type, enabled=False):
            cosine = F.normalize(image_features.float(), dim=-1) @ F.normalize(self.features, dim=-1).T
        self.evaluator.process(cosine, label)


class EvaluatingTrainer(SavingTrainer):
    """Tests a method by its `class_logits`, within Dassl's loop over the test images."""

    test_seconds: float | None = None
    _frozen_text_features: Tensor | None = None  # during a test
    _zero_shot: ZeroShot | None = None  # during the last test
    _test_task: Tensor | None = None
    _test_label: Tensor | None = None

    @torch.no_grad()
    def test(self, split: str | None = None) -> float:
        """Dassl's test loop, with the class features computed once; returns the headline metric in percent.

        The last test of a run, `split` None, also warns of tasks that did not gain from training. A run on all images
        has no test: its result is nan.
        """
        if trains_on_all(self.cfg):
            return self.no_test()
        if split is None:
            check_split(self.cfg, self.dm.dataset)
        self._zero_shot = self.zero_shot() if split is None else None
        start = time.perf_counter()
        self.set_model_mode("eval")
        with self.autocast():
            self._frozen_text_features = None if self.conditional else self.class_features()
            try:
                result = super().test(split)
            finally:
                self._frozen_text_features = None
        self.test_seconds = time.perf_counter() - start
        name = "val" if (split or self.cfg.TEST.SPLIT) == "val" and self.val_loader is not None else "test"
        for task in getattr(self.evaluator, "task_results", ()):
            if task["n"]:
                self.write_scalar(f"{name}_task/{task['name']}", task["value"], self.epoch)
        if split is None:
            self.warn_after_test()
        self._zero_shot = None
        return result

    def no_test(self) -> float:
        """The results of a run without test images: none."""
        logger.info("Not tested: the run is trained on all images (DATASET.TRAIN_ON_ALL)")
        self.evaluator.reset()
        self.evaluator.task_results = [
            {"name": task.name, "metric": task.metric, "value": None, "n": 0} for task in self.tasks
        ]
        self.test_seconds = 0.0
        return math.nan

    def warn_after_test(self) -> None:
        """Name, on the first rank, names read alike and tasks that did not gain; all ranks gather the results."""
        judge, zero_shot = self.evaluator, self._zero_shot
        values = zero_shot.evaluator.task_values() if zero_shot else None
        if distributed.rank() == 0:
            found = self.names_alike() if self.reads_names else []
            found += judge.weak_tasks(values) if hasattr(judge, "weak_tasks") else []
            for warning in found:
                logger.warning("Warning: %s", warning)

    def names_alike(self) -> list[str]:
        """Classes of a task whose names this CLIP cannot tell apart."""
        features = self._zero_shot.features if self._zero_shot else self.hand_made_features()  # (C, E)
        parts = features.split([len(task.classnames) for task in self.tasks])
        return [
            f"task {task.name}: {note}" for task, own in zip(self.tasks, parts) for note in alike(own, task.classnames)
        ]

    def zero_shot(self) -> ZeroShot | None:
        """Zero-shot CLIP, to be tested on the same image features; None if the method's image features differ from its
        own, or if nothing is trained."""
        shared = self.uses_shots and self.feature_kind == "global" and not self.tunes_images
        if not shared or not hasattr(self.evaluator, "task_values"):
            return None
        return ZeroShot(self.tasks, self.hand_made_features(), type(self.evaluator)(self.cfg, tasks=self.tasks))

    def parse_batch_test(self, batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
        image, label = super().parse_batch_test(batch)
        # Dassl's loop passes only the images to `model_inference`.
        self._test_task, self._test_label = self.class_task[label], label
        return image, label

    def model_inference(self, image: Tensor) -> Tensor:
        """Logits (B, C) over the classes of all tasks; image (B, 3, H, W). Within the test loop only those of the
        sample's own task need be right (`class_logits`)."""
        task, self._test_task = self._test_task, None
        with torch.no_grad(), self.autocast():
            features = self.image_features(image)
            if self._zero_shot is not None:
                self._zero_shot.judge(features, self._test_label)
            return self.class_logits(features, task=task)
