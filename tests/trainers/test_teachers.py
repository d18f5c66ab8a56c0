"""KgCoOp and ProGrad: what they take from hand-made prompts."""

import math

import plain
import pytest
import torch
import torch.nn.functional as F
from clip import clip
from methods import CLASSNAMES, TASK, TEMPLATES, batch_of, build, cosine, relative


def test_kgcoop_adds_the_distance_to_each_tasks_template(toy_root, tmp_path):
    trainer = build(toy_root, tmp_path, "KgCoOp", "W", 3.0)
    x, label = torch.randn(4, 32), torch.tensor([0, 1, 3, 4])  # of two tasks with five classes
    loss, logs = trainer.compute_loss(x, label)
    plain_loss, _ = super(type(trainer), trainer).compute_loss(x, label)
    learned, teacher = trainer.text_features()[:5].tolist(), plain.zero_shot(CLASSNAMES, TEMPLATES)[:5].tolist()
    distance = 1 - sum(cosine(a, b) for a, b in zip(learned, teacher)) / 5
    assert logs["distance"].item() == pytest.approx(distance, rel=1e-4)
    assert loss.item() == pytest.approx(plain_loss.item() + 3 * distance, rel=1e-5)


def test_teacher_template_applies_to_all_tasks(toy_root, tmp_path):
    template = "a type of pet, a photo of a {}."
    for name in ("KgCoOp", "ProGrad"):
        trainer = build(toy_root, tmp_path, name, "TEACHER_TEMPLATE", template)
        torch.testing.assert_close(trainer.teacher, plain.zero_shot(CLASSNAMES, [template] * 10), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("scaled", [False, True])
def test_prograd_steps_along_the_projected_gradient(toy_root, tmp_path, scaled):
    trainer = build(toy_root, tmp_path, "ProGrad", "LAMBDA", 0.8)
    if scaled:  # as with fp16 on a GPU
        trainer.scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    batch = batch_of(trainer)
    x, label = trainer.image_features(batch["img"]), batch["label"]
    own = TASK == TASK[label].unsqueeze(1)

    logits = trainer.logits(x, trainer.text_features()).masked_fill(~own, -math.inf)
    teacher = trainer.logits(x, plain.zero_shot(CLASSNAMES, TEMPLATES)).masked_fill(~own, -math.inf).softmax(1)
    kl = -(teacher * logits.log_softmax(1).masked_fill(~own, 0)).sum(1).mean()
    (domain,) = torch.autograd.grad(F.cross_entropy(logits, label), trainer.learned.ctx, retain_graph=True)
    (general,) = torch.autograd.grad(kl, trainer.learned.ctx)
    dot = (domain * general).sum()
    expected = domain - 0.8 * dot / general.norm() ** 2 * general if dot < 0 else domain
    step = expected + trainer.cfg.OPTIM.WEIGHT_DECAY * trainer.learned.ctx.detach()
    after = trainer.learned.ctx.detach() - trainer.get_current_lr() * step

    logs = trainer.forward_backward(batch)
    assert logs["kl"] == pytest.approx(kl.item(), rel=1e-4)
    assert relative(trainer.learned.ctx.grad, expected) < 1e-4
    torch.testing.assert_close(trainer.learned.ctx.detach(), after, rtol=1e-5, atol=1e-8)


def test_prograd_pads_its_initial_words_with_zeros(toy_root, tmp_path):
    trainer = build(toy_root, tmp_path, "ProGrad", "CTX_INIT", "a type of pet, a photo of a")
    words = trainer.clip.text.token_embedding(
        clip.tokenize("a type of pet, a photo of a")[0, 1:10]
    )  # a comma is a token
    assert torch.equal(trainer.learned.ctx[7:], words) and not trainer.learned.ctx[:7].any()
