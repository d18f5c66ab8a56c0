"""PLOT: several prompts per class, matched to the image's regions by optimal transport."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from dassl.engine import TRAINER_REGISTRY
from torch import Tensor

from softcpt.backbones import CLIP
from softcpt.placement import on_host, to_device
from softcpt.prompts.learned import POSITIONS, Context, PromptTemplate
from softcpt.tasks import Task

from .base import PromptTrainer
from .engine.checks import AT_LEAST_0, AT_LEAST_1, LARGE, ONE_FOR_ALL, TEXT, TOKENS, Range, between
from .engine.losses import sinkhorn


@TRAINER_REGISTRY.register()
class PLOT(PromptTrainer):
    """Prompt learning with optimal transport: Chen, Yao, Song, Li, Rao, Zhang. PLOT: Prompt Learning with Optimal
    Transport for Vision-Language Models. ICLR 2023, arXiv 2210.01253.

    N contexts give each class N features, and an image has one feature per region. The logit is the similarity of the
    two sets under the entropic transport plan T* between them, which Sinkhorn's iterations find without gradient.
    Several tasks share the N contexts; within each process the iterations for a batch stop task by task, as if every
    task had a batch of its own. For ImageNet the public code adds the logits of the global feature; this one does not.
    """

    feature_kind = "local"
    no_heads = "it matches several features of a class to the regions of each image"

    defaults = {
        "N": 4,  # number of prompts; the table's General-10 has 2
        "N_CTX": 16,  # number of context tokens M of each
        "CSC": False,  # one context per class: not with PLOT
        "CTX_INIT": "",  # initial words of all prompts, which then start equal; their number of tokens replaces N_CTX
        "CLASS_TOKEN_POSITION": "end",  # of the class name: end, middle or front of the context
        "EPS": 0.1,  # weight of the transport plan's entropy
        "THRESH": 1e-2,  # Sinkhorn's iterations stop when the mean change of the scalings is below it
        "MAX_ITER": 100,  # or after so many iterations
    }
    legal = {
        "N": between(1, 512),
        "N_CTX": TOKENS,
        "CSC": ONE_FOR_ALL,
        "CTX_INIT": TEXT,
        "CLASS_TOKEN_POSITION": POSITIONS,
        "EPS": Range(lambda x: 0.025 <= x <= LARGE, "at least 0.025: below it exp(-2 / EPS) underflows in fp32"),
        "THRESH": AT_LEAST_0,
        "MAX_ITER": AT_LEAST_1,
    }
    counted_by_words = {"N_CTX": "CTX_INIT"}

    @property
    def variant(self) -> str:
        return f"{self.options.N}-prompts"

    def build_learned(self, model: CLIP, tasks: Sequence[Task]) -> Context:
        options = self.options
        if model.visual.no_local_features:
            raise ValueError(
                f"MODEL.BACKBONE.NAME: PLOT matches prompts to the features of an image's regions, and "
                f"{self.cfg.MODEL.BACKBONE.NAME} gives none: {model.visual.no_local_features}; use a ResNet or a ViT "
                "with a class token, or a method with global features, such as CoOp"
            )
        words, position = options.CTX_INIT, options.CLASS_TOKEN_POSITION
        context = Context(options.N_CTX, model, options.N, words, position=position)  # (N, M, D)
        self.template = PromptTemplate(self.classnames, context.n_context, model, position, words=words)
        return context

    def text_features(self, classes: Tensor | None = None) -> Tensor:
        """(R, N, E): each class in each of the N contexts."""
        classes = self.all_classes() if classes is None else classes
        n = self.options.N
        group = torch.arange(n, device=self.device).repeat(len(classes))
        each = to_device(on_host(classes).repeat_interleave(n), self.device)
        return self.encode_classes(self.learned(), each, group).unflatten(0, (-1, n))

    def class_logits(
        self, image_features: Tensor, class_features: Tensor, classes: Tensor | None = None, task: Tensor | None = None
    ) -> Tensor:
        if task is None or len(self.tasks) == 1:
            return self.logits(image_features, class_features)
        task, column_task = on_host(task), on_host(self.task_of(self.all_classes() if classes is None else classes))
        logits = torch.full((len(task), len(column_task)), -torch.inf, device=self.device)
        for t in task.unique():
            images, columns = (to_device((of == t).nonzero().squeeze(1), self.device) for of in (task, column_task))
            own = self.logits(image_features[images], class_features[columns])
            logits = logits.index_put((images.unsqueeze(1), columns), own)
        return logits

    def logits(self, image_features: Tensor, text_features: Tensor) -> Tensor:
        """(B, R) of image_features (B, L, E) and text_features (R, N, E)."""
        options = self.options
        with torch.autocast(self.device.type, enabled=False):
            local = F.normalize(image_features.float(), dim=-1)  # (B, L, E)
            prompts = F.normalize(text_features.float(), dim=-1)  # (R, N, E)
            similarity = torch.einsum("ble,rne->brln", local, prompts)
            plan = sinkhorn(similarity, options.EPS, options.THRESH, options.MAX_ITER)  # T*
            return self.clip.with_bias(self.clip.logit_scale.exp() * (plan * similarity).sum((-2, -1)))  # (B, R)
