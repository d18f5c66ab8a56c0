"""Zero-shot CLIP: hand-made templates, nothing learned."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from clip.model import CLIP
from dassl.engine import TRAINER_REGISTRY
from torch import Tensor, nn

from datasets.multitask import Task

from .base import PromptTrainer
from .modules.prompts import PromptTemplate, clean


@TRAINER_REGISTRY.register()
class ZeroshotCLIP(PromptTrainer):
    """Radford et al. Learning Transferable Visual Models From Natural Language Supervision. ICML 2021,
    arXiv 2103.00020.

    A class is its name in its task's template ("a photo of a {}, a type of pet."); all tasks are evaluated in one run.
    """

    uses_shots = False
    defaults = {
        "PREC": "amp",  # fp32, amp, fp16 or bf16
    }

    def build_prompts(self, model: CLIP, tasks: Sequence[Task]) -> nn.Module:
        sentences = [task.template.format(clean(name)) for task in tasks for name in task.classnames]
        self.template = PromptTemplate(sentences, 0, model, stop="")
        return nn.Module()

    def text_features(self, rows: Tensor | None = None) -> Tensor:
        width = self.clip.token_embedding.embedding_dim
        group = torch.zeros(len(self.class_task) if rows is None else len(rows), dtype=torch.long, device=self.device)
        prefix, suffix, lengths = self.template(torch.empty(1, 0, width, device=self.device), group, rows)
        return self.text_encoder(prefix, suffix, lengths, group)

    def train(self) -> None:
        """Nothing is learned: the test alone."""
        self.test()
