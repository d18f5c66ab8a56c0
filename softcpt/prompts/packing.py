"""Where the tokens of prompts of different lengths lie, and gathers of them with a fast backward pass."""

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from softcpt.placement import to_device


class Packing(NamedTuple):
    """The places of the N tokens of R rows of different lengths."""

    row: Tensor  # (N,)
    column: Tensor  # (N,)
    end: Tensor  # (R,) the packed index of each row's last token
    last: Tensor  # (R,) the column of each row's last token
    flat: Tensor  # (N,) the index of each token among the R S padded places
    padded: Tensor  # (R, S) packed indices; beyond a row's end those of its last token

    @classmethod
    def of(cls, lengths: Tensor, device: torch.device) -> "Packing":
        """On `device`, of lengths (R,) on the CPU. That of the same lengths is made once."""
        return _packing(tuple(lengths.tolist()), device)

    def unpad(self, grad: Tensor, index: Tensor, count: int) -> Tensor:
        """The gradient (N, ...) of packed tokens that were padded: the copies behind a row's end have none."""
        return grad.index_select(0, self.flat)


@lru_cache(64)
def _packing(sizes: tuple[int, ...], device: torch.device) -> Packing:
    lengths = torch.tensor(sizes)
    end = lengths.cumsum(0) - 1
    row = torch.arange(len(lengths)).repeat_interleave(lengths)
    start = end - lengths + 1
    column = torch.arange(len(row)) - start[row]
    steps = torch.arange(max(sizes))
    padded = (start.unsqueeze(1) + steps).minimum(end.unsqueeze(1))
    parts = [row, column, end, lengths - 1, row * len(steps) + column, padded.flatten()]
    *parts, padded = to_device(torch.cat(parts), device).split(list(map(len, parts)))
    return Packing(*parts, padded.view(len(lengths), -1))


class Rows(torch.autograd.Function):
    """x[index] of x (n, ...), with the backward pass `back(gradient, index, n)`. PyTorch's own adds row by row, which
    on a CPU takes a tenth of the time of the matrix products."""

    @staticmethod
    def forward(ctx, x: Tensor, index: Tensor, back: Callable[[Tensor, Tensor, int], Tensor]) -> Tensor:
        ctx.save_for_backward(index)
        ctx.back, ctx.count = back, len(x)
        return x.index_select(0, index)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None, None]:
        return ctx.back(grad, *ctx.saved_tensors, ctx.count), None, None


def put(grad: Tensor, index: Tensor, count: int) -> Tensor:
    """For an index without repetitions."""
    return grad.new_zeros(count, *grad.shape[1:]).index_copy_(0, index, grad)


class GroupSums:
    """The backward pass of `Rows` for an index of groups, which it sums. For few groups of many rows a product with
    their indicator matrix (count, R) is fastest; that is made once for all layers."""

    indicator: Tensor | None = None

    def __call__(self, grad: Tensor, index: Tensor, count: int) -> Tensor:
        if 8 * count > len(index):
            return grad.new_zeros(count, *grad.shape[1:]).index_add_(0, index, grad)
        if self.indicator is None:
            self.indicator = (torch.arange(count, device=index.device).unsqueeze(1) == index).to(grad.dtype)
        return (self.indicator @ grad.flatten(1)).view(count, *grad.shape[1:])
