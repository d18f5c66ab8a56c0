"""Top-k accuracy."""

from collections.abc import Sequence

import torch


def compute_accuracy(
    output: torch.Tensor | Sequence[torch.Tensor], target: torch.Tensor, topk: Sequence[int] = (1,)
) -> list[torch.Tensor]:
    """Top-k accuracies in percent.

    Args:
        output: (B, C) scores, or a sequence whose first entry they are.
        target: (B,) labels.
        topk: values of k.

    Returns:
        One (1,) tensor per k.
    """
    scores = output[0] if isinstance(output, list | tuple) else output
    ranked = scores.topk(max(topk), dim=1).indices  # (B, K), best first
    hits = ranked == target[:, None]
    return [100.0 * hits[:, :k].float().sum().reshape(1) / len(target) for k in topk]
