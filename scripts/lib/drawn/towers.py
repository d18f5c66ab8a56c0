"""Forward passes of the clip package's towers, with attention written out: at this size the fused kernel is slower."""

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from clip.model import CLIP, VisionTransformer
from torch import nn


def run_blocks(blocks: Iterable[nn.Module], x: torch.Tensor, mask: torch.Tensor | float = 0.0) -> torch.Tensor:
    """CLIP's transformer layers on x (B, L, D); `mask` (L, L) is added to the attention logits."""
    for block in blocks:
        heads, width = block.attn.num_heads, x.shape[-1]
        qkv = F.linear(block.ln_1(x), block.attn.in_proj_weight, block.attn.in_proj_bias)
        q, k, v = qkv.reshape(*x.shape[:2], 3, heads, width // heads).permute(2, 0, 3, 1, 4)  # (B, H, L, D/H)
        weight = (q @ k.transpose(-1, -2) * (width // heads) ** -0.5 + mask).softmax(-1)
        x = x + block.attn.out_proj((weight.to(v.dtype) @ v).transpose(1, 2).flatten(2))
        x = x + block.mlp(block.ln_2(x))
    return x


def encode_text(model: CLIP, text: torch.Tensor) -> torch.Tensor:
    """Text features (B, E) of token indices (B, L)."""
    x = model.token_embedding(text) + model.positional_embedding[: text.shape[1]]  # (B, L, D)
    causal = torch.full((text.shape[1],) * 2, float("-inf")).triu(1)
    x = model.ln_final(run_blocks(model.transformer.resblocks, x, causal))
    return x[torch.arange(len(x)), text.argmax(-1)] @ model.text_projection


def encode_image(tower: VisionTransformer, images: torch.Tensor) -> torch.Tensor:
    """Image features (B, E) of images (B, 3, S, S)."""
    x = tower.conv1(images).flatten(2).transpose(1, 2)  # (B, patches, W)
    x = torch.cat([tower.class_embedding.to(x.dtype).expand(len(x), 1, -1), x], 1) + tower.positional_embedding
    x = run_blocks(tower.transformer.resblocks, tower.ln_pre(x))
    return tower.ln_post(x[:, 0]) @ tower.proj
