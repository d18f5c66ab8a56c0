"""Low-rank updates of queries, keys and values in a tower's layers (Hu et al., LoRA, arXiv 2106.09685)."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from softcpt.backbones.layers import PARTS


class LowRankUpdate(nn.Module):
    """W + gamma B A instead of W, for the queries, the keys and the values of one attention.

    In training the update is a branch of its own, gamma B A drop(x), with a mask for each token and each of the three.
    Without gradients it is merged into one matrix, anew at each call. The tower's W is never written to.

    Attributes:
        a: (3, r, W), drawn as the weights of a linear layer.
        b: (3, W, r), zero, so that training starts from the pretrained tower.
    """

    def __init__(self, width: int, rank: int, scale: float, dropout: float) -> None:
        super().__init__()
        self.scale, self.dropout = scale, dropout
        self.a = nn.Parameter(torch.empty(3, rank, width).uniform_(-1 / math.sqrt(width), 1 / math.sqrt(width)))
        self.b = nn.Parameter(torch.zeros(3, width, rank))

    def forward(self, x: Tensor, weight: Tensor, bias: Tensor | None, part: str) -> Tensor:
        """(..., n W) of x (..., W), instead of F.linear with the weights and the bias of a part; see `Tuning`."""
        if not torch.is_grad_enabled():
            return F.linear(x, self.merged(weight, part), bias)
        update = [self.branch(i, x) for i in range(3)[PARTS[part]]]
        return F.linear(x, weight, bias) + self.scale * torch.cat(update, dim=-1)

    def branch(self, i: int, x: Tensor) -> Tensor:
        """(..., W) = B A drop(x) for queries (0), keys (1) or values (2)."""
        return F.linear(F.linear(F.dropout(x, self.dropout, self.training), self.a[i]), self.b[i])

    def merged(self, weight: Tensor, part: str = "qkv") -> Tensor:
        """(n W, W): the weights of a part + gamma B A, summed in fp32 and stored as they are."""
        with torch.autocast(weight.device.type, enabled=False):
            added = (self.b @ self.a)[PARTS[part]].flatten(0, 1)
            return (weight.float() + self.scale * added).to(weight.dtype)
