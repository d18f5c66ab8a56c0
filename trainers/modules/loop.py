"""The verbs of Dassl's loop, as all methods have them: a step, several processes, checkpoints, evaluation."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

import torch
from dassl.utils import load_checkpoint
from torch import Tensor

from evaluation.classes import write_classes

from . import budget, distributed
from .checkpoints import find_checkpoint, keep_newest, read_prompts
from .comparison import ZeroShot
from .divergence import stop_diverged
from .progress import TrainingBar
from .tracking import Curves
from .views import seeded_loader, view_loader

logger = logging.getLogger(__name__)


class Loop(Curves):
    """Trains and evaluates `prompts` by `training_loss` and `class_logits`, which `PromptTrainer` adds."""

    steps_per_batch = 1
    schedule_unit = "epoch"  # or "batch": after what the learning rate takes its next value

    def __init__(self, cfg: Any) -> None:
        self._frozen_text_features: Tensor | None = None
        self.train_seconds: float | None = None
        self.test_seconds: float | None = None
        self.epochs_done: int = 0
        self.steps_done: int | None = 0  # None: not known, of prompts that were loaded
        self._test_task: Tensor | None = None
        self._test_label: Tensor | None = None
        self._zero_shot: ZeroShot | None = None  # during the last test
        self._bar: TrainingBar | None = None
        self._told_of_checkpoints = False
        self._train_counts: Tensor | None = None  # (T, 2) right predictions and images of this epoch
        super().__init__(cfg)

    # -- training ----------------------------------------------------------------------------------------------------

    def forward_backward(self, batch: dict[str, Any]) -> dict[str, float]:
        image, label = self.parse_batch_train(batch)[:2]
        # Losses are means over a process's images: weighted by its share of the batch they add up to the batch's.
        self.batch_share = distributed.share_of_batch(len(label))
        with self.autocast():
            loss, logs = self.training_loss(image, label)
        step = self.epoch * self.num_batches + self.batch_idx + 1
        place = {"epoch": self.epoch + 1, "step": step, "learning_rate": self.get_current_lr()}
        stop_diverged(loss, self.output_dir, self.prompts, batch, logs, type(self).__name__, **place)
        self.update_prompts(loss * self.batch_share)
        if self.schedule_unit == "batch" or self.ends_epoch:
            self.update_lr()
        logs = distributed.weighted_sums({"loss": loss.item(), **logs}, self.batch_share)
        if self._bar is not None:
            self._bar.update(self.epoch, logs, self.get_current_lr())
        return logs

    @property
    def ends_epoch(self) -> bool:
        """Whether the batch in hand is the last of its epoch."""
        steps = self.epoch * self.num_batches + self.batch_idx + 1
        return self.batch_idx + 1 == self.num_batches or steps == self.cfg.OPTIM.MAX_STEPS

    def update_prompts(self, loss: Tensor) -> None:
        """One backward pass and one optimiser step (`steps_per_batch` of them, see SoftCPT's SCHEDULE)."""
        self.optim.zero_grad()
        steps = self.steps_per_batch
        if self.scaler is None:
            self.backward(loss)
        else:
            self.backward(self.scaler.scale(loss))
            scale = self.scaler.get_scale()
            self.scaler.step(self.optim)
            self.scaler.update()
            if self.options.PREC == "amp" or self.scaler.get_scale() < scale:  # the latter: no step, too large
                return
            steps -= 1
        for _ in range(steps):
            self.optim.step()

    def backward(self, loss: Tensor) -> None:
        """Fill the parameters' gradients; `loss` may carry the gradient scaler's factor."""
        loss.backward()
        distributed.sum_gradients(self.prompts)

    def train(self) -> None:
        try:
            super().train()
        finally:
            self.close_bar()

    def before_train(self) -> None:
        start, cfg = time.perf_counter(), self.cfg
        views = cfg.FEATURES.TRAIN_VIEWS
        if views:
            loader = view_loader(self.train_loader_x, *self.caching, views, cfg.SEED, cfg.DATASET.ROOT)
        else:
            loader = seeded_loader(self.train_loader_x, cfg.SEED, cfg.DATASET.ROOT)
        self.train_loader_x = distributed.sharded(loader)
        super().before_train()
        if distributed.rank() == 0:
            total, done = (budget.steps_of(cfg, n, len(loader)) for n in (self.max_epoch, self.start_epoch))
            self._bar = TrainingBar(total, done, self.max_epoch)
        self._train_start = start

    def close_bar(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def before_epoch(self) -> None:
        self.train_loader_x.dataset.set_epoch(self.epoch)
        self.train_loader_x = budget.batches_left(self.train_loader_x, self.cfg.OPTIM.MAX_STEPS, self.epoch)
        self._train_counts = torch.zeros(len(self.tasks), 2, device=self.device)

    def count_right(self, label: Tensor, prediction: Tensor) -> None:
        """For the training accuracy of each task: labels and predictions (B,)."""
        if self._train_counts is not None:
            right = torch.stack([prediction == label, torch.ones_like(label)], dim=1).float()
            self._train_counts.index_add_(0, self.class_task[label], right)

    def after_epoch(self) -> None:
        if self._train_counts is not None:
            for task, (right, n) in zip(self.tasks, distributed.sum_over_ranks(self._train_counts).tolist()):
                if n:
                    self.write_scalar(f"train_task/{task.name}", 100 * right / n, self.epoch)
            self._train_counts = None
        super().after_epoch()

    def after_train(self) -> None:
        self.close_bar()
        if self.start_epoch == 0:  # the time of a resumed run is not known
            _, cache, _ = self.caching
            self.train_seconds = time.perf_counter() - self._train_start - cache.seconds
        super().after_train()
        self.epochs_done = self.max_epoch
        self.steps_done = budget.steps_of(self.cfg, self.max_epoch, len(self.train_loader_x))

    def save_model(self, epoch: int, directory: str, **kwargs: Any) -> None:
        """Save, and keep the TRAIN.KEEP_CHECKPOINTS newest resumable checkpoints."""
        if distributed.rank() == 0:
            folder, count = Path(directory, "prompt_learner"), self.cfg.TRAIN.KEEP_CHECKPOINTS
            folder.mkdir(parents=True, exist_ok=True)
            write_classes(folder / "classes.json", self.tasks)  # first: after a kill, no checkpoint is without it
            super().save_model(epoch, directory, **kwargs)
            keep_newest(folder, epoch + 1, count)
            if count and not self._told_of_checkpoints:
                kept = "checkpoint alone is" if count == 1 else f"{count} checkpoints are"
                logger.info("The newest %s kept (TRAIN.KEEP_CHECKPOINTS)", kept)
                self._told_of_checkpoints = True
        distributed.wait()

    # -- evaluation --------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def test(self, split: str | None = None) -> float:
        """Dassl's test loop, with the class features computed once; returns the headline metric in percent.

        The last test of a run, `split` None, also says which tasks are worse off than without training.
        """
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
        self.tell_of_tasks(split)
        return result

    def zero_shot(self) -> ZeroShot | None:
        """The hand-made prompts, to be judged on the image features of a test; None where there are none to share: of
        methods that tune the image tower or read other features of it, and where nothing is trained."""
        shared = self.uses_shots and self.feature_kind == "global" and not self.tunes_images
        if not shared or not hasattr(self.evaluator, "task_values"):
            return None
        with self.autocast():
            return ZeroShot(self.tasks, self.clip, self.text_encoder, type(self.evaluator)(self.cfg, tasks=self.tasks))

    def tell_of_tasks(self, split: str | None) -> None:
        """Curves of the tasks' results and, after the last test, warnings."""
        zero_shot, self._zero_shot = self._zero_shot, None
        name = split or self.cfg.TEST.SPLIT
        name = name if name == "val" and self.val_loader is not None else "test"
        for result in getattr(self.evaluator, "task_results", ()):
            if result["n"]:
                self.write_scalar(f"{name}_task/{result['name']}", result["value"], self.epoch)
        values = zero_shot.evaluator.task_values() if zero_shot else None
        if split is None and distributed.rank() == 0:
            for warning in zero_shot.warnings() if zero_shot else ():
                logger.warning("Warning: %s", warning)
            if hasattr(self.evaluator, "weak_tasks"):
                for warning in self.evaluator.weak_tasks(values):
                    logger.warning("Warning: %s", warning)

    def parse_batch_test(self, batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
        image, label = super().parse_batch_test(batch)
        # Dassl's loop hands on the images alone.
        self._test_task, self._test_label = self.class_task[label], label
        return image, label

    def model_inference(self, image: Tensor) -> Tensor:
        """Logits (B, C) over the classes of all tasks; image (B, 3, H, W). Within Dassl's test loop, which compares the
        classes of a sample's own task, those of others need not be right (`class_logits`)."""
        task, self._test_task = self._test_task, None
        with torch.no_grad(), self.autocast():
            features = self.image_features(image)
            if self._zero_shot is not None:
                self._zero_shot.judge(features, self._test_label)
            return self.class_logits(features, task=task)

    def resume_model_if_exist(self, directory: str) -> int:
        """Dassl's, which does not know what each class or task has learned for itself: that is checked before."""
        folder = Path(directory, "prompt_learner")
        if (folder / "checkpoint").is_file():
            read_prompts(find_checkpoint(folder), self.prompts.state_dict(), type(self).__name__)
        epoch = super().resume_model_if_exist(directory)
        if epoch and directory == self.output_dir and distributed.rank() == 0:
            keep_newest(folder, epoch, self.cfg.TRAIN.KEEP_CHECKPOINTS)  # a kill may have come before
        return epoch

    def load_model(self, directory: str, epoch: int | None = None) -> None:
        """Load the prompts that a run saved: of `epoch`, else the best of the validation set, else the last.

        Raises:
            FileNotFoundError: no such checkpoint.
            ValueError: a checkpoint of another method or of other shapes (other classes, tasks, widths).
        """
        if not directory:
            logger.info("No model directory is given: the prompts stay as they are initialised")
            return
        path = find_checkpoint(Path(directory, "prompt_learner"), epoch)
        any_number = getattr(self.prompts, "any_number", ())
        self.prompts.load_state_dict(read_prompts(path, self.prompts.state_dict(), type(self).__name__, any_number))
        self.epochs_done = load_checkpoint(str(path)).get("epoch", 0) if self.learns_by_gradient else 0
        self.steps_done = None if self.learns_by_gradient else 0
        logger.info("Prompts loaded from %s", path)
