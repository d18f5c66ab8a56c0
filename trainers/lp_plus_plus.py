"""LP++: a linear probe whose weights blend image and text features, with step sizes from the data."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from dassl.engine import TRAINER_REGISTRY
from torch import Tensor, nn

from softcpt.backbones import CLIP
from softcpt.tasks import Task

from .engine.checks import COUNT
from .fitted import Classifier, LinearClassifierTrainer
from .parts.validation import split_by_task


@TRAINER_REGISTRY.register()
class LPPlusPlus(LinearClassifierTrainer):
    """Huang, Shakeri, Dolz, Boudiaf, Bahig, Ben Ayed. LP++: A Surprisingly Strong Linear Probe for Few-Shot CLIP.
    CVPR 2024, arXiv 2404.02285.

    The logit of class k is f (w_k + alpha_k t_k) + b_k, with normalised features f of an image and t_k of the class
    name. It is fitted to an augmented view of each shot, for each task by itself, by gradient steps on all shots at
    once. Starting points and step sizes are computed from the shots; validation shots are not used.

    Three differences to the public code: it never clears alpha's gradient, so that alpha wanders far (`SCHEDULE`
    "released" does the same); it keeps the step that is best on validation shots, this one the last; its biases start
    at random, these at zero.
    """

    defaults = {
        "STEPS": 300,  # of w and b
        "ALPHA_EVERY": 10,  # steps of w and b for one of alpha
        "SCHEDULE": "standard",  # standard: alpha steps along its gradient; released: along the sum of all so far
        "TEMPLATE": "",  # of the class names, for all tasks; empty: each task's own
    }
    legal = {"STEPS": COUNT, "ALPHA_EVERY": COUNT, "SCHEDULE": ("standard", "released")}

    def build_learned(self, model: CLIP, tasks: Sequence[Task]) -> Classifier:
        self.base = F.normalize(self.zero_shot_features(self.options.TEMPLATE), dim=-1)  # t (C, E)
        classifier = super().build_learned(model, tasks)  # w, and the bias b last
        classifier.alpha = nn.Parameter(torch.zeros(len(self.classnames)), requires_grad=False)
        return classifier

    def text_features(self, classes: Tensor | None = None) -> Tensor:
        """(R, E + 1): in place of text features, w + alpha t and the biases."""
        blend = self.learned.alpha.unsqueeze(1) * F.pad(self.base, (0, 1)) + self.learned.weight
        return blend if classes is None else blend[classes]

    @torch.no_grad()
    def fit(self) -> None:
        features = F.normalize(self.view_features(1)[:, 0], dim=-1)  # (N, E)
        label = torch.tensor([item.label for item in self.dm.dataset.train_x], device=self.device)
        options = self.options
        for t, (f, y) in enumerate(split_by_task(features, label, self.class_task)):
            own = self.class_task == t
            weight, alpha = start(f, y, self.base[own])
            descend(weight, alpha, f, y, self.base[own], options.STEPS, options.ALPHA_EVERY, options.SCHEDULE)
            self.learned.weight[own], self.learned.alpha[own] = weight, alpha


def start(f: Tensor, y: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """Weights (K, E + 1) and alpha (K,) that approximate the least loss.

    w_k is the sum of the shots of class k and b_k is 0; alpha is 250 times the cosine of the shots with the names of
    their classes, averaged within each class and then over those that have shots.

    Args:
        f: (N, E) and t: (K, E), normalised; y: (N,) labels below K.
    """
    one_hot = F.one_hot(y, len(t)).to(f)  # (N, K)
    count = one_hot.sum(0)
    cosine = (one_hot * (f @ t.T)).sum(0)[count > 0] / count[count > 0]
    return F.pad(one_hot.T @ f, (0, 1)), (250 * cosine.mean()).repeat(len(t))


def descend(
    weight: Tensor, alpha: Tensor, f: Tensor, y: Tensor, t: Tensor, steps: int, alpha_every: int, schedule: str
) -> None:
    """Update weight (K, E + 1) and alpha (K,) in place by steps on the cross-entropy of all shots; arguments as above.

    The step size of a block is the inverse of an approximate bound on the Lipschitz constant of its gradient: from
    f^T f for the weights, which have a momentum of 0.9, and from the squared cosines for alpha.
    """
    one_hot, cosine, x = F.one_hot(y, len(t)).to(f), f @ t.T, F.pad(f, (0, 1), value=1.0)
    step_weight = 4 * len(f) / torch.linalg.matrix_norm(f, 2) ** 2  # the largest eigenvalue of f^T f
    step_alpha = len(f) / (4 * cosine.square().sum(0).max())
    velocity, alpha_gradient = torch.zeros_like(weight), torch.zeros_like(alpha)
    for step in range(1, steps + 1):
        residual = ((x @ weight.T + alpha * cosine).softmax(1) - one_hot) / len(f)  # (N, K)
        velocity.mul_(0.9).add_(residual.T @ x)
        weight -= step_weight * velocity
        gradient = (residual * cosine).sum(0)
        alpha_gradient = alpha_gradient + gradient if schedule == "released" else gradient
        if step % alpha_every == 0:
            alpha -= step_alpha * alpha_gradient
