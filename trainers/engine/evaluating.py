"""The test of a method, and of zero-shot CLIP beside it."""

import logging
import math
import time
from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from datasets.alike import alike
from softcpt import distributed

from .all_images import trains_on_all
from .choosing import check_split, shared_images

logger = logging.getLogger(__name__)


class ZeroShot:
    """Zero-shot CLIP, which shows after a test which tasks did not gain from training; nothing is chosen by it.

    Args:
        features: (C, E) of the hand-made prompts, fp32, not normalised.
        evaluator: of its own, which counts its predictions.
    """

    def __init__(self, features: Tensor, evaluator: Any) -> None:
        self.features, self.evaluator = features, evaluator

    def judge(self, image_features: Tensor, label: Tensor) -> None:
        """Count a batch: image_features (B, E), label (B,) global. Unscaled cosines make the same predictions."""
        with torch.autocast(image_features.device.type, enabled=False):
            cosine = F.normalize(image_features.float(), dim=-1) @ F.normalize(self.features, dim=-1).T
        self.evaluator.process(cosine, label)


class Tester:
    """Tests what a trainer has learned, by its `class_logits`."""

    def __init__(self, trainer: Any) -> None:
        self.trainer = trainer
        self.validation: list[dict[str, Any]] = []  # of the last test of a run, see `on_validation_shots`

    @torch.no_grad()
    def test(self, split: str | None = None) -> float:
        """Test as Dassl does, with the class features computed once; returns the headline metric in percent.

        The last test of a run, `split` None, also warns of tasks that did not gain from training. A run on all images
        has no test: its result is nan.
        """
        trainer, cfg, zero_shot = self.trainer, self.trainer.cfg, None
        if trains_on_all(cfg):
            return self.no_test()
        if split is None:
            check_split(cfg, trainer.dm.dataset)
            zero_shot = self.zero_shot()
        start = time.perf_counter()
        trainer.set_model_mode("eval")
        on_val = (split or cfg.TEST.SPLIT) == "val" and trainer.val_loader is not None
        name, loader = ("val", trainer.val_loader) if on_val else ("test", trainer.test_loader)
        with trainer.autocast():
            class_features = trainer.class_features()
            trainer.evaluator.reset()
            print(f"Evaluate on the *{name}* set")
            self.count(tqdm(loader, disable=None), class_features, trainer.evaluator, zero_shot)
            results = trainer.evaluator.evaluate()
            trainer.test_seconds = time.perf_counter() - start
            if split is None:
                self.validation = self.on_validation_shots(class_features, zero_shot)
        curves = {f"{name}/{key}": value for key, value in results.items()}
        tasks = getattr(trainer.evaluator, "task_results", ())
        curves |= {f"{name}_task/{task['name']}": task["value"] for task in tasks if task["n"]}
        for tag, value in curves.items():
            trainer.write_scalar(tag, value, trainer.epoch)
        if split is None:
            self.warn(zero_shot)
        return next(iter(results.values()))

    def count(self, loader: Iterable, class_features: Any, evaluator: Any, zero_shot: ZeroShot | None) -> None:
        """Let `evaluator`, and `zero_shot` unless it is None, count the predictions for the images of a loader."""
        trainer = self.trainer
        for batch in loader:
            image, label = trainer.parse_batch_test(batch)
            features = trainer.image_features(image)
            logits = trainer.class_logits(features, class_features, task=trainer.class_task[label])
            evaluator.process(logits, label)
            if zero_shot is not None:
                zero_shot.judge(features, label)

    def on_validation_shots(self, class_features: Any, zero_shot: ZeroShot | None) -> list[dict[str, Any]]:
        """Each task's metric on its validation shots, {"val": percent, "val_n": images} and, where it is known,
        "val_zero_shot", by which a report recommends a method; {} for a task without such images, [] if the run has
        none, or if some of them are test images."""
        trainer, data, judge = self.trainer, self.trainer.dm.dataset, self.trainer.evaluator
        there = trainer.uses_shots and trainer.val_loader is not None and hasattr(judge, "task_values")
        if not there or trainer.cfg.TEST.SPLIT == "val" or shared_images(data):
            return []
        own, other = (type(judge)(trainer.cfg, tasks=trainer.tasks) for _ in range(2))
        hand_made = None if zero_shot is None else ZeroShot(zero_shot.features, other)
        self.count(trainer.val_loader, class_features, own, hand_made)
        values, images = own.task_values(), [int(counts.sum()) for counts in own.confusion]
        base = [None] * len(values) if hand_made is None else other.task_values()
        found = [{"val": value, "val_n": n, "val_zero_shot": zero} for value, n, zero in zip(values, images, base)]
        return [{key: value for key, value in task.items() if value is not None and task["val_n"]} for task in found]

    def no_test(self) -> float:
        """The results of a run without test images: none."""
        trainer = self.trainer
        logger.info("Not tested: the run is trained on all images (DATASET.TRAIN_ON_ALL)")
        trainer.evaluator.reset()
        trainer.evaluator.task_results = [
            {"name": task.name, "metric": task.metric, "value": None, "n": 0} for task in trainer.tasks
        ]
        trainer.test_seconds = 0.0
        return math.nan

    def warn(self, zero_shot: ZeroShot | None) -> None:
        """Name, on the first rank, names read alike and tasks that did not gain; all ranks gather the results."""
        judge = self.trainer.evaluator
        values = zero_shot.evaluator.task_values() if zero_shot else None
        if distributed.rank() == 0:
            found = self.names_alike(zero_shot) if self.trainer.reads_names else []
            found += judge.weak_tasks(values) if hasattr(judge, "weak_tasks") else []
            for warning in found:
                logger.warning("Warning: %s", warning)

    def names_alike(self, zero_shot: ZeroShot | None) -> list[str]:
        """Classes of a task whose names this CLIP cannot tell apart."""
        features, tasks = zero_shot.features if zero_shot else self.trainer.zero_shot_features(), self.trainer.tasks
        parts = features.split([len(task.classnames) for task in tasks])
        return [f"task {task.name}: {note}" for task, own in zip(tasks, parts) for note in alike(own, task.classnames)]

    def zero_shot(self) -> ZeroShot | None:
        """Zero-shot CLIP, to be tested on the same image features; None if the method's image features differ from its
        own, or if nothing is trained."""
        trainer, judge = self.trainer, self.trainer.evaluator
        shared = trainer.uses_shots and trainer.feature_kind == "global" and not trainer.tunes_images
        if not shared or not hasattr(judge, "task_values"):
            return None
        return ZeroShot(trainer.zero_shot_features(), type(judge)(trainer.cfg, tasks=trainer.tasks))
