"""The trainers compute what the methods' own public code computes on a tiny CLIP (figures stored in tests/golden)."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import toy
from dassl.engine import build_trainer
from methods import METHODS, build, relative
from public_code import case_of, check_gradients, check_training, golden, group

from softcpt.tasks import Task
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
    "single-MaPLe": ("MaPLe", {"DEPTH": 2}, ("OPTIM.LR", 0.0035)),
    "single-TaskRes": ("TaskRes", {}, ("OPTIM.NAME", "adam")),
    "single-ProGrad": ("ProGrad", {"TEACHER_TEMPLATE": "a type of pet, a photo of a {}.", "LAMBDA": 0.8}),
}
SAME_CODE = {"TipAdapterF": "single-TipAdapter"}  # methods whose figures are in another's file
WITHOUT_PUBLIC_CODE = {
    "ProtoNet": "our own definition: class means of image features",
    "ZeroshotCLIP": "CLIP itself: the zero-shot logits are in the files of other methods",
}


@pytest.fixture(params=CASES)
def case(request, toy_root, tmp_path):
    method, options, *more = CASES[request.param]
    opts = [item for key, value in options.items() for item in (f"TRAINER.{method.upper()}.{key}", value)]
    return case_of(request.param, toy_root, tmp_path, method, *opts, *(more[0] if more else ()))


def test_logits_loss_and_gradients_match_the_public_code(case):
    arrays, trainer, batches = case
    assert relative(trainer.model_inference(batches[0]["img"]), arrays["logits"]) < 1e-4

    if "base" in arrays:  # TaskRes
        assert relative(trainer.base, arrays["base"]) < 1e-4
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


def test_linear_probe_matches_the_public_code(toy_root, tmp_path):
    """On the features that CoOp's script got: the C that its search ends with, and the regression with it."""
    trainer = build(toy_root, tmp_path, "LinearProbe")
    arrays = golden("single-LinearProbe")
    shots = arrays["train"], arrays["train_label"]
    log_c = trainer.search(Task("toy", tuple("abcde")), *shots, arrays["val"], arrays["val_label"])
    np.testing.assert_allclose(10**log_c, arrays["C"], rtol=1e-9)
    weight = torch.from_numpy(trainer.regress(*shots, log_c))
    assert relative(weight[:, :-1], arrays["weight"]) < 1e-4 and relative(weight[:, -1], arrays["bias"]) < 1e-4
    trainer.learned.weight[:5] = weight
    logits = trainer.class_logits(torch.from_numpy(arrays["test"]), trainer.class_features())[:, :5]
    assert (logits.argmax(1).numpy() == arrays["prediction"]).all()
    assert relative(logits.softmax(1), arrays["probability"]) < 1e-4


def test_every_method_has_the_figures_of_its_public_code():
    """README says that the trainers reproduce them: a new method needs a golden file, or a reason here."""
    files = {path.stem.removeprefix("single-") for path in toy.GOLDEN.glob("single-*.npz")}
    covered = files | {method for method, *_ in CASES.values()} | set(SAME_CODE)
    assert set(METHODS) - covered - set(WITHOUT_PUBLIC_CODE) == set()
    assert not covered & set(WITHOUT_PUBLIC_CODE) and files <= set(METHODS)
