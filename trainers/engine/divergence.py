"""Stops a training whose loss is not finite, and records the step for finding the cause."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from softcpt import distributed
from softcpt.files import FAILURE_FILE, write_atomically


def gradient_norm(module: nn.Module) -> float | None:
    """The Euclidean norm of all gradients of a module, None if it has none."""
    squares = [float(p.grad.float().square().sum()) for p in module.parameters() if p.grad is not None]
    return math.sqrt(sum(squares)) if squares else None


def stop_diverged(trainer: Any, loss: Tensor, terms: Mapping[str, Any], batch: Mapping[str, Any], step: int) -> None:
    """Raise FloatingPointError if a loss () is not finite, after writing failure.json into the run's folder.

    All ranks call it at once. The first that fails does so; the others then raise OtherRankError.

    Args:
        trainer: whose learned parameters still have the gradients of the step before.
        terms: the parts of the loss that are logged.
        batch: of the data loader.
        step: counted from 1.
    """
    failed = distributed.first_failure(math.inf if loss.isfinite() else step)
    if failed is None:
        return
    try:
        if failed == distributed.rank():
            raise FloatingPointError(explained(trainer, loss, terms, batch, step))
    finally:
        distributed.barrier()  # failure.json is there before the first rank, which removes a run without it, goes on
    raise distributed.OtherRankError


def explained(trainer: Any, loss: Tensor, terms: Mapping[str, Any], batch: Mapping[str, Any], step: int) -> str:
    """Write failure.json, and say in words where the training failed and what may help."""
    epoch, rate = trainer.epoch + 1, trainer.get_current_lr()
    facts = {
        "epoch": epoch,
        "step": step,
        "learning_rate": rate,
        "loss": str(loss.item()),
        "terms": {name: str(torch.as_tensor(value).item()) for name, value in terms.items()},
        "gradient_norm_before": str(gradient_norm(trainer.learned)),
        "images": list(batch.get("impath", ())),
        "labels": batch["label"].tolist(),
    }
    where = f"the loss is {loss.item()} in epoch {epoch}, step {step}"
    if trainer.output_dir:
        path = Path(trainer.output_dir, FAILURE_FILE)
        write_atomically(path, json.dumps(facts, indent=1, ensure_ascii=False) + "\n")
        where += f" (see {path}, with the step's images, and log.txt)"
    return (
        f"{where}. A smaller OPTIM.LR (now {rate:g}) or TRAINER.{type(trainer).__name__.upper()}.PREC fp32 usually "
        "helps; the last checkpoint, if there is one, is from before"
    )
