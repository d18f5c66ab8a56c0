"""Accuracy of a classifier."""

import logging
import os
from collections import OrderedDict
from typing import Any

import torch
from yacs.config import CfgNode

from .build import EVALUATOR_REGISTRY

logger = logging.getLogger(__name__)


class EvaluatorBase:
    """What a trainer's `test` calls: reset, then process per batch, then evaluate."""

    def __init__(self, cfg: CfgNode) -> None:
        self.cfg = cfg

    def reset(self) -> None:
        """Forget everything."""
        raise NotImplementedError

    def process(self, mo: torch.Tensor, gt: torch.Tensor) -> None:
        """Take the model's output and the labels of a batch."""
        raise NotImplementedError

    def evaluate(self) -> OrderedDict[str, float]:
        """Names to values; the first value is what `test` returns."""
        raise NotImplementedError


@EVALUATOR_REGISTRY.register()
class Classification(EvaluatorBase):
    """Accuracy, error rate and macro F1 over the classes that occur, in percent; prints upstream's `=> result` block.

    Args:
        lab2cname: names of the classes, for `TEST.PER_CLASS_RESULT`.
    """

    def __init__(self, cfg: CfgNode, lab2cname: dict[int, str] | None = None, **kwargs: Any) -> None:
        super().__init__(cfg)
        if cfg.TEST.PER_CLASS_RESULT and lab2cname is None:
            raise ValueError("TEST.PER_CLASS_RESULT needs the evaluator's lab2cname")
        self._lab2cname = lab2cname
        self.reset()

    def reset(self) -> None:
        self._y_true: list[torch.Tensor] = []
        self._y_pred: list[torch.Tensor] = []

    def process(self, mo: torch.Tensor, gt: torch.Tensor) -> None:
        """Take (B, C) scores and (B,) labels."""
        self._y_true.append(gt.detach().cpu())
        self._y_pred.append(mo.detach().argmax(dim=1).cpu())

    def evaluate(self) -> OrderedDict[str, float]:
        """accuracy, error_rate, macro_f1 and, with TEST.PER_CLASS_RESULT, perclass_accuracy."""
        if not self._y_true:
            raise ValueError("Classification.evaluate: no batch was processed")
        counts = _confusion(torch.cat(self._y_true), torch.cat(self._y_pred))  # rows: truth, columns: prediction
        total, correct = int(counts.sum()), int(counts.trace())
        per_class, hits = counts.sum(1), counts.diagonal()
        occurs = per_class > 0
        f1 = 2 * hits.double() / (per_class + counts.sum(0)).clamp(min=1)

        accuracy = 100.0 * correct / total
        results = OrderedDict(accuracy=accuracy, error_rate=100.0 - accuracy, macro_f1=100.0 * f1[occurs].mean().item())
        print(
            f"=> result\n* total: {total:,}\n* correct: {correct:,}\n* accuracy: {accuracy:.2f}%\n"
            f"* error: {results['error_rate']:.2f}%\n* macro_f1: {results['macro_f1']:.2f}%"
        )
        if self.cfg.TEST.PER_CLASS_RESULT:
            results["perclass_accuracy"] = self._print_per_class(per_class, hits)
        if self.cfg.TEST.COMPUTE_CMAT:
            self._save_confusion(counts)
        return results

    def _print_per_class(self, per_class: torch.Tensor, hits: torch.Tensor) -> float:
        print("=> per-class result")
        accuracies = []
        for label in per_class.nonzero().flatten().tolist():
            total, correct = int(per_class[label]), int(hits[label])
            accuracies.append(100.0 * correct / total)
            print(
                f"* class: {label} ({self._lab2cname[label]})\ttotal: {total:,}\tcorrect: {correct:,}\t"
                f"acc: {accuracies[-1]:.2f}%"
            )
        mean = sum(accuracies) / len(accuracies)
        print(f"* average: {mean:.2f}%")
        return mean

    def _save_confusion(self, counts: torch.Tensor) -> None:
        """Write the confusion matrix, rows scaled to sum 1, of the classes that occur or are predicted."""
        used = (counts.sum(1) + counts.sum(0)) > 0
        counts = counts[used][:, used].double()
        path = os.path.join(self.cfg.OUTPUT_DIR, "cmat.pt")
        os.makedirs(self.cfg.OUTPUT_DIR, exist_ok=True)
        torch.save(counts / counts.sum(1, keepdim=True).clamp(min=1), path)
        logger.info("Confusion matrix saved to %s", path)


def _confusion(y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor:
    """(C, C) counts of (truth, prediction) pairs; C covers the largest label and prediction."""
    size = int(max(y_true.max(), y_pred.max())) + 1
    return torch.bincount(y_true * size + y_pred, minlength=size * size).reshape(size, size)
