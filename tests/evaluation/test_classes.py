"""A run records its classes in classes.json, and other classes are refused."""

import json
import shutil
from types import SimpleNamespace

import pytest
import toy
import yaml

import train
from softcpt.evaluation.classes import check_same_classes, classes_in, classes_of, read_classes, write_classes

OPTS = ("OPTIM.MAX_EPOCH", 1, "DATASET.NUM_SHOTS", 2)
SPLIT = "toy/flower/split_zhou_ToyFlower.json"


def task(name="bird recognition", template="a {}.", metric="accuracy", classnames=("robin", "wren", "crow")):
    return SimpleNamespace(name=name, template=template, metric=metric, classnames=tuple(classnames))


def run_with(folder, tasks, **dataset):
    folder.mkdir(exist_ok=True)
    write_classes(folder / "classes.json", tasks)
    (folder / "config.yaml").write_text(yaml.safe_dump({"DATASET": chosen(**dataset)}))
    return folder


def chosen(**dataset):
    return {"NAME": "Birds", "TASKS": "all", "SUBSAMPLE_CLASSES": "all", **dataset}


def test_classes_are_read_as_written(tmp_path):
    run = run_with(tmp_path, [task(), task("texture recognition", classnames=["größer, rot"])])
    shared = {"template": "a {}.", "metric": "accuracy"}
    assert classes_of(read_classes(run / "classes.json")) == [
        {"name": "bird recognition", **shared, "classnames": ["robin", "wren", "crow"]},
        {"name": "texture recognition", **shared, "classnames": ["größer, rot"]},
    ]
    check_same_classes(run, classes_in(run))


@pytest.mark.parametrize(
    "other, message",
    [
        (task(classnames=["robin", "wren", "rook"]), "has: 'robin', 'wren', 'crow'. Now: 'robin', 'wren', 'rook'"),
        (task(classnames=["wren", "robin", "crow"]), "classes"),
        (task(classnames=["robin", "wren", "crow", "rook"]), "'rook'"),
        (task(name="fowl recognition"), "tasks.* has: 'bird recognition'. Now: 'fowl recognition'"),
        (task(template="one {}."), "template.* has: 'a {}.'. Now: 'one {}.'"),
        (task(metric="mean_per_class"), "metric.* has: 'accuracy'"),
    ],
)
@pytest.mark.parametrize("selection", [None, chosen()], ids=["resuming", "evaluating"])
def test_changed_classes_are_refused_with_both_lists(tmp_path, other, message, selection):
    run = run_with(tmp_path / "run", [task()])
    check_same_classes(run, [task()], selection)
    with pytest.raises(ValueError, match=message):
        check_same_classes(run, [other], selection)


def test_long_lists_show_only_the_differences(tmp_path):
    names = [f"class {i}" for i in range(100)]
    run = run_with(tmp_path / "run", [task(classnames=names)])
    with pytest.raises(ValueError, match=r"\(100 in all\).* Only in the run: 'class 77'. Only now: 'new'"):
        check_same_classes(run, [task(classnames=[*names[:77], "new", *names[78:]])])


def test_halves_may_differ_but_their_overlap_is_compared(tmp_path):
    names = ["robin", "wren", "crow", "rook", "gull"]
    base, new = task(classnames=names[:3]), task(classnames=names[3:])
    run = run_with(tmp_path / "base", [base], SUBSAMPLE_CLASSES="base")
    check_same_classes(run, [new], chosen(SUBSAMPLE_CLASSES="new"))
    check_same_classes(run, [task(classnames=names)], chosen())
    with pytest.raises(ValueError, match="classes"):
        check_same_classes(run, [task(classnames=["owl", *names])], chosen())
    with pytest.raises(ValueError, match="template"):
        check_same_classes(run, [task(template="one {}.", classnames=names[3:])], chosen(SUBSAMPLE_CLASSES="new"))
    run = run_with(tmp_path / "all", [task(classnames=names)])
    check_same_classes(run, [base], chosen(SUBSAMPLE_CLASSES="base"))
    check_same_classes(run, [new], chosen(SUBSAMPLE_CLASSES="new"))
    with pytest.raises(ValueError, match="classes"):
        check_same_classes(run, [base], chosen(SUBSAMPLE_CLASSES="new"))
    run = run_with(tmp_path / "tasks", [task(), task("texture recognition")], TASKS="base")
    check_same_classes(run, [task("aircraft recognition")], chosen(TASKS="new"))
    check_same_classes(run, [task()], chosen(TASKS="bird recognition"))
    with pytest.raises(ValueError, match="classes"):
        check_same_classes(run, [task(classnames=["owl"])], chosen(TASKS="bird recognition"))
    check_same_classes(run, [task(classnames=["cat"])], chosen(NAME="Pets"))  # a transfer


