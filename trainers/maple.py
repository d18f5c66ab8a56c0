"""MaPLe: prompts in the first layers of both towers, those of the image tower made of those of the text tower."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import torch
from dassl.engine import TRAINER_REGISTRY
from torch import Tensor, nn

from datasets.multitask import Task

from .backbones import CLIP
from .backbones.tokenizers import Tokenizer
from .base import PromptTrainer
from .modules.prompts import Context, PromptTemplate, clean

logger = logging.getLogger(__name__)


class MultiModalPrompts(nn.Module):
    """Text prompts P_0 ... P_{J-1} of M tokens each, and the coupling functions F_k that make image prompts of them.

    `ctx` (M, D) is P_0, the context of the class prompts; `deep`, J - 1 times (M, D), are the others, ~ N(0, 0.02^2).
    """

    def __init__(self, context: Context, depth: int, width: int) -> None:
        super().__init__()
        self.ctx = context.ctx
        self.deep = nn.ParameterList(0.02 * torch.randn(self.ctx.shape) for _ in range(depth - 1))
        self.couplings = nn.ModuleList(nn.Linear(self.ctx.shape[1], width) for _ in range(depth))

    def image_prompts(self) -> list[Tensor]:
        """F_k(P_k) (M, W) of each of the J layers (3.2.3)."""
        return [couple(prompt) for couple, prompt in zip(self.couplings, [self.ctx, *self.deep])]


@TRAINER_REGISTRY.register()
class MaPLe(PromptTrainer):
    """Multi-modal prompt learning: Khattak, Rasheed, Maaz, Khan, Khan. MaPLe: Multi-modal Prompt Learning. CVPR 2023,
    arXiv 2210.03117.

    In each of the first J layers of the text tower the context tokens are replaced by new ones; a linear function of
    each makes the tokens that the same layer of the image tower, a ViT, has beside its patches. So the features of
    images change with the prompts: they are not cached, and gradients run through both towers. Over several tasks all
    prompts are shared.
    """

    frozen_image_tower = False

    defaults = {
        "N_CTX": 2,  # number of prompt tokens M of a layer
        "CTX_INIT": "a photo of a",  # words before the class name: the first M are learned, the others stay; empty:
        # M learned tokens alone, ~ N(0, 0.02^2)
        "DEPTH": 9,  # number of layers J with prompts of their own, where the towers have as many; 1: the first alone
        "PREC": "amp",  # fp32, amp, fp16 or bf16
    }

    def check_cfg(self, cfg: Any) -> None:
        super().check_cfg(cfg)
        options = cfg.TRAINER.MAPLE
        for key in ("N_CTX", "DEPTH"):
            if options[key] < 1:
                raise ValueError(f"TRAINER.MAPLE.{key}: {options[key]} is not at least 1")

    def build_prompts(self, model: CLIP, tasks: Sequence[Task]) -> MultiModalPrompts:
        options = self.options
        if model.visual.no_prompts:
            raise ValueError(
                f"MODEL.BACKBONE.NAME: MaPLe's image prompts are tokens of a ViT, and the image tower of "
                f"{self.cfg.MODEL.BACKBONE.NAME} takes none: {model.visual.no_prompts}; use a ViT of OpenAI's or of "
                "transformers', or a method with text prompts alone, such as CoOp"
            )
        layers = min(len(model.text.blocks), model.visual.prompt_layers)
        depth = min(options.DEPTH, layers)
        if depth < options.DEPTH:
            logger.warning("TRAINER.MAPLE.DEPTH is %d, but this CLIP has towers of %d layers", options.DEPTH, layers)
        learned, frozen = split_words(options.CTX_INIT, options.N_CTX, model.tokenizer)
        context = Context(options.N_CTX, model, words=learned)
        names = [f"{frozen} {name}".strip() for name in self.classnames]
        self.template = PromptTemplate(names, options.N_CTX, model)
        prompts = MultiModalPrompts(context, depth, model.visual.prompt_width)
        self.text_encoder.deep_prompts = prompts.deep  # (3.2.1)
        return prompts

    def text_features(self, rows: Tensor | None = None) -> Tensor:
        rows = self.all_classes() if rows is None else rows
        group = torch.zeros_like(rows)
        prefix, suffix, lengths = self.template(self.prompts.ctx.unsqueeze(0), group, rows)
        return self.text_encoder(prefix, suffix, lengths, group)

    def encode_image(self, image: Tensor) -> Tensor:
        """Deep vision prompting (3.2.2)."""
        return self.clip.visual(image, self.prompts.image_prompts())  # (B, E)


def split_words(words: str, count: int, tokenizer: Tokenizer) -> tuple[str, str]:
    """The first `count` tokens of `words`, and the rest. Raises ValueError where there are fewer."""
    tokens = tokenizer.encode(clean(words))
    if words and len(tokens) < count:
        raise ValueError(
            f"TRAINER.MAPLE.N_CTX: {count} is more than the {len(tokens)} tokens of CTX_INIT {words!r}; write more "
            "words, or none for a random start"
        )
    return tokenizer.decode(tokens[:count]).strip(), tokenizer.decode(tokens[count:]).strip()
