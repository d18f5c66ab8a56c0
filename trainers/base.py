"""What all prompt-tuning methods share: CLIP, precision, the optimiser, features, logits and the multi-task loss."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from dassl.data import DataManager
from dassl.data.data_manager import build_data_loader
from dassl.data.transforms import build_transform
from dassl.evaluation import build_evaluator
from dassl.optim import build_lr_scheduler, build_optimizer
from dassl.utils import load_pretrained_weights
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler
from torchvision.transforms import ToTensor

from datasets.multitask import Task, tasks_of

from .backbones import CLIP, UNTUNED, Tuning, load_clip
from .backbones.openai import initial_draws, skip_draws
from .modules import budget, distributed
from .modules.features import FeatureCache, FeatureLoader
from .modules.loop import Loop
from .modules.losses import classes_of_present_tasks, multitask_cross_entropy, within_task
from .modules.memory import PeakMemory
from .modules.precision import PRECISIONS, Precision
from .modules.preprocessing import OPENAI, filled, test_transform, with_preprocessing
from .modules.prompts import check_choice
from .modules.text_encoder import text_encoder
from .modules.views import view_loader

logger = logging.getLogger(__name__)


class PromptTrainer(Loop):
    """Base of the methods that learn prompts of a frozen CLIP, over one or several tasks.

    A method overrides `build_prompts`, its learnable parameters as one module, and `text_features`, the class features
    that they make; where it differs, `logits` or `compute_loss`. Its config keys and their defaults are `defaults`,
    under `TRAINER.<NAME>`.
    """

    defaults: ClassVar[dict[str, Any]] = {}
    uses_shots = True  # False for a method that needs no training image
    learns_by_gradient = True  # False for a method without an optimiser
    conditional = False  # True where the class features depend on the image: `class_logits` is to be overridden
    feature_kind = "global"  # what `encode_image` makes of an image; methods of one kind share the cached features

    def __init__(self, cfg: Any) -> None:
        super().__init__(cfg)
        self.evaluator = build_evaluator(cfg, lab2cname=self.lab2cname, tasks=self.tasks)

    # -- building ----------------------------------------------------------------------------------------------------

    @property
    def options(self) -> Any:
        """The method's own config node, TRAINER.<NAME>."""
        return self.cfg.TRAINER[type(self).__name__.upper()]

    @property
    def variant(self) -> str:
        """What distinguishes this run from others of the same method in tables; "" for a method without variants."""
        return ""

    def check_cfg(self, cfg: Any) -> None:
        name = type(self).__name__.upper()
        check_choice(f"TRAINER.{name}.PREC", cfg.TRAINER[name].PREC, PRECISIONS)
        budget.check_budget(cfg)

    def build_data_loader(self) -> None:
        """Read the data, then CLIP, which says how images are to be shown to it. In this order, what is missing of the
        data is told before a large model is read. The training loader says what an epoch is."""
        cfg, self.memory = self.cfg, PeakMemory(self.device)
        self.dm = DataManager(filled(cfg, OPENAI), custom_tfm_train=ToTensor(), custom_tfm_test=ToTensor())
        for name in ("train_loader_x", "train_loader_u", "val_loader", "test_loader"):
            setattr(self, name, getattr(self.dm, name))
        for name in ("num_classes", "num_source_domains", "lab2cname"):
            setattr(self, name, getattr(self.dm, name))
        self.precision = Precision(self.options.PREC, self.device)
        self.autocast, self.scaler = self.precision.autocast, self.precision.scaler
        self.clip = load_clip(cfg.MODEL.BACKBONE.NAME, self.precision.stored, self.cache_folder)
        self.cfg = with_preprocessing(cfg, self.clip.preprocessing)
        self.test_transform = test_transform(self.cfg)
        self.train_loader_x.dataset.transform = build_transform(self.cfg, is_train=True)
        for loader in (self.test_loader, self.val_loader):
            if loader is not None:
                loader.dataset.transform = self.test_transform
        if self.learns_by_gradient:
            self.cfg = budget.with_epochs(self.cfg, len(self.train_loader_x))
            self.max_epoch = self.cfg.OPTIM.MAX_EPOCH
        elif self.cfg.OPTIM.MAX_STEPS:
            logger.info("OPTIM.MAX_STEPS is ignored: %s makes no optimiser steps", type(self).__name__)

    @property
    def cache_folder(self) -> Path | None:
        """Where features and weights are kept for other runs; None where the config names no folder."""
        if self.cfg.FEATURES.DIR:
            return Path(self.cfg.FEATURES.DIR)
        return Path(self.cfg.OUTPUT_DIR).parent / "features" if self.cfg.OUTPUT_DIR else None

    def build_model(self) -> None:
        cfg = self.cfg
        skipped = initial_draws(self.clip)
        self.clip.to(self.device)
        self.text_encoder = text_encoder(self.clip.text, cfg.TRAINER.TEXT_CHUNK)

        self.tasks: tuple[Task, ...] = tasks_of(self.dm.dataset)
        self.classnames = [name for task in self.tasks for name in task.classnames]
        counts = torch.tensor([len(task.classnames) for task in self.tasks])
        self.class_task = torch.arange(len(counts)).repeat_interleave(counts).to(self.device)  # (C,)

        skip_draws(skipped)
        self.prompts = self.build_prompts(self.clip, self.tasks).to(self.device)
        distributed.copy_from_first_rank(self.prompts)  # without a seed each process has drawn its own
        if cfg.MODEL.INIT_WEIGHTS:
            load_pretrained_weights(self.prompts, cfg.MODEL.INIT_WEIGHTS)
        self.n_params = sum(p.numel() for p in self.prompts.parameters())
        logger.info("%s learns %s parameters in %s", type(self).__name__, f"{self.n_params:,}", self.precision.name)
        self.optim = self.sched = None
        if self.learns_by_gradient:
            self.optim = self.build_optimiser()
            self.sched = self.build_schedule(self.optim)
        self.register_model("prompt_learner", self.prompts, self.optim, self.sched)
        self.use_feature_cache()

    def build_optimiser(self) -> torch.optim.Optimizer:
        return build_optimizer(self.prompts, self.cfg.OPTIM)

    def build_schedule(self, optim: torch.optim.Optimizer) -> LRScheduler:
        """The learning rates, which take their next value after each `schedule_unit`."""
        schedule, batches = self.cfg.OPTIM.clone(), len(self.train_loader_x)
        if self.schedule_unit == "batch":
            schedule.defrost()
            schedule.MAX_EPOCH = budget.steps_of(self.cfg, self.max_epoch, batches)
            schedule.WARMUP_EPOCH *= batches
        return build_lr_scheduler(optim, schedule)

    def use_feature_cache(self) -> None:
        """Let evaluation, and with FEATURES.TRAIN_VIEWS training, read features of the image tower from a cache."""
        options = self.cfg.FEATURES
        self.tunes_images = bool(self.image_tuning())
        if options.TRAIN_VIEWS and self.tunes_images:
            raise ValueError(
                f"FEATURES.TRAIN_VIEWS: {options.TRAIN_VIEWS}, but {type(self).__name__} changes the image tower in "
                "every step, so that there are no features to keep; it must be 0"
            )
        cache = FeatureCache(self.cache_folder or "features", self.memory.set_aside)
        key = {"features": self.feature_kind, "precision": self.precision.name, "device": self.device.type}
        test_cache = options.TEST_CACHE and not self.tunes_images
        if test_cache or options.TRAIN_VIEWS:
            key["tower"] = self.clip.image_digest
        self.caching = self._encode_batch, cache, key
        for name in ("test_loader", "val_loader"):
            loader = getattr(self, name)
            if loader is not None:
                cached = FeatureLoader(loader, *self.caching) if test_cache else distributed.part_of(loader)
                setattr(self, name, cached)

    def _encode_batch(self, image: Tensor) -> Tensor:
        with self.autocast():
            return self.image_features(image.to(self.device))

    def features_of(self, items: Sequence[Any]) -> tuple[Tensor, Tensor]:
        """Image features (N, E), fp32 and not normalised, and global labels (N,) of the Datum `items`."""
        loader = build_data_loader(
            self.cfg,
            sampler_type="SequentialSampler",
            data_source=items,
            batch_size=self.cfg.DATALOADER.TEST.BATCH_SIZE,
            tfm=self.test_transform,
            is_train=False,
        )
        loader = FeatureLoader(loader, *self.caching) if self.cfg.FEATURES.TEST_CACHE else distributed.part_of(loader)
        batches = [(self._encode_batch(batch["img"]).float(), batch["label"]) for batch in loader]
        columns = ([batch[i] for batch in batches] for i in range(2))
        features, label = (distributed.gather_parts(column).to(self.device) for column in columns)
        return features, label

    def view_features(self, views: int) -> Tensor:
        """(N, views, E) of augmented views of the N training images, in the order of the data set; fp32, not
        normalised. They are those that FEATURES.TRAIN_VIEWS shows, as far as these go."""
        loader, cfg = self.dm.train_loader_x, self.cfg
        drawn = max(views, cfg.FEATURES.TRAIN_VIEWS)
        features = view_loader(loader, *self.caching, drawn, cfg.SEED, cfg.DATASET.ROOT).dataset.features
        return features[:, :views].float().to(self.device)

    def build_prompts(self, model: CLIP, tasks: Sequence[Task]) -> nn.Module:
        """The module of learnable parameters, all in fp32."""
        raise NotImplementedError

    # -- forward -----------------------------------------------------------------------------------------------------

    def image_tuning(self) -> Tuning:
        """What training adds to the layers of the image tower. Where it is nothing, which stays so, image features are
        kept in caches and no gradient runs through the tower."""
        return UNTUNED

    def text_tuning(self) -> Tuning:
        """What training adds to the layers of the text tower: `text_features` hands it to the encoder, which without it
        encodes by the untouched tower, as hand-made prompts are."""
        return UNTUNED

    def text_features(self, rows: Tensor | None = None) -> Tensor:
        """Class features (R, E) of the classes `rows` (R,), sorted global labels; None for all C. Not normalised."""
        raise NotImplementedError

    def image_features(self, image: Tensor) -> Tensor:
        """(B, E) of images (B, 3, H, W), not normalised; features from the cache stay as they are."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.tunes_images):
            return self.encode_image(image) if image.dim() == 4 else image

    def encode_image(self, image: Tensor) -> Tensor:
        return self.clip.encode_image(image, self.image_tuning())

    def logits(self, image_features: Tensor, text_features: Tensor) -> Tensor:
        """(B, R): cosine similarities times CLIP's scale. In fp32: half precision would round logits of 30 to 1/8."""
        with torch.autocast(self.device.type, enabled=False):
            image_features = F.normalize(image_features.float(), dim=-1)
            text_features = F.normalize(text_features.float(), dim=-1)
            return self.clip.with_bias(self.clip.logit_scale.exp() * image_features @ text_features.T)

    def class_logits(self, image_features: Tensor, rows: Tensor | None = None, task: Tensor | None = None) -> Tensor:
        """Logits (B, R) of the classes `rows`; with `task` (B,) only those of a sample's own task need be right."""
        return self.logits(image_features, self.class_features(rows))

    def all_classes(self) -> Tensor:
        """(C,) the labels of all classes, which `rows` of None stands for."""
        return torch.arange(len(self.class_task), device=self.device)

    def class_features(self, rows: Tensor | None = None) -> Tensor:
        """`text_features`, of which each process encodes its share; in an evaluation those of all classes are kept."""
        if rows is None and self._frozen_text_features is not None:
            return self._frozen_text_features
        if distributed.world() == 1:
            return self.text_features(rows)
        rows = self.all_classes() if rows is None else rows
        mine = rows[distributed.share(len(rows))]
        # A process without a share encodes one class and passes on none of it.
        local = self.text_features(mine if len(mine) else rows[:1])[: len(mine)]
        return distributed.gather_rows(local, len(rows))

    def candidates(self, label: Tensor) -> Tensor | None:
        """The classes that a training step encodes, for the labels (B,) of this process's images: those of the tasks in
        the whole batch; None for all of them."""
        if len(self.tasks) == 1:
            return None
        return classes_of_present_tasks(distributed.gather_labels(label), self.class_task)

    def training_loss(self, image: Tensor, label: Tensor) -> tuple[Tensor, dict[str, float]]:
        """`compute_loss` of images (B, 3, H, W), or of their cached features."""
        return self.compute_loss(self.image_features(image), label)

    def compute_loss(self, image_features: Tensor, label: Tensor) -> tuple[Tensor, dict[str, float]]:
        """Loss and logged values of a batch: image_features (B, E), label (B,) global."""
        rows = self.candidates(label)
        return self.cross_entropy(self.class_logits(image_features, rows, self.class_task[label]), label, rows)

    def cross_entropy(self, logits: Tensor, label: Tensor, rows: Tensor | None) -> tuple[Tensor, dict[str, float]]:
        """The multi-task loss of logits (B, R) of the classes `rows`, and the accuracy within the tasks to log."""
        loss = multitask_cross_entropy(logits, label, self.class_task, rows)
        prediction = within_task(logits, label, self.class_task, rows).argmax(1)
        prediction = prediction if rows is None else rows[prediction]
        return loss, {"acc": 100 * (prediction == label).float().mean().item()}