@pytest.mark.parametrize(
    "text, message",
    [
        ("{", "not a JSON file"),
        ("[]", "schema is"),
        ('{"schema": 2, "tasks": []}', "schema is 2, this version reads schema 1"),
        ('{"schema": 1, "tasks": []}', "'tasks'"),
        ('{"schema": 1, "tasks": [{"name": "x"}]}', r"tasks\[0\]: template, metric, classnames"),
        ('{"schema": 1, "tasks": [{"name": "x", "template": "{}", "metric": "a", "classnames": [1]}]}', "classnames"),
    ],
)
def test_damaged_classes_file_is_an_error(tmp_path, text, message):
    (tmp_path / "classes.json").write_text(text)
    with pytest.raises(ValueError, match=f"classes.json: .*{message}"):
        classes_in(tmp_path)


# -- runs --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def own(finished_run, toy_root, tmp_path):
    """Arguments of train.py for a copy of a finished run, on a copy of its data."""
    shutil.copytree(toy_root, tmp_path / "data")
    shutil.copytree(finished_run("CoOp"), tmp_path / "run")
    opts = (*OPTS, "TRAINER.PLOT.THRESH", 0.0)
    return toy.arguments(tmp_path / "data", tmp_path / "run", "CoOp", *opts)


def rename(data, old, new):
    text = (data / SPLIT).read_text()
    assert old in text
    (data / SPLIT).write_text(text.replace(old, new))


def test_run_writes_its_classes(finished_run):
    run = finished_run("CoOp")
    assert (run / "classes.json").read_text() == (run / "prompt_learner/classes.json").read_text()
    found = classes_in(run)
    assert [list(t.classnames) for t in found] == [
        toy.CLASSES[name] for name in ("ToyFlower", "ToyTexture", "ToyAircraft")
    ]
    assert [t.metric for t in found] == ["accuracy", "accuracy", "mean_per_class"]


def test_run_with_renamed_classes_is_not_resumed(own, tmp_path, capsys):
    before = (tmp_path / "run/classes.json").read_text()
    assert train.main(own) == 0
    rename(tmp_path / "data", "ox-eye daisy", "marguerite")
    capsys.readouterr()
    assert train.main(own) == 1
    error = capsys.readouterr().err
    assert "'rose', 'ox-eye daisy'," in error and "'rose', 'marguerite'," in error
    assert (tmp_path / "run/classes.json").read_text() == before and (tmp_path / "run/results.json").is_file()


def test_run_is_not_evaluated_on_renamed_classes(own, tmp_path, capsys):
    rename(tmp_path / "data", "ox-eye daisy", "marguerite")
    arguments = toy.arguments(tmp_path / "data", tmp_path / "test", "CoOp", *OPTS)
    evaluation = ["--eval-only", "--model-dir", str(tmp_path / "run"), *arguments]
    assert train.main(evaluation) == 1
    assert "task 'flower recognition', classes" in capsys.readouterr().err
    assert not (tmp_path / "test").exists()
    rename(tmp_path / "data", "marguerite", "ox-eye daisy")
    assert train.main(evaluation) == 0
    assert json.loads((tmp_path / "test/results.json").read_text())["metric"] == pytest.approx(
        json.loads((tmp_path / "run/results.json").read_text())["metric"]
    )


@pytest.mark.parametrize("key", ["DATASET.SUBSAMPLE_CLASSES", "DATASET.TASKS"])
def test_base_run_is_evaluated_on_the_new_half(toy_root, tmp_path, key):
    for half in ("base", "new"):
        arguments = toy.arguments(toy_root, tmp_path / half, "CoOp", *OPTS, key, half)
        load = ["--eval-only", "--model-dir", str(tmp_path / "base")] if half == "new" else []
        assert train.main([*load, *arguments]) == 0
    assert classes_in(tmp_path / "new") != classes_in(tmp_path / "base")


def test_run_of_an_older_version_resumes(own, tmp_path):
    for name in ("classes.json", "prompt_learner/classes.json"):
        (tmp_path / "run" / name).unlink()
    assert train.main([*own, "--test-again"]) == 0
    assert classes_in(tmp_path / "run")
