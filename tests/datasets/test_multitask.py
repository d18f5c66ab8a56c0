"""Benchmarks of several tasks."""

import json
import os
import random

import pytest
from dassl.data import DataManager
from data_sets import COLORS, FRUIT, ModelBenchmark, build, config_of, coop_draw

import datasets
from datasets.multitask import MultiTask, TaskSpec, drawn_shots, tasks_of, write_shots
from datasets.splits import write_split
from datasets.tables import write_table
from softcpt.tasks import Task, words

SPLIT = "fruit/split_zhou_ModelFruit.json"


def test_tasks_are_domains_with_contiguous_labels(root):
    dataset = build(root, "ModelBenchmark", DATASET__NUM_SHOTS=2)
    assert dataset.tasks == (
        Task("kind of fruit", FRUIT, "mean_per_class", "a photo of a {}, a type of fruit."),
        Task("colour", COLORS, "accuracy", "{} things."),
        Task("model ordinary set", COLORS, "mean_per_class", "a photo of a {}."),
    )
    assert tasks_of(dataset) == dataset.tasks
    assert dataset.num_classes == 11
    assert dataset.classnames == [*FRUIT, *COLORS, *COLORS]
    assert dataset.lab2cname == dict(enumerate(dataset.classnames))
    ranges = [range(5), range(5, 8), range(8, 11)]
    for part in (dataset.train_x, dataset.val, dataset.test):
        for task, labels in enumerate(ranges):
            assert {item.label for item in part if item.domain == task} == set(labels)
        assert all(item.classname == dataset.classnames[item.label] for item in part)


@pytest.mark.parametrize("seed", [1, 5])
def test_each_task_draws_the_shots_it_draws_alone(root, seed):
    whole = build(root, "ModelBenchmark", DATASET__NUM_SHOTS=2, SEED=seed)
    for task, name in enumerate(("ModelFruit", "ModelColor", "ModelOrdinarySet")):
        random.seed(seed)  # as train.py does; matters to the ordinary data set only
        alone = build(root, name, DATASET__NUM_SHOTS=2, SEED=seed)
        drawn = [item.impath for item in whole.train_x if item.domain == task]
        assert drawn == [item.impath for item in alone.train_x]


def test_class_halves_are_taken_per_task(root):
    new = build(root, "ModelBenchmark", DATASET__TASKS="kind of fruit,colour", DATASET__SUBSAMPLE_CLASSES="new")
    assert [task.classnames for task in new.tasks] == [FRUIT[3:], COLORS[2:]]
    assert new.classnames == ["plum", "fig", "blue"]


@pytest.mark.parametrize(
    ("which", "expected"),
    [
        ("all", ["kind of fruit", "colour", "model ordinary set"]),
        ("base", ["kind of fruit", "colour"]),
        ("new", ["model ordinary set"]),
        ("colour, kind of fruit", ["kind of fruit", "colour"]),
        ("ModelColor", ["colour"]),
    ],
)
def test_tasks_are_selected_by_half_or_name(root, which, expected):
    dataset = build(root, "ModelBenchmark", DATASET__TASKS=which)
    assert [task.name for task in dataset.tasks] == expected
    assert {item.domain for item in dataset.test} == set(range(len(expected)))


def test_tasks_may_be_a_list():
    specs = ModelBenchmark.specs
    assert datasets.multitask.select_specs(specs, ["colour", "ModelFruit"]) == specs[:2]


HALVES_AS_NAMES = [TaskSpec("ModelFruit", name="base"), TaskSpec("ModelColor", name="x, y"), TaskSpec("x", name="all")]


@pytest.mark.parametrize(
    "which, expected",
    [
        ("base,", [0]),
        (["base"], [0]),
        (r"x\, y", [1]),
        (["x, y", "all"], [1, 2]),
        ("all,", [2]),
        ("all", [0, 1, 2]),
        (r"base,x\, y", [0, 1]),
        ("new", [2]),
    ],
)
def test_tasks_that_are_called_like_halves_or_have_commas_can_be_named(which, expected):
    selected = datasets.multitask.select_specs(HALVES_AS_NAMES, which)
    assert selected == tuple(HALVES_AS_NAMES[i] for i in expected)


def test_half_that_is_also_a_task_is_refused(caplog):
    with pytest.raises(ValueError) as error:
        datasets.multitask.select_specs(HALVES_AS_NAMES, "base")
    assert str(error.value) == (
        "DATASET.TASKS is 'base', a half of the tasks and also the name of a task: write 'base,' for the task, and "
        r"'base,x\\, y' for the half"
    )
    datasets.multitask.select_specs(HALVES_AS_NAMES, "all")
    assert "'all,' selects the one that is called all" in caplog.text


