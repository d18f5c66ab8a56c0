"""The losses of training steps: when they are read, and what stops a training whose loss is not finite."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from softcpt import distributed
from softcpt.files import FAILURE_FILE, write_atomically
from softcpt.placement import on_cpu


class Step(NamedTuple):
    """A training step: `number` counts from 1, `epoch` too; `logged` are scalars, with the loss first."""

    number: int
    epoch: int
    rate: float
    logged: dict[str, Tensor]
    images: Sequence[str]
    labels: Tensor


class UnreadSteps:
    """The training steps whose losses have not been read from the device.

    On a CPU a loss is read at once. Elsewhere reading makes the host wait for the step, so the losses are read together
    at the steps that print a line, and before anything is saved; the first that is not finite is named all the same.
    """

    def __init__(self, trainer: Any) -> None:
        self.trainer = trainer
        self.steps: list[Step] = []
        self.last: dict[str, float] = {}  # what the last step that was read has logged

    def add(self, number: int, loss: Tensor, terms: Mapping[str, Any], batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Add a step of a batch of the data loader; returns its scalars. Raises as `read` does, if it is read."""
        trainer = self.trainer
        logged = {name: torch.as_tensor(value).detach() for name, value in {"loss": loss, **terms}.items()}
        rate, images = trainer.get_current_lr(), batch.get("impath", ())
        self.steps.append(Step(number, trainer.epoch + 1, rate, logged, images, batch["label"]))
        if on_cpu(loss) or (trainer.batch_idx + 1) % trainer.cfg.TRAIN.PRINT_FREQ == 0:
            self.read()
        return logged

    def read(self) -> None:
        """Read the losses of all steps that were added. All ranks call it at once.

        Raises FloatingPointError if one is not finite, after writing failure.json into the run's folder. The first rank
        that fails does so; the others then raise OtherRankError.
        """
        if not self.steps:
            return
        scalars = [value.double().flatten() for step in self.steps for value in step.logged.values()]
        values = iter(torch.cat(scalars).tolist())
        read = [dict(zip(step.logged, values)) for step in self.steps]
        steps, self.steps, self.last = self.steps, [], read[-1]
        bad = next((i for i, logged in enumerate(read) if not math.isfinite(logged["loss"])), None)
        failed = distributed.first_failure(math.inf if bad is None else steps[bad].number)
        if failed is None:
            return
        try:
            if failed == distributed.rank() and bad is not None:
                raise FloatingPointError(self.explained(steps[bad], read[bad], bad + 1 == len(steps)))
        finally:
            distributed.barrier()  # failure.json is there before the first rank goes on, which removes a run without it
        raise distributed.OtherRankError

    def explained(self, step: Step, logged: Mapping[str, float], newest: bool) -> str:
        """Write failure.json, and say in words where the training failed and what may help. The parameters still have
        the gradients of the step before only if the step is the newest."""
        trainer = self.trainer
        facts = {
            "epoch": step.epoch,
            "step": step.number,
            "learning_rate": step.rate,
            "loss": str(logged["loss"]),
            "terms": {name: str(value) for name, value in logged.items() if name != "loss"},
            "gradient_norm_before": str(gradient_norm(trainer.learned)) if newest else None,
            "images": list(step.images),
            "labels": step.labels.tolist(),
        }
        where = f"the loss is {logged['loss']} in epoch {step.epoch}, step {step.number}"
        if trainer.output_dir:
            path = Path(trainer.output_dir, FAILURE_FILE)
            write_atomically(path, json.dumps(facts, indent=1, ensure_ascii=False) + "\n")
            where += f" (see {path}, with the step's images, and log.txt)"
        return (
            f"{where}. A smaller OPTIM.LR (now {step.rate:g}) or TRAINER.{type(trainer).__name__.upper()}.PREC fp32 "
            "usually helps; the last checkpoint, if there is one, is from before"
        )


def gradient_norm(module: nn.Module) -> float | None:
    """The Euclidean norm of all gradients of a module, None if it has none."""
    squares = [float(p.grad.float().square().sum()) for p in module.parameters() if p.grad is not None]
    return math.sqrt(sum(squares)) if squares else None
