"""CoCoOp: a context that depends on the image."""

from collections import OrderedDict
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from dassl.engine import TRAINER_REGISTRY
from torch import Tensor, nn

from softcpt.backbones import CLIP
from softcpt.placement import distinct, on_host, to_device
from softcpt.prompts.learned import Context, PromptTemplate
from softcpt.tasks import Task

from .base import PromptTrainer
from .engine.checks import ONE_FOR_ALL, TEXT, TOKENS


class ConditionalContext(Context):
    """ctx + h(x): a shared context, shifted by the meta network h of the normalised image feature x."""

    def __init__(self, n_context: int, model: CLIP, words: str) -> None:
        super().__init__(n_context, model, words=words)
        n_features = model.embed_dim
        hidden = max(1, n_features // 16)
        layers = OrderedDict(
            linear1=nn.Linear(n_features, hidden),
            relu=nn.ReLU(inplace=True),
            linear2=nn.Linear(hidden, self.ctx.shape[1]),
        )
        self.meta_net = nn.Sequential(layers)

    def forward(self, image_features: Tensor) -> Tensor:
        """Contexts (B, M, D) of normalised image features (B, E)."""
        return self.ctx + self.meta_net(image_features).unsqueeze(1)


@TRAINER_REGISTRY.register()
class CoCoOp(PromptTrainer):
    """Conditional context optimisation: Zhou, Yang, Loy, Liu. Conditional Prompt Learning for Vision-Language Models.
    CVPR 2022, arXiv 2203.05557.

    A meta network h maps the image feature x to one vector that is added to every context token, v_m(x) = v_m + h(x).
    So each image has class features of its own. The loss is cross-entropy. A step encodes one prompt per image and
    class of the image's task, but the prefix [SOS][ctx(x)] once per image. Several tasks share ctx and h.
    """

    conditional = True
    no_heads = "its class features depend on the image, so every prediction needs the text tower"

    defaults = {
        "N_CTX": 4,  # number of context tokens M, where CTX_INIT is empty
        "CTX_INIT": "a photo of a",  # initial words; their number of tokens then replaces N_CTX
        "CSC": False,  # one context per class: not with CoCoOp
    }
    legal = {"N_CTX": TOKENS, "CTX_INIT": TEXT, "CSC": ONE_FOR_ALL}
    counted_by_words = {"N_CTX": "CTX_INIT"}

    def build_learned(self, model: CLIP, tasks: Sequence[Task]) -> ConditionalContext:
        words = self.options.CTX_INIT
        context = ConditionalContext(self.options.N_CTX, model, words)
        self.template = PromptTemplate(self.classnames, context.n_context, model, words=words)
        return context

    def class_logits(
        self, image_features: Tensor, class_features: None, classes: Tensor | None = None, task: Tensor | None = None
    ) -> Tensor:
        classes = self.all_classes() if classes is None else classes
        x = F.normalize(image_features.float(), dim=-1)
        context = self.learned(x)  # (B, M, D), v_m(x) = v_m + h(x)
        classes = on_host(classes)
        wanted = torch.ones(len(x), len(classes), dtype=torch.bool)
        if task is not None:
            wanted = on_host(self.class_task)[classes] == on_host(task).unsqueeze(1)  # (B, R)
        image, column = wanted.nonzero(as_tuple=True)  # the pairs, known to the host
        # In training one call, since the encoder recomputes its chunks in the backward pass; else few pairs at a time.
        size = len(image) if torch.is_grad_enabled() else self.text_encoder.chunk
        logits = [self.pair_logits(x, context, i, classes[c]) for i, c in zip(image.split(size), column.split(size))]
        foreign = torch.full(wanted.shape, -torch.inf, device=self.device)
        places = tuple(to_device(index, self.device) for index in (image, column))
        return foreign.index_put(places, torch.cat(logits))

    def pair_logits(self, x: Tensor, context: Tensor, image: Tensor, label: Tensor) -> Tensor:
        """Logits (P,) of pairs of an image and a class: image (P,) counts in x (B, E) and context (B, M, D)."""
        images, group = distinct(image, self.device)
        image, label = to_device(image, self.device), to_device(label, self.device)
        features = self.encode_classes(context[images], label, group).float()  # (P, E)
        return self.clip.with_bias(self.clip.logit_scale.exp() * F.cosine_similarity(x[image], features, dim=-1))
