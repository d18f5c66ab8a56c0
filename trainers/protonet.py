"""ProtoNet: the nearest class mean of CLIP's image features."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from dassl.engine import TRAINER_REGISTRY
from torch import Tensor, nn

from softcpt.backbones import CLIP, Head
from softcpt.tasks import Task

from .base import PromptTrainer
from .engine.losses import multitask_cross_entropy
from .fitted import Classifier


@TRAINER_REGISTRY.register()
class ProtoNet(PromptTrainer):
    """After Snell, Swersky, Zemel. Prototypical Networks for Few-shot Learning. NeurIPS 2017, arXiv 1703.05175.

    The definition is this project's: SoftCPT's paper compares with a ProtoNet but does not define it, its code has
    none, and the table's numbers are too low for class means of CLIP features. Here a class is the mean of the
    normalised features of its shots (test transform), and the logit is the cosine with it times CLIP's scale. With
    `FINE_TUNED` the scale is learned by cross-entropy, each shot against class means that leave it out. That calibrates
    the probabilities and changes no prediction.
    """

    learns_by_gradient = reads_names = False
    defaults = {
        "FINE_TUNED": False,  # learn the scale (the inverse temperature) of the logits
    }

    @property
    def variant(self) -> str:
        return "fine-tuned" if self.options.FINE_TUNED else "fixed"

    def build_learned(self, model: CLIP, tasks: Sequence[Task]) -> Classifier:
        means = Classifier(torch.zeros(len(self.classnames), model.embed_dim), self.classnames)
        log_scale = model.logit_scale.detach().float().clone()
        if self.options.FINE_TUNED:
            means.log_scale = nn.Parameter(log_scale)
        else:
            means.register_buffer("log_scale", log_scale)
        return means

    def text_features(self, classes: Tensor | None = None) -> Tensor:
        """(R, E): in place of text features, the class means."""
        return self.learned.weight if classes is None else self.learned.weight[classes]

    def logits(self, image_features: Tensor, text_features: Tensor) -> Tensor:
        with torch.autocast(self.device.type, enabled=False):
            x, means = F.normalize(image_features.float(), dim=-1), F.normalize(text_features, dim=-1)
            return self.learned.log_scale.exp() * x @ means.T

    def head(self, text_features: Tensor, task: int) -> Head:
        return Head(F.normalize(text_features, dim=-1), scale=self.learned.log_scale.exp().item())

    def fit(self) -> None:
        features, label = self.features_of(self.dm.dataset.train_x)
        x = F.normalize(features, dim=-1)  # (N, E)
        sums = torch.zeros_like(self.learned.weight).index_add(0, label, x)  # (C, E)
        self.learned.weight.copy_(F.normalize(sums, dim=-1))
        if self.options.FINE_TUNED:
            self.fit_scale(x, label, sums)

    def fit_scale(self, x: Tensor, label: Tensor, sums: Tensor) -> None:
        """Fit the scale to the cosines of the shots x (N, E) with class means that leave each shot out."""
        count = label.bincount(minlength=len(sums))
        if (count < 2).any():
            name = self.classnames[int(count.argmin())]
            raise ValueError(
                f"TRAINER.PROTONET.FINE_TUNED compares each shot with the others of its class, and {name!r} has only "
                "one: give at least 2 shots, or set FINE_TUNED False"
            )
        cosine = x @ F.normalize(sums, dim=-1).T  # (N, C)
        own = F.cosine_similarity(x, sums[label] - x, dim=-1)  # (N,)
        cosine = cosine.scatter(1, label.unsqueeze(1), own.unsqueeze(1))
        log_scale = self.learned.log_scale
        optimiser = torch.optim.LBFGS([log_scale], max_iter=100, line_search_fn="strong_wolfe")

        def closure() -> Tensor:
            optimiser.zero_grad()
            loss = multitask_cross_entropy(log_scale.exp() * cosine, label, self.class_task)
            loss.backward()
            return loss

        optimiser.step(closure)
