"""What a run chooses on validation images is never chosen on test images, and its record says on what it was chosen."""

import json

import pytest
import toy
from methods import CLASSES, LEARNING, METHODS, build

import train
from softcpt.evaluation.records import LATER_KEYS, merge_tasks, read_record
from trainers.engine.choosing import BEST, chosen_on

SINGLE = "toy/single/split_zhou_ToySingle.json"
CHOOSING = {
    "LinearProbe": ((), ("C", 1.0)),
    "TipAdapter": ((), ("SEARCH", False)),
    "TipAdapterF": ((), ("SEARCH", False)),
    "SoftCPT": (("BLEND", True), ()),
}


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    """Data roots whose ToySingle has validation images of its own ("val"), none, or those of the test."""
    found = {}
    for name in ("val", "none", "test"):
        found[name] = toy.draw(tmp_path_factory.mktemp(name))
        file = found[name] / SINGLE
        split = json.loads(file.read_text())
        # Other words for the same file: it is still the same image.
        of_test = [[f"./{image}", *rest] for image, *rest in split["test"][3:]]
        split["val"] = {"val": split["val"], "none": [], "test": of_test}[name]
        file.write_text(json.dumps(split))
    return found


def run(root, out, method, *opts):
    return train.main(toy.arguments(root, out, method, "OPTIM.MAX_EPOCH", 1, *opts, dataset="ToySingle"))


@pytest.mark.parametrize("method", LEARNING)
@pytest.mark.parametrize("val, reason", [("none", "there are none for"), ("test", "12 of them are test images")])
def test_best_epoch_is_not_chosen_on_test_images(roots, tmp_path, capsys, monkeypatch, method, val, reason):
    monkeypatch.setattr(CLASSES[method], "forward_backward", None)  # refused before the first step
    search = (f"TRAINER.{method.upper()}.SEARCH", False) if method == "TipAdapterF" else ()
    assert run(roots[val], tmp_path / "run", method, "TEST.FINAL_MODEL", "best_val", *search) == 1
    error = capsys.readouterr().err
    assert f"error: {BEST.what} on validation shots, " in error and reason in error and BEST.instead in error
    assert not (tmp_path / "run").exists()


def test_best_epoch_is_chosen_on_validation_images(roots, tmp_path):
    assert run(roots["val"], tmp_path / "best", "CoOp", "TEST.FINAL_MODEL", "best_val") == 0
    assert run(roots["none"], tmp_path / "last", "CoOp") == 0
    assert run(roots["test"], tmp_path / "none", "CoOp", "TEST.FINAL_MODEL", "best_val", "TEST.NO_TEST", True) == 0
    records = [read_record(tmp_path / name / "results.json") for name in ("best", "last")]
    assert [record["chosen_on"] for record in records] == ["val", ""]
    out, load = tmp_path / "again", ["--eval-only", "--model-dir", str(tmp_path / "best")]
    assert train.main([*toy.arguments(roots["none"], out, "CoOp", dataset="ToySingle"), *load]) == 0
    assert read_record(out / "results.json")["chosen_on"] == "val"  # by the run that it evaluates
    (tmp_path / "best/results.json").unlink()
    out = tmp_path / "unknown"
    assert train.main([*toy.arguments(roots["val"], out, "CoOp", dataset="ToySingle"), *load]) == 0
    assert read_record(out / "results.json")["chosen_on"] is None


@pytest.mark.parametrize("method", CHOOSING)
def test_searched_settings_are_recorded_and_not_searched_on_test_images(roots, tmp_path, capsys, method):
    searching, fixed = ([f"TRAINER.{method.upper()}.{pair[0]}", pair[1]] if pair else [] for pair in CHOOSING[method])
    small = [f"TRAINER.{method.upper()}.SEARCH_STEPS", (5, 5)] if method.startswith("Tip") else []
    assert run(roots["val"], tmp_path / "searched", method, *searching, *small) == 0
    assert run(roots["test"], tmp_path / "fixed", method, *fixed) == 0
    records = [read_record(tmp_path / name / "results.json") for name in ("searched", "fixed")]
    assert [record["chosen_on"] for record in records] == ["val", ""]
    capsys.readouterr()
    assert run(roots["test"], tmp_path / "refused", method, *searching) == 1
    assert "12 of them are test images" in capsys.readouterr().err and not (tmp_path / "refused").exists()


