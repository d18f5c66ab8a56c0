"""The places of prompts' tokens: packed, one behind the other, for what treats each alone; padded for the attention.

They follow from the lengths of the suffixes. These are known on the host, which computes the places there, keeps them,
and copies them to the device without waiting; lengths on a device are read.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from softcpt.placement import to_device

KEPT = 256  # sets of places: a step has one for each slice of its classes, and the classes of few tasks repeat


class Packing(NamedTuple):
    """The places of the N tokens of R rows of different lengths."""

    row: Tensor  # (N,)
    column: Tensor  # (N,)
    end: Tensor  # (R,) the packed index of each row's last token
    padded: Tensor  # (R, S) packed indices; beyond a row's end those of its last token
    flat: Tensor  # (N,) the index of each token among the R S padded places

    @classmethod
    def of(cls, lengths: Tensor, device: torch.device) -> "Packing":
        """Of rows of these lengths (R,), on a device."""
        return _packing(tuple(lengths.tolist()), device)

    def unpad(self, grad: Tensor, index: Tensor, count: int) -> Tensor:
        """The gradient (N, ...) of packed tokens that were padded: the copies behind a row's end have none."""
        return grad.index_select(0, self.flat)


@lru_cache(KEPT)
@torch.inference_mode(False)
def _packing(lengths: tuple[int, ...], device: torch.device) -> Packing:
    return Packing(*(to_device(places, device) for places in _on_the_host(torch.tensor(lengths))))


def _on_the_host(lengths: Tensor) -> Packing:
    end = lengths.cumsum(0) - 1
    row = torch.arange(len(lengths)).repeat_interleave(lengths)
    start = end - lengths + 1
    column = torch.arange(len(row)) - start[row]
    steps = torch.arange(int(lengths.max()))
    padded = (start.unsqueeze(1) + steps).minimum(end.unsqueeze(1))
    return Packing(row, column, end, padded, row * len(steps) + column)


class Whole(NamedTuple):
    """The places of the tokens of G prefixes (G, P) and the N of R suffixes, packed in this order, as G + R whole
    prompts (G + R, P + S): the prefixes alone, then each suffix behind its own."""

    suffix: Packing
    padded: Tensor  # ((G + R) (P + S),) packed indices; beyond a prompt's end those of its last token
    members: Tensor  # (G, G + R) 1 where a prompt has the prefix, of the type that is gathered
    flat: Tensor  # (G P + N,) the index of each token among the padded places
    end: Tensor  # (R,) the packed index of each prompt's last token
    flat_end: Tensor  # (R,) its index among the padded places

    @classmethod
    def of(cls, lengths: Tensor, group: Tensor, prefixes: tuple[int, int], dtype: torch.dtype) -> "Whole":
        """Of suffixes of these lengths (R,), behind the prefixes `group` (R,); prefixes: G and P."""
        count, n_prefix = prefixes
        known = _known(tuple(lengths.tolist()), count, n_prefix, group.device)
        owner = torch.cat([known.prefix, group])  # (G + R,)
        first = torch.add(known.steps, owner.unsqueeze(1), alpha=n_prefix)  # (G + R, P)
        padded = torch.cat([first, known.tail], dim=1).flatten()
        members = (owner == known.prefix.unsqueeze(1)).to(dtype)
        return cls(known.suffix, padded, members, known.flat, known.end, known.flat_end)

    def unpad(self, grad: Tensor, index: Tensor, count: int) -> Tensor:
        """The gradient (G P + N, W) of packed tokens that were padded, of grad ((G + R) (P + S), W)."""
        out, (groups, rows) = grad.new_empty(count, grad.shape[1]), self.members.shape
        first = count - len(self.suffix.row)  # G P
        prefixes = grad.view(rows, -1, grad.shape[1])[:, : first // groups].flatten(1)  # (G + R, P W)
        torch.mm(self.members, prefixes, out=out[:first].view(groups, prefixes.shape[1]))
        torch.index_select(grad, 0, self.flat[first:], out=out[first:])
        return out


class _Known(NamedTuple):
    """What `Whole` has without the groups."""

    suffix: Packing
    prefix: Tensor  # (G,) 0, 1, ...
    steps: Tensor  # (P,) 0, 1, ...
    tail: Tensor  # (G + R, S) of `padded`
    flat: Tensor
    end: Tensor
    flat_end: Tensor


@lru_cache(KEPT)
@torch.inference_mode(False)
def _known(lengths: tuple[int, ...], count: int, n_prefix: int, device: torch.device) -> _Known:
    at, first = _on_the_host(torch.tensor(lengths)), count * n_prefix
    longest = n_prefix + at.padded.shape[1]
    prefix, steps = torch.arange(count), torch.arange(n_prefix)
    # Behind a prefix alone stands its last token, or any where prefixes have none.
    alone = (prefix * n_prefix + max(n_prefix - 1, 0)).unsqueeze(1).expand(-1, at.padded.shape[1])
    flat_prefix = (prefix.unsqueeze(1) * longest + steps).flatten()
    flat_suffix = (count + at.row) * longest + n_prefix + at.column
    places = (prefix, steps, torch.cat([alone, first + at.padded]), torch.cat([flat_prefix, flat_suffix]))
    ends = first + at.end, flat_suffix[at.end]
    return _Known(Packing.of(torch.tensor(lengths), device), *(to_device(place, device) for place in (*places, *ends)))


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
