"""SoftCPT's options beyond the paper: the distance to hand-made features, and the blend with them."""

import plain
import pytest
import torch
import torch.nn.functional as F
from clip import clip
from methods import CLASSNAMES, TASK, TEMPLATES, batch_of, build, cosine

from trainers.parts.blend import TRUSTS, Trust

FIXED = {"KNOWLEDGE_WEIGHT": 0.0, "BLEND": False}


# -- pieces ----------------------------------------------------------------------------------------------------------


def test_trust_is_stored_per_task():
    trust = Trust()
    assert trust(["birds"]).tolist() == [0]
    trust.set(["birds", "pets", "cars"], torch.tensor([0.25, 1.0, 0.0]))
    assert trust(["pets", "Birds", "birds", "cars", ""]).tolist() == [1, 0, 0.25, 0, 0]
    trust.set(["pets"], torch.tensor([0.5]))
    assert trust(["birds", "pets"]).tolist() == [0, 0.5]
    loaded = Trust()
    loaded.load_state_dict(trust.state_dict())
    assert loaded(["pets"]).tolist() == [0.5] and not list(trust.parameters())
    with pytest.raises(ValueError, match="BLEND: True serves 256 tasks at most, not 257"):
        trust.set([str(i) for i in range(257)], torch.ones(257))


# -- the trainer -----------------------------------------------------------------------------------------------------


def test_options_are_off_by_default(toy_root, tmp_path):
    trainer = build(toy_root, tmp_path, "SoftCPT")
    assert {key: trainer.options[key] for key in FIXED} == FIXED
    assert sorted(trainer.learned.state_dict()) == ["meta_net.weight", "task_context.ctx"]
    assert not hasattr(trainer, "zero_shot")


@pytest.mark.parametrize("shots", [1, 4, -1])
def test_distance_weight_falls_with_the_shots(toy_root, tmp_path, shots):
    opts = ("DATASET.NUM_SHOTS", shots)
    without = build(toy_root, tmp_path / "without", "SoftCPT", opts=opts)
    trainer = build(toy_root, tmp_path / "run", "SoftCPT", "KNOWLEDGE_WEIGHT", 3.0, opts=opts)
    trainer.learned.load_state_dict(without.learned.state_dict())
    batch = batch_of(trainer)
    x, label = trainer.image_features(batch["img"]), batch["label"]
    rows = [c for c in range(10) if TASK[c] in TASK[label]]
    learned, handmade = trainer.text_features().detach(), plain.zero_shot(CLASSNAMES, TEMPLATES)
    distance = 1 - sum(cosine(learned[c], handmade[c]) for c in rows) / len(rows)
    expected = without.compute_loss(x, label)[0] + 3 / (1 if shots == 1 else 4) * distance
    loss, logs = trainer.compute_loss(x, label)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert logs["distance"].item() == pytest.approx(distance.item(), rel=1e-4)
    loss.backward()
    assert all(p.grad.any() for p in trainer.learned.parameters())


def test_blending_does_not_change_training(toy_root, tmp_path):
    plain, blended = (build(toy_root, tmp_path / str(on), "SoftCPT", "BLEND", on) for on in (False, True))
    for trainer in (plain, blended):
        torch.manual_seed(1)
        trainer.train()
    learned = dict(blended.learned.named_parameters())
    assert learned.keys() == dict(plain.learned.named_parameters()).keys() and plain.n_params == blended.n_params
    assert all(torch.equal(learned[key], value) for key, value in plain.learned.named_parameters())


def test_trust_is_chosen_on_validation_shots(toy_root, tmp_path):
    trainer = build(toy_root, tmp_path, "SoftCPT", "BLEND", True, opts=("FEATURES.TEST_CACHE", False))
    handmade, seen = F.normalize(plain.zero_shot(CLASSNAMES, TEMPLATES), dim=1), []
    for seed in range(4):
        torch.manual_seed(seed)
        torch.nn.init.normal_(trainer.learned.meta_net.weight)
        trainer.set_model_mode("train")
        generated = F.normalize(trainer.text_features().detach(), dim=1)
        losses = torch.zeros(len(TRUSTS), 3)
        for batch in trainer.val_loader:
            for x, y in zip(F.normalize(trainer.image_features(batch["img"]), dim=1), batch["label"].tolist()):
                own = TASK == TASK[y]
                for i, t in enumerate(TRUSTS.tolist()):
                    mixed = F.normalize(t * generated + (1 - t) * handmade, dim=1)
                    logits = trainer.clip.logit_scale.exp() * mixed @ x
                    losses[i, TASK[y]] -= (logits[y] - logits[own].exp().sum().log()).item()
        chosen = TRUSTS[losses.argmin(0)]
        trainer.choose_trust()
        assert torch.equal(trainer.learned.trust(trainer.task_names), chosen)
        trainer.set_model_mode("eval")
        t = chosen[TASK].unsqueeze(1)
        expected = t * generated + (1 - t) * handmade
        torch.testing.assert_close(trainer.text_features().detach(), expected, rtol=1e-4, atol=1e-5)
        rows = torch.tensor([1, 7])
        torch.testing.assert_close(trainer.text_features(rows).detach(), expected[rows], rtol=1e-4, atol=1e-5)
        seen += chosen.tolist()
    assert len(set(seen)) > 1