@pytest.mark.parametrize("method", METHODS)
def test_method_says_what_it_searches(toy_root, tmp_path, method):
    expected = "val" if method in ("LinearProbe", "TipAdapter", "TipAdapterF") else ""
    assert chosen_on(build(toy_root, tmp_path, method)) == expected


def test_split_without_images_is_not_replaced_by_the_test(roots, tmp_path, capsys):
    for method in ("CoOp", "ProtoNet", "ZeroshotCLIP"):
        assert run(roots["none"], tmp_path / "run", method, "TEST.SPLIT", "val") == 1
        assert "TEST.SPLIT: val, but ToySingle has no validation images" in capsys.readouterr().err


def test_test_on_the_images_of_the_choice_is_a_warning(roots, tmp_path):
    texts = {}
    for name, opts in {"same": ("TEST.FINAL_MODEL", "best_val"), "honest": ()}.items():
        assert run(roots["val"], tmp_path / name, "CoOp", "TEST.SPLIT", "val", *opts) == 0
        texts[name] = (tmp_path / name / "log.txt").read_text()
        assert read_record(tmp_path / name / "results.json")["split"] == "val"
    warning = f"Warning: {BEST.what} on the images of the test, TEST.SPLIT val: its accuracy is too high"
    assert texts["same"].count(warning) == 1 and "its accuracy is too high" not in texts["honest"]


def test_older_record_does_not_say_what_it_was_chosen_on(roots, tmp_path):
    assert run(roots["val"], tmp_path / "run", "ZeroshotCLIP") == 0
    record = json.loads((tmp_path / "run/results.json").read_text())
    assert record.pop("chosen_on") == "" and LATER_KEYS["chosen_on"] is None
    merged = [merge_tasks([{**record, **own}, record | {"chosen_on": "val"}]) for own in ({}, {"chosen_on": "val"})]
    assert [one["chosen_on"] for one in merged] == [None, "val"]


@pytest.mark.parametrize("method", ("SoftCPT", "CLIPLoRA", "TaskRes", "LinearProbe"))
def test_record_has_each_task_s_metric_on_the_validation_shots(toy_root, tmp_path, method):
    small = ("OPTIM.MAX_EPOCH", 1) if CLASSES[method].learns_by_gradient else ()
    assert train.main(toy.arguments(toy_root, tmp_path / "run", method, *small)) == 0
    call = [*toy.arguments(toy_root, tmp_path / "val", method, "TEST.SPLIT", "val"), "--eval-only"]
    assert train.main([*call, "--model-dir", str(tmp_path / "run")]) == 0
    found, expected = (read_record(tmp_path / name / "results.json")["tasks"] for name in ("run", "val"))
    assert [(task["val"], task["val_n"]) for task in found] == [(task["value"], task["n"]) for task in expected]
    assert all(("val_zero_shot" in task) == (method != "CLIPLoRA") for task in found)
    assert not any("val" in task for task in expected)  # a test on them says it already
    if method == "TaskRes":
        call = toy.arguments(toy_root, tmp_path / "zero", "ZeroshotCLIP", "TEST.SPLIT", "val")
        assert train.main(call) == 0
        zero = read_record(tmp_path / "zero/results.json")["tasks"]
        assert [task["val_zero_shot"] for task in found] == [task["value"] for task in zero]


@pytest.mark.parametrize("val", ("none", "test"))
def test_record_has_no_metric_on_test_images_in_place_of_validation_shots(roots, tmp_path, val):
    assert run(roots[val], tmp_path / "run", "CoOp") == 0
    assert not any("val" in task for task in read_record(tmp_path / "run/results.json")["tasks"])
