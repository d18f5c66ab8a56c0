"""Features of the image's regions, from CLIP's image towers as they are."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from clip.model import CLIP
from torch import Tensor, nn


@torch.no_grad()
def local_features(model: CLIP, image: Tensor) -> Tensor:
    """(B, L, E) of images (B, 3, H, W): one feature per cell of the tower's last grid, not normalised.

    On a ViT they are the patch tokens, projected as the class token is. On a ResNet every cell queries the attention
    pool, as the mean does for the global feature (PLOT).
    """
    visual = model.visual
    image = image.type(model.dtype)
    if hasattr(visual, "attnpool"):
        grid = _tap(visual, visual.attnpool, image, lambda inputs, output: inputs[0])  # (B, W, h, w)
        return attention_pool(visual.attnpool, grid)[:, 1:]
    tokens = _tap(visual, visual.transformer, image, lambda inputs, output: output)  # (1 + L, B, W)
    return visual.ln_post(tokens.transpose(0, 1)[:, 1:]) @ visual.proj


def attention_pool(pool: nn.Module, grid: Tensor) -> Tensor:
    """(B, 1 + L, E): CLIP's attention pool over grid (B, W, h, w) with every token as a query, the mean token first."""
    x = grid.flatten(2).transpose(1, 2)  # (B, L, W)
    x = torch.cat([x.mean(dim=1, keepdim=True), x], dim=1)
    x = x + pool.positional_embedding.to(x.dtype)
    q, k, v = (
        layer(x).unflatten(-1, (pool.num_heads, -1)).transpose(1, 2)
        for layer in (pool.q_proj, pool.k_proj, pool.v_proj)
    )  # (B, heads, 1 + L, W / heads)
    x = F.scaled_dot_product_attention(q, k, v)
    return pool.c_proj(x.transpose(1, 2).flatten(2))


def _tap(tower: nn.Module, module: nn.Module, image: Tensor, take) -> Tensor:
    """Run the tower and return what `take` picks of the inputs and the output of one of its modules."""
    taken = []
    hook = module.register_forward_hook(lambda _, inputs, output: taken.append(take(inputs, output)))
    try:
        tower(image)
    finally:
        hook.remove()
    return taken[0]
