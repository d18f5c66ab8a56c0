"""A task of one class is named, listed with its reason, and left out of every mean."""

import json
from types import SimpleNamespace

import pytest
import torch
import toy
from dassl.config import get_cfg_default
from records import record

import train
from scripts.lib.methods import result_lines
from softcpt.evaluation.records import merge_tasks
from softcpt.reports import tables
from trainers.engine.evaluator import MultiTaskClassification


def task(name, *classnames, metric="accuracy"):
    return SimpleNamespace(name=name, classnames=classnames, metric=metric)


def evaluator(*tasks):
    return MultiTaskClassification(get_cfg_default(), tasks=tasks)


def test_one_class_is_left_out_of_the_mean(capsys):
    judge = evaluator(
        task("sign", "stop"), task("shape", "square", "disc"), task("day", "day", metric="mean_per_class")
    )
    judge.process(torch.eye(4)[[0, 0, 1, 1, 2, 3]], torch.tensor([0, 0, 1, 2, 2, 3]))
    results = judge.evaluate()
    assert results["accuracy"] == pytest.approx(100 * 2 / 3) and results["error_rate"] == pytest.approx(100 / 3)
    assert results["macro_f1"] == pytest.approx(100 * 2 / 3)  # 2/3 for each of the two classes
    assert judge.task_results[0] == {
        "name": "sign",
        "metric": "accuracy",
        "value": 100,
        "n": 2,
        "left_out": "one class",
    }
    assert judge.task_results[1].keys() == {"name", "metric", "value", "n"}
    text = capsys.readouterr().out
    assert "task 1/3 (sign): 100.00% accuracy, n = 2, one class, left out of the mean\n" in text
    assert "* total: 6\n* correct: 5\n* accuracy: 66.67%" in text
    assert "66.67% is accuracy of the task, the headline; of all images together 83.33% are right (5 of 6)" in text


def test_tasks_of_one_class_alone_still_have_a_result():
    judge = evaluator(task("sign", "stop"))
    judge.process(torch.zeros(2, 1), torch.tensor([0, 0]))
    assert judge.evaluate()["accuracy"] == 100
    assert judge.task_results[0]["left_out"] == "one class"


def entry(name, value, **more):
    return {"name": name, "metric": "accuracy", "value": value, "n": 10, **more}


def test_records_and_tables_leave_it_out():
    tasks = [entry("shape", 60.0), entry("sign", 100.0, left_out="one class"), entry("day", 80.0)]
    run = record(tasks=tasks)
    assert run["metric"] == 70.0 and run["tasks"] == tasks
    frame = tables.results_frame([run]).set_index("task")["value"]
    assert frame[tables.AVERAGE] == 70.0 and frame["shape"] == 60.0 and frame.isna()["sign"]
    assert tables.tested(tasks) == "shape (10), sign (10, one class), day (10)"
    assert "mean over 2 tasks" in result_lines(run)
    parts = [record(tasks=[part], split=f"test-{part['name']}-tasks") for part in tasks]
    assert parts[1]["metric"] == 100.0
    assert merge_tasks(parts)["metric"] == 70.0


def test_run_warns_and_tests_the_others(toy_root, tmp_path, capsys):
    arguments = toy.arguments(toy_root, tmp_path, "ZeroshotCLIP", "DATASET.SUBSAMPLE_CLASSES", "new")
    assert train.main(arguments) == 0
    result = json.loads((tmp_path / "results.json").read_text())
    values = [one["value"] for one in result["tasks"]]  # one of three, one of two, two of five classes
    assert [one.get("left_out") for one in result["tasks"]] == ["one class", "one class", None]
    assert values[:2] == [100, 100] and result["metric"] == values[2] < 100
    log = (tmp_path / "log.txt").read_text()
    assert log.count("do not count in the mean: flower recognition, texture recognition") == 1
