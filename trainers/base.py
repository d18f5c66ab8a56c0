"""What all prompt-tuning methods share: CLIP, precision, the optimiser, the loop's verbs, loading and evaluation."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from clip.model import CLIP
from dassl.engine import TrainerX
from dassl.evaluation import build_evaluator
from dassl.optim import build_lr_scheduler, build_optimizer
from dassl.utils import load_pretrained_weights
from torch import Tensor, nn

from datasets.multitask import Task, tasks_of

from .modules import distributed
from .modules.checkpoints import find_checkpoint, keep_only, read_prompts
from .modules.clip_model import check_input_size, load_clip
from .modules.features import FeatureCache, FeatureLoader, digest_of, view_loader
from .modules.losses import classes_of_present_tasks, multitask_cross_entropy, within_task
from .modules.precision import PRECISIONS, Precision
from .modules.prompts import check_choice
from .modules.text_encoder import TextEncoder

logger = logging.getLogger(__name__)


class PromptTrainer(TrainerX):
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
    steps_per_batch = 1

    def __init__(self, cfg: Any) -> None:
        self._frozen_text_features: Tensor | None = None
        self.train_seconds: float | None = None
        self.test_seconds: float | None = None
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

    def build_model(self) -> None:
        cfg = self.cfg
        model = load_clip(cfg.MODEL.BACKBONE.NAME)
        check_input_size(cfg.INPUT.SIZE, model)
        self.precision = Precision(self.options.PREC, self.device)
        self.precision.store(model)
        self.autocast, self.scaler = self.precision.autocast, self.precision.scaler
        self.clip = model.to(self.device)
        self.text_encoder = TextEncoder(self.clip, cfg.TRAINER.TEXT_CHUNK)

        self.tasks: tuple[Task, ...] = tasks_of(self.dm.dataset)
        self.classnames = [name for task in self.tasks for name in task.classnames]
        counts = torch.tensor([len(task.classnames) for task in self.tasks])
        self.class_task = torch.arange(len(counts)).repeat_interleave(counts).to(self.device)  # (C,)

        self.prompts = self.build_prompts(self.clip, self.tasks).to(self.device)
        if cfg.MODEL.INIT_WEIGHTS:
            load_pretrained_weights(self.prompts, cfg.MODEL.INIT_WEIGHTS)
        self.n_params = sum(p.numel() for p in self.prompts.parameters())
        logger.info("%s learns %s parameters in %s", type(self).__name__, f"{self.n_params:,}", self.precision.name)
        self.optim = self.sched = None
        if self.learns_by_gradient:
            self.optim = build_optimizer(self.prompts, cfg.OPTIM)
            self.sched = build_lr_scheduler(self.optim, cfg.OPTIM)
        self.register_model("prompt_learner", self.prompts, self.optim, self.sched)
        self.use_feature_cache()

    def use_feature_cache(self) -> None:
        """Let evaluation, and with FEATURES.TRAIN_VIEWS training, read features of the image tower from a cache."""
        options = self.cfg.FEATURES
        cache = FeatureCache(options.DIR or Path(self.cfg.OUTPUT_DIR).parent / "features")
        key = {"features": self.feature_kind, "precision": self.precision.name, "device": self.device.type}
        if options.TEST_CACHE or options.TRAIN_VIEWS:
            key["tower"] = digest_of(self.clip.visual)
        self.caching = self._encode_batch, cache, key
        for name in ("test_loader", "val_loader"):
            loader = getattr(self, name)
            if loader is not None:
                cached = FeatureLoader(loader, *self.caching) if options.TEST_CACHE else distributed.part_of(loader)
                setattr(self, name, cached)

    def _encode_batch(self, image: Tensor) -> Tensor:
        with self.autocast():
            return self.image_features(image.to(self.device))

    def build_prompts(self, model: CLIP, tasks: Sequence[Task]) -> nn.Module:
        """The module of learnable parameters, all in fp32."""
        raise NotImplementedError

    # -- forward -----------------------------------------------------------------------------------------------------

    def text_features(self, rows: Tensor | None = None) -> Tensor:
        """Class features (R, E) of the classes `rows` (R,), sorted global labels; None for all C. Not normalised."""
        raise NotImplementedError

    def image_features(self, image: Tensor) -> Tensor:
        """(B, E) of images (B, 3, H, W), not normalised, without gradient; features from the cache stay as they are."""
        with torch.no_grad():
            return self.encode_image(image) if image.dim() == 4 else image

    def encode_image(self, image: Tensor) -> Tensor:
        return self.clip.encode_image(image)

    def logits(self, image_features: Tensor, text_features: Tensor) -> Tensor:
        """(B, R): cosine similarities times CLIP's scale. In fp32: half precision would round logits of 30 to 1/8."""
        with torch.autocast(self.device.type, enabled=False):
            image_features = F.normalize(image_features.float(), dim=-1)
            text_features = F.normalize(text_features.float(), dim=-1)
            return self.clip.logit_scale.exp() * image_features @ text_features.T

    def class_logits(self, image_features: Tensor, rows: Tensor | None = None, task: Tensor | None = None) -> Tensor:
        """Logits (B, R) of the classes `rows`; with `task` (B,) only those of a sample's own task need be right."""
        text_features = self._frozen_text_features if rows is None else None
        return self.logits(image_features, self.class_features(rows) if text_features is None else text_features)

    def class_features(self, rows: Tensor | None = None) -> Tensor:
        """`text_features`, of which each process encodes its share."""
        if distributed.world() == 1:
            return self.text_features(rows)
        rows = torch.arange(len(self.class_task), device=self.device) if rows is None else rows
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

    # -- training ----------------------------------------------------------------------------------------------------

    def forward_backward(self, batch: dict[str, Any]) -> dict[str, float]:
        image, label = self.parse_batch_train(batch)[:2]
        # Losses are means over a process's images: weighted by its share of the batch they add up to the batch's.
        self.batch_share = distributed.share_of_batch(len(label))
        with self.autocast():
            loss, logs = self.compute_loss(self.image_features(image), label)
        self.update_prompts(loss * self.batch_share)
        if self.batch_idx + 1 == self.num_batches:
            self.update_lr()
        return distributed.weighted_sums({"loss": loss.item(), **logs}, self.batch_share)

    def update_prompts(self, loss: Tensor) -> None:
        """One backward pass and one optimiser step (`steps_per_batch` of them, see SoftCPT's SCHEDULE)."""
        self.detect_anomaly(loss)
        self.optim.zero_grad()
        if self.scaler is None:
            self.backward(loss)
            for _ in range(self.steps_per_batch):
                self.optim.step()
        else:
            self.backward(self.scaler.scale(loss))
            self.scaler.step(self.optim)
            self.scaler.update()

    def backward(self, loss: Tensor) -> None:
        """Fill the parameters' gradients; `loss` may carry the gradient scaler's factor."""
        loss.backward()
        distributed.sum_gradients(self.prompts)

    def before_train(self) -> None:
        start = time.perf_counter()
        views = self.cfg.FEATURES.TRAIN_VIEWS
        if views:
            self.train_loader_x = view_loader(self.train_loader_x, *self.caching, views, self.cfg.SEED)
        self.train_loader_x = distributed.sharded(self.train_loader_x)
        super().before_train()
        self._train_start = start

    def before_epoch(self) -> None:
        if self.cfg.FEATURES.TRAIN_VIEWS:
            self.train_loader_x.dataset.set_epoch(self.epoch)
        distributed.spread_seeds(self.cfg.SEED, self.epoch)

    def init_writer(self, log_dir: str) -> None:
        if distributed.rank() == 0:
            super().init_writer(log_dir)

    def after_train(self) -> None:
        if self.start_epoch == 0:  # the time of a resumed run is not known
            self.train_seconds = time.perf_counter() - self._train_start
        super().after_train()

    def save_model(self, epoch: int, directory: str, **kwargs: Any) -> None:
        """Save, and keep one resumable checkpoint: the one just written takes the place of the one before."""
        if distributed.rank() == 0:
            super().save_model(epoch, directory, **kwargs)
            keep_only(Path(directory, "prompt_learner"), epoch + 1)
        distributed.wait()

    # -- evaluation --------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def test(self, split: str | None = None) -> float:
        """Dassl's test loop, with the class features computed once; returns the headline metric in percent."""
        start = time.perf_counter()
        self.set_model_mode("eval")
        with self.autocast():
            self._frozen_text_features = None if self.conditional else self.class_features()
            try:
                result = super().test(split)
            finally:
                self._frozen_text_features = None
        self.test_seconds = time.perf_counter() - start
        return result

    def model_inference(self, image: Tensor) -> Tensor:
        """Logits (B, C) over the classes of all tasks; image (B, 3, H, W)."""
        with torch.no_grad(), self.autocast():
            return self.class_logits(self.image_features(image))

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
        self.prompts.load_state_dict(read_prompts(path, self.prompts.state_dict(), type(self).__name__))
        logger.info("Prompts loaded from %s", path)
