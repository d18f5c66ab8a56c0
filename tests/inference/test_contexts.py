"""Learned contexts: whose they are, and the words nearest to them."""

import math
from pathlib import Path

import miniatures
import pytest
import torch
import toy
from dassl.engine import TRAINER_REGISTRY, build_trainer
from toy import TASKS

from softcpt.backbones import load_clip
from trainers.base import PromptTrainer
from trainers.finished.contexts import Vocabulary, contexts_of, cosines, task_contexts, task_features_of

WITH = {"SoftCPT", "CoOp", "KgCoOp", "ProGrad", "CoCoOp", "PLOT", "MaPLe", "PromptSRC"}


def build(root, method, *opts):
    return build_trainer(toy.config(root, Path(), method, "FEATURES.TEST_CACHE", False, "OUTPUT_DIR", "", *opts))


@pytest.mark.parametrize("method", sorted(TRAINER_REGISTRY.registered_names()))
def test_each_method_shows_its_contexts_or_says_why_not(method, toy_root):
    if not issubclass(TRAINER_REGISTRY.get(method), PromptTrainer):
        pytest.skip("a trainer of Dassl's")
    trainer = build(toy_root, method)
    if method in WITH or hasattr(trainer.learned, "ctx"):  # the latter for methods of users
        contexts = contexts_of(trainer)
        assert contexts and all(context.tokens.shape[1] == trainer.clip.text.width for context in contexts)
    else:
        with pytest.raises(ValueError, match=f"{method} has no contexts to look into: (it learns|its prompts)"):
            contexts_of(trainer)


@pytest.mark.parametrize("variant", ["NATA", "NATS", "CATA", "CSTS"])
def test_softcpt_contexts_come_from_the_task_features(variant, toy_root):
    trainer = build(toy_root, "SoftCPT", "TRAINER.SOFTCPT.VARIANT", variant)
    contexts, f = contexts_of(trainer), task_features_of(trainer)
    assert f.shape == (3, trainer.clip.embed_dim)
    if variant.startswith("NA"):
        assert [context.owner for context in contexts] == TASKS
        for t, context in enumerate(contexts):
            expected = (f[t] @ trainer.learned.meta_net.weight.detach()).view(16, -1)
            torch.testing.assert_close(context.tokens, expected, atol=1e-5, rtol=1e-5)
    else:
        owners = [f"{task.name}: {name}" for task in trainer.tasks for name in task.classnames]
        assert [context.owner for context in contexts] == owners
    mean = task_contexts(contexts, 3)
    for t in range(3):
        own = [context.tokens.flatten() for context in contexts if context.task == t]
        torch.testing.assert_close(mean[t], sum(own) / len(own))


@pytest.mark.parametrize(
    "method, opts, owners",
    [
        ("CoOp", (), ["all tasks"]),
        ("CoOp", ("TRAINER.COOP.TSC", True), TASKS),
        ("CoOp", ("TRAINER.COOP.CSC", True), None),
        ("PLOT", (), ["prompt 1", "prompt 2", "prompt 3", "prompt 4"]),
        ("MaPLe", (), ["all tasks"]),
        ("CoCoOp", (), ["all tasks"]),
        ("CoOp", ("DATASET.TASKS", TASKS[1]), [TASKS[1]]),
    ],
)
def test_contexts_name_their_owners(method, opts, owners, toy_root):
    trainer = build(toy_root, method, *opts)
    contexts = contexts_of(trainer)
    assert task_features_of(trainer) is None
    if owners is None:
        owners = [f"{task.name}: {name}" for task in trainer.tasks for name in task.classnames]
    assert [context.owner for context in contexts] == owners
    learned = trainer.learned.ctx.detach().float()
    learned = learned.unsqueeze(0) if learned.dim() == 2 else learned
    assert torch.equal(torch.stack([context.tokens for context in contexts]), learned)
    assert (task_contexts(contexts, len(trainer.tasks)) is None) == (contexts[0].task is None)


