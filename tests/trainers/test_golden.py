"""The trainers compute what the methods' own public code computes on a tiny CLIP (figures stored in tests/golden)."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import toy
from dassl.engine import build_trainer

from trainers.modules.losses import knowledge_distance

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
NAMES = {
    "task_prompt_learner.ctx": "task_context.ctx",
    "class_prompt_learner.ctx": "class_context.ctx",
    "prompt_gen.proj": "meta_net.weight",
}
OFFSETS = torch.tensor([0, 3, 5])
EPOCHS, BATCHES = 5, 6


def golden(name: str) -> dict[str, np.ndarray]:
    with np.load(toy.GOLDEN / f"{name}.npz") as arrays:
        return {key: arrays[key] for key in arrays.files}


def group(case: dict[str, np.ndarray], prefix: str) -> dict[str, torch.Tensor]:
    keys = [key.removeprefix(prefix) for key in case if key.startswith(prefix)]
    return {NAMES.get(key, key.removeprefix("prompt_learner.")): torch.from_numpy(case[prefix + key]) for key in keys}


@pytest.fixture(params=CASES)
def case(request, toy_root, tmp_path):
    """(golden arrays, trainer with the golden initial parameters, batches)."""
    method, options = CASES[request.param]
    single = request.param.startswith("single")
    opts = [item for key, value in options.items() for item in (f"TRAINER.{method.upper()}.{key}", value)]
    cfg = toy.config(
        toy_root, tmp_path, method, "OPTIM.MAX_EPOCH", EPOCHS, *opts, dataset="ToySingle" if single else "ToyTasks"
    )
    trainer = build_trainer(cfg)
    arrays = golden(request.param)
    trainer.prompts.load_state_dict({**trainer.prompts.state_dict(), **group(arrays, "init/")})
    data = {key: torch.from_numpy(value) for key, value in golden("batches").items()}
    label = data["label"] % 5 if single else OFFSETS[data["task"]] + data["label"]
    batches = [{"img": data["images"][i], "label": label[i], "domain": data["task"][i]} for i in range(BATCHES)]
    return arrays, trainer, batches


def relative(value, expected) -> float:
    value, expected = torch.as_tensor(value).double(), torch.as_tensor(expected).double()
    return ((value - expected).abs().max() / expected.abs().max()).item()


def test_logits_loss_and_gradients_are_those_of_the_public_code(case):
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
        gradients = group(arrays, "grads/")
        assert gradients.keys() == dict(trainer.prompts.named_parameters()).keys()
        for name, parameter in trainer.prompts.named_parameters():
            assert relative(parameter.grad, gradients[name]) < 1e-4, name


def test_thirty_steps_have_the_losses_and_learning_rates_of_the_public_code(case):
    arrays, trainer, batches = case
    losses, rates, distances = [], [], []
    trainer.num_batches = BATCHES
    for trainer.epoch in range(EPOCHS):
        for trainer.batch_idx, batch in enumerate(batches):
            rates.append(trainer.get_current_lr())
            logs = trainer.forward_backward(batch)
            losses.append(logs["loss"])
            distances.append(logs.get("kl"))
    np.testing.assert_allclose(rates, arrays["lrs"], rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(losses, arrays["losses"], rtol=1e-3)
    if "kl" in arrays:  # ProGrad
        np.testing.assert_allclose(distances, arrays["kl"], rtol=1e-3)
    assert relative(trainer.model_inference(batches[0]["img"]), arrays["final_logits"]) < 1e-3
    for name, value in group(arrays, "final/").items():
        assert relative(trainer.prompts.state_dict()[name], value) < 1e-3, name


def test_plot_has_the_logits_loss_and_gradients_of_the_public_code(toy_root, tmp_path):
    """From the features that the image tower of another tiny CLIP, a ResNet, gave it."""
    weights = {**golden("tiny_vit"), **golden("tiny_rn_text")}
    np.savez(tmp_path / "clip.npz", **weights)
    opts = ("MODEL.BACKBONE.NAME", f"{tmp_path}/clip.npz@quickgelu")
    trainer = build_trainer(toy.config(toy_root, tmp_path / "run", "PLOT", *opts, dataset="ToySingle"))
    arrays = golden("single-PLOT")
    trainer.prompts.load_state_dict({**trainer.prompts.state_dict(), **group(arrays, "init/")})
    local, label = torch.from_numpy(arrays["tokens"])[1:].transpose(0, 1), torch.from_numpy(arrays["lab"])
    assert relative(trainer.model_inference(local), arrays["logits"]) < 1e-4
    loss, _ = trainer.compute_loss(local, label)
    assert relative(loss.detach(), arrays["loss"]) < 1e-4
    loss.backward()
    assert relative(trainer.prompts.ctx.grad, group(arrays, "grads/")["ctx"]) < 1e-4
