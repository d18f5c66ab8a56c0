"""MaPLe: prompts in the first layers of both towers, those of the image tower made of those of the text tower."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import torch
from clip import clip
from clip.model import CLIP
from dassl.engine import TRAINER_REGISTRY
from torch import Tensor, nn

from datasets.multitask import Task

from .base import PromptTrainer
from .modules.prompts import Context, PromptTemplate, clean
from .modules.text_encoder import TextEncoder

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


class DeepTextEncoder(TextEncoder):
    """The text encoder with new context tokens in each of the first layers.

    The replaced tokens are part of the prefix, so all class prompts share them.
    """

    def __init__(self, model: CLIP, prompts: MultiModalPrompts, chunk: int) -> None:
        super().__init__(model, chunk)
        self.prompts = prompts

    def enter_layer(self, layer: int, x: Tensor) -> Tensor:
        if not 0 < layer <= len(self.prompts.deep):
            return x
        deep = self.prompts.deep[layer - 1]  # what the layer before made of the prompts is dropped (3.2.1)
        return torch.cat([x[:, : -len(deep)], deep.expand(len(x), -1, -1)], dim=1)


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
        if not hasattr(model.visual, "transformer"):
            raise ValueError(
                f"MODEL.BACKBONE.NAME: {self.cfg.MODEL.BACKBONE.NAME} is a ResNet, but MaPLe's image prompts are "
                "tokens of a ViT; use ViT-B/32, ViT-B/16 or ViT-L/14, or a method with text prompts alone, such as CoOp"
            )
        layers = min(len(model.transformer.resblocks), len(model.visual.transformer.resblocks))
        depth = min(options.DEPTH, layers)
        if depth < options.DEPTH:
            logger.warning("TRAINER.MAPLE.DEPTH is %d, but this CLIP has towers of %d layers", options.DEPTH, layers)
        learned, frozen = split_words(options.CTX_INIT, options.N_CTX)
        context = Context(options.N_CTX, model, words=learned)
        names = [f"{frozen} {name}".strip() for name in self.classnames]
        self.template = PromptTemplate(names, options.N_CTX, model)
        prompts = MultiModalPrompts(context, depth, model.visual.conv1.out_channels)
        self.text_encoder = DeepTextEncoder(model, prompts, self.text_encoder.chunk)
        return prompts

    def text_features(self, rows: Tensor | None = None) -> Tensor:
        rows = self.all_classes() if rows is None else rows
        group = torch.zeros_like(rows)
        prefix, suffix, lengths = self.template(self.prompts.ctx.unsqueeze(0), group, rows)
        return self.text_encoder(prefix, suffix, lengths, group)

    def encode_image(self, image: Tensor) -> Tensor:
        visual = self.clip.visual
        x = visual.conv1(image.type(self.clip.dtype)).flatten(2).transpose(1, 2)  # (B, L, W)
        prompts = [prompt.to(x.dtype).expand(len(x), -1, -1) for prompt in self.prompts.image_prompts()]  # (B, M, W)
        cls = visual.class_embedding.to(x.dtype).expand(len(x), 1, -1)
        x = torch.cat([cls, x], dim=1) + visual.positional_embedding.to(x.dtype)
        x = visual.ln_pre(torch.cat([x, prompts[0]], dim=1)).transpose(0, 1)  # (1 + L + M, B, W)
        for i, block in enumerate(visual.transformer.resblocks):
            if 0 < i < len(prompts):  # deep vision prompting (3.2.2)
                x = torch.cat([x[: -prompts[i].shape[1]], prompts[i].transpose(0, 1)])
            x = block(x)
        return visual.ln_post(x[0]) @ visual.proj  # (B, E)


def split_words(words: str, count: int) -> tuple[str, str]:
    """The first `count` tokens of `words`, and the rest. Raises ValueError where there are fewer."""
    tokens = clip._tokenizer.encode(clean(words))
    if words and len(tokens) < count:
        raise ValueError(
            f"TRAINER.MAPLE.N_CTX: {count} is more than the {len(tokens)} tokens of CTX_INIT {words!r}; write more "
            "words, or none for a random start"
        )
    return clip._tokenizer.decode(tokens[:count]).strip(), clip._tokenizer.decode(tokens[count:]).strip()
