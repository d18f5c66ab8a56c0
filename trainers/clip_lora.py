"""CLIP-LoRA: low-rank updates of the attention weights of both towers."""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from dassl.engine import TRAINER_REGISTRY
from dassl.optim import build_optimizer
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler

from softcpt.backbones import CLIP, Tuning
from softcpt.prompts.deep import check_tunable
from softcpt.prompts.zero_shot import class_sentences, encode_sentences
from softcpt.tasks import Task

from .base import PromptTrainer
from .engine.budget import steps_of
from .engine.checks import ABOVE_0, AT_LEAST_0, BELOW_1, COUNT_OR_0, between
from .parts.low_rank import LowRankUpdate

TOWERS = {"both": ("image", "text"), "image": ("image",), "text": ("text",)}


@TRAINER_REGISTRY.register()
class CLIPLoRA(PromptTrainer):
    """CLIP-LoRA: Zanella, Ben Ayed. Low-Rank Few-Shot Adaptation of Vision-Language Models. CVPR Workshops 2024,
    arXiv 2405.18541.

    The weights W of queries, keys and values in all layers of both towers become W + gamma B A, of rank r. A and B are
    trained by cross-entropy, with the class names in their task's template. Several tasks share the updates. gamma is
    alpha / sqrt(r), as in the authors' code.

    The method is not defined for an image tower that is no plain vision transformer. With `TOWERS` "text" only the
    text tower is updated, and image features come from the cache.

    Dropout is drawn for each token, layer and matrix, as in the authors' code, except that all classes of a step share
    the mask of [SOS], which is encoded once. Without dropout the two are equal. The learning rate falls at every step,
    as a cosine down to `LAST_LR`; OPTIM.LR_SCHEDULER and warm-up are ignored.
    """

    schedule_unit = "batch"
    reads_weights = True
    ignores = tuple(f"OPTIM.{key}" for key in "LR_SCHEDULER STEPSIZE GAMMA WARMUP_EPOCH WARMUP_TYPE".split())

    defaults = {
        "TOWERS": "both",  # the updated towers: both, image or text
        "RANK": 2,  # r
        "ALPHA": 1.0,  # gamma = ALPHA / sqrt(RANK)
        "DROPOUT": 0.25,  # of the entries of the updates' inputs
        "TEMPLATE": "",  # of the class names, for all tasks; empty: each task's own
        "STEPS_PER_SHOT": 0,  # steps of a run per shot (500 in the paper), if OPTIM.MAX_STEPS is 0; 0: the run has
        # OPTIM.MAX_EPOCH epochs
        "LAST_LR": 1e-6,  # where the cosine ends
    }
    legal = {
        "TOWERS": tuple(TOWERS),
        "RANK": between(1, 4096),
        "ALPHA": ABOVE_0,
        "DROPOUT": BELOW_1,
        "STEPS_PER_SHOT": COUNT_OR_0,
        "LAST_LR": AT_LEAST_0,
    }

    def check_cfg(self, cfg: Any) -> None:
        super().check_cfg(cfg)
        options = cfg.TRAINER.CLIPLORA
        if options.STEPS_PER_SHOT and not cfg.OPTIM.MAX_STEPS and cfg.DATASET.NUM_SHOTS < 1:
            raise ValueError(
                f"TRAINER.CLIPLORA.STEPS_PER_SHOT: {options.STEPS_PER_SHOT}, but DATASET.NUM_SHOTS is "
                f"{cfg.DATASET.NUM_SHOTS}; with all images it must be 0, and OPTIM.MAX_EPOCH counts"
            )

    @property
    def variant(self) -> str:
        return "" if self.options.TOWERS == "both" else f"{self.options.TOWERS}-tower"

    def build_learned(self, model: CLIP, tasks: Sequence[Task]) -> nn.ModuleDict:
        options = self.options
        towers = {"image": model.visual, "text": model.text}
        if "image" in TOWERS[options.TOWERS]:
            what, instead = "CLIP-LoRA updates the layers of a ViT", "TRAINER.CLIPLORA.TOWERS text"
            check_tunable("image", model, self.cfg.MODEL.BACKBONE.NAME, what, instead)
        if "text" in TOWERS[options.TOWERS]:
            what, instead = "CLIP-LoRA updates the layers of a transformer", "TRAINER.CLIPLORA.TOWERS image"
            check_tunable("text", model, self.cfg.MODEL.BACKBONE.NAME, what, instead)
        self.sentences = class_sentences(tasks, (options.TEMPLATE,), model)
        self.fixed_text = None
        if "text" not in TOWERS[options.TOWERS]:
            self.fixed_text = self.zero_shot_features(options.TEMPLATE)  # (C, E)
        scale = options.ALPHA / math.sqrt(options.RANK)  # gamma
        updates = nn.ModuleDict()
        for name in TOWERS[options.TOWERS]:
            update = partial(LowRankUpdate, towers[name].width, options.RANK, scale, options.DROPOUT)
            updates[name] = nn.ModuleList(update() for _ in range(towers[name].depth))
        return updates

    def tuning(self, tower: str) -> Tuning:
        return Tuning(updates=self.learned[tower] if tower in self.learned else ())

    def text_features(self, classes: Tensor | None = None) -> Tensor:
        if self.fixed_text is not None:
            return self.fixed_text if classes is None else self.fixed_text[classes]
        return encode_sentences(self.sentences, self.text_encoder, classes, self.tuning("text"))

    def build_optimiser(self) -> tuple[torch.optim.Optimizer, LRScheduler]:
        """With a cosine over the steps of the run."""
        steps = steps_of(self.cfg, self.max_epoch, len(self.train_loader_x))
        optim = build_optimizer(self.learned, self.cfg.OPTIM)
        return optim, CosineAnnealingLR(optim, steps, self.options.LAST_LR)
