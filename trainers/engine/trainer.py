"""The engine below all methods: data, CLIP, optimiser steps, several processes, checkpoints and the test."""

import logging
import time
from pathlib import Path
from typing import Any

import torch
from dassl.data import DataManager
from dassl.data.transforms import build_transform
from dassl.utils import load_pretrained_weights
from torch import Tensor
from torchvision.transforms import ToTensor

from datasets.multitask import tasks_of
from softcpt import distributed
from softcpt.backbones import load_clip
from softcpt.backbones.openai import initial_draws, skip_draws
from softcpt.backbones.precision import Precision
from softcpt.files import PROMPTS
from softcpt.images.feature_cache import FeatureCache, FeatureLoader
from softcpt.images.loading import picture_loader
from softcpt.images.views import seeded_loader, view_loader
from softcpt.prompts.encoder import text_encoder
from softcpt.prompts.learned import check_words
from softcpt.tasks import Task

from . import budget
from .all_images import take_all_images, trains_on_all
from .choosing import check_choices, chosen_on
from .divergence import stop_diverged
from .evaluating import EvaluatingTrainer
from .memory import PeakMemory
from .preprocessing import OPENAI, filled, test_transform, with_preprocessing
from .progress import TrainingBar

logger = logging.getLogger(__name__)

LOADERS = ("train_loader_x", "val_loader", "test_loader")
# What Dassl's trainers take from their DataManager.
TAKEN = (*LOADERS, "train_loader_u", "num_classes", "num_source_domains", "lab2cname")


