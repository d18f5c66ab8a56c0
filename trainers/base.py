"""What a method is: `PromptTrainer`, and all that a method may override."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from dassl.data.data_manager import build_data_loader
from dassl.optim import build_lr_scheduler, build_optimizer
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler

from softcpt import distributed
from softcpt.backbones import CLIP, UNTUNED, Head, Tuning
from softcpt.images.feature_cache import FeatureLoader
from softcpt.images.loading import picture_loader
from softcpt.images.views import view_loader
from softcpt.prompts.zero_shot import zero_shot_features
from softcpt.tasks import Task
from trainers.engine.all_images import check_all_images
from trainers.engine.checks import Rule
from trainers.engine.choosing import Choice
from trainers.engine.legal import check_method
from trainers.engine.losses import classes_of_present_tasks, multitask_cross_entropy, within_task
from trainers.engine.saving import check_tracking
from trainers.engine.trainer import Engine

from .engine import budget


class PromptTrainer(Engine):
    """Base of all methods, for one task or several: what a method may override. The rest is in `Engine`: data, CLIP,
    optimiser steps, several processes, checkpoints and the test.

    A method sets `defaults` and overrides `build_prompts`, the module of its learned parameters, and `text_features`,
    the class features that follow from them. If it differs in more, it overrides other methods of the first part of
    this class; the second part is there to be called. Of Dassl's loop it may extend `build_data_loader`,
    `before_train`, `after_epoch` and `update_lr`, or replace `train`.

    Shapes: B images of a batch, C classes of all T tasks together, R of these, E the width of the features.
    """

    defaults: ClassVar[dict[str, Any]] = {}  # keys under TRAINER.<NAME> beside PREC, with their default values
    legal: ClassVar[dict[str, Rule]] = {}  # the legal values of these keys
    counted_by_words: ClassVar[dict[str, str]] = {}  # {key of a number of tokens: key of the words that replace it}
    uses_shots = True  # False for a method that needs no training image
    reads_names = True  # False if nothing of the method comes from the class names
    learns_by_gradient = True  # False for a method without an optimiser
    conditional = False  # True if the class features depend on the image: override `class_logits`
    no_heads = ""  # the reason, if `heads` cannot express the logits as a function of global image features
    feature_kind = "global"  # what `encode_image` returns; methods of one kind share cached features
    steps_per_batch = 1  # optimiser steps on a batch's gradient
    schedule_unit = "epoch"  # or "batch": when the learning rate changes
    ignores: ClassVar[tuple[str, ...]] = ()  # config keys of all methods that this one does not read

    # -- what a method overrides -------------------------------------------------------------------------------------

    def check_cfg(self, cfg: Any) -> None:
        """Raise ValueError for a value that is not `legal`, before anything is read. Call super() first."""
        check_method(type(self), cfg)
        check_tracking(cfg)
        check_all_images(cfg, type(self))

    @classmethod
    def max_steps(cls, cfg: Any) -> int:
        """The number of steps of a run; 0 if OPTIM.MAX_EPOCH counts."""
        return cfg.OPTIM.MAX_STEPS

    @property
    def searched(self) -> Choice | None:
        """What the method chooses on validation shots, which are then checked before training; None for nothing."""
        return None

    @property
    def variant(self) -> str:
        """The name of the method's variant in tables; "" for a method without variants."""
        return ""

    def build_prompts(self, model: CLIP, tasks: Sequence[Task]) -> nn.Module:
        """The module of learnable parameters, which are kept in fp32. Called within autocast."""
        raise NotImplementedError

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

    def training_loss(self, image: Tensor, label: Tensor) -> tuple[Tensor, dict[str, float]]:
        """`compute_loss` of images (B, 3, H, W), or of their cached features."""
        return self.compute_loss(self.image_features(image), label)

    def compute_loss(self, image_features: Tensor, label: Tensor) -> tuple[Tensor, dict[str, float]]:
        """Loss and logged values of a batch: image_features (B, E), label (B,) global."""
        rows = self.candidates(label)
        return self.cross_entropy(self.class_logits(image_features, rows, self.class_task[label]), label, rows)

    def candidates(self, label: Tensor) -> Tensor | None:
        """The classes that a training step encodes: all classes of the tasks in the batch of all processes, or None for
        those of all tasks. label (B,) is of this process's images."""
        if len(self.tasks) == 1:
            return None
        return classes_of_present_tasks(distributed.gather_labels(label), self.class_task)

    def backward(self, loss: Tensor) -> None:
        """Compute the parameters' gradients; `loss` may be multiplied by the gradient scaler's factor."""
        loss.backward()
        distributed.sum_gradients(self.prompts)

    def build_optimiser(self) -> torch.optim.Optimizer:
        return build_optimizer(self.prompts, self.cfg.OPTIM)

    def build_schedule(self, optim: torch.optim.Optimizer) -> LRScheduler:
        """The learning rates, which change after each `schedule_unit`."""
        schedule, batches = self.cfg.OPTIM.clone(), len(self.train_loader_x)
        if self.schedule_unit == "batch":
            schedule.defrost()
            schedule.MAX_EPOCH = budget.steps_of(self.cfg, self.max_epoch, batches)
            schedule.WARMUP_EPOCH *= batches
        return build_lr_scheduler(optim, schedule)

    def encode_image(self, image: Tensor) -> Tensor:
        """Image features (B, E) of images (B, 3, H, W), not normalised."""
        return self.clip.encode_image(image, self.image_tuning())

    def image_tuning(self) -> Tuning:
        """What training adds to the layers of the image tower. If that is nothing, image features are cached and no
        gradient flows through the tower."""
        return UNTUNED

    def text_tuning(self) -> Tuning:
        """What training adds to the layers of the text tower; `text_features` passes it to the encoder."""
        return UNTUNED

    def image_projection(self) -> tuple[Tensor, Tensor | None] | None:
        """The linear map (W, E) and its bias that replace the image tower's projection; None for its own."""
        return None

    def new_class_features(self) -> Tensor:
        """Class features (C, E) of tasks that the method was not trained on."""
        return self.class_features()

    def head(self, text_features: Tensor, task: int) -> Head:
        """The head of a task, from its class features (R, E); it has the same logits as `class_logits`."""
        weight, bias = F.normalize(text_features.float(), dim=-1), self.clip.logit_bias
        bias = None if bias is None else bias.float().expand(len(weight))
        return Head(weight, bias, self.clip.logit_scale.float().exp().item())

    # -- what a method uses ------------------------------------------------------------------------------------------

    @property
    def options(self) -> Any:
        """The method's own config node, TRAINER.<NAME>."""
        return self.cfg.TRAINER[type(self).__name__.upper()]

    def all_classes(self) -> Tensor:
        """(C,) the labels of all classes: what `rows` None means."""
        return torch.arange(len(self.class_task), device=self.device)

    def zero_shot_features(self, template: str = "") -> Tensor:
        """Features (C, E) of all class names in `template`, "" for each task's own: fp32, not normalised, detached."""
        with self.autocast():
            return zero_shot_features(self.tasks, template, self.clip, self.text_encoder)

    def encode_classes(self, contexts: Tensor, rows: Tensor | None, group: Tensor | None = None) -> Tensor:
        """Features (R, E) of the classes `rows` (R,), None for all, by the prompts of `self.template`.

        Args:
            contexts: (G, M, D), of G groups of classes.
            group: (R,) the group of each class; None where all share the first context.
        """
        rows = self.all_classes() if rows is None else rows
        group = torch.zeros_like(rows) if group is None else group
        return self.text_encoder(*self.template(contexts, group, rows), group, self.text_tuning())

    def class_features(self, rows: Tensor | None = None) -> Tensor:
        """`text_features`, of which each process computes a share. They are computed once for a whole test."""
        if rows is None and self._frozen_text_features is not None:
            return self._frozen_text_features
        if distributed.world() == 1:
            return self.text_features(rows)
        rows = self.all_classes() if rows is None else rows
        mine = rows[distributed.shard(len(rows))]
        # A process with an empty share encodes one class, and drops it.
        local = self.text_features(mine if len(mine) else rows[:1])[: len(mine)]
        return distributed.GatherRows.apply(local, len(rows))

    def cross_entropy(self, logits: Tensor, label: Tensor, rows: Tensor | None) -> tuple[Tensor, dict[str, float]]:
        """The multi-task loss of logits (B, R) of the classes `rows`, and the accuracy within the tasks to log."""
        loss = multitask_cross_entropy(logits, label, self.class_task, rows)
        prediction = within_task(logits, label, self.class_task, rows).argmax(1)
        prediction = prediction if rows is None else rows[prediction]
        self.count_right(label, prediction)
        return loss, {"acc": 100 * (prediction == label).float().mean().item()}

    def image_features(self, image: Tensor) -> Tensor:
        """`encode_image` of images (B, 3, H, W); features from the cache are returned as they are."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.tunes_images):
            return self.encode_image(image) if image.dim() == 4 else image

    def features_of(self, items: Sequence[Any]) -> tuple[Tensor, Tensor]:
        """Image features (N, E), fp32 and not normalised, and global labels (N,) of the Datum `items`."""
        size = self.cfg.DATALOADER.TEST.BATCH_SIZE
        loader = build_data_loader(
            self.cfg, data_source=items, batch_size=size, tfm=self.test_transform, is_train=False
        )
        loader = picture_loader(loader, self.test_transform, self.cfg.INPUT.UPRIGHT)
        loader = FeatureLoader(loader, *self.caching) if self.cfg.FEATURES.TEST_CACHE else distributed.part_of(loader)
        batches = [(self.encode_batch(batch["img"]).float(), batch["label"]) for batch in loader]
        columns = ([batch[i] for batch in batches] for i in range(2))
        features, label = (distributed.gather_parts(column).to(self.device) for column in columns)
        return features, label

    def view_features(self, views: int) -> Tensor:
        """Features (N, views, E) of augmented views of the N training images, in the order of the data set; fp32, not
        normalised. Training sees the first FEATURES.TRAIN_VIEWS of them."""
        loader, cfg = self.dm.train_loader_x, self.cfg
        drawn = max(views, cfg.FEATURES.TRAIN_VIEWS)
        features = view_loader(loader, *self.caching, drawn, cfg.SEED, cfg.DATASET.ROOT).dataset.features
        return features[:, :views].float().to(self.device)

    @torch.no_grad()
    def heads(self) -> list[Head]:
        """The classifier of each task, from image features to logits, which needs no text tower.

        Raises ValueError, with the reason, for a method without such classifiers.
        """
        if self.no_heads:
            raise ValueError(f"{type(self).__name__} has no classifier apart from the method: {self.no_heads}")
        with self.autocast():
            features = self.class_features()
        return [self.head(features[self.class_task == t], t) for t in range(len(self.tasks))]