def test_no_task_features_without_a_task_branch(toy_root):
    options = ("TRAINER.SOFTCPT.VARIANT", "CATA", "TRAINER.SOFTCPT.META_NET", "lincls")
    assert task_features_of(build(toy_root, "SoftCPT", *options)) is None
    learned = build(toy_root, "SoftCPT", "TRAINER.SOFTCPT.TASK_FEATURES", "learned")
    assert torch.equal(task_features_of(learned), learned.learned.task_features.detach())


def test_nearest_words_match_a_loop(toy_root):
    trainer = build(toy_root, "CoOp", "TRAINER.COOP.CTX_INIT", "a photo of a")
    vocabulary = Vocabulary(trainer.clip)
    weight = trainer.clip.text.token_embedding.weight.detach().float()
    noise = 0.001 * torch.randn(4, weight.shape[1], generator=torch.Generator().manual_seed(0))
    tokens = contexts_of(trainer)[0].tokens + noise
    distances, indices = vocabulary.nearest(tokens, 3)
    special = {*trainer.clip.tokenizer.sos, *trainer.clip.tokenizer.eos}
    known = [i for i in range(len(weight)) if weight[i].any() and i not in special]
    assert vocabulary.ids.tolist() == known
    for m in range(4):
        pairs = sorted((math.dist(tokens[m].tolist(), weight[i].tolist()), i) for i in known)[:3]
        assert vocabulary.ids[indices[m]].tolist() == [i for _, i in pairs]
        assert distances[m].tolist() == pytest.approx([distance for distance, _ in pairs], abs=1e-5)
    assert [vocabulary.word(row[0]) for row in indices.tolist()] == ["a", "photo", "of", "a"]


def test_word_is_nearest_to_itself_and_word_pieces_have_a_dash(toy_root):
    vocabulary = Vocabulary(build(toy_root, "CoOp").clip)
    distances, indices = vocabulary.nearest(vocabulary.embedding[[0, 5]], 1)
    assert distances.tolist() == [[0.0], [0.0]] and indices.tolist() == [[0], [5]]
    texts = [vocabulary.word(i) for i in range(len(vocabulary.ids))]
    pieces = [text for text in texts if text.endswith("-") and text != "-"]
    assert pieces and len(pieces) < len(texts)
    everything = vocabulary.nearest(vocabulary.embedding[:3], 10**6)[0]
    assert everything.shape == (3, len(texts))


@pytest.mark.parametrize(
    "family", ["openai-vit", "transformers-clip", "transformers-siglip", "open_clip-siglip", "open_clip-bert"]
)
def test_vocabulary_matches_the_tokenizer(family, tmp_path_factory):
    clip = load_clip(miniatures.make(family, tmp_path_factory.getbasetemp() / "miniatures").name)
    vocabulary = Vocabulary(clip)
    ids = clip.tokenizer.encode("a photo of the dog")
    tokens = clip.text.token_embedding.weight.detach().float()[ids]
    distances, indices = vocabulary.nearest(tokens, 1)
    assert vocabulary.ids[indices[:, 0]].tolist() == ids and not distances.any()
    words = [vocabulary.word(index) for index in indices[:, 0].tolist()]
    assert [word for word in words if word] == ["a", "photo", "of", "the", "dog"]


def test_typical_distance_is_the_median(toy_root):
    vocabulary = Vocabulary(build(toy_root, "CoOp").clip)
    step = max(1, len(vocabulary.ids) // 128)
    words = vocabulary.embedding.double()
    nearest = []
    for i in range(0, len(words), step):
        others = (words - words[i]).norm(dim=1)
        others[i] = math.inf
        nearest.append(others.min().item())
    nearest.sort()
    assert vocabulary.typical_distance() == pytest.approx(nearest[(len(nearest) - 1) // 2], abs=1e-5)


def test_cosines_match_a_loop():
    x = torch.randn(4, 6, generator=torch.Generator().manual_seed(1))
    found = cosines(x)
    for i in range(4):
        for j in range(4):
            product = sum(a * b for a, b in zip(x[i].tolist(), x[j].tolist()))
            assert found[i, j].item() == pytest.approx(product / (x[i].norm() * x[j].norm()).item(), abs=1e-6)
