"""The random numbers that the clip package draws to build a model, and this project does not."""

from dataclasses import replace

import torch
from torch import nn

from .config import OpenClipTower, Text, ViT
from .layers import Attention


def initial_draws(model: nn.Module) -> int:
    """How many random numbers the clip package draws to build a model of this shape; 0 if it cannot build it.

    The CoOp family's public code draws them before the prompts. Skipping as many gives the same prompts for a seed.
    """
    image, text = model.config.image, model.text
    if isinstance(image, OpenClipTower) or not isinstance(model.config.text, Text):
        return 0
    if isinstance(image, ViT):
        plain = replace(image.transformer, eps=1e-5, layer_scale=False)
        if image != ViT(plain, image.image_size, image.patch_size, image.embed_dim):
            return 0
    if model.config.text != replace(text.options, mask="causal", pooling="eos", projection="linear"):
        return 0
    uniform = 0
    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            uniform += sum(parameter.numel() for parameter in module.parameters())
        elif isinstance(module, Attention):
            uniform += module.in_proj_weight.numel()
    drawn = [text.token_embedding.weight] * 2 + [text.positional_embedding, text.projection]
    for block in text.blocks:
        drawn += [block.attn.in_proj_weight, block.attn.out_proj.weight, block.mlp.c_fc.weight, block.mlp.c_proj.weight]
    if isinstance(image, ViT):
        drawn += [model.visual.class_embedding, model.visual.positional_embedding, model.visual.projection]
    else:
        pool = model.visual.attnpool
        drawn += [pool.positional_embedding]
        drawn += [layer.weight for layer in (pool.q_proj, pool.k_proj, pool.v_proj, pool.c_proj)]
    # PyTorch draws the last 16 normal numbers once more if their number is no multiple of 16.
    normal = sum(x.numel() + 16 * (x.numel() % 16 > 0) for x in drawn)
    return uniform + normal


def skip_draws(count: int, at_a_time: int = 1 << 22) -> None:
    """Advance PyTorch's random generator of the CPU by `count` numbers."""
    unused = torch.empty(min(count, at_a_time), dtype=torch.uint8)
    for start in range(0, count, at_a_time):
        unused[: min(at_a_time, count - start)].random_()
