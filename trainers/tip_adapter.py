"""Tip-Adapter and Tip-Adapter-F: a cache of the shots' features beside zero-shot CLIP."""

import logging
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from dassl.engine import TRAINER_REGISTRY
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler

from softcpt.backbones import CLIP, Head
from softcpt.placement import on_host, to_device
from softcpt.tasks import Task

from .base import PromptTrainer
from .engine.checks import ABOVE_0, LARGE, Range, between, each
from .engine.choosing import Choice
from .parts.shot_cache import Cache, cache_logits, search_grid
from .parts.validation import shares_of_metric, split_by_task

logger = logging.getLogger(__name__)


class CacheTrainer(PromptTrainer):
    """Base of TipAdapter and TipAdapterF: logits = scale f t + alpha exp(-beta (1 - f F^T)) L, within a task.

    f and t are the normalised features of the image and the class name, F those of the shots, each the mean over some
    augmented views, and L the shots' one-hot labels.
    """

    defaults = {
        "VIEWS": 10,  # augmented views, whose mean is a key
        "SEARCH": True,  # alpha and beta on each task's validation shots; False: ALPHA and BETA
        "SEARCH_SCALE": (50.0, 50.0),  # ends of the grids of beta and alpha, which begin at 0.1
        "SEARCH_STEPS": (200, 200),  # numbers of values of the two grids
        "ALPHA": 1.17,  # weight of the cache before the search; published for ImageNet, others have 1.17 to 10
        "BETA": 1.0,  # sharpness of the cache before the search
        "TEMPLATE": "",  # of the class names, for all tasks; empty: each task's own
    }
    legal = {
        "VIEWS": between(1, 1000),
        "SEARCH_SCALE": each(Range(lambda x: 0.1 < x <= LARGE, ""), (2,), "two ends above 0.1, for beta and alpha"),
        "SEARCH_STEPS": each(between(1, 10_000), (2,), "two numbers of values (1 to 10,000), for beta and alpha"),
        "ALPHA": ABOVE_0,
        "BETA": ABOVE_0,
    }

    @property
    def searched(self) -> Choice | None:
        name = type(self).__name__
        instead = f"set TRAINER.{name.upper()}.SEARCH False, which leaves ALPHA and BETA as they are"
        return Choice(f"{name} searches alpha and beta", instead) if self.options.SEARCH else None

    def build_learned(self, model: CLIP, tasks: Sequence[Task]) -> Cache:
        self.base = self.zero_shot_features(self.options.TEMPLATE)  # t (C, E), not normalised
        labels = torch.tensor([item.label for item in self.dm.dataset.train_x])
        keys = torch.zeros(len(labels), model.embed_dim)
        keys = nn.Parameter(keys) if self.learns_by_gradient else keys
        return Cache(keys, labels, self.classnames, len(tasks), self.options.ALPHA, self.options.BETA)

    def text_features(self, classes: Tensor | None = None) -> Tensor:
        return self.base if classes is None else self.base[classes]

    def class_logits(
        self, image_features: Tensor, class_features: Any, classes: Tensor | None = None, task: Tensor | None = None
    ) -> Tensor:
        classes = self.all_classes() if classes is None else classes
        here, labels = on_host(classes), on_host(self.learned.labels)
        column = torch.searchsorted(here, labels).clamp(max=len(here) - 1)
        mine = (here[column] == labels).nonzero().squeeze(1)  # the keys of these classes
        task = self.task_of(labels[mine])
        mine, column = to_device(mine, self.device), to_device(column[mine], self.device)
        alpha, beta = self.learned.alpha[self.task_of(classes)], self.learned.beta[task]
        with torch.autocast(self.device.type, enabled=False):
            affinity = F.normalize(image_features.float(), dim=-1) @ self.learned.keys[mine].T  # (B, N)
            cache = cache_logits(affinity, column, len(classes), alpha, beta)
        return self.logits(image_features, class_features) + cache

    def head(self, text_features: Tensor, task: int) -> Head:
        cosine, cache = super().head(text_features, task), self.learned
        mine, first = self.class_task[cache.labels] == task, int((self.class_task < task).sum())
        alpha, beta = cache.alpha[task].item(), cache.beta[task].item()
        keys, labels = cache.keys[mine], cache.labels[mine] - first
        return Head(cosine.weight, cosine.bias, cosine.scale, keys=keys, labels=labels, alpha=alpha, beta=beta)

    @torch.no_grad()
    def fill_cache(self) -> None:
        """F: the normalised mean over the views of each shot's features."""
        self.learned.keys.copy_(F.normalize(self.view_features(self.options.VIEWS).mean(1), dim=-1))

    @torch.no_grad()
    def search(self) -> None:
        """Set each task's alpha and beta to the best of the grid on its validation shots, by its metric."""
        options, cache = self.options, self.learned
        grids = [
            0.1 + torch.arange(n, device=self.device) * ((end - 0.1) / n)
            for n, end in zip(options.SEARCH_STEPS, options.SEARCH_SCALE)
        ]
        shots = split_by_task(*self.features_of(self.dm.dataset.val), self.class_task)
        caches = split_by_task(cache.keys, cache.labels, self.class_task)
        for t, (task, (x, label), (keys, labels)) in enumerate(zip(self.tasks, shots, caches)):
            zero_shot, affinity = self.logits(x, self.base[self.class_task == t]), F.normalize(x, dim=-1) @ keys.T
            alpha, beta = search_grid(zero_shot, affinity, labels, label, shares_of_metric(task, label), grids)
            cache.alpha[t], cache.beta[t] = alpha, beta
            logger.info("%s: alpha = %.3g, beta = %.3g", task.name, alpha, beta)