def test_unknown_task_suggests_the_nearest(root):
    with pytest.raises(ValueError, match=r"no task 'color' \(did you mean 'colour'\?\)"):
        build(root, "ModelBenchmark", DATASET__TASKS="color")
    with pytest.raises(ValueError, match="ModelFruit is a single task"):
        build(root, "ModelFruit", DATASET__TASKS="colour")


def test_invalid_benchmarks_are_refused(root):
    def refuse(message, *specs):
        benchmark = type("Benchmark", (MultiTask,), {"specs": specs})
        cfg = config_of(root, "")
        with pytest.raises(ValueError, match=message):
            benchmark(cfg)

    refuse(r"no data set 'ModelFruits' is registered \(did you mean 'ModelFruit'\?\)", TaskSpec("ModelFruits"))
    refuse("found twice: 'x'", TaskSpec("ModelFruit", name="x"), TaskSpec("ModelColor", name="x"))
    refuse("has tasks of its own", TaskSpec("ModelBenchmark"))
    refuse(r"metric is 'acuracy', use one of .*'accuracy'", TaskSpec("ModelColor", metric="acuracy"))
    refuse(r"template 'a photo\.' must have one \{\}", TaskSpec("ModelColor", template="a photo."))


def test_dassl_data_set_without_training_images_of_a_class_is_refused(root):
    file = root / "color" / "split_zhou_ModelColor.json"
    split = json.loads(file.read_text())
    split["train"] = [row for row in split["train"] if row[1] != 2]
    file.write_text(json.dumps(split))
    with pytest.raises(ValueError, match=r"'model ordinary set' .*: no training image for the labels 2"):
        build(root, "ModelBenchmark", DATASET__TASKS="ModelOrdinarySet")


def test_dassl_data_set_is_one_task(root):
    assert tasks_of(build(root, "ModelOrdinarySet")) == (Task("model ordinary set", COLORS),)
    assert tasks_of(build(root, "ModelFruit"))[0].metric == "mean_per_class"


@pytest.mark.parametrize(
    ("name", "expected"),
    [("OxfordPets", "oxford pets"), ("FGVCAircraft", "fgvc aircraft"), ("SUN397", "sun397"), ("EuroSAT", "euro sat")],
)
def test_class_names_become_words(name, expected):
    assert words(name) == expected


def test_drawn_shots_are_relative_to_the_root(root, tmp_path):
    dataset = build(root, "ModelBenchmark", DATASET__NUM_SHOTS=1)
    shots = drawn_shots(dataset)
    assert list(shots) == ["kind of fruit", "colour", "model ordinary set"]
    assert [len(shots["colour"][part]) for part in ("train", "val")] == [3, 3]
    train, val = coop_draw(json.loads((root / SPLIT).read_text()), 1, 1).values()
    prefix = "fruit/images/"
    assert shots["kind of fruit"] == {
        "train": [prefix + path for path in train],
        "val": [prefix + path for path in val],
    }
    write_shots(dataset, tmp_path / "shots.json")
    assert json.loads((tmp_path / "shots.json").read_text()) == shots
    assert not list(tmp_path.glob("*.tmp"))


def test_failed_write_keeps_the_old_file(root, monkeypatch):
    def no_space(*args):
        raise OSError("no space left")

    out = root / "out"
    out.mkdir()
    dataset = build(root, "ModelBenchmark", DATASET__NUM_SHOTS=1)
    writers = {
        "shots.json": lambda path: write_shots(dataset, path),
        "split.json": lambda path: write_split(path, str(root), (dataset.train_x, [], [])),
        "tasks.csv": lambda path: write_table(path, [("a.png", "colour", "red", "train")]),
    }
    for name, write in writers.items():
        write(str(out / name))
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    assert before.keys() == writers.keys()
    monkeypatch.setattr(os, "replace", no_space)
    for name, write in writers.items():
        with pytest.raises(OSError, match="no space left"):
            write(str(out / name))
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_shots_of_a_dassl_data_set_are_relative_to_the_given_root(root):
    shots = drawn_shots(build(root, "ModelOrdinarySet", DATASET__NUM_SHOTS=1), str(root))
    assert all(path.startswith("color/images/") for path in shots["model ordinary set"]["train"])


def test_data_manager_delivers_the_task_as_domain(root):
    cfg = config_of(root, "ModelBenchmark")
    cfg.INPUT.SIZE, cfg.DATALOADER.NUM_WORKERS = (8, 8), 0
    cfg.DATALOADER.TRAIN_X.SAMPLER, cfg.DATALOADER.TRAIN_X.N_DOMAIN = "RandomDomainSampler", 3
    cfg.DATALOADER.TRAIN_X.BATCH_SIZE = 6
    batch = next(iter(DataManager(cfg).train_loader_x))
    offsets = (0, 5, 8, 11)
    assert sorted(batch["domain"].tolist()) == [0, 0, 1, 1, 2, 2]
    for task, label in zip(batch["domain"].tolist(), batch["label"].tolist()):
        assert offsets[task] <= label < offsets[task + 1]
