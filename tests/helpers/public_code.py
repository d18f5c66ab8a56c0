"""Figures that the methods' public code computed on a tiny CLIP (tests/golden), and trainers that start from them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
import toy
from dassl.engine import build_trainer
from methods import relative
from torch import Tensor

EPOCHS, BATCHES = 5, 6
OFFSETS = torch.tensor([0, 3, 5])  # of the tasks' labels
NAMES = {
    "task_prompt_learner.ctx": "task_context.ctx",
    "class_prompt_learner.ctx": "class_context.ctx",
    "prompt_gen.proj": "meta_net.weight",
}


class Case(NamedTuple):
    """What a run of the public code computed, and the same run here.

    Attributes:
        arrays: the figures.
        trainer: with the initial parameters of that run.
        batches: the batches of each of its epochs.
    """

    arrays: dict[str, np.ndarray]
    trainer: object
    batches: list[dict[str, Tensor]]


def golden(name: str) -> dict[str, np.ndarray]:
    with np.load(toy.GOLDEN / f"{name}.npz") as arrays:
        return {key: arrays[key] for key in arrays.files}


def group(arrays: dict[str, np.ndarray], prefix: str) -> dict[str, Tensor]:
    """The arrays whose names begin with `prefix`, under the names of the parameters here."""
    keys = [key.removeprefix(prefix) for key in arrays if key.startswith(prefix)]
    return {NAMES.get(key, key.removeprefix("prompt_learner.")): torch.from_numpy(arrays[prefix + key]) for key in keys}


def single_batches() -> tuple[Tensor, Tensor]:
    """Images (6, 8, 3, H, W) and labels (6, 8) of the single data set."""
    data = {key: torch.from_numpy(value) for key, value in golden("batches").items()}
    return data["images"], data["label"] % 5


def case_of(name, root, folder, method, *opts) -> Case:
    """The stored figures `name`; opts are config pairs, in which the method's own keys are complete."""
    single = name.startswith("single")
    opts = ("OPTIM.MAX_EPOCH", EPOCHS, *opts)
    trainer = build_trainer(toy.config(root, folder, method, *opts, dataset="ToySingle" if single else "ToyTasks"))
    arrays = golden(name)
    trainer.learned.load_state_dict({**trainer.learned.state_dict(), **group(arrays, "init/")})
    data = {key: torch.from_numpy(value) for key, value in golden("batches").items()}
    label = data["label"] % 5 if single else OFFSETS[data["task"]] + data["label"]
    task = torch.zeros_like(data["task"]) if single else data["task"]
    batches = [{"img": data["images"][i], "label": label[i], "domain": task[i]} for i in range(BATCHES)]
    return Case(arrays, trainer, batches)


def check_gradients(case: Case) -> None:
    """Check that the gradients of the prompts are those of the public code."""
    gradients = group(case.arrays, "grads/")
    assert gradients.keys() == dict(case.trainer.learned.named_parameters()).keys()
    for name, parameter in case.trainer.learned.named_parameters():
        assert relative(parameter.grad, gradients[name]) < 1e-4, name


def check_training(case: Case, rtol: float = 1e-4, after_epoch=lambda: None) -> list[dict[str, float]]:
    """Thirty steps have the losses, learning rates, final parameters and logits of the public code; what they log."""
    arrays, trainer, batches = case
    logs, rates = [], []
    trainer.num_batches = BATCHES
    for trainer.epoch in range(EPOCHS):
        for trainer.batch_idx, batch in enumerate(batches):
            rates.append(trainer.get_current_lr())
            logs.append(trainer.forward_backward(batch))
        after_epoch()
    np.testing.assert_allclose(rates, arrays["lrs"], rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose([step["loss"] for step in logs], arrays["losses"], rtol=rtol)
    assert relative(trainer.model_inference(batches[0]["img"]), arrays["final_logits"]) < rtol
    for name, value in group(arrays, "final/").items():
        assert relative(trainer.learned.state_dict()[name], value) < rtol, name
    return logs
