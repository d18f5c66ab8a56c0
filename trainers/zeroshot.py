"""Zero-shot CLIP: hand-made templates, nothing learned."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from dassl.engine import TRAINER_REGISTRY
from torch import Tensor, nn

from softcpt.backbones import CLIP
from softcpt.prompts.zero_shot import ENSEMBLE, class_sentences, encode_sentences
from softcpt.tasks import Task

from .base import PromptTrainer


@TRAINER_REGISTRY.register()
class ZeroshotCLIP(PromptTrainer):
    """Radford et al. Learning Transferable Visual Models From Natural Language Supervision. ICML 2021,
    arXiv 2103.00020.

    The class feature is that of the class name in its task's template ("a photo of a {}, a type of pet."), or with
    `ENSEMBLE` the mean of the normalised features in seven generic templates and the task's own.
    """

    uses_shots = False
    learns_by_gradient = False
    defaults = {
        "ENSEMBLE": False,  # average over seven generic templates and the task's own
    }

    @property
    def variant(self) -> str:
        return "ensemble" if self.options.ENSEMBLE else ""

    def build_learned(self, model: CLIP, tasks: Sequence[Task]) -> nn.Module:
        self.templates = (*ENSEMBLE, "") if self.options.ENSEMBLE else ("",)
        self.sentences = class_sentences(tasks, self.templates, model)
        return nn.Module()

    def text_features(self, classes: Tensor | None = None) -> Tensor:
        if not self.options.ENSEMBLE:
            return encode_sentences(self.sentences, self.text_encoder, classes)
        n = len(self.templates)
        rows = None
        if classes is not None:
            rows = (n * classes.unsqueeze(1) + torch.arange(n, device=classes.device)).flatten()
        features = encode_sentences(self.sentences, self.text_encoder, rows).float()  # (R K, E)
        return F.normalize(F.normalize(features, dim=-1).unflatten(0, (-1, n)).mean(1), dim=-1)
