"""Tip-Adapter's cache of the shots' features, and its logits."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from softcpt.prompts.owners import register_owners


class Cache(nn.Module):
    """Keys (N, E) and labels (N,) of the shots; alpha and beta (T,), each task's weight and sharpness of the cache.

    Args:
        keys: (N, E), a parameter if they are learned, else a tensor.
        labels: (N,) global.
        classnames: the C names of the classes.
        n_tasks, alpha, beta: T, and the initial values for all tasks.
    """

    any_number = ("keys", "labels")  # with a row for each shot in the checkpoint

    def __init__(
        self, keys: Tensor, labels: Tensor, classnames: Sequence[str], n_tasks: int, alpha: float, beta: float
    ) -> None:
        super().__init__()
        if isinstance(keys, nn.Parameter):
            self.keys = keys
        else:
            self.register_buffer("keys", keys)
        self.register_buffer("labels", labels)
        self.register_buffer("alpha", torch.full((n_tasks,), alpha))
        self.register_buffer("beta", torch.full((n_tasks,), beta))
        register_owners(self, classnames)

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *args: Any) -> None:
        for name in self.any_number:
            if prefix + name in state_dict:
                value = getattr(self, name)
                value.data = value.new_empty(state_dict[prefix + name].shape)
        super()._load_from_state_dict(state_dict, prefix, *args)


def cache_logits(affinity: Tensor, labels: Tensor, n_classes: int, alpha: Any, beta: Any) -> Tensor:
    """(B, C): alpha_c times the sum over the keys i of class c of exp(-beta_i (1 - a_bi)).

    Args:
        affinity: a (B, N), the inner products of images and keys.
        labels: (N,) the class of each key, below `n_classes`, C.
        alpha, beta: a number each, or (C,) and (N,).
    """
    weight = torch.exp(beta * (affinity - 1))  # A = exp(-beta (1 - f F^T))
    return alpha * weight.new_zeros(len(weight), n_classes).index_add(1, labels, weight)  # alpha A L, L one-hot


def search_grid(
    zero_shot: Tensor, affinity: Tensor, labels: Tensor, right: Tensor, shares: Tensor, grids: Sequence[Tensor]
) -> tuple[float, float]:
    """The alpha and beta with the best metric; among equals the smallest beta, then the smallest alpha.

    Args:
        zero_shot: (V, C) logits of the validation shots.
        affinity: (V, N); labels: (N,) of the keys.
        right: (V,) the validation shots' labels; shares: (V,) what each adds to the metric if predicted right.
        grids: beta's and alpha's values, ascending.
    """
    betas, alphas = grids
    chunk = max(1, 2**24 // zero_shot.numel())
    scores = []
    for beta in betas:
        cache = cache_logits(affinity, labels, zero_shot.shape[1], 1, beta)
        for alpha in alphas.split(chunk):
            prediction = (zero_shot + alpha.view(-1, 1, 1) * cache).argmax(2)  # (A, V)
            scores.append((prediction == right).double() @ shares)
    score = torch.cat(scores).view(len(betas), len(alphas)).round(decimals=9)  # so that sums in another order are equal
    b, a = (score == score.max()).nonzero()[0].tolist()
    return alphas[a].item(), betas[b].item()
