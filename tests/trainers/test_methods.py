"""Each method's own mathematics, against naive loops and the clip package's plain path."""

import math

import numpy as np
import plain
import pytest
import torch
import torch.nn.functional as F
import toy
from clip import clip
from sklearn.linear_model import LogisticRegression
from test_trainers import batch_of, build

from backbones import config
from backbones.image import ResNet
from datasets.multitask import Task
from trainers.linear_probe import GRID, search_c
from trainers.modules.losses import distillation_loss, knowledge_distance, project_conflicting, sinkhorn
from trainers.modules.method_parts.validation import metric_of
from trainers.modules.prompts.hand_made import ENSEMBLE

CLASSNAMES = [name.replace("_", " ") for names in toy.CLASSES.values() for name in names]
TASK = torch.tensor([0] * 3 + [1] * 2 + [2] * 5)
TEMPLATES = ["a photo of a {}."] * 3 + ["{} texture."] * 2 + ["a photo of a {}."] * 5


def cosine(a, b):
    return sum(x * y for x, y in zip(a, b)) / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))


def relative(value, expected):
    return ((value - expected).abs().max() / expected.abs().max()).item()


# -- pieces of losses --------------------------------------------------------------------------------------------------


def test_the_knowledge_distance_is_one_minus_the_mean_cosine():
    torch.manual_seed(0)
    learned, teacher = torch.randn(5, 4, requires_grad=True), torch.randn(5, 4)
    distance = knowledge_distance(learned, teacher)
    expected = 1 - sum(cosine(a, b) for a, b in zip(learned.tolist(), teacher.tolist())) / 5
    assert distance.item() == pytest.approx(expected, rel=1e-5)
    distance.backward()
    assert learned.grad.isfinite().all() and learned.grad.any()
    assert knowledge_distance(teacher, 3 * teacher).item() == pytest.approx(0, abs=1e-6)
    squared = sum((F.normalize(learned, dim=1) - F.normalize(teacher, dim=1)).square().sum(1)) / 5
    assert distance.item() == pytest.approx(squared.item() / 2, rel=1e-5)  # the paper's form


@pytest.mark.parametrize("strength", [1.0, 0.8])
def test_a_conflicting_gradient_loses_its_component_against_the_general_direction(strength):
    torch.manual_seed(0)
    gradient, general = torch.randn(3, 4), torch.randn(3, 4)
    if (gradient * general).sum() > 0:
        general = -general
    g, u = gradient.flatten().tolist(), general.flatten().tolist()
    norm = math.sqrt(sum(x * x for x in u))
    u = [x / norm for x in u]
    dot = sum(x * y for x, y in zip(g, u))
    expected = [x - strength * dot * y for x, y in zip(g, u)]
    projected = project_conflicting(gradient, general, strength)
    assert projected.flatten().tolist() == pytest.approx(expected, rel=1e-5)
    assert (projected * general).sum().item() == pytest.approx((1 - strength) * dot * norm, abs=1e-5)
    assert torch.equal(project_conflicting(gradient, -general, strength), gradient)
    assert torch.equal(project_conflicting(gradient, torch.zeros(3, 4), strength), gradient)


def test_the_distillation_loss_is_the_cross_entropy_of_the_teachers_probabilities_within_the_task():
    torch.manual_seed(0)
    logits, teacher = torch.randn(3, 5), torch.randn(3, 5)
    own = torch.tensor([[1, 1, 1, 0, 0], [0, 0, 0, 1, 1], [1, 1, 1, 0, 0]]).bool()
    temperature, expected = 2.0, 0.0
    for b in range(3):
        z = [v / temperature for v, o in zip(logits[b].tolist(), own[b]) if o]
        t = [v / temperature for v, o in zip(teacher[b].tolist(), own[b]) if o]
        log_z = math.log(sum(map(math.exp, z)))
        total_t = sum(map(math.exp, t))
        expected -= temperature**2 * sum(math.exp(x) / total_t * (y - log_z) for x, y in zip(t, z)) / 3
    masked = logits.masked_fill(~own, -math.inf).requires_grad_()
    loss = distillation_loss(masked, teacher.masked_fill(~own, -math.inf), temperature)
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    loss.backward()
    assert masked.grad.isfinite().all()


