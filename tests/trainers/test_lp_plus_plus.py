"""LP++ against the figures of its public code, and its steps against autograd."""

import plain
import pytest
import torch
import torch.nn.functional as F
from methods import CLASSNAMES, TASK, TEMPLATES, build, relative
from public_code import golden, single_batches

from trainers.lp_plus_plus import descend, start


@pytest.mark.parametrize("steps", [25, 300])
def test_start_and_steps_match_the_public_code(toy_root, tmp_path, steps):
    trainer = build(toy_root, tmp_path, "LPPlusPlus", dataset="ToySingle")
    arrays = golden("single-LPPlusPlus")
    images, label = single_batches()
    index = torch.from_numpy(arrays["index"])
    with torch.no_grad():
        f = F.normalize(trainer.clip.encode_image(images.flatten(0, 1)[index]), dim=1)
        weight, alpha = start(f, label.flatten()[index], trainer.base)
        assert relative(weight[:, :-1], arrays["weight"]) < 1e-4 and not weight[:, -1].any()
        assert relative(alpha, arrays["alpha"]) < 1e-4
        weight[:, -1] = torch.from_numpy(arrays["bias"])  # that it draws
        descend(weight, alpha, f, label.flatten()[index], trainer.base, steps, 10, "released")
        trainer.learned.weight.copy_(weight)
        trainer.learned.alpha.copy_(alpha)
    assert relative(alpha, arrays[f"alpha{steps}"]) < 1e-4
    assert relative(weight[:, :-1], arrays[f"weight{steps}"]) < 1e-4
    assert relative(weight[:, -1], arrays[f"bias{steps}"]) < 1e-4
    assert relative(trainer.model_inference(images[5]), arrays[f"logits{steps}"]) < 1e-4


@pytest.mark.parametrize("schedule", ["standard", "released"])
def test_each_task_has_its_own_loss_and_step_sizes(toy_root, tmp_path, schedule):
    trainer = build(toy_root, tmp_path, "LPPlusPlus", "STEPS", 7, "ALPHA_EVERY", 3, "SCHEDULE", schedule)
    trainer.train()
    features = F.normalize(trainer.view_features(1)[:, 0], dim=1)
    label = torch.tensor([item.label for item in trainer.dm.dataset.train_x])
    text = F.normalize(plain.zero_shot(CLASSNAMES, TEMPLATES), dim=1)
    for t in range(3):
        classes = (t == TASK).nonzero().flatten().tolist()
        shots = [(f, classes.index(y)) for f, y in zip(features, label.tolist()) if y in classes]
        f, y = torch.stack([f for f, _ in shots]), torch.tensor([y for _, y in shots])
        names = text[classes]
        w = torch.stack([sum(f[i] for i in range(len(f)) if y[i] == k) for k in range(len(names))]).requires_grad_()
        b = torch.zeros(len(names), requires_grad=True)
        means = [sum(f[i] @ names[k] for i in range(len(f)) if y[i] == k) / 4 for k in range(len(names))]
        alpha = torch.full((len(names),), 250 * (sum(means) / len(names)).item(), requires_grad=True)
        optimiser = torch.optim.SGD([w, b], 4 * len(f) / torch.linalg.eigvalsh(f.T @ f).max().item(), momentum=0.9)
        bound = max(sum((x @ name) ** 2 for x in f) for name in names)
        for step in range(1, 8):
            loss = F.cross_entropy(torch.stack([x @ (w + alpha.unsqueeze(1) * names).T + b for x in f]), y)
            if schedule == "standard":
                alpha.grad = None
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            if step % 3 == 0:
                alpha.data -= len(f) / (4 * bound) * alpha.grad
        mine = t == TASK
        assert relative(trainer.learned.weight[mine, :-1], w.detach()) < 1e-4
        assert relative(trainer.learned.weight[mine, -1], b.detach()) < 1e-3
        assert relative(trainer.learned.alpha[mine], alpha.detach()) < 1e-4
        logits = trainer.model_inference(f)[:, mine]
        torch.testing.assert_close(logits, (f @ (w + alpha.unsqueeze(1) * names).T + b).detach(), rtol=1e-3, atol=1e-3)
    assert trainer.n_params == 10 * (32 + 2)


def test_one_class_or_no_shots_give_finite_weights():
    f, t = F.normalize(torch.randn(3, 8), dim=1), F.normalize(torch.randn(2, 8), dim=1)
    for y, names in ((torch.zeros(3, dtype=torch.long), t[:1]), (torch.ones(3, dtype=torch.long), t)):
        weight, alpha = start(f, y, names)
        descend(weight, alpha, f, y, names, 20, 10, "standard")
        assert weight.isfinite().all() and alpha.isfinite().all()