def test_last_checkpoint_holds_the_chosen_trust(toy_root, tmp_path, monkeypatch):
    trainer = build(toy_root, tmp_path, "SoftCPT", "BLEND", True)
    choose = trainer.choose_trust

    def other_choice():
        choose()
        trainer.learned.trust.value.mul_(0.5)

    monkeypatch.setattr(trainer, "choose_trust", other_choice)
    trainer.train()
    expected = trainer.learned.trust(trainer.task_names)
    assert expected.max() <= 0.5
    fresh = build(toy_root, tmp_path / "fresh", "SoftCPT", "BLEND", True)
    fresh.load_model(str(tmp_path))
    assert torch.equal(fresh.learned.trust(fresh.task_names), expected)
    fresh.test()
    assert fresh.evaluator.task_results == trainer.evaluator.task_results


def test_untrained_task_uses_hand_made_prompts(toy_root, tmp_path):
    trainer = build(toy_root, tmp_path / "base", "SoftCPT", "BLEND", True, opts=("DATASET.TASKS", "base"))
    trainer.train()
    new = build(toy_root, tmp_path / "new", "SoftCPT", "BLEND", True, opts=("DATASET.TASKS", "new"))
    assert new.learned.trust(new.task_names).tolist() == [1]
    new.load_model(str(tmp_path / "base"))
    assert new.learned.trust(new.task_names).tolist() == [0]
    new.test()
    with torch.no_grad():
        expected = F.normalize(plain.zero_shot(CLASSNAMES, TEMPLATES)[5:], dim=1)
        torch.testing.assert_close(new.text_features(), expected, atol=1e-5, rtol=1e-4)


def test_trust_is_never_chosen_on_test_images(toy_root, tmp_path):
    trainer = build(toy_root, tmp_path, "SoftCPT", "BLEND", True)
    trainer.dm.dataset.val.append(trainer.dm.dataset.test[0])
    with pytest.raises(ValueError, match="BLEND chooses on validation shots, but 1 of them are test images"):
        trainer.train()


def test_trust_is_one_without_validation_images(toy_root, tmp_path):
    trainer = build(toy_root, tmp_path, "SoftCPT", "BLEND", True)
    trainer.val_loader = trainer.dm.dataset._val = None
    trainer.choose_trust()
    assert trainer.learned.trust(trainer.task_names).tolist() == [1, 1, 1]


@pytest.mark.parametrize("words", ["", "a photo of"])
def test_names_stand_where_the_options_say(toy_root, tmp_path, words):
    """In the prompts of u and v; the features are those of whole prompts through the clip package's modules."""
    options = ("VARIANT", "CATA", "TASK_TOKEN_POSITION", "front", "CLASS_BRANCH_TOKEN_POSITION", "middle")
    starts = ("TASK_CTX_INIT", words, "CLASS_CTX_INIT", words) if words else ()
    trainer = build(toy_root, tmp_path, "SoftCPT", *options, *starts)
    learned, model = trainer.learned, plain.reference()
    found = learned.task_features_of(torch.arange(len(trainer.tasks)))
    u, v = learned.task_context.ctx.reshape(-1, 64), learned.class_context.ctx.reshape(-1, 64)
    for row, task in zip(found, trainer.tasks):
        torch.testing.assert_close(row, feature(model, [task.name, u]), rtol=1e-4, atol=1e-5)
    rows = learned.encode_names(learned.class_template, learned.class_context, torch.arange(10))
    half = len(v) // 2
    for row, name in zip(rows, CLASSNAMES):
        torch.testing.assert_close(row, feature(model, [v[:half], name, v[half:]]), rtol=1e-4, atol=1e-5)


def feature(model, parts):
    """The text feature (E,) of [SOS], the parts, names or tokens (M, D), [.] and [EOS]."""
    ids = clip.tokenize("")[0]
    embed = model.token_embedding
    pieces = [embed(ids[:1])]
    for part in [*parts, "."]:
        if isinstance(part, str):
            tokens = clip.tokenize(part.replace("_", " "))[0]
            part = embed(tokens[1 : tokens.argmax()])
        pieces.append(part)
    x = torch.cat([*pieces, embed(ids[1:2])])
    end = len(x) - 1
    x = torch.cat([x, torch.zeros(77 - len(x), x.shape[1])]) + model.positional_embedding
    x = model.ln_final(model.transformer(x[:, None])[end, 0])
    return x @ model.text_projection


def test_frozen_class_context_stays_and_is_not_counted(toy_root, tmp_path):
    trainer = build(toy_root, tmp_path / "frozen", "SoftCPT", "VARIANT", "CATA", "FREEZE_CLASS_CONTEXT", True)
    other = build(toy_root, tmp_path / "free", "SoftCPT", "VARIANT", "CATA")
    start = trainer.learned.class_context.ctx.clone()
    trainer.train()
    assert trainer.learned.class_context.ctx.equal(start)
    assert other.n_params - trainer.n_params == start.numel()
    released = build(
        toy_root, tmp_path, "SoftCPT", "VARIANT", "CATA", "FREEZE_CLASS_CONTEXT", True, "SCHEDULE", "released"
    )
    assert released.steps_per_batch == 3  # its optimiser is registered under one name less
    with pytest.raises(ValueError, match="FREEZE_CLASS_CONTEXT: True, but VARIANT NATA has no class context"):
        build(toy_root, tmp_path, "SoftCPT", "FREEZE_CLASS_CONTEXT", True)
