"""What a method is: `PromptTrainer`, one training step, and all that a method may override."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from dassl.optim import build_lr_scheduler, build_optimizer
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler

from softcpt import distributed
from softcpt.backbones import CLIP, UNTUNED, Head, Tuning
from softcpt.placement import on_cpu, on_host, to_device
from softcpt.prompts.zero_shot import zero_shot_features
from softcpt.tasks import Task

from .engine import budget
from .engine.all_images import check_all_images
from .engine.checks import Rule
from .engine.choosing import Choice
from .engine.legal import check_method
from .engine.losses import classes_of_present_tasks, multitask_cross_entropy, within_task
from .engine.saving import check_tracking
from .engine.trainer import Engine


class PromptTrainer(Engine):
    """Base of all methods, for one task or several: the training step, and what a method may override. The rest is in
    `Engine`: data, CLIP, several processes, checkpoints and the test.

    A method sets `defaults` and overrides `build_learned`, the module of its learned parameters, and `text_features`,
    the class features that follow from them. If it differs in more, it overrides other methods of the first part of
    this class; the second part is there to be called. Of Dassl's loop it may extend `before_train` and `after_epoch`.

    Shapes: B images of a batch, C classes of all T tasks together, R of these, E the width of the features.
    """

    defaults: ClassVar[dict[str, Any]] = {}  # keys under TRAINER.<NAME> beside PREC, with their default values
    legal: ClassVar[dict[str, Rule]] = {}  # the legal values of these keys
    counted_by_words: ClassVar[dict[str, str]] = {}  # {key of a number of tokens: key of the words that replace it}
    uses_shots = True  # False for a method that needs no training image
    reads_names = True  # False if nothing of the method comes from the class names
    learns_by_gradient = True  # False for a method without an optimiser: override `fit`
    reads_weights = False  # True if it reads the towers' weights: `amp` then stores them in fp32
    conditional = False  # True if the class features depend on the image: override `class_logits`
    no_heads = ""  # the reason, if `heads` cannot express the logits as a function of global image features
    feature_kind = "global"  # of image features: global, local (B, L, E) or unprojected; those of a kind share a cache
    steps_per_batch = 1  # optimiser steps on a batch's gradient
    schedule_unit = "epoch"  # or "batch": when the learning rate changes
    ignores: ClassVar[tuple[str, ...]] = ()  # config keys of all methods that this one does not read

    # -- one training step -------------------------------------------------------------------------------------------

    def forward_backward(self, batch: dict[str, Any]) -> dict[str, Any]:
        """One training step on a batch: loss, gradients, new parameters and learning rate. Returns what to log, which
        is not read from a GPU."""
        image, label, _ = self.parse_batch_train(batch)
        step = self.epoch * self.num_batches + self.batch_idx + 1
        with self.autocast():
            loss, terms = self.compute_loss(image, label)
        logged = self.unread.add(step, loss, terms, batch)  # raises if it has diverged
        # Each process's loss is a mean over its images: weighted by its share of the batch, the losses add up.
        share = distributed.share_of_batch(len(label))
        factor = share if self.scaler is None else self.scaler.scale(torch.full_like(loss, share))
        self.optim.zero_grad()
        self.backward(loss, terms, factor)
        self.step_optimiser()
        ends_epoch = self.batch_idx + 1 == self.num_batches or step == self.cfg.OPTIM.MAX_STEPS
        if self.schedule_unit == "batch" or ends_epoch:
            for _ in range(self.steps_per_batch):
                self.update_lr()
        logs: dict[str, Any] = distributed.weighted_sums(logged, share)
        if on_cpu(loss):
            logs = {name: value.item() for name, value in logs.items()}
        self.bar.update(self.epoch, logs if on_cpu(loss) else self.unread.last, self.get_current_lr())
        return logs

    def step_optimiser(self) -> None:
        """`steps_per_batch` steps along the gradient; none if it overflows at the gradient scaler's factor."""
        steps = self.steps_per_batch
        if self.scaler is not None:
            once = self.options.PREC.startswith("amp") or steps == 1
            scale = 0 if once else self.scaler.get_scale()
            self.scaler.step(self.optim)
            self.scaler.update()
            if once or self.scaler.get_scale() < scale:
                return
            steps -= 1
        for _ in range(steps):
            self.optim.step()

    # -- what a method overrides -------------------------------------------------------------------------------------

    def compute_loss(self, image: Tensor, label: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss () and other values () to log, of images (B, 3, H, W) or their cached features, label (B,) global."""
        image_features, classes = self.image_features(image), self.candidates(label)
        class_features = self.class_features(classes)
        logits = self.class_logits(image_features, class_features, classes, self.task_of(label))
        return self.cross_entropy(logits, label, classes)

    def backward(self, loss: Tensor, terms: dict[str, Tensor], factor: float | Tensor) -> None:
        """Compute the parameters' gradients of `factor` x loss; `terms` are the values of `compute_loss` to log."""
        (loss * factor).backward()
        distributed.sum_gradients(self.learned)

    def candidates(self, label: Tensor) -> Tensor | None:
        """The classes that a training step encodes: all classes of the tasks in the batch of all processes, or None for
        those of all tasks. label (B,) is of this process's images."""
        if len(self.tasks) == 1:
            return None
        return classes_of_present_tasks(distributed.gather_labels(on_host(label)), self.class_task)

    def check_cfg(self, cfg: Any) -> None:
        """Raise ValueError for a value that is not `legal`, before anything is read. Call super() first."""
        check_method(type(self), cfg)
        check_tracking(cfg)
        check_all_images(cfg, type(self))

    @property
    def searched(self) -> Choice | None:
        """What the method chooses on validation shots, which are then checked before training; None for nothing."""
        return None

    @property
    def variant(self) -> str:
        """The name of the method's variant in tables; "" for a method without variants."""
        return ""

    def build_learned(self, model: CLIP, tasks: Sequence[Task]) -> nn.Module:
        """The module of what is learned, whose parameters are kept in fp32. Called within autocast."""
        raise NotImplementedError

    def build_optimiser(self) -> tuple[torch.optim.Optimizer, LRScheduler]:
        """The optimiser of `learned` and its learning rates, which change after each `schedule_unit`."""
        schedule, batches = self.cfg.OPTIM.clone(), len(self.train_loader_x)
        if self.schedule_unit == "batch":
            schedule.defrost()
            schedule.MAX_EPOCH = budget.steps_of(self.cfg, self.max_epoch, batches)
            schedule.WARMUP_EPOCH *= batches
        optim = build_optimizer(self.learned, self.cfg.OPTIM)
        return optim, build_lr_scheduler(optim, schedule)

    def fit(self) -> None:
        """Fill `learned` from the shots, without an optimiser."""
        raise NotImplementedError

    def text_features(self, classes: Tensor | None = None) -> Tensor:
        """Class features (R, E) of `classes` (R,), sorted global labels; None for all C. Not normalised."""
        raise NotImplementedError

    def logits(self, image_features: Tensor, text_features: Tensor) -> Tensor:
        """(B, R): cosine similarities times CLIP's scale. In fp32: half precision would round logits of 30 to 1/8."""
        with torch.autocast(self.device.type, enabled=False):
            image_features = F.normalize(image_features.float(), dim=-1)
            text_features = F.normalize(text_features.float(), dim=-1)
            return self.clip.with_bias(self.clip.logit_scale.exp() * image_features @ text_features.T)

    def class_logits(
        self, image_features: Tensor, class_features: Any, classes: Tensor | None = None, task: Tensor | None = None
    ) -> Tensor:
        """Logits (B, R) of `classes` (R,), None for all, from their `class_features`; with `task` (B,) only those of an
        image's own task need be right."""
        return self.logits(image_features, class_features)

    def tuning(self, tower: str) -> Tuning:
        """What training adds to the layers of the "image" or the "text" tower. If that is nothing for images, their
        features are cached and no gradient flows through the tower."""
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
        """(C,) the labels of all classes: what `classes` None means."""
        return self._all_classes

    def task_of(self, label: Tensor) -> Tensor:
        """(...) the tasks of global labels (...), which the host knows, too, if it knows the labels."""
        return to_device(on_host(self.class_task)[on_host(label)], self.device)

    def zero_shot_features(self, template: str = "") -> Tensor:
        """Features (C, E) of all class names in `template`, "" for each task's own: fp32, not normalised, detached."""
        with self.autocast():
            return zero_shot_features(self.tasks, template, self.clip, self.text_encoder)

    def encode_classes(self, contexts: Tensor, classes: Tensor | None, group: Tensor | None = None) -> Tensor:
        """Features (R, E) of `classes` (R,), None for all, by the prompts of `self.template`.

        Args:
            contexts: (G, M, D), of G groups of classes.
            group: (R,) the group of each class; None where all share the first context.
        """
        classes = self.all_classes() if classes is None else classes
        group = torch.zeros_like(classes) if group is None else group
        return self.text_encoder(*self.template(contexts, group, classes), group, self.tuning("text"))

    def class_features(self, classes: Tensor | None = None) -> Any:
        """`text_features`, of which each process computes its shard; None for a method that is `conditional`."""
        if self.conditional:
            return None
        if distributed.world() == 1:
            return self.text_features(classes)
        classes = self.all_classes() if classes is None else classes
        mine = classes[distributed.shard(len(classes))]
        # A process with an empty shard encodes one class, and drops it.
        local = self.text_features(mine if len(mine) else classes[:1])[: len(mine)]
        return distributed.GatherRows.apply(local, len(classes))

    def cross_entropy(self, logits: Tensor, label: Tensor, classes: Tensor | None) -> tuple[Tensor, dict[str, Tensor]]:
        """The multi-task loss of logits (B, R) of `classes`, and the accuracy within the tasks to log."""
        loss = multitask_cross_entropy(logits, label, self.class_task, classes)
        prediction = within_task(logits, label, self.class_task, classes).argmax(1)
        prediction = prediction if classes is None else classes[prediction]
        self.count_right(label, prediction)
        return loss, {"acc": 100 * (prediction == label).float().mean().double()}

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
