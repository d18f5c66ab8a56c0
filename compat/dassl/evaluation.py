"""Evaluators by name."""

from collections import OrderedDict
from typing import Any

import torch
from dassl.utils import Registry
from yacs.config import CfgNode

EVALUATOR_REGISTRY = Registry("EVALUATOR")


def build_evaluator(cfg: CfgNode, **kwargs: Any) -> "EvaluatorBase":
    """The registered evaluator `cfg.TEST.EVALUATOR`; ValueError naming the key when it is unknown."""
    return EVALUATOR_REGISTRY.build("TEST.EVALUATOR", cfg, **kwargs)


class EvaluatorBase:
    """What a trainer's `test` calls: `reset`, then `process` for each batch, then `evaluate`."""

    def __init__(self, cfg: CfgNode) -> None:
        self.cfg = cfg

    def reset(self) -> None:
        """Forget the batches so far."""
        raise NotImplementedError

    def process(self, mo: torch.Tensor, gt: torch.Tensor) -> None:
        """Take a batch: the model's output and the labels."""
        raise NotImplementedError

    def evaluate(self) -> OrderedDict[str, float]:
        """Values by name; `test` returns the first."""
        raise NotImplementedError


@EVALUATOR_REGISTRY.register()
class Classification(EvaluatorBase):
    """Accuracy, error rate and macro F1 over the classes that occur, in percent, printed as the block `=> result`."""

    def __init__(self, cfg: CfgNode, **kwargs: Any) -> None:
        super().__init__(cfg)
        self.reset()

    def reset(self) -> None:
        self._pairs: list[torch.Tensor] = []  # (B, 2) labels and predictions

    def process(self, mo: torch.Tensor, gt: torch.Tensor) -> None:
        """Take scores (B, C) and labels (B,)."""
        self._pairs.append(torch.stack([gt, mo.argmax(dim=1)], dim=1).cpu())

    def evaluate(self) -> OrderedDict[str, float]:
        """accuracy, error_rate and macro_f1. Raises ValueError when no batch was processed."""
        if not self._pairs:
            raise ValueError("Classification.evaluate: no batch was processed")
        label, prediction = torch.cat(self._pairs).unbind(1)
        right = label == prediction
        f1 = []
        for c in label.unique():
            of_class, as_class = label == c, prediction == c
            f1.append(2 * (right & of_class).sum().item() / (of_class.sum() + as_class.sum()).item())
        accuracy, macro_f1 = 100 * right.sum().item() / len(right), 100 * sum(f1) / len(f1)
        print(
            f"=> result\n* total: {len(right):,}\n* correct: {right.sum():,}\n* accuracy: {accuracy:.2f}%\n"
            f"* error: {100 - accuracy:.2f}%\n* macro_f1: {macro_f1:.2f}%"
        )
        return OrderedDict(accuracy=accuracy, error_rate=100 - accuracy, macro_f1=macro_f1)
