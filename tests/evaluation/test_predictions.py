"""The predictions of a run, and that they agree with its record."""

import json

import pytest
import torch
import yaml
from dassl.engine import build_trainer
from toy import arguments

import train
from softcpt.evaluation.predictions import (
    PREDICTIONS_FILE,
    Prediction,
    merge_predictions,
    prediction_rows,
    read_predictions,
    write_predictions,
)
from softcpt.evaluation.records import read_records

ROWS = [Prediction("birds, all", "a/ü 1.png", 'the "owl"', "jay", 0.25), Prediction("cars", "b.png", "x", "x", 1.0)]


def evaluate_again(toy_root, run, out, *opts):
    flags = ["--eval-only", "--model-dir", str(run)]
    given = arguments(toy_root, out, "CoOp")
    given[given.index("--seed") : given.index("--seed") + 2] = flags
    return train.main([*given, *map(str, opts)])


@pytest.fixture
def run(finished_run):
    return finished_run("CoOp")


def test_predictions_are_read_as_written(tmp_path):
    for name in ("a", "b"):
        write_predictions(tmp_path / name, ROWS)
    assert read_predictions(tmp_path / "a") == ROWS
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_damaged_predictions_file_is_an_error(tmp_path):
    path = tmp_path / "predictions.csv.gz"
    write_predictions(path, ROWS)
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(ValueError, match=f"{path}: not a complete gzip file"):
        read_predictions(path)
    path.write_text("task,image\n")
    with pytest.raises(ValueError, match="not a complete gzip file"):
        read_predictions(path)


def test_predictions_merge_only_if_every_task_has_some(tmp_path):
    parts = [tmp_path / "a", tmp_path / "b"]
    for part, row in zip(parts, ROWS):
        part.mkdir()
        merge_predictions(tmp_path, parts)
        assert not (tmp_path / PREDICTIONS_FILE).exists()
        write_predictions(part / PREDICTIONS_FILE, [row])
    merge_predictions(tmp_path, parts)
    assert read_predictions(tmp_path / PREDICTIONS_FILE) == ROWS


def test_predictions_of_other_images_are_refused():
    with pytest.raises(ValueError, match="1 predictions do not belong to the 0 images in this order"):
        list(prediction_rows([], [], [0], [0], [1.0]))


def test_predictions_of_a_run_give_its_record(run, toy_root):
    rows = read_predictions(run / PREDICTIONS_FILE)
    record = json.loads((run / "results.json").read_text())
    assert len(rows) == len({row.image for row in rows}) == sum(task["n"] for task in record["tasks"])
    assert all((toy_root / row.image).is_file() for row in rows)
    for task in record["tasks"]:
        mine = [row for row in rows if row.task == task["name"]]
        right = {name: [] for name in dict.fromkeys(row.classname for row in mine)}
        for row in mine:
            right[row.classname].append(row.predicted == row.classname)
        hits = [hit for some in right.values() for hit in some]
        recalls = [sum(some) / len(some) for some in right.values()]
        value = sum(hits) / len(hits) if task["metric"] == "accuracy" else sum(recalls) / len(recalls)
        assert task["value"] == pytest.approx(100 * value) and task["n"] == len(mine)


def test_probability_is_the_softmax_within_the_task(run, toy_root, tmp_path):
    given = arguments(toy_root, tmp_path / "again", "CoOp", "DATASET.NUM_SHOTS", 2)
    trainer = build_trainer(train.setup_cfg(train.parse_args(given)))
    trainer.load_model(str(run))
    trainer.set_model_mode("eval")
    rows = iter(read_predictions(run / PREDICTIONS_FILE))
    names = [name for task in trainer.tasks for name in task.classnames]
    for batch in trainer.test_loader:
        for label, logits in zip(batch["label"].tolist(), trainer.model_inference(batch["img"]).double()):
            own = trainer.class_task == trainer.class_task[label]
            shares = logits.masked_fill(~own, -torch.inf).softmax(0)
            row, best = next(rows), int(shares.argmax())
            assert row.predicted == names[best]
            assert row.probability == pytest.approx(float(shares[best]), abs=2e-5)
    assert not list(rows)


def test_predictions_can_be_switched_off(toy_root, tmp_path):
    out = tmp_path / "run"
    assert train.main(arguments(toy_root, out, "ZeroshotCLIP", "TEST.PREDICTIONS", False)) == 0
    assert (out / "results.json").is_file() and not (out / PREDICTIONS_FILE).exists()


def test_evaluation_keeps_shots_and_seed_of_the_run(run, toy_root, tmp_path, capsys):
    out = tmp_path / "test"
    assert evaluate_again(toy_root, run, out) == 0
    (trained,), (tested,) = read_records(run), read_records(out)
    assert (tested["shots"], tested["seed"]) == (trained["shots"], trained["seed"]) == (2, 1)
    assert tested["loaded_from"] == str(run) and trained["loaded_from"] == ""
    assert tested["metric"] == trained["metric"]
    assert yaml.safe_load((out / "config.yaml").read_text())["DATASET"]["NUM_SHOTS"] == 2
    assert "--eval-only --model-dir" in tested["command"] and trained["command"].startswith("python train.py --root")
    assert read_predictions(out / PREDICTIONS_FILE) == read_predictions(run / PREDICTIONS_FILE)
    capsys.readouterr()
    assert evaluate_again(toy_root, run, tmp_path / "other", "DATASET.NUM_SHOTS", 1) == 0
    assert f"DATASET.NUM_SHOTS is 2, as in the evaluated run, {run}" in capsys.readouterr().err
