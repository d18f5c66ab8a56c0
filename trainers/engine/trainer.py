"""The engine below all methods: data, CLIP, cached features, the loop over epochs, checkpoints and the test."""

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from dassl.data import DataManager
from dassl.engine import TrainerX
from dassl.utils import load_pretrained_weights
from torch import Tensor
from torchvision.transforms import ToTensor

from datasets.multitask import tasks_of
from softcpt import distributed
from softcpt.backbones import load_clip
from softcpt.backbones.compiled import compile_blocks
from softcpt.backbones.draws import initial_draws, skip_draws
from softcpt.backbones.precision import Precision
from softcpt.files import PROMPTS
from softcpt.images.sharding import sharded
from softcpt.images.views import seeded_loader
from softcpt.placement import to_device
from softcpt.prompts.encoder import text_encoder
from softcpt.prompts.learned import check_words
from softcpt.tasks import Task

from . import budget
from .all_images import take_all_images, trains_on_all
from .choosing import check_choices
from .divergence import UnreadSteps
from .earlier_precision import with_precision
from .evaluating import Tester
from .image_features import LOADERS, cached, caching_of, features_of, set_transforms, views_of
from .memory import PeakMemory
from .preprocessing import for_loaders, with_preprocessing
from .progress import TrainingBar
from .rank_draws import draw_apart
from .saving import Saver, WandbWriter

logger = logging.getLogger(__name__)

# What Dassl's trainers take from their DataManager.
TAKEN = (*LOADERS, "train_loader_u", "num_classes", "num_source_domains", "lab2cname")


