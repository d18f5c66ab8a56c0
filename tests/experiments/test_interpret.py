"""scripts/interpret.py: nearest words, similarities, gains; each beside a naive loop."""

import importlib.util
import json
import logging
import math
import sys
from pathlib import Path

import miniatures
import numpy as np
import pytest
import torch
import toy
from dassl.engine import TRAINER_REGISTRY, build_trainer
from PIL import Image

import train
from backbones import load_clip
from evaluation.records import run_record, write_record
from experiments.interpretation.gains import as_json, gains_of, markdown
from experiments.interpretation.heatmaps import change_figure, ordered, similarity_figure
from experiments.pictures import png
from trainers.base import PromptTrainer
from trainers.modules.analysis.contexts import Vocabulary, contexts_of, cosines, task_contexts, task_features_of

PROJECT = Path(__file__).resolve().parents[2]
_spec = importlib.util.spec_from_file_location("interpret_script", PROJECT / "scripts/interpret.py")
interpret = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(interpret)

TASKS = ["flower recognition", "texture recognition", "aircraft model recognition"]
WITH = {"SoftCPT", "CoOp", "KgCoOp", "ProGrad", "CoCoOp", "PLOT", "MaPLe", "PromptSRC"}
OPTS = ("OPTIM.MAX_EPOCH", 1, "DATASET.NUM_SHOTS", 1)


def build(root, method, *opts):
    return build_trainer(toy.config(root, Path(), method, "FEATURES.TEST_CACHE", False, "OUTPUT_DIR", "", *opts))


@pytest.fixture(autouse=True)
def no_logs(monkeypatch):
    monkeypatch.setattr(logging.root, "handlers", [logging.NullHandler()])


@pytest.fixture(scope="module")
def runs(toy_root, tmp_path_factory):
    """A function of a method and options that trains it once and gives the run folder."""
    made = {}

    def run(method, *opts):
        if (method, opts) not in made:
            out = tmp_path_factory.mktemp("runs") / "run"
            stdout = sys.stdout
            assert train.main(toy.arguments(toy_root, out, method, *OPTS, *opts)) == 0
            sys.stdout, logging.root.handlers = stdout, [logging.NullHandler()]
            made[method, opts] = out
        return made[method, opts]

    return run


# -- contexts --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", sorted(TRAINER_REGISTRY.registered_names()))
def test_each_method_shows_its_contexts_or_says_by_name_what_it_learns_instead(method, toy_root):
    if not issubclass(TRAINER_REGISTRY.get(method), PromptTrainer):
        pytest.skip("a trainer of Dassl's")
    trainer = build(toy_root, method)
    if method in WITH or hasattr(trainer.prompts, "ctx"):  # the latter: methods of others
        contexts = contexts_of(trainer)
        assert contexts and all(context.tokens.shape[1] == trainer.clip.text.width for context in contexts)
    else:
        with pytest.raises(ValueError, match=f"{method} has no contexts to look into: (it learns|its prompts)"):
            contexts_of(trainer)


@pytest.mark.parametrize("variant", ["NATA", "NATS", "CATA", "CSTS"])
def test_softcpts_contexts_are_what_the_meta_network_makes_of_each_task_feature_by_itself(variant, toy_root):
    trainer = build(toy_root, "SoftCPT", "TRAINER.SOFTCPT.VARIANT", variant)
    contexts, f = contexts_of(trainer), task_features_of(trainer)
    assert f.shape == (3, trainer.clip.embed_dim)
    if variant.startswith("NA"):
        assert [context.owner for context in contexts] == TASKS
        for t, context in enumerate(contexts):
            expected = (f[t] @ trainer.prompts.meta_net.weight.detach()).view(16, -1)
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
    ],
)
def test_learned_contexts_are_shown_with_whom_they_belong_to(method, opts, owners, toy_root):
    trainer = build(toy_root, method, *opts)
    contexts = contexts_of(trainer)
    assert task_features_of(trainer) is None
    if owners is None:
        owners = [f"{task.name}: {name}" for task in trainer.tasks for name in task.classnames]
    assert [context.owner for context in contexts] == owners
    learned = trainer.prompts.ctx.detach().float()
    learned = learned.unsqueeze(0) if learned.dim() == 2 else learned
    assert torch.equal(torch.stack([context.tokens for context in contexts]), learned)
    assert (task_contexts(contexts, 3) is None) == (contexts[0].task is None)


def test_a_context_of_a_run_on_one_task_has_its_name(toy_root):
    trainer = build(toy_root, "CoOp", "DATASET.TASKS", TASKS[1])
    assert [context.owner for context in contexts_of(trainer)] == [TASKS[1]]


def test_without_a_task_branch_there_are_no_task_features(toy_root):
    options = ("TRAINER.SOFTCPT.VARIANT", "CATA", "TRAINER.SOFTCPT.META_NET", "lincls")
    assert task_features_of(build(toy_root, "SoftCPT", *options)) is None
    learned = build(toy_root, "SoftCPT", "TRAINER.SOFTCPT.TASK_FEATURES", "learned")
    assert torch.equal(task_features_of(learned), learned.prompts.task_features.detach())


