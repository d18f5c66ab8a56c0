"""TaskRes: a learned residual on each class's text feature."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from dassl.engine import TRAINER_REGISTRY
from torch import Tensor, nn

from backbones import CLIP
from datasets.multitask import Task

from .base import PromptTrainer
from .modules.checkpoints import register_owners
from .modules.checks import check_template
from .modules.prompts.hand_made import hand_made_features


class TaskResiduals(nn.Module):
    """x (C, E), zero at the start: a row for each of the classes `names`."""

    def __init__(self, names: Sequence[str], n_features: int) -> None:
        super().__init__()
        self.residual = nn.Parameter(torch.zeros(len(names), n_features))
        register_owners(self, names)


@TRAINER_REGISTRY.register()
class TaskRes(PromptTrainer):
    """Task residual tuning: Yu, Lu, Jin, Chen, Wang. Task Residual for Tuning Vision-Language Models. CVPR 2023,
    arXiv 2211.10277.

    The classifier is CLIP's own, the text features t of the class names in their task's template, plus a scaled
    residual: t' = t + alpha x. No text is encoded in training. Every class of every task has a row of its own, so the
    tasks share nothing, and the residual serves no other classes.
    """

    defaults = {
        "ALPHA": 0.5,  # scale of the residual; the paper has 1 for Flowers102
        "TEMPLATE": "",  # of the class names, for all tasks; empty: each task's own
        "PREC": "amp",  # fp32, amp, fp16 or bf16
    }

    def check_cfg(self, cfg: Any) -> None:
        super().check_cfg(cfg)
        options = cfg.TRAINER.TASKRES
        check_template("TRAINER.TASKRES.TEMPLATE", options.TEMPLATE)
        if options.ALPHA <= 0:
            raise ValueError(f"TRAINER.TASKRES.ALPHA: {options.ALPHA} is not above 0: nothing would be learned")

    def build_prompts(self, model: CLIP, tasks: Sequence[Task]) -> TaskResiduals:
        with self.autocast():  # t (C, E), not normalised
            self.base = hand_made_features(tasks, self.options.TEMPLATE, model, self.text_encoder)
        return TaskResiduals(self.classnames, self.base.shape[1])

    def text_features(self, rows: Tensor | None = None) -> Tensor:
        features = self.base + self.options.ALPHA * self.prompts.residual  # t' = t + alpha x
        return features if rows is None else features[rows]
