"""PLOT: the transport plan against loops, and the local features of both kinds of image tower."""

import math

import plain
import pytest
import torch
from methods import CLASSNAMES, build, cosine

from trainers.engine.losses import sinkhorn


def naive_sinkhorn(similarity, epsilon, n_iterations):
    n_rows, n_columns = len(similarity), len(similarity[0])
    kernel = [[math.exp(-(1 - s) / epsilon) for s in row] for row in similarity]
    r, c = [1.0] * n_rows, [1.0] * n_columns
    for _ in range(n_iterations):
        r = [1 / n_rows / sum(kernel[i][j] * c[j] for j in range(n_columns)) for i in range(n_rows)]
        c = [1 / n_columns / sum(kernel[i][j] * r[i] for i in range(n_rows)) for j in range(n_columns)]
    return [[r[i] * kernel[i][j] * c[j] for j in range(n_columns)] for i in range(n_rows)]


@pytest.mark.parametrize("n_iterations", [1, 7, 100])
def test_sinkhorn_matches_loops(n_iterations):
    torch.manual_seed(0)
    similarity = (2 * torch.rand(2, 3, 4, 5) - 1).requires_grad_()
    plan = sinkhorn(similarity, 0.1, 0.0, n_iterations)
    assert not plan.requires_grad
    for b in range(2):
        for c in range(3):
            expected = torch.tensor(naive_sinkhorn(similarity[b, c].tolist(), 0.1, n_iterations))
            torch.testing.assert_close(plan[b, c], expected, rtol=1e-4, atol=1e-7)


def test_sinkhorn_converges_to_uniform_marginals():
    similarity = 2 * torch.rand(6, 4, 3, generator=torch.Generator().manual_seed(0)) - 1
    plan = sinkhorn(similarity, 0.5, 1e-6, 1000)
    torch.testing.assert_close(plan.sum(-1), torch.full((6, 4), 1 / 4), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(plan.sum(-2), torch.full((6, 3), 1 / 3), rtol=1e-4, atol=1e-6)
    assert torch.equal(plan, sinkhorn(similarity, 0.5, 1e-6, 500))
    assert not torch.equal(plan, sinkhorn(similarity, 0.5, 1e-6, 2))


def test_sinkhorn_is_finite_in_extreme_cases():
    extreme = torch.tensor([[1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    for similarity in (extreme, extreme.abs(), -extreme.abs(), extreme[:, :1]):
        plan = sinkhorn(similarity)
        assert plan.isfinite().all() and plan.sum().item() == pytest.approx(1, abs=1e-3)
    torch.testing.assert_close(sinkhorn(extreme[:, :1]), torch.full((3, 1), 1 / 3))


# -- local features ----------------------------------------------------------------------------------------------------


def test_resnet_local_features_match_loops(resnet):
    visual, image = resnet, torch.randn(2, 3, 64, 64)
    pool = visual.attnpool
    taken = []
    hook = pool.register_forward_hook(lambda module, inputs, output: taken.append(inputs[0]))
    pooled = visual(image)
    hook.remove()
    features = visual.local_features(image)
    assert features.shape == (2, 4, 8)
    assert not pool._forward_pre_hooks and torch.equal(visual(image), pooled)  # the tower is unchanged
    for b in range(2):
        cells = taken[0][b].flatten(1).T  # (4, W)
        x = torch.cat([cells.mean(0, keepdim=True), cells]) + pool.positional_embedding
        q, k, v = pool.q_proj(x), pool.k_proj(x), pool.v_proj(x)
        width = q.shape[1] // pool.num_heads
        for i in range(5):
            heads = []
            for h in range(pool.num_heads):
                part = slice(h * width, (h + 1) * width)
                weight = torch.softmax(k[:, part] @ q[i, part] / math.sqrt(width), dim=0)
                heads.append(sum(w * row for w, row in zip(weight, v[:, part])))
            expected = pool.c_proj(torch.cat(heads))
            found = pooled[b] if i == 0 else features[b, i - 1]
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def test_vit_local_features_are_projected_patch_tokens(toy_root, tmp_path):
    trainer = build(toy_root, tmp_path, "PLOT")
    visual, image = plain.reference().visual, torch.randn(2, 3, 32, 32)
    tokens = []
    hook = visual.transformer.register_forward_hook(lambda module, inputs, output: tokens.append(output))
    pooled = visual(image)
    hook.remove()
    rows = [visual.ln_post(token) @ visual.proj for token in tokens[0]]  # 1 + 4 of (2, E)
    torch.testing.assert_close(rows[0], pooled)
    torch.testing.assert_close(trainer.image_features(image), torch.stack(rows[1:], dim=1))


# -- PLOT --------------------------------------------------------------------------------------------------------------


def test_logits_match_the_plan_of_loops(toy_root, tmp_path):
    trainer = build(toy_root, tmp_path, "PLOT", "N", 2, "THRESH", 0.0, "MAX_ITER", 20)
    local = torch.randn(2, 4, 32)
    logits = trainer.model_inference(local)
    contexts = trainer.learned.ctx.detach()
    texts = [plain.features(plain.reference(), CLASSNAMES, context.expand(10, -1, -1)) for context in contexts]
    scale = trainer.clip.logit_scale.exp().item()
    for b in range(2):
        for c in range(10):
            similarity = [[cosine(token, text[c].tolist()) for text in texts] for token in local[b].tolist()]
            plan = naive_sinkhorn(similarity, 0.1, 20)
            expected = scale * sum(t * s for row, other in zip(plan, similarity) for t, s in zip(row, other))
            assert logits[b, c].item() == pytest.approx(expected, rel=1e-3, abs=1e-3)


def test_iterations_stop_per_task(toy_root, tmp_path):
    """The images of one task must not be iterated further because of another task's."""
    trainer = build(toy_root, tmp_path, "PLOT", "N", 2)
    local, label = torch.randn(6, 4, 32), torch.tensor([0, 4, 9, 1, 3, 8])
    task = trainer.class_task[label]
    logits = trainer.class_logits(local, trainer.class_features(), task=task)
    texts = trainer.text_features()
    for t in range(3):
        own = trainer.class_task == t
        expected = trainer.logits(local[task == t], texts[own])
        torch.testing.assert_close(logits[task == t][:, own], expected, rtol=1e-5, atol=1e-5)
        assert (logits[task == t][:, ~own] == -torch.inf).all()
    rows = torch.tensor([3, 4, 8, 9])  # of the tasks 1 and 2
    some = trainer.class_logits(local[task > 0], trainer.class_features(rows), rows, task[task > 0])
    full = trainer.class_logits(local[task > 0], trainer.class_features(rows), rows)
    finite = some.isfinite()
    assert torch.equal(finite, trainer.class_task[rows] == task[task > 0].unsqueeze(1))
    torch.testing.assert_close(some[finite], full[finite], rtol=0.05, atol=0.5)
    loss, _ = trainer.compute_loss(local, label)
    loss.backward()
    assert trainer.learned.ctx.grad.abs().sum() > 0


def test_eps_is_not_the_optimisers(toy_root, tmp_path):
    """ProLIP and Tip-Adapter-F have an EPS, too, which is Adam's."""
    trainer = build(toy_root, tmp_path, "PLOT", "EPS", 0.5, opts=("OPTIM.NAME", "adam"))
    assert [group["eps"] for group in trainer.optim.param_groups] == [1e-8]