def naive_sinkhorn(similarity, epsilon, n_iterations):
    n_rows, n_columns = len(similarity), len(similarity[0])
    kernel = [[math.exp(-(1 - s) / epsilon) for s in row] for row in similarity]
    r, c = [1.0] * n_rows, [1.0] * n_columns
    for _ in range(n_iterations):
        r = [1 / n_rows / sum(kernel[i][j] * c[j] for j in range(n_columns)) for i in range(n_rows)]
        c = [1 / n_columns / sum(kernel[i][j] * r[i] for i in range(n_rows)) for j in range(n_columns)]
    return [[r[i] * kernel[i][j] * c[j] for j in range(n_columns)] for i in range(n_rows)]


@pytest.mark.parametrize("n_iterations", [1, 7, 100])
def test_the_sinkhorn_plan_is_that_of_the_loops(n_iterations):
    torch.manual_seed(0)
    similarity = (2 * torch.rand(2, 3, 4, 5) - 1).requires_grad_()
    plan = sinkhorn(similarity, 0.1, 0.0, n_iterations)
    assert not plan.requires_grad
    for b in range(2):
        for c in range(3):
            expected = torch.tensor(naive_sinkhorn(similarity[b, c].tolist(), 0.1, n_iterations))
            torch.testing.assert_close(plan[b, c], expected, rtol=1e-4, atol=1e-7)


