"""ProLIP: the projection of the image tower, fine-tuned near its pretrained weights."""

from collections.abc import Sequence

import torch
from dassl.engine import TRAINER_REGISTRY
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler

from softcpt.backbones import CLIP
from softcpt.tasks import Task

from .base import PromptTrainer
from .engine.checks import ABOVE_0, AT_LEAST_0, between


class Projection(nn.Module):
    """weight (W, E), learned from the tower's own."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.detach().float().clone())


@TRAINER_REGISTRY.register()
class ProLIP(PromptTrainer):
    """Fahes, Vu, Bursuc, Perez, de Charette. CLIP's Visual Embedding Projector is a Few-shot Cornucopia. 2024, arXiv
    2410.05270.

    The last linear map of the image tower, W_0 (without its bias), is trained by the cross-entropy with the hand-made
    class features plus lambda ||W - W_0||^2. lambda is 1/N for N shots per class, so no validation shots are needed.
    All tasks share the map, so it also serves classes and tasks that it was not trained on. The features below it are
    frozen and cached. The public code draws 300 views of each image; here it is FEATURES.TRAIN_VIEWS.
    """

    feature_kind = "unprojected"
    reads_weights = True

    defaults = {
        "LAMBDA": 1.0,  # weight of the distance, before its division by N^POWER
        "POWER": 1.0,  # 1: lambda is LAMBDA / N for N shots per class; the paper has 2, too, and 0: a constant lambda
        "EPS": 1e-4,  # of Adam
        "TEMPLATE": "",  # of the class names, for all tasks; empty: each task's own
    }
    legal = {"LAMBDA": AT_LEAST_0, "POWER": between(0, 10), "EPS": ABOVE_0}

    def build_learned(self, model: CLIP, tasks: Sequence[Task]) -> Projection:
        if model.visual.no_projection:
            raise ValueError(
                "MODEL.BACKBONE.NAME: ProLIP trains the projection of the image tower, and that of "
                f"{self.cfg.MODEL.BACKBONE.NAME} has none: {model.visual.no_projection}; use a ResNet or a ViT of "
                "OpenAI's or of transformers' CLIP, or another method"
            )
        self.base = self.zero_shot_features(self.options.TEMPLATE)  # (C, E)
        weight, self.bias = model.visual.projection_weights()
        self.initial = weight.detach().float().clone()  # W_0
        shots = self.cfg.DATASET.NUM_SHOTS
        n = shots if shots > 0 else len(self.dm.dataset.train_x) / len(self.classnames)
        self.strength = self.options.LAMBDA / n**self.options.POWER  # lambda
        return Projection(weight)

    def build_optimiser(self) -> tuple[torch.optim.Optimizer, LRScheduler]:
        optim, rates = super().build_optimiser()
        for group in optim.param_groups:
            group["eps"] = self.options.EPS
        return optim, rates

    def image_projection(self) -> tuple[Tensor, Tensor | None]:
        return self.learned.weight, self.bias

    def text_features(self, classes: Tensor | None = None) -> Tensor:
        return self.base if classes is None else self.base[classes]

    def logits(self, image_features: Tensor, text_features: Tensor) -> Tensor:
        with torch.autocast(self.device.type, enabled=False):
            x = image_features.float() @ self.learned.weight  # (B, E)
            return super().logits(x if self.bias is None else x + self.bias.float(), text_features)

    def compute_loss(self, image: Tensor, label: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        loss, logs = super().compute_loss(image, label)
        distance = (self.learned.weight - self.initial).square().sum()
        return loss + self.strength * distance, {**logs, "distance": distance}
