"""Every precision over many steps, and what storing the towers in half changes."""

import pytest
import torch
import toy
from dassl.engine import TRAINER_REGISTRY, build_trainer

from trainers.base import PromptTrainer

METHODS = [TRAINER_REGISTRY.get(name) for name in TRAINER_REGISTRY.registered_names()]
LEARNING = [m.__name__ for m in METHODS if issubclass(m, PromptTrainer) and m.learns_by_gradient and m.uses_shots]


def build(root, out, name, precision):
    trainer = build_trainer(toy.config(root, out, name, f"TRAINER.{name.upper()}.PREC", precision))
    trainer.epoch, trainer.batch_idx, trainer.num_batches = 0, 0, 10**9
    return trainer


@pytest.mark.slow
@pytest.mark.parametrize("name", LEARNING)
@pytest.mark.parametrize("precision", ["fp32", "amp", "bf16", "fp16"])
def test_200_steps_stay_finite(toy_root, tmp_path, name, precision):
    trainer = build(toy_root, tmp_path, name, precision)
    steps = 0
    while steps < 200:
        for batch in trainer.train_loader_x:
            assert torch.isfinite(torch.tensor(trainer.forward_backward(batch)["loss"]))
            steps += 1
    assert all(p.isfinite().all() for p in trainer.prompts.parameters())


@pytest.mark.parametrize("precision", ["amp", "bf16", "fp16"])
def test_half_precision_logits_are_near_fp32(toy_root, tmp_path, precision):
    logits = {}
    for name in ("fp32", precision):
        torch.manual_seed(0)
        trainer = build(toy_root, tmp_path, "SoftCPT", name)
        batch = next(iter(trainer.test_loader.loader))
        logits[name] = trainer.model_inference(batch["img"])
    assert logits[precision].dtype == torch.float32
    spread = logits["fp32"].max() - logits["fp32"].min()
    assert (logits[precision] - logits["fp32"]).abs().max() < 0.05 * spread