def test_the_sinkhorn_plan_has_uniform_marginals_and_stops_when_it_no_longer_changes():
    similarity = 2 * torch.rand(6, 4, 3, generator=torch.Generator().manual_seed(0)) - 1
    plan = sinkhorn(similarity, 0.5, 1e-6, 1000)
    torch.testing.assert_close(plan.sum(-1), torch.full((6, 4), 1 / 4), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(plan.sum(-2), torch.full((6, 3), 1 / 3), rtol=1e-4, atol=1e-6)
    assert torch.equal(plan, sinkhorn(similarity, 0.5, 1e-6, 500))
    assert not torch.equal(plan, sinkhorn(similarity, 0.5, 1e-6, 2))


def test_the_sinkhorn_plan_is_finite_for_opposite_and_for_equal_vectors_and_for_one_prompt():
    extreme = torch.tensor([[1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    for similarity in (extreme, extreme.abs(), -extreme.abs(), extreme[:, :1]):
        plan = sinkhorn(similarity)
        assert plan.isfinite().all() and plan.sum().item() == pytest.approx(1, abs=1e-3)
    torch.testing.assert_close(sinkhorn(extreme[:, :1]), torch.full((3, 1), 1 / 3))


# -- local features ----------------------------------------------------------------------------------------------------


def tiny_resnet():
    torch.manual_seed(0)
    tower = ResNet(config.ResNet((1, 1, 1, 1), 4, 2, (64, 64), 8)).eval().requires_grad_(False)
    torch.nn.init.normal_(tower.attnpool.positional_embedding)
    return tower


def test_every_cell_of_a_resnets_grid_queries_the_attention_pool():
    visual, image = tiny_resnet(), torch.randn(2, 3, 64, 64)
    pool = visual.attnpool
    taken = []
    hook = pool.register_forward_hook(lambda module, inputs, output: taken.append(inputs[0]))
    pooled = visual(image)
    hook.remove()
    features = visual.local_features(image)
    assert features.shape == (2, 4, 8)
    assert not pool._forward_pre_hooks and torch.equal(visual(image), pooled)  # the tower is left as it was
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


def test_the_patch_tokens_of_a_vit_are_projected_as_its_class_token_is(toy_root, tmp_path):
    trainer = build(toy_root, tmp_path, "PLOT")
    visual, image = plain.reference().visual, torch.randn(2, 3, 32, 32)
    tokens = []
    hook = visual.transformer.register_forward_hook(lambda module, inputs, output: tokens.append(output))
    pooled = visual(image)
    hook.remove()
    rows = [visual.ln_post(token) @ visual.proj for token in tokens[0]]  # 1 + 4 of (2, E)
    torch.testing.assert_close(rows[0], pooled)
    torch.testing.assert_close(trainer.image_features(image), torch.stack(rows[1:], dim=1))


# -- CoCoOp ------------------------------------------------------------------------------------------------------------


def plain_cocoop_logits(trainer, image):
    """(B, C): every prompt of every image through the 77 tokens of the clip package."""
    x = F.normalize(trainer.clip.encode_image(image), dim=-1)
    rows = []
    for feature in x:
        context = trainer.prompts.ctx + trainer.prompts.meta_net(feature)  # (M, D)
        features = plain.features(plain.reference(), CLASSNAMES, context.expand(len(CLASSNAMES), -1, -1))
        rows.append(trainer.clip.logit_scale.exp() * F.normalize(features, dim=-1) @ feature)
    return torch.stack(rows)


@pytest.mark.parametrize("chunk", [2048, 7])
def test_cocoop_has_the_logits_and_gradients_of_the_plain_path(toy_root, tmp_path, chunk):
    trainer = build(toy_root, tmp_path, "CoCoOp", opts=("TRAINER.TEXT_CHUNK", chunk))
    torch.nn.init.ones_(trainer.prompts.meta_net.linear1.bias)
    image, label = torch.randn(4, 3, 32, 32), torch.tensor([1, 4, 9, 0])
    expected = plain_cocoop_logits(trainer, image)
    assert relative(trainer.model_inference(image), expected.detach()) < 1e-5

    own = TASK == TASK[label].unsqueeze(1)
    expected_loss = F.cross_entropy(expected.masked_fill(~own, -math.inf), label)
    parameters = list(trainer.prompts.parameters())
    expected_gradients = torch.autograd.grad(expected_loss, parameters)
    loss, _ = trainer.compute_loss(trainer.image_features(image), label)
    for gradient, other in zip(torch.autograd.grad(loss, parameters), expected_gradients):
        assert relative(gradient, other) < 1e-4


def test_cocoop_encodes_one_prefix_per_image_and_the_classes_of_its_own_task(toy_root, tmp_path, monkeypatch):
    trainer = build(toy_root, tmp_path, "CoCoOp")
    shapes, encoder = [], trainer.text_encoder
    monkeypatch.setattr(
        trainer, "text_encoder", lambda *args: shapes.append([len(a) for a in args[:2]]) or encoder(*args)
    )
    trainer.compute_loss(torch.randn(8, 32), torch.tensor([0, 3, 9, 1, 5, 6, 7, 8]))
    assert shapes == [[8, 3 + 2 + 5 + 3 + 4 * 5]]


def test_in_the_test_loop_cocoop_computes_the_logits_of_each_samples_own_task(toy_root, tmp_path):
    trainer = build(toy_root, tmp_path, "CoCoOp")
    image, label = torch.randn(3, 3, 32, 32), torch.tensor([4, 0, 7])
    everything = trainer.model_inference(image)
    batch_image, _ = trainer.parse_batch_test({"img": image, "label": label})
    mine = trainer.model_inference(batch_image)
    own = TASK == TASK[label].unsqueeze(1)
    torch.testing.assert_close(mine[own], everything[own])
    assert (mine[~own] == -math.inf).all()
    torch.testing.assert_close(trainer.model_inference(image), everything)


# -- KgCoOp, ProGrad ---------------------------------------------------------------------------------------------------


def zero_shot(model, templates=TEMPLATES):
    return model.encode_text(clip.tokenize([t.format(n) for t, n in zip(templates, CLASSNAMES)]))


def test_kgcoop_adds_the_distance_to_each_tasks_own_template(toy_root, tmp_path):
    trainer = build(toy_root, tmp_path, "KgCoOp", "W", 3.0)
    x, label = torch.randn(4, 32), torch.tensor([0, 1, 3, 4])  # of two tasks: five classes count
    loss, logs = trainer.compute_loss(x, label)
    plain_loss, _ = super(type(trainer), trainer).compute_loss(x, label)
    learned, teacher = trainer.text_features()[:5].tolist(), zero_shot(plain.reference())[:5].tolist()
    distance = 1 - sum(cosine(a, b) for a, b in zip(learned, teacher)) / 5
    assert logs["distance"] == pytest.approx(distance, rel=1e-4)
    assert loss.item() == pytest.approx(plain_loss.item() + 3 * distance, rel=1e-5)


def test_one_template_can_be_given_for_the_classes_of_all_tasks(toy_root, tmp_path):
    template = "a type of pet, a photo of a {}."
    for name in ("KgCoOp", "ProGrad"):
        trainer = build(toy_root, tmp_path, name, "TEACHER_TEMPLATE", template)
        torch.testing.assert_close(trainer.teacher, zero_shot(plain.reference(), [template] * 10), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("scaled", [False, True])
def test_prograd_makes_one_step_from_the_projected_gradient(toy_root, tmp_path, scaled):
    trainer = build(toy_root, tmp_path, "ProGrad", "LAMBDA", 0.8)
    if scaled:  # as with fp16 on a GPU
        trainer.scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    batch = batch_of(trainer)
    x, label = trainer.image_features(batch["img"]), batch["label"]
    own = TASK == TASK[label].unsqueeze(1)

    logits = trainer.logits(x, trainer.text_features()).masked_fill(~own, -math.inf)
    teacher = trainer.logits(x, zero_shot(plain.reference())).masked_fill(~own, -math.inf).softmax(1)
    kl = -(teacher * logits.log_softmax(1).masked_fill(~own, 0)).sum(1).mean()
    (domain,) = torch.autograd.grad(F.cross_entropy(logits, label), trainer.prompts.ctx, retain_graph=True)
    (general,) = torch.autograd.grad(kl, trainer.prompts.ctx)
    dot = (domain * general).sum()
    expected = domain - 0.8 * dot / general.norm() ** 2 * general if dot < 0 else domain
    step = expected + trainer.cfg.OPTIM.WEIGHT_DECAY * trainer.prompts.ctx.detach()
    after = trainer.prompts.ctx.detach() - trainer.get_current_lr() * step

    logs = trainer.forward_backward(batch)
    assert logs["kl"] == pytest.approx(kl.item(), rel=1e-4)
    assert relative(trainer.prompts.ctx.grad, expected) < 1e-4
    torch.testing.assert_close(trainer.prompts.ctx.detach(), after, rtol=1e-5, atol=1e-8)


def test_prograds_initial_words_are_the_last_of_its_tokens_after_zeros(toy_root, tmp_path):
    trainer = build(toy_root, tmp_path, "ProGrad", "CTX_INIT", "a type of pet, a photo of a")
    words = trainer.clip.text.token_embedding(
        clip.tokenize("a type of pet, a photo of a")[0, 1:10]
    )  # a comma is a token
    assert torch.equal(trainer.prompts.ctx[7:], words) and not trainer.prompts.ctx[:7].any()


# -- PLOT --------------------------------------------------------------------------------------------------------------


def test_plots_logits_are_the_similarities_under_the_plan_of_the_loops(toy_root, tmp_path):
    trainer = build(toy_root, tmp_path, "PLOT", "N", 2, "THRESH", 0.0, "MAX_ITER", 20)
    local = torch.randn(2, 4, 32)
    logits = trainer.model_inference(local)
    contexts = trainer.prompts.ctx.detach()
    texts = [plain.features(plain.reference(), CLASSNAMES, context.expand(10, -1, -1)) for context in contexts]
    scale = trainer.clip.logit_scale.exp().item()
    for b in range(2):
        for c in range(10):
            similarity = [[cosine(token, text[c].tolist()) for text in texts] for token in local[b].tolist()]
            plan = naive_sinkhorn(similarity, 0.1, 20)
            expected = scale * sum(t * s for row, other in zip(plan, similarity) for t, s in zip(row, other))
            assert logits[b, c].item() == pytest.approx(expected, rel=1e-3, abs=1e-3)


def test_plots_iterations_stop_task_by_task(toy_root, tmp_path):
    """Few iterations for the images of one task must not be more because of another's."""
    trainer = build(toy_root, tmp_path, "PLOT", "N", 2)
    local, label = torch.randn(6, 4, 32), torch.tensor([0, 4, 9, 1, 3, 8])
    task = trainer.class_task[label]
    logits = trainer.class_logits(local, task=task)
    texts = trainer.text_features()
    for t in range(3):
        own = trainer.class_task == t
        expected = trainer.logits(local[task == t], texts[own])
        torch.testing.assert_close(logits[task == t][:, own], expected, rtol=1e-5, atol=1e-5)
        assert (logits[task == t][:, ~own] == -torch.inf).all()
    rows = torch.tensor([3, 4, 8, 9])  # of the tasks 1 and 2
    some = trainer.class_logits(local[task > 0], rows, task[task > 0])
    full = trainer.class_logits(local[task > 0], rows)
    finite = some.isfinite()
    assert torch.equal(finite, trainer.class_task[rows] == task[task > 0].unsqueeze(1))
    torch.testing.assert_close(some[finite], full[finite], rtol=0.05, atol=0.5)
    loss, _ = trainer.compute_loss(local, label)
    loss.backward()
    assert trainer.prompts.ctx.grad.abs().sum() > 0


def test_methods_share_the_cached_features_of_their_kind(toy_root, tmp_path):
    counts = []
    for name in ("CoOp", "KgCoOp", "CoCoOp", "ZeroshotCLIP", "PLOT"):
        build(toy_root, tmp_path / name, name).test()
        counts.append(len(list((tmp_path / "features").glob("*.safetensors"))))
    assert counts == [1, 1, 1, 1, 2]


# -- zero-shot CLIP ----------------------------------------------------------------------------------------------------


def test_zero_shot_uses_the_template_of_each_task(toy_root, tmp_path):
    trainer = build(toy_root, tmp_path, "ZeroshotCLIP")
    torch.testing.assert_close(trainer.text_features(), zero_shot(plain.reference()), rtol=1e-5, atol=1e-6)


def test_the_ensemble_is_the_normalised_mean_of_normalised_features_in_eight_templates(toy_root, tmp_path):
    trainer = build(toy_root, tmp_path, "ZeroshotCLIP", "ENSEMBLE", True)
    assert trainer.variant == "ensemble" and len(ENSEMBLE) == 7
    features = [F.normalize(zero_shot(plain.reference(), [t] * 10), dim=1) for t in ENSEMBLE]
    features.append(F.normalize(zero_shot(plain.reference()), dim=1))
    expected = F.normalize(sum(features) / 8, dim=1)
    torch.testing.assert_close(trainer.text_features(), expected, rtol=1e-5, atol=1e-6)
    rows = torch.tensor([1, 4, 9])
    torch.testing.assert_close(trainer.text_features(rows), expected[rows], rtol=1e-5, atol=1e-6)


# -- LinearProbe -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("peak", [-6.0, -3.3, 0.0, 1.7, 2.6])
def test_the_search_of_c_tries_seven_powers_and_halves_towards_the_better_end(peak):
    tried = []

    def score(log_c):
        assert log_c not in tried  # no fit is made twice
        tried.append(log_c)
        return -abs(log_c - peak)

    found = search_c(score, 8)
    assert tuple(tried[:7]) == GRID and len(tried) <= 7 + 2 + 8
    start = min(GRID, key=lambda value: abs(value - peak))
    low, high = start - 1, start + 1
    for _ in range(8):  # the interval as it is written down in the protocol
        left, right = -abs(low - peak), -abs(high - peak)
        best = high if left < right else low
        low, high = ((low + high) / 2, high) if left < right else (low, (low + high) / 2)
    assert found == best
    assert abs(found - min(max(peak, start - 1), start + 1)) < 0.02


def test_the_search_of_c_prefers_the_first_of_equal_powers_and_the_lower_end():
    assert search_c(lambda log_c: 1.0, 8) == 5.0


def test_the_probe_of_a_task_is_the_logistic_regression_on_its_raw_features(toy_root, tmp_path):
    trainer = build(toy_root, tmp_path / "run", "LinearProbe", "C", 0.5)
    trainer.train()
    features, label = trainer.features_of(trainer.dm.dataset.train_x)
    for t, n in enumerate((3, 2, 5)):
        mine = TASK[label] == t
        model = LogisticRegression(C=0.5, max_iter=1000).fit(features[mine].numpy(), label[mine].numpy())
        logits = trainer.model_inference(features)[mine][:, t == TASK]
        assert logits.shape[1] == n
        probabilities = torch.from_numpy(model.predict_proba(features[mine].numpy()))
        torch.testing.assert_close(logits.softmax(1), probabilities.float(), rtol=1e-3, atol=1e-4)
    assert trainer.n_params == 10 * 33


def test_the_metric_of_the_search_is_the_tasks_own():
    prediction, label = np.array([0, 0, 0, 1, 2]), np.array([0, 0, 0, 0, 2])
    assert metric_of(Task("x", ("a", "b", "c")), prediction, label) == pytest.approx(0.8)
    assert metric_of(Task("x", ("a", "b", "c"), "mean_per_class"), prediction, label) == pytest.approx((0.75 + 1) / 2)


def test_a_probe_without_validation_shots_says_what_is_possible(toy_root, tmp_path):
    trainer = build(toy_root, tmp_path, "LinearProbe")
    trainer.dm.dataset._val = [item for item in trainer.dm.dataset.val if item.domain != 1]
    with pytest.raises(ValueError, match="none for texture recognition.*TRAINER.LINEARPROBE.C.*ProtoNet"):
        trainer.train()
    trainer.dm.dataset._val = None
    with pytest.raises(ValueError, match="none for flower recognition, texture"):
        trainer.train()
    fixed = build(toy_root, tmp_path, "LinearProbe", "C", 1.0)
    fixed.dm.dataset._val = None
    fixed.train()


def test_a_probe_does_not_search_on_test_images(toy_root, tmp_path):
    trainer = build(toy_root, tmp_path, "LinearProbe")
    trainer.dm.dataset._val = trainer.dm.dataset.test
    with pytest.raises(ValueError, match="30 of them are test images .*TRAINER.LINEARPROBE.C.*ProtoNet"):
        trainer.train()


@pytest.mark.parametrize("name", ["LinearProbe", "ProtoNet", "TipAdapter", "LPPlusPlus"])
def test_a_fitted_classifier_is_refused_for_other_classes_of_the_same_number(toy_root, tmp_path, name):
    half = ("DATASET.TASKS", "ToyTexture", "DATASET.SUBSAMPLE_CLASSES")
    build(toy_root, tmp_path / "base", name, opts=(*half, "base")).train()
    new = build(toy_root, tmp_path / "new", name, opts=(*half, "new"))
    with pytest.raises(ValueError, match="learned for other classes or tasks"):
        new.load_model(str(tmp_path / "base"))


# -- ProtoNet ----------------------------------------------------------------------------------------------------------


def test_a_prototype_is_the_mean_of_the_normalised_features_of_a_class(toy_root, tmp_path):
    trainer = build(toy_root, tmp_path / "run", "ProtoNet")
    trainer.train()
    features, label = trainer.features_of(trainer.dm.dataset.train_x)
    logits = trainer.model_inference(features)
    for c in range(10):
        mean = sum(F.normalize(x, dim=0) for x in features[label == c])
        for b in (0, 7):
            expected = trainer.clip.logit_scale.exp().item() * cosine(features[b].tolist(), mean.tolist())
            assert logits[b, c].item() == pytest.approx(expected, rel=1e-4)
    assert trainer.n_params == 0


def test_the_fine_tuned_scale_has_the_least_loss_of_shots_against_the_others_and_the_same_predictions(
    toy_root, tmp_path
):
    trainer = build(toy_root, tmp_path / "run", "ProtoNet", "FINE_TUNED", True)
    trainer.train()
    features, label = trainer.features_of(trainer.dm.dataset.train_x)
    x = F.normalize(features, dim=1)
    rows = []
    for b in range(len(x)):
        others = [i for i in range(len(x)) if i != b]
        means = [sum(x[i] for i in others if label[i] == c) for c in range(10)]
        rows.append([cosine(x[b].tolist(), mean.tolist()) for mean in means])
    leave_one_out = torch.tensor(rows).masked_fill(TASK != TASK[label].unsqueeze(1), -math.inf)
    losses = {s: F.cross_entropy(s * leave_one_out, label).item() for s in np.geomspace(1, 1000, 200)}
    scale = trainer.prompts.log_scale.exp().item()
    assert F.cross_entropy(scale * leave_one_out, label).item() <= min(losses.values()) + 1e-4
    assert trainer.n_params == 1

    free = build(toy_root, tmp_path / "free", "ProtoNet")
    free.train()
    assert free.evaluator.task_results == trainer.evaluator.task_results


def test_a_fine_tuned_scale_needs_two_shots_of_each_class(toy_root, tmp_path):
    trainer = build(toy_root, tmp_path, "ProtoNet", "FINE_TUNED", True, opts=("DATASET.NUM_SHOTS", 1))
    with pytest.raises(ValueError, match="'rose' has only one: give at least 2 shots"):
        trainer.train()
