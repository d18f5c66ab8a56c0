"""Stops a training whose loss is not finite, and records the step for finding the cause."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from softcpt.files import FAILURE_FILE, write_atomically


def gradient_norm(module: nn.Module) -> float | None:
    """The Euclidean norm of all gradients of a module, None if it has none."""
    squares = [float(p.grad.float().square().sum()) for p in module.parameters() if p.grad is not None]
    return math.sqrt(sum(squares)) if squares else None


def stop_diverged(
    loss: Tensor,
    folder: str,
    prompts: nn.Module,
    batch: Mapping[str, Any],
    terms: Mapping[str, float],
    method: str,
    **place: float,
) -> None:
    """Raise FloatingPointError if a loss () is not finite, after writing failure.json into the run's folder.

    Args:
        prompts: the learned module, whose gradients are still those of the step before.
        batch: of the data loader.
        terms: the logged parts of the loss.
        place: epoch and step, counted from 1, and learning rate.
    """
    if loss.isfinite():
        return
    facts = {
        **place,
        "loss": str(loss.item()),
        "terms": {name: str(value) for name, value in terms.items()},
        "gradient_norm_before": str(gradient_norm(prompts)),
        "images": list(batch.get("impath", ())),
        "labels": batch["label"].tolist(),
    }
    where = f"the loss is {loss.item()} in epoch {place['epoch']}, step {place['step']}"
    if folder:
        path = Path(folder, FAILURE_FILE)
        write_atomically(path, json.dumps(facts, indent=1, ensure_ascii=False) + "\n")
        where += f" (see {path}, with the step's images, and log.txt)"
    raise FloatingPointError(
        f"{where}. A smaller OPTIM.LR (now {place['learning_rate']:g}) or TRAINER.{method.upper()}.PREC fp32 usually "
        "helps; the last checkpoint, if there is one, is from before"
    )
