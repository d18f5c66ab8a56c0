"""KgCoOp: CoOp that stays close to the zero-shot prompts."""

from collections.abc import Sequence

from dassl.engine import TRAINER_REGISTRY
from torch import Tensor

from softcpt.backbones import CLIP
from softcpt.prompts.learned import Context
from softcpt.tasks import Task

from .coop import CoOp
from .engine.checks import AT_LEAST_0
from .engine.losses import knowledge_distance


@TRAINER_REGISTRY.register()
class KgCoOp(CoOp):
    """Knowledge-guided CoOp: Yao, Zhang, Xu. Visual-Language Prompt Tuning with Knowledge-guided Context Optimization.
    CVPR 2023, arXiv 2303.13283.

    CoOp with a second loss: the distance between each class's learned feature w and its feature w_clip in the hand-made
    template, L = L_ce + W L_kg. Several tasks share the context, and each class has its task's template.
    """

    defaults = {
        **CoOp.defaults,
        "N_CTX": 4,  # number of context tokens M, where CTX_INIT is empty
        "CTX_INIT": "a photo of a",  # initial words; their number of tokens then replaces N_CTX
        "W": 8.0,  # weight of the distance to the hand-made features
        "TEACHER_TEMPLATE": "",  # of the hand-made features, for all tasks; empty: each task's own
    }
    legal = {**CoOp.legal, "W": AT_LEAST_0}

    def build_learned(self, model: CLIP, tasks: Sequence[Task]) -> Context:
        self.teacher = self.zero_shot_features(self.options.TEACHER_TEMPLATE)  # (C, E), w_clip
        return super().build_learned(model, tasks)

    def compute_loss(self, image: Tensor, label: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        image_features, classes = self.image_features(image), self.candidates(label)
        text_features = self.class_features(classes)  # (R, E)
        loss, logs = self.cross_entropy(self.logits(image_features, text_features), label, classes)
        teacher = self.teacher if classes is None else self.teacher[classes]
        distance = knowledge_distance(text_features, teacher)  # L_kg
        return loss + self.options.W * distance, {**logs, "distance": distance}  # L_ce + w L_kg