class Engine(TrainerX):
    """What Dassl calls, for every method alike; what a method may override is in `PromptTrainer`, its only subclass.

    It builds `learned`, by `build_learned`, trains it by `forward_backward` or `fit`, and has a `Saver` and a `Tester`.
    """

    optim: Any
    sched: Any
    train_seconds: float | None = None
    test_seconds: float | None = None
    epochs_done: int = 0
    steps_done: int | None = 0  # None: unknown, for parameters that were loaded

    def __init__(self, cfg: Any) -> None:
        self.bar, self.saver, self.tester = TrainingBar(0, 0, 0), Saver(self), Tester(self)  # of no steps yet
        self.unread = UnreadSteps(self)
        super().__init__(cfg)
        if hasattr(self.evaluator, "set_tasks"):  # Dassl builds it, and knows no tasks
            self.evaluator.set_tasks(self.tasks)

    # -- building ----------------------------------------------------------------------------------------------------

    def build_data_loader(self) -> None:
        """Read the data, then CLIP, whose preprocessing the transforms follow. The data comes first, so that a missing
        file is reported before a large model is read."""
        cfg, self.device = self.cfg, Precision.default_device(self.cfg.USE_CUDA)
        self.memory = PeakMemory(self.device)
        self.dm = DataManager(for_loaders(cfg), custom_tfm_train=ToTensor(), custom_tfm_test=ToTensor())
        if trains_on_all(cfg):
            take_all_images(self.dm, for_loaders(cfg))
        self.precision = Precision(self.options.PREC, self.device, self.reads_weights)
        self.autocast, self.scaler = self.precision.autocast, self.precision.scaler
        self.clip = load_clip(cfg.MODEL.BACKBONE.NAME, self.precision.stored, self.cache_folder)
        cfg = with_precision(cfg, self.precision.name)
        self.cfg = with_preprocessing(cfg, self.clip.preprocessing, self.dm.dataset)
        self.test_transform = set_transforms(self.dm, self.cfg)
        for name in TAKEN:
            setattr(self, name, getattr(self.dm, name))
        if self.learns_by_gradient:
            budget.report_left_out(self.train_loader_x)
            self.cfg = budget.with_epochs(self.cfg, budget.max_steps(cfg), len(self.train_loader_x))
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
        class_task = torch.arange(len(counts)).repeat_interleave(counts)  # (C,)
        self.class_task, self._all_classes = (
            to_device(value, self.device) for value in (class_task, torch.arange(len(class_task)))
        )
        self._train_counts = torch.zeros(len(counts), 2, device=self.device)  # right and all predictions of an epoch

        check_words(type(self), self.options, self.clip)
        skip_draws(skipped)
        with self.autocast():  # `build_learned` may encode text, and the towers may be in half precision
            self.learned = self.build_learned(self.clip, self.tasks).to(self.device)
        for parameter in self.learned.parameters():
            parameter.data = parameter.data.float().contiguous()  # nccl takes no gradient with other strides
        distributed.copy_from_first_rank(self.learned)  # two GPUs may round differently
        if cfg.MODEL.INIT_WEIGHTS:
            try:
                load_pretrained_weights(self.learned, cfg.MODEL.INIT_WEIGHTS)
            except FileNotFoundError as error:
                raise FileNotFoundError(f"MODEL.INIT_WEIGHTS: {error}") from error
        self.n_params = sum(
            p.numel() for p in self.learned.parameters() if p.requires_grad or not self.learns_by_gradient
        )
        logger.info("%s learns %s parameters in %s", type(self).__name__, f"{self.n_params:,}", self.precision.name)
        self.optim, self.sched = self.build_optimiser() if self.learns_by_gradient else (None, None)
        self.register_model(PROMPTS, self.learned, self.optim, self.sched)
        self.tunes_images = bool(self.tuning("image"))
        self.caching = caching_of(self)
        self.test_loader, self.val_loader = (cached(self, loader) for loader in (self.test_loader, self.val_loader))

    # -- image features ----------------------------------------------------------------------------------------------

    def encode_image(self, image: Tensor) -> Tensor:
        """Image features (B, E) of images (B, 3, H, W), not normalised; of the method's `feature_kind`."""
        if self.feature_kind == "local":
            return self.clip.visual.local_features(image)  # (B, L, E), of the image's L regions
        if self.feature_kind == "unprojected":
            return self.clip.visual.unprojected(image)  # (B, W), below the projection
        return self.clip.encode_image(image, self.tuning("image"))

    def image_features(self, image: Tensor) -> Tensor:
        """`encode_image` of images (B, 3, H, W); features from the cache are returned as they are."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.tunes_images):
            return self.encode_image(image) if image.dim() == 4 else image

    def encode_batch(self, image: Tensor) -> Tensor:
        with self.autocast():
            return self.image_features(image.to(self.device))

    def features_of(self, items: Sequence[Any]) -> tuple[Tensor, Tensor]:
        """Image features (N, E), fp32 and not normalised, and global labels (N,) of the Datum `items`."""
        return features_of(self, items)

    def view_features(self, views: int) -> Tensor:
        """Features (N, views, E) of augmented views of the N training images, in the order of the data set; fp32, not
        normalised. Training sees the first FEATURES.TRAIN_VIEWS of them."""
        count = max(views, self.cfg.FEATURES.TRAIN_VIEWS)
        return views_of(self, self.dm.train_loader_x, count).dataset.features[:, :views].float().to(self.device)

    # -- training ----------------------------------------------------------------------------------------------------

    def train(self) -> None:
        """Dassl's epochs, or `fit` for a method without an optimiser, then the test; without shots the test alone."""
        if not self.uses_shots:
            self.test()
            return
        start = time.time(), time.perf_counter()
        check_choices(self)
        if self.learns_by_gradient:
            try:
                super().train()
            finally:
                self.bar.close()
        else:
            self.time_start, self._train_start = start
            self.max_epoch = 0  # for the record of the run
            self.fit()
            self.save_model(self.epoch, self.output_dir)
            self.after_train()

    def before_train(self) -> None:
        start, cfg = time.perf_counter(), self.cfg
        views = cfg.FEATURES.TRAIN_VIEWS
        if cfg.TRAIN.COMPILE:
            compile_blocks(self.clip, self.device)
        if views:
            loader = views_of(self, self.train_loader_x, views)
        else:
            loader = seeded_loader(self.train_loader_x, cfg.SEED, cfg.DATASET.ROOT)
        self.train_loader_x = sharded(loader)
        super().before_train()
        if distributed.rank() == 0:
            total, done = (budget.steps_of(cfg, n, len(loader)) for n in (self.max_epoch, self.start_epoch))
            self.bar = TrainingBar(total, done, self.max_epoch)
        self._train_start = start

    def before_epoch(self) -> None:
        if self.epoch == self.start_epoch:
            draw_apart(getattr(self, "rank_states", None), self.start_epoch > 0)
        self.train_loader_x.dataset.set_epoch(self.epoch)
        self.train_loader_x = budget.batches_left(self.train_loader_x, self.cfg.OPTIM.MAX_STEPS, self.epoch)

    def count_right(self, label: Tensor, prediction: Tensor) -> None:
        """Count labels and predictions (B,) for each task's training accuracy."""
        right = torch.stack([prediction == label, torch.ones_like(label)], dim=1).float()
        self._train_counts.index_add_(0, self.class_task[label], right)

    def parse_batch_train(self, batch: dict[str, Any]) -> tuple[Tensor, Tensor, None]:
        """Images (B, 3, H, W), or their features, and labels (B,) on the device."""
        image, label = (to_device(batch[key], self.device) for key in ("img", "label"))
        return image, label, None

    def after_epoch(self) -> None:
        self.unread.read()
        for task, (right, n) in zip(self.tasks, distributed.sum_over_ranks(self._train_counts).tolist()):
            if n:
                self.write_scalar(f"train_task/{task.name}", 100 * right / n, self.epoch)
        self._train_counts.zero_()
        super().after_epoch()

    def after_train(self) -> None:
        self.bar.close()
        if self.start_epoch == 0:  # the time of a resumed run is unknown
            _, cache, _ = self.caching
            self.train_seconds = time.perf_counter() - self._train_start - cache.seconds
        super().after_train()
        self.epochs_done = self.max_epoch
        self.steps_done = budget.steps_of(self.cfg, self.max_epoch, len(self.train_loader_x))

    # -- the test, and files -----------------------------------------------------------------------------------------

    def test(self, split: str | None = None) -> float:
        return self.tester.test(split)

    def model_inference(self, image: Tensor) -> Tensor:
        """Logits (B, C) over the classes of all tasks; image (B, 3, H, W)."""
        with torch.no_grad(), self.autocast():
            return self.class_logits(self.image_features(image), self.class_features())

    def save_model(self, epoch: int, directory: str, **kwargs: Any) -> None:
        self.saver.save(super().save_model, epoch, directory, **kwargs)

    def resume_model_if_exist(self, directory: str) -> int:
        return self.saver.resume(super().resume_model_if_exist, directory)

    def load_model(self, directory: str, epoch: int | None = None) -> None:
        self.saver.load(directory, epoch)

    def init_writer(self, log_dir: str) -> None:
        if distributed.rank() == 0:  # the others write no curves
            super().init_writer(log_dir)
            if self.cfg.TRAIN.WANDB:
                self._writer = WandbWriter(self._writer, self.cfg)