class Engine(EvaluatingTrainer):
    """What Dassl calls, for every method alike; what a method may override is in `PromptTrainer`, its only subclass.

    It builds `prompts`, by `build_prompts`, and trains it, by `training_loss`. Its base classes test and save it.
    """

    train_seconds: float | None = None
    epochs_done: int = 0
    steps_done: int | None = 0  # None: unknown, for prompts that were loaded

    def __init__(self, cfg: Any) -> None:
        self._bar = TrainingBar(0, 0, 0)  # none yet
        super().__init__(cfg)
        if hasattr(self.evaluator, "set_tasks"):  # Dassl builds it, and knows no tasks
            self.evaluator.set_tasks(self.tasks)

    # -- building ----------------------------------------------------------------------------------------------------

    def build_data_loader(self) -> None:
        """Read the data, then CLIP, whose preprocessing the transforms follow. The data comes first, so that a missing
        file is reported before a large model is read."""
        cfg, self.device = self.cfg, Precision.default_device(self.cfg.USE_CUDA)
        self.memory = PeakMemory(self.device)
        self.dm = DataManager(filled(cfg, OPENAI), custom_tfm_train=ToTensor(), custom_tfm_test=ToTensor())
        if trains_on_all(cfg):
            take_all_images(self.dm, filled(cfg, OPENAI))
        self.precision = Precision(self.options.PREC, self.device)
        self.autocast, self.scaler = self.precision.autocast, self.precision.scaler
        self.clip = load_clip(cfg.MODEL.BACKBONE.NAME, self.precision.stored, self.cache_folder)
        self.cfg = with_preprocessing(cfg, self.clip.preprocessing, self.dm.dataset)
        self.test_transform = test_transform(self.cfg)
        transforms = build_transform(self.cfg, is_train=True), self.test_transform, self.test_transform
        turned = ", of pictures turned as their EXIF entries say" if self.cfg.INPUT.UPRIGHT else ""
        for name, transform in zip(("Training", "Test"), transforms):
            logger.info("%s transform: %s%s", name, transform, turned)
        for name, transform in zip(LOADERS, transforms):
            loader = getattr(self.dm, name)
            if loader is not None:
                setattr(self.dm, name, picture_loader(loader, transform, self.cfg.INPUT.UPRIGHT))
        for name in TAKEN:
            setattr(self, name, getattr(self.dm, name))
        if self.learns_by_gradient:
            self.cfg = budget.with_epochs(self.cfg, self.max_steps(cfg), len(self.train_loader_x))
            self.max_epoch = self.cfg.OPTIM.MAX_EPOCH
        elif self.cfg.OPTIM.MAX_STEPS:
            logger.info("OPTIM.MAX_STEPS is ignored: %s makes no optimiser steps", type(self).__name__)

    @property
    def cache_folder(self) -> Path | None:
        """Folder of features and weights that other runs share; None if the config names none."""
        if self.cfg.FEATURES.DIR:
            return Path(self.cfg.FEATURES.DIR)
        return Path(self.cfg.OUTPUT_DIR).parent / "features" if self.cfg.OUTPUT_DIR else None

    def build_model(self) -> None:
        cfg = self.cfg
        skipped = initial_draws(self.clip)
        self.clip.to(self.device)
        self.text_encoder = text_encoder(self.clip.text, cfg.TRAINER.TEXT_CHUNK)

        self.tasks: tuple[Task, ...] = tasks_of(self.dm.dataset)
        single = [task.name for task in self.tasks if len(task.classnames) == 1]
        if single:
            text = "Warning: tasks of one class, where any answer is right, do not count in the mean: %s"
            logger.warning(text, ", ".join(single))
        self.classnames = [name for task in self.tasks for name in task.classnames]
        counts = torch.tensor([len(task.classnames) for task in self.tasks])
        self.class_task = torch.arange(len(counts)).repeat_interleave(counts).to(self.device)  # (C,)
        self._train_counts = torch.zeros(len(counts), 2, device=self.device)  # right and all predictions of an epoch

        check_words(type(self), self.options, self.clip)
        skip_draws(skipped)
        with self.autocast():  # `build_prompts` may encode text, and the towers may be in half precision
            self.prompts = self.build_prompts(self.clip, self.tasks).to(self.device)
        for parameter in self.prompts.parameters():
            parameter.data = parameter.data.float()
        distributed.copy_from_first_rank(self.prompts)  # without a seed each process has drawn its own
        if cfg.MODEL.INIT_WEIGHTS:
            try:
                load_pretrained_weights(self.prompts, cfg.MODEL.INIT_WEIGHTS)
            except FileNotFoundError as error:
                raise FileNotFoundError(f"MODEL.INIT_WEIGHTS: {error}") from error
        self.n_params = sum(p.numel() for p in self.prompts.parameters())
        logger.info("%s learns %s parameters in %s", type(self).__name__, f"{self.n_params:,}", self.precision.name)
        self.optim = self.sched = None
        if self.learns_by_gradient:
            self.optim = self.build_optimiser()
            self.sched = self.build_schedule(self.optim)
        self.register_model(PROMPTS, self.prompts, self.optim, self.sched)
        self.use_feature_cache()

    def use_feature_cache(self) -> None:
        """Cache the image features of the test and, with FEATURES.TRAIN_VIEWS, of training."""
        options = self.cfg.FEATURES
        self.tunes_images = bool(self.image_tuning())
        if options.TRAIN_VIEWS and self.tunes_images:
            raise ValueError(
                f"FEATURES.TRAIN_VIEWS: {options.TRAIN_VIEWS}, but {type(self).__name__} changes the image tower in "
                "every step, so no features can be cached; it must be 0"
            )
        cache = FeatureCache(self.cache_folder or "features", self.memory.set_aside)
        key = {"features": self.feature_kind, "precision": self.precision.name, "device": self.device.type}
        test_cache = options.TEST_CACHE and not self.tunes_images
        if self.cfg.INPUT.UPRIGHT:  # else the key is that of versions that turned no image
            key["upright"] = True
        if test_cache or options.TRAIN_VIEWS:
            key["tower"] = self.clip.image_digest
        self.caching = self.encode_batch, cache, key
        for name in ("test_loader", "val_loader"):
            loader = getattr(self, name)
            if loader is not None:
                cached = FeatureLoader(loader, *self.caching) if test_cache else distributed.part_of(loader)
                setattr(self, name, cached)

    def encode_batch(self, image: Tensor) -> Tensor:
        with self.autocast():
            return self.image_features(image.to(self.device))

    @property
    def chosen_on(self) -> str:
        """The part of the data on which a run chooses its epoch or its method's settings, "" for none."""
        return chosen_on(self)

    # -- training ----------------------------------------------------------------------------------------------------

    def train(self) -> None:
        check_choices(self)
        try:
            super().train()
        finally:
            self._bar.close()

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

    def before_epoch(self) -> None:
        self.train_loader_x.dataset.set_epoch(self.epoch)
        self.train_loader_x = budget.batches_left(self.train_loader_x, self.cfg.OPTIM.MAX_STEPS, self.epoch)

    def forward_backward(self, batch: dict[str, Any]) -> dict[str, float]:
        """One training step on a batch; returns the values to log."""
        image, label = self.parse_batch_train(batch)[:2]
        # Each process's loss is a mean over its images: weighted by its share, the losses add up to the batch's.
        self.batch_share = distributed.share_of_batch(len(label))
        with self.autocast():
            loss, logs = self.training_loss(image, label)
        step = self.epoch * self.num_batches + self.batch_idx + 1
        place = {"epoch": self.epoch + 1, "step": step, "learning_rate": self.get_current_lr()}
        stop_diverged(loss, self.output_dir, self.prompts, batch, logs, type(self).__name__, **place)
        self.update_prompts(loss * self.batch_share)
        ends_epoch = self.batch_idx + 1 == self.num_batches or step == self.cfg.OPTIM.MAX_STEPS
        if self.schedule_unit == "batch" or ends_epoch:
            self.update_lr()
        logs = distributed.weighted_sums({"loss": loss.item(), **logs}, self.batch_share)
        self._bar.update(self.epoch, logs, self.get_current_lr())
        return logs

    def update_prompts(self, loss: Tensor) -> None:
        """One backward pass and `steps_per_batch` optimiser steps."""
        self.optim.zero_grad()
        steps = self.steps_per_batch
        if self.scaler is None:
            self.backward(loss)
        else:
            self.backward(self.scaler.scale(loss))
            scale = self.scaler.get_scale()
            self.scaler.step(self.optim)
            self.scaler.update()
            overflow = self.scaler.get_scale() < scale  # then the scaler has made no step
            if self.options.PREC == "amp" or overflow:
                return
            steps -= 1
        for _ in range(steps):
            self.optim.step()

    def count_right(self, label: Tensor, prediction: Tensor) -> None:
        """Count labels and predictions (B,) for each task's training accuracy."""
        right = torch.stack([prediction == label, torch.ones_like(label)], dim=1).float()
        self._train_counts.index_add_(0, self.class_task[label], right)

    def after_epoch(self) -> None:
        for task, (right, n) in zip(self.tasks, distributed.sum_over_ranks(self._train_counts).tolist()):
            if n:
                self.write_scalar(f"train_task/{task.name}", 100 * right / n, self.epoch)
        self._train_counts.zero_()
        super().after_epoch()

    def after_train(self) -> None:
        self._bar.close()
        if self.start_epoch == 0:  # the time of a resumed run is unknown
            _, cache, _ = self.caching
            self.train_seconds = time.perf_counter() - self._train_start - cache.seconds
        super().after_train()
        self.epochs_done = self.max_epoch
        self.steps_done = budget.steps_of(self.cfg, self.max_epoch, len(self.train_loader_x))
