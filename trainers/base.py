"""What all methods share: the optimiser, class features, logits and the multi-task loss."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from dassl.optim import build_lr_scheduler, build_optimizer
from dassl.utils import load_pretrained_weights
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler

from backbones import CLIP, UNTUNED, Head, Tuning
from backbones.openai import initial_draws, skip_draws
from backbones.precision import PRECISIONS
from datasets.multitask import Task, tasks_of

from .modules import budget, distributed, tracking
from .modules.checkpoints import check_count
from .modules.image_features import ImageFeatures
from .modules.losses import classes_of_present_tasks, multitask_cross_entropy, within_task
from .modules.prompts import check_choice
from .modules.templates import hand_made_features
from .modules.text_encoder import text_encoder

logger = logging.getLogger(__name__)


class PromptTrainer(ImageFeatures):
    """Base of the methods that learn prompts of a frozen CLIP, over one or several tasks.

    A method overrides `build_prompts`, its learnable parameters as one module, and `text_features`, the class features
    that they make; where it differs, `logits` or `compute_loss`. Its config keys and their defaults are `defaults`,
    under `TRAINER.<NAME>`.
    """

    defaults: ClassVar[dict[str, Any]] = {}
    uses_shots = True  # False for a method that needs no training image
    learns_by_gradient = True  # False for a method without an optimiser
    conditional = False  # True where the class features depend on the image: `class_logits` is to be overridden
    no_heads = ""  # why the logits are no function of global image features that `heads` could give

    def __init__(self, cfg: Any) -> None:
        super().__init__(cfg)
        if hasattr(self.evaluator, "set_tasks"):  # Dassl has built it, without knowing of tasks
            self.evaluator.set_tasks(self.tasks)

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
        tracking.check_tracking(cfg)
        check_count("TRAIN.KEEP_CHECKPOINTS", cfg.TRAIN.KEEP_CHECKPOINTS)

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
        with self.autocast():  # a method may encode prompts there, and the towers may be stored in half precision
            self.prompts = self.build_prompts(self.clip, self.tasks).to(self.device)
        for parameter in self.prompts.parameters():
            parameter.data = parameter.data.float()
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

    def build_prompts(self, model: CLIP, tasks: Sequence[Task]) -> nn.Module:
        """The module of learnable parameters, which are kept in fp32. Called within autocast."""
        raise NotImplementedError

    def hand_made_features(self, template: str = "") -> Tensor:
        """Features (C, E) of all class names in `template`, or for "" in each task's own: fp32, not normalised, without
        gradients."""
        with self.autocast():
            return hand_made_features(self.tasks, template, self.clip, self.text_encoder)

    # -- forward -----------------------------------------------------------------------------------------------------

    def text_tuning(self) -> Tuning:
        """What training adds to the layers of the text tower: `text_features` hands it to the encoder, which without it
        encodes by the untouched tower, as hand-made prompts are."""
        return UNTUNED

    def text_features(self, rows: Tensor | None = None) -> Tensor:
        """Class features (R, E) of the classes `rows` (R,), sorted global labels; None for all C. Not normalised."""
        raise NotImplementedError

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
        """`text_features`; each process encodes its share. An evaluation keeps those of all classes."""
        if rows is None and self._frozen_text_features is not None:
            return self._frozen_text_features
        if distributed.world() == 1:
            return self.text_features(rows)
        rows = self.all_classes() if rows is None else rows
        mine = rows[distributed.share(len(rows))]
        # A process without a share encodes one class and passes on none of it.
        local = self.text_features(mine if len(mine) else rows[:1])[: len(mine)]
        return distributed.gather_rows(local, len(rows))

    def new_class_features(self) -> Tensor:
        """Class features (C, E) where the tasks are new: what the method says of names that it was not trained on."""
        return self.class_features()

    @torch.no_grad()
    def heads(self) -> list[Head]:
        """What makes each task's logits of image features, by itself: the method without its text tower.

        Raises ValueError where there is no such thing.
        """
        if self.no_heads:
            raise ValueError(f"{type(self).__name__} has no classifier apart from the method: {self.no_heads}")
        with self.autocast():
            features = self.class_features()
        return [self.head(features[self.class_task == t], t) for t in range(len(self.tasks))]

    def head(self, text_features: Tensor, task: int) -> Head:
        """The head of a task with the class features (R, E), that does what `class_logits` does."""
        weight, bias = F.normalize(text_features.float(), dim=-1), self.clip.logit_bias
        bias = None if bias is None else bias.float().expand(len(weight))
        return Head(weight, bias, self.clip.logit_scale.float().exp().item())

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
        self.count_right(label, prediction)
        return loss, {"acc": 100 * (prediction == label).float().mean().item()}
