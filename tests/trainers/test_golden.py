"""The trainers compute what the methods' own public code computes on a tiny CLIP (figures stored in tests/golden)."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import toy
from dassl.engine import build_trainer
from methods import relative
from public_code import case_of, check_gradients, check_training, golden, group

from trainers.engine.losses import knowledge_distance

CASES = {
    "NATA": ("SoftCPT", {"VARIANT": "NATA", "SCHEDULE": "released"}),
    "NATA-middle": ("SoftCPT", {"VARIANT": "NATA", "SCHEDULE": "released", "CLASS_TOKEN_POSITION": "middle"}),
    "CATS": ("SoftCPT", {"VARIANT": "CATS", "SCHEDULE": "released"}),
    "CoOp-MT": ("CoOp", {}),
    "CoOp-CS": ("CoOp", {"CSC": True}),
    "single-CoOp": ("CoOp", {}),
    "single-CoCoOp": ("CoCoOp", {}),
    "single-KgCoOp": ("KgCoOp", {"TEACHER_TEMPLATE": "a photo of a {}, a type of pet."}),
    "single-ProGrad": ("ProGrad", {"TEACHER_TEMPLATE": "a type of pet, a photo of a {}.", "LAMBDA": 0.8}),
}


@pytest.fixture(params=CASES)
def case(request, toy_root, tmp_path):
    method, options = CASES[request.param]
    opts = [item for key, value in options.items() for item in (f"TRAINER.{method.upper()}.{key}", value)]
    return case_of(request.param, toy_root, tmp_path, method, *opts)


def test_logits_loss_and_gradients_match_the_public_code(case):
    arrays, trainer, batches = case
    assert relative(trainer.model_inference(batches[0]["img"]), arrays["logits"]) < 1e-4

    if "teacher_features" in arrays:  # KgCoOp
        assert relative(F.normalize(trainer.teacher, dim=-1), arrays["teacher_features"]) < 1e-4
        assert relative(knowledge_distance(trainer.text_features(), trainer.teacher).detach(), arrays["score"]) < 1e-4
    if "teacher_logits" in arrays:  # ProGrad
        x = trainer.image_features(batches[0]["img"])
        assert relative(trainer.logits(x, trainer.teacher), arrays["teacher_logits"]) < 1e-4
    if "loss" in arrays:
        loss, _ = trainer.compute_loss(trainer.image_features(batches[0]["img"]), batches[0]["label"])
        assert relative(loss.detach(), arrays["loss"]) < 1e-4
        loss.backward()
        check_gradients(case)


def test_thirty_steps_match_the_public_code(case):
    logs = check_training(case, rtol=1e-3)
    if "kl" in case.arrays:  # ProGrad
        np.testing.assert_allclose([step["kl"] for step in logs], case.arrays["kl"], rtol=1e-3)


def test_plot_matches_the_public_code(toy_root, tmp_path):
    """On the features of another tiny CLIP's image tower, a ResNet."""
    weights = {**golden("tiny_vit"), **golden("tiny_rn_text")}
    np.savez(tmp_path / "clip.npz", **weights)
    opts = ("MODEL.BACKBONE.NAME", f"{tmp_path}/clip.npz@quickgelu")
    trainer = build_trainer(toy.config(toy_root, tmp_path / "run", "PLOT", *opts, dataset="ToySingle"))
    arrays = golden("single-PLOT")
    trainer.learned.load_state_dict({**trainer.learned.state_dict(), **group(arrays, "init/")})
    local, label = torch.from_numpy(arrays["tokens"])[1:].transpose(0, 1), torch.from_numpy(arrays["lab"])
    assert relative(trainer.model_inference(local), arrays["logits"]) < 1e-4
    loss, _ = trainer.compute_loss(local, label)
    assert relative(loss.detach(), arrays["loss"]) < 1e-4
    loss.backward()
    assert relative(trainer.learned.ctx.grad, group(arrays, "grads/")["ctx"]) < 1e-4
