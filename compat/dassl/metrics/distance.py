"""Distances between the rows of two matrices."""

import torch
from dassl.utils import check_availability
from torch.nn import functional as F


def compute_distance_matrix(input1: torch.Tensor, input2: torch.Tensor, metric: str = "euclidean") -> torch.Tensor:
    """(m, n) distances between the rows of (m, d) and (n, d) tensors.

    `metric` is "euclidean" (squared) or "cosine". Raises ValueError for anything else and for shapes that do not fit.
    """
    metrics = {"euclidean": euclidean_squared_distance, "cosine": cosine_distance}
    check_availability(metric, metrics, key="metric")
    if input1.dim() != 2 or input2.dim() != 2 or input1.size(1) != input2.size(1):
        raise ValueError(f"expected shapes (m, d) and (n, d), got {tuple(input1.shape)} and {tuple(input2.shape)}")
    return metrics[metric](input1, input2)


def euclidean_squared_distance(input1: torch.Tensor, input2: torch.Tensor) -> torch.Tensor:
    """(m, n) squared Euclidean distances between rows."""
    squares1, squares2 = input1.pow(2).sum(1), input2.pow(2).sum(1)
    return squares1[:, None] + squares2[None, :] - 2 * input1 @ input2.t()


def cosine_distance(input1: torch.Tensor, input2: torch.Tensor) -> torch.Tensor:
    """(m, n) distances 1 - cosine between rows."""
    return 1 - F.normalize(input1, dim=1) @ F.normalize(input2, dim=1).t()
