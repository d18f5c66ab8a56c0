"""ProLIP against the figures of its public code, and its projection over several tasks."""

import math

import numpy as np
import plain
import pytest
import torch
import torch.nn.functional as F
from methods import CLASSNAMES, TEMPLATES, batch_of, build, check_loss, relative, task_cross_entropy
from public_code import golden, single_batches


def test_thirty_steps_match_the_public_code(toy_root, tmp_path):
    """Each of all 32 images, with three views in turn, the second first; lambda 1/4."""
    optim = ("OPTIM.NAME", "adam", "OPTIM.LR", 0.001, "OPTIM.WEIGHT_DECAY", 0.0, "OPTIM.WARMUP_EPOCH", 0)
    opts = (*optim, "OPTIM.MAX_EPOCH", 30, "DATASET.NUM_SHOTS", 4)
    trainer = build(toy_root, tmp_path, "ProLIP", dataset="ToySingle", opts=opts)
    trainer.clip.logit_scale.data.fill_(math.log(100))  # the public code's own
    arrays, (images, label) = golden("single-ProLIP"), single_batches()
    flat, label = images[:4].flatten(0, 1), label[:4].flatten()
    losses, rates, distances = [], [], []
    trainer.batch_idx, trainer.num_batches = 0, 1
    assert relative(trainer.model_inference(flat.roll(1, -1)), arrays["logits"]) < 1e-4
    for trainer.epoch in range(30):
        rates.append(trainer.get_current_lr())
        view = flat.roll((trainer.epoch + 1) % 3, -1)
        logs = trainer.forward_backward({"img": view, "label": label, "domain": torch.zeros(32)})
        losses.append(logs["loss"])
        distances.append(logs["distance"])
        if trainer.epoch == 1:
            assert relative(trainer.learned.weight.grad, arrays["grads"]) < 1e-4
    np.testing.assert_allclose(rates, arrays["lrs"], rtol=1e-6)
    np.testing.assert_allclose(losses, arrays["losses"], rtol=1e-4)
    np.testing.assert_allclose(distances, arrays["distances"], rtol=1e-4, atol=1e-9)
    assert relative(trainer.learned.weight.detach(), arrays["final"]) < 1e-4
    assert relative(trainer.model_inference(images[5]), arrays["final_logits"]) < 1e-4


def test_tasks_share_the_projection(toy_root, tmp_path):
    trainer = build(toy_root, tmp_path, "ProLIP", "LAMBDA", 3.0, "POWER", 2.0, opts=("DATASET.NUM_SHOTS", 2))
    batch = batch_of(trainer)
    weight = trainer.learned.weight
    weight.data += 0.1 * torch.randn(64, 32)
    visual, below = plain.reference().visual, []
    hook = visual.ln_post.register_forward_hook(lambda module, inputs, output: below.append(output))
    visual(batch["img"])
    hook.remove()
    text = F.normalize(plain.zero_shot(CLASSNAMES, TEMPLATES), dim=1)
    logits = trainer.clip.logit_scale.exp() * F.normalize(below[0] @ weight, dim=1) @ text.T
    torch.testing.assert_close(trainer.model_inference(batch["img"]), logits.detach(), rtol=1e-4, atol=1e-4)
    distance = (weight - visual.proj).square().sum()
    check_loss(trainer, batch, task_cross_entropy(logits, batch["label"]) + 3 / 4 * distance)


def test_resnet_features_are_a_projection(resnet):
    visual, image = resnet, torch.randn(3, 3, 64, 64)
    weight, bias = visual.projection_weights()
    torch.nn.init.normal_(visual.attnpool.c_proj.bias)
    torch.testing.assert_close(visual.unprojected(image) @ weight + bias, visual(image), rtol=1e-4, atol=1e-5)


def test_it_starts_as_zero_shot_clip_and_serves_new_tasks(toy_root, tmp_path):
    trainer = build(toy_root, tmp_path / "base", "ProLIP", opts=("DATASET.TASKS", "base", "OPTIM.MAX_EPOCH", 1))
    zero = build(toy_root, tmp_path / "zero", "ZeroshotCLIP", opts=("DATASET.TASKS", "base"))
    image = batch_of(trainer)["img"]
    torch.testing.assert_close(trainer.model_inference(image), zero.model_inference(image), rtol=1e-4, atol=1e-4)
    trainer.train()
    new = build(toy_root, tmp_path / "new", "ProLIP", opts=("DATASET.TASKS", "new"))
    new.load_model(str(tmp_path / "base"))
    new.test()
    assert [task.name for task in new.tasks] == ["aircraft model recognition"]
    assert torch.equal(new.learned.weight, trainer.learned.weight)


def test_shots_per_class_are_counted(toy_root, tmp_path):
    assert build(toy_root, tmp_path, "ProLIP").strength == pytest.approx(1 / 4)
    assert build(toy_root, tmp_path, "ProLIP", opts=("DATASET.NUM_SHOTS", 1)).strength == 1
