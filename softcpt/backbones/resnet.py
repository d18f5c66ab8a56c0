"""The parts of OpenAI's ResNet, with the parameter names of its files."""

from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Bottleneck(nn.Module):
    """Three convolutions beside a shortcut. All have stride 1: an average pool shrinks the grid, which aliases less."""

    def __init__(self, channels: int, width: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(channels, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.avgpool = nn.AvgPool2d(stride) if stride > 1 else nn.Identity()
        self.conv3, self.bn3 = nn.Conv2d(width, 4 * width, 1, bias=False), nn.BatchNorm2d(4 * width)
        self.downsample = nn.Identity()
        if stride > 1 or channels != 4 * width:
            shortcut = nn.Conv2d(channels, 4 * width, 1, bias=False), nn.BatchNorm2d(4 * width)
            self.downsample = nn.Sequential(OrderedDict(zip(("-1", "0", "1"), (nn.AvgPool2d(stride), *shortcut))))

    def forward(self, x: Tensor) -> Tensor:
        """(B, 4 W, h / stride, w / stride) of x (B, C, h, w)."""
        out = F.relu(self.bn1(self.conv1(x)))
        out = F.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(self.avgpool(out)))
        return F.relu(out + self.downsample(x))


def stage(channels: int, width: int, blocks: int, stride: int) -> nn.Sequential:
    """`blocks` bottlenecks, of which the first shrinks the grid."""
    return nn.Sequential(
        Bottleneck(channels, width, stride), *(Bottleneck(4 * width, width) for _ in range(blocks - 1))
    )


class AttentionPool2d(nn.Module):
    """Attention over the cells of a grid and their mean, which is the query of the global feature."""

    def __init__(self, side: int, width: int, heads: int, embed_dim: int) -> None:
        super().__init__()
        self.num_heads = heads
        self.positional_embedding = nn.Parameter(torch.empty(side**2 + 1, width))
        self.k_proj, self.q_proj, self.v_proj = (nn.Linear(width, width) for _ in range(3))
        self.c_proj = nn.Linear(width, embed_dim)

    def attend(self, grid: Tensor, queries: int | None = None) -> Tensor:
        """The pool over grid (B, W, h, w) before its projection: (B, 1 + L, W), with each token as a query and the mean
        token first, or (B, queries, W) of the first `queries` tokens."""
        x = grid.flatten(2).transpose(1, 2)  # (B, L, W)
        x = torch.cat([x.mean(dim=1, keepdim=True), x], dim=1)
        x = x + self.positional_embedding.to(x.dtype)
        q, k, v = (
            layer(tokens).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for layer, tokens in ((self.q_proj, x[:, :queries]), (self.k_proj, x), (self.v_proj, x))
        )  # (B, heads, 1 + L, W / heads)
        return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)

    def forward(self, grid: Tensor) -> Tensor:
        """(B, E) of grid (B, W, h, w), to the last bit as OpenAI's code computes it."""
        x = grid.flatten(2).permute(2, 0, 1)  # (L, B, W)
        x = torch.cat([x.mean(dim=0, keepdim=True), x])
        x = x + self.positional_embedding[:, None].to(x.dtype)
        pooled, _ = F.multi_head_attention_forward(
            x[:1], x, x, x.shape[-1], self.num_heads,
            in_proj_weight=None, in_proj_bias=torch.cat([self.q_proj.bias, self.k_proj.bias, self.v_proj.bias]),
            bias_k=None, bias_v=None, add_zero_attn=False, dropout_p=0.0,
            out_proj_weight=self.c_proj.weight, out_proj_bias=self.c_proj.bias, training=self.training,
            need_weights=False, use_separate_proj_weight=True, q_proj_weight=self.q_proj.weight,
            k_proj_weight=self.k_proj.weight, v_proj_weight=self.v_proj.weight,
        )  # fmt: skip
        return pooled.squeeze(0)