# -- words -----------------------------------------------------------------------------------------------------------


def test_the_nearest_words_are_those_of_a_loop_over_the_vocabulary(toy_root):
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


def test_a_word_is_at_distance_0_of_itself_and_a_piece_of_a_word_has_a_dash(toy_root):
    vocabulary = Vocabulary(build(toy_root, "CoOp").clip)
    distances, indices = vocabulary.nearest(vocabulary.embedding[[0, 5]], 1)
    assert distances.tolist() == [[0.0], [0.0]] and indices.tolist() == [[0], [5]]
    texts = [vocabulary.word(i) for i in range(len(vocabulary.ids))]
    pieces = [text for text in texts if text.endswith("-") and text != "-"]
    assert pieces and len(pieces) < len(texts)
    everything = vocabulary.nearest(vocabulary.embedding[:3], 10**6)[0]
    assert everything.shape == (3, len(texts))


@pytest.mark.parametrize("family", ["openai-vit", "transformers-clip", "transformers-siglip", "open_clip-siglip"])
def test_each_familys_vocabulary_says_the_words_that_its_tokenizer_reads(family, tmp_path_factory):
    clip = load_clip(miniatures.make(family, tmp_path_factory.getbasetemp() / "miniatures").name)
    vocabulary = Vocabulary(clip)
    ids = clip.tokenizer.encode("a photo of the dog")
    tokens = clip.text.token_embedding.weight.detach().float()[ids]
    distances, indices = vocabulary.nearest(tokens, 1)
    assert vocabulary.ids[indices[:, 0]].tolist() == ids and not distances.any()
    words = [vocabulary.word(index) for index in indices[:, 0].tolist()]
    assert [word for word in words if word] == ["a", "photo", "of", "the", "dog"]


def test_the_typical_distance_is_the_median_over_words(toy_root):
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


# -- order and pictures ----------------------------------------------------------------------------------------------


def test_cosines_are_those_of_a_loop():
    x = torch.randn(4, 6, generator=torch.Generator().manual_seed(1))
    found = cosines(x)
    for i in range(4):
        for j in range(4):
            product = sum(a * b for a, b in zip(x[i].tolist(), x[j].tolist()))
            assert found[i, j].item() == pytest.approx(product / (x[i].norm() * x[j].norm()).item(), abs=1e-6)


def test_rows_that_are_alike_stand_together_and_the_order_does_not_depend_on_their_order():
    groups = [0, 1, 0, 2, 1, 0]
    rng = np.random.default_rng(0)
    x = np.eye(3)[groups] + 0.05 * rng.normal(size=(6, 3))
    similarity = cosines(torch.tensor(x)).numpy()
    order, tree = ordered(similarity)
    assert sorted(order) == list(range(6)) and len(tree) == 5
    runs = [groups[i] for i in order]
    assert sum(a != b for a, b in zip(runs, runs[1:])) == 2
    assert order[0] < order[-1]
    assert ordered(similarity)[0] == order
    shuffled = [3, 0, 5, 1, 4, 2]
    again = [shuffled[i] for i in ordered(similarity[np.ix_(shuffled, shuffled)])[0]]
    assert again in (order, order[::-1])


@pytest.mark.parametrize("n", [1, 2, 30])
def test_pictures_of_any_number_of_tasks_are_drawn_and_the_same_each_time(n):
    similarity = cosines(torch.randn(n, 8, generator=torch.Generator().manual_seed(2))).numpy()
    names = [f"task number {i}" for i in range(n)]
    first, second = (png(similarity_figure(similarity, names, "a title"), dpi=50) for _ in range(2))
    assert first == second
    assert png(change_figure(np.full((n, n), np.nan), names, names, "nothing"), dpi=50)
    assert not ordered(np.zeros((0, 0)))[0]


# -- gains -----------------------------------------------------------------------------------------------------------


def record(values, seed=1, variant="NATA", **keys):
    tasks = [{"name": name, "metric": "accuracy", "value": value, "n": 10} for name, value in values.items()]
    keys = {"split": "test", "shots": 4, "dataset": "Demo", **keys}
    return run_record(
        trainer="SoftCPT", variant=variant, seed=seed, backbone="RN50", tasks=tasks, n_params=1, train_seconds=1.0,
        test_seconds=1.0, peak_memory_bytes=1, epochs=1, commit="", versions={}, **keys,
    )  # fmt: skip


FULL = {1: {"a": 50.0, "b": 60.0, "c": 70.0}, 2: {"a": 54.0, "b": 64.0, "c": 70.0}}
RUNS = [
    *(record(values, seed) for seed, values in FULL.items()),
    record({"b": 58.0, "c": 71.0}, 1, "NATA_without-a", split="test-b,c-tasks"),
    record({"b": 60.0, "c": 72.0}, 2, "NATA_without-a", split="test-b,c-tasks"),
    record({"a": 40.0, "c": 70.0}, 1, "NATA_without-b", split="test-a,c-tasks"),
    record({"a": 40.0, "b": 70.0}, 3, "NATA_without-c", split="test-a,b-tasks"),  # no run on all tasks of this seed
]


