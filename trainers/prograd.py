"""ProGrad: CoOp whose gradient never works against zero-shot CLIP's."""

from collections.abc import Sequence

import torch
from dassl.engine import TRAINER_REGISTRY
from torch import Tensor

from softcpt.backbones import CLIP
from softcpt.distributed import sum_over_ranks
from softcpt.prompts.learned import Context
from softcpt.tasks import Task

from .coop import CoOp
from .engine.checks import ABOVE_0, AT_LEAST_0
from .engine.losses import distillation_loss, project_conflicting, within_task


@TRAINER_REGISTRY.register()
class ProGrad(CoOp):
    """Prompt-aligned gradient: Zhu, Niu, Han, Wu, Zhang. Prompt-aligned Gradient for Prompt Tuning. ICCV 2023,
    arXiv 2205.14865.

    CoOp, but the gradient of the cross-entropy, G_d, loses its component against G_g, the gradient of the distance to
    zero-shot CLIP's predictions, if the two conflict. Several tasks share the context, both losses compare the classes
    of a sample's own task, and each class has its task's template.
    """

    pads_init = True

    defaults = {
        **CoOp.defaults,
        "CTX_INIT": "a photo of a",  # initial words of the last of the N_CTX tokens, behind zeros; empty: N(0, 0.02^2)
        "LAMBDA": 1.0,  # share of the conflicting component that is removed; published with 0.8 for Flowers, DTD and
        # EuroSAT at 8 and 16 shots
        "T": 1.0,  # temperature of the distance to zero-shot CLIP
        "TEACHER_TEMPLATE": "",  # of the zero-shot classifier, for all tasks; empty: each task's own
    }
    legal = {**CoOp.legal, "LAMBDA": AT_LEAST_0, "T": ABOVE_0}
    counted_by_words = {}

    def build_learned(self, model: CLIP, tasks: Sequence[Task]) -> Context:
        self.teacher = self.zero_shot_features(self.options.TEACHER_TEMPLATE)  # (C, E)
        return super().build_learned(model, tasks)

    def compute_loss(self, image: Tensor, label: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        x, classes = self.image_features(image), self.candidates(label)
        logits = self.logits(x, self.class_features(classes))  # (B, R)
        teacher_logits = self.logits(x, self.teacher if classes is None else self.teacher[classes])
        student, teacher = (within_task(z, label, self.class_task, classes) for z in (logits, teacher_logits))
        loss, logs = self.cross_entropy(logits, label, classes)
        return loss, {**logs, "kl": distillation_loss(student, teacher, self.options.T)}  # L_kl

    def backward(self, loss: Tensor, terms: dict[str, Tensor], factor: float | Tensor) -> None:
        parameters = list(self.learned.parameters())
        general = torch.autograd.grad(terms["kl"] * factor, parameters, retain_graph=True)  # G_g
        domain = torch.autograd.grad(loss * factor, parameters)  # G_d
        for parameter, g_d, g_g in zip(parameters, map(sum_over_ranks, domain), map(sum_over_ranks, general)):
            parameter.grad = project_conflicting(g_d, g_g, self.options.LAMBDA)  # G_prograd