@TRAINER_REGISTRY.register()
class TipAdapter(CacheTrainer):
    """Zhang, Fang, Gao, Li, Dai, Qiao, Li. Tip-Adapter: Training-free Adaption of CLIP for Few-shot Classification.
    ECCV 2022, arXiv 2207.09519.

    Nothing is learned: the shots' features are a cache beside zero-shot CLIP, and each task's alpha and beta are
    searched on its validation shots. The public code searches on the whole validation set, and for ImageNet on the test
    set. Its grids differ by data set; the one here, LP++'s (arXiv 2404.02285), contains them all. It scales cosines by
    100, as OpenAI's models do; here the scale is the model's own.
    """

    learns_by_gradient = False

    def fit(self) -> None:
        self.fill_cache()
        if self.options.SEARCH:
            self.search()


@TRAINER_REGISTRY.register()
class TipAdapterF(CacheTrainer):
    """Tip-Adapter-F, of the same paper: the keys are learned, from those of `TipAdapter`.

    The keys are trained with ALPHA and BETA by the multi-task loss; the tasks share only the optimiser steps. Alpha and
    beta are then searched as for `TipAdapter`, with the keys of the last epoch. The public code, in contrast, takes the
    epoch that is best on the test set, and the better of the accuracies there before and after the search.
    """

    schedule_unit = "batch"

    defaults = {
        **CacheTrainer.defaults,
        "EPS": 1e-4,  # of AdamW
    }
    legal = {**CacheTrainer.legal, "EPS": ABOVE_0}

    def check_cfg(self, cfg: Any) -> None:
        super().check_cfg(cfg)
        if cfg.TRAINER.TIPADAPTERF.SEARCH and cfg.TEST.FINAL_MODEL == "best_val":
            raise ValueError(
                "TEST.FINAL_MODEL: best_val, but TipAdapterF searches alpha and beta on the validation shots after the "
                "last epoch; it must be last_step, or TRAINER.TIPADAPTERF.SEARCH False"
            )

    def build_optimiser(self) -> tuple[torch.optim.Optimizer, LRScheduler]:
        optim, rates = super().build_optimiser()
        for group in optim.param_groups:
            group["eps"] = self.options.EPS
        return optim, rates

    def before_train(self) -> None:
        super().before_train()
        if self.start_epoch == 0:
            self.fill_cache()

    def after_epoch(self) -> None:
        if self.options.SEARCH and self.epoch + 1 == self.max_epoch:
            self.search()
        super().after_epoch()
