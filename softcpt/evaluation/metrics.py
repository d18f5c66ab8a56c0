"""Metrics as functions of a confusion matrix: `counts` (C, C), rows the true and columns the predicted classes."""

from torch import Tensor


def mean_recall(counts: Tensor) -> float:
    """The mean recall, 0 to 1, over the classes that occur."""
    n = counts.sum(1)
    return float((counts.diag()[n > 0] / n[n > 0].double()).mean())


def percent(counts: Tensor, metric: str) -> float:
    """The value of a metric, accuracy or mean_per_class, in percent; there must be samples."""
    return 100 * (mean_recall(counts) if metric == "mean_per_class" else float(counts.trace()) / int(counts.sum()))


def best_constant(counts: Tensor, metric: str) -> float:
    """The best value of `metric`, 0 to 1, for one answer to all samples.

    For accuracy it is the share of the most frequent class, for mean_per_class 1 / (number of classes that occur).
    """
    n = counts.sum(1)
    if not n.sum():
        return 0.0
    return 1 / int((n > 0).sum()) if metric == "mean_per_class" else int(n.max()) / int(n.sum())


def macro_f1(counts: Tensor) -> float:
    """The mean over the classes that occur of 2 true positives / (samples + predictions), in percent."""
    n, predicted = counts.sum(1), counts.sum(0)
    return float(100 * (2 * counts.diag() / (n + predicted).double())[n > 0].mean())