def test_the_change_is_that_of_pairs_of_runs_of_one_seed():
    (gains,) = gains_of(RUNS)
    assert gains.tasks == ["a", "b", "c"] and gains.variant == "NATA"
    nan = math.nan
    expected = [[nan, (-2 - 4) / 2, (1 + 2) / 2], [-10, nan, 0], [nan, nan, nan]]
    np.testing.assert_allclose(gains.change, expected)
    np.testing.assert_array_equal(gains.n, [[0, 2, 2], [1, 0, 1], [0, 0, 0]])
    assert gains.deviation[0, 1] == pytest.approx(math.sqrt(2)) and np.isnan(gains.deviation[1, 0])
    plain = json.loads(json.dumps(as_json(gains), allow_nan=False))
    assert plain["change"][1] == [-10.0, None, 0.0]
    assert markdown(gains).splitlines()[3] == "| b | -10.0 | – | +0.0 | -5.0 |"


def test_methods_shots_and_data_sets_have_matrices_of_their_own_and_evaluations_do_not_count():
    others = [{**run, "shots": 16} for run in RUNS] + [{**run, "loaded_from": "elsewhere"} for run in RUNS]
    halves = [{**run, "split": "test-base-classes"} for run in RUNS]
    assert [gains.shots for gains in gains_of([*RUNS, *others, *halves])] == [16, 4]


def test_nothing_to_compare_and_the_same_run_twice_are_errors():
    with pytest.raises(ValueError, match="leave_one_out.yaml"):
        gains_of(RUNS[:2])
    with pytest.raises(ValueError, match="are of the same run: trainer SoftCPT, variant NATA"):
        gains_of([*RUNS, RUNS[0]])


# -- the script ------------------------------------------------------------------------------------------------------


def test_a_run_is_interpreted_into_its_folder(runs, capsys):
    run = runs("SoftCPT")
    assert interpret.main([str(run), "--words", "3"]) == 0
    folder = run / "interpret"
    assert sorted(path.name for path in folder.iterdir()) == [
        "interpret.json", "interpret.md", "task_contexts.png", "task_features.png",
    ]  # fmt: skip
    content = json.loads((folder / "interpret.json").read_text())
    assert content["schema"] == 1 and content["dataset"] == "ToyTasks" and content["shots"] == 1
    assert [context["owner"] for context in content["contexts"]] == TASKS
    for context in content["contexts"]:
        assert len(context["tokens"]) == 16
        for token in context["tokens"]:
            assert len(token["words"]) == 3 and token["distances"] == sorted(token["distances"])
    assert sorted(content["task_features"]["order"]) == sorted(TASKS)
    text = (folder / "interpret.md").read_text()
    for name in ("task_features.png", "task_contexts.png"):
        assert f"({name})" in text and Image.open(folder / name).size[0] > 300
    assert "### texture recognition" in text and "flower recognition:" in capsys.readouterr().out
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert interpret.main([str(run), "--words", "3"]) == 0
    assert before == {path.name: path.read_bytes() for path in folder.iterdir()}


def test_gains_stand_beside_a_run_or_alone(runs, tmp_path):
    for i, own in enumerate(RUNS):
        (tmp_path / f"sweep/{i}").mkdir(parents=True)
        write_record(tmp_path / f"sweep/{i}/results.json", own)
    arguments = ["--gains", str(tmp_path / "sweep"), "--to", str(tmp_path / "out")]
    assert interpret.main([str(runs("SoftCPT")), *arguments]) == 0
    assert {path.name for path in (tmp_path / "out").glob("*.png")} == {
        "task_features.png", "task_contexts.png", "gains.png",
    }  # fmt: skip
    assert interpret.main(arguments) == 0
    assert {path.name for path in (tmp_path / "out").glob("*.png")} == {"gains.png"}
    text = (tmp_path / "out/interpret.md").read_text()
    assert "SoftCPT NATA, Demo, 4 shots" in text and "1 or 2 seeds" in text and "(gains.png)" in text


def test_contexts_in_one_piece_have_words_and_no_picture(runs):
    run = runs("CoOp")
    assert interpret.main([str(run)]) == 0
    assert {path.name for path in (run / "interpret").iterdir()} == {"interpret.json", "interpret.md"}


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["{zero}"], "ZeroshotCLIP has no contexts to look into: its prompts are hand-made words"),
        (["{zero}", "--words", "0"], "--words: 0 is not at least 1"),
        (["nowhere"], "nowhere is no run's folder"),
        ([], "name a run folder"),
        (["--gains", "{tmp}", "--to", "{tmp}/x"], "no runs on all tasks"),
        (["{zero}", "--to", "{tmp}/file"], "is a file"),
    ],
)
def test_what_cannot_be_interpreted_is_one_line(arguments, message, runs, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    zero = runs("ZeroshotCLIP")
    assert interpret.main([word.format(zero=zero, tmp=tmp_path) for word in arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error and len(error.splitlines()) == 1
    assert not (zero / "interpret").exists()
