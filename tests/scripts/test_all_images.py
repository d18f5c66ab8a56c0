"""A final model from all images: DATASET.TRAIN_ON_ALL."""

import json
import math
from collections import Counter

import export
import predict
import pytest
import report
import toy
from dassl.engine import build_trainer

import parse_test_res
import train
from softcpt.evaluation.data import data_in
from softcpt.evaluation.records import read_records
from softcpt.inference import load_classifier
from softcpt.reports.runs import readable_records

ALL = ("DATASET.TRAIN_ON_ALL", True, "OPTIM.MAX_EPOCH", 1)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    toy.draw_folders(tmp_path_factory.mktemp("pictures") / "data")
    return next(tmp_path_factory.getbasetemp().glob("pictures*/data"))


@pytest.fixture(scope="module")
def run(root, tmp_path_factory):
    out = tmp_path_factory.mktemp("all") / "CoOp/run"
    toy.finish(toy.arguments(root, out, "CoOp", *ALL, dataset="FolderTasks"))
    return out


@pytest.mark.parametrize("dataset, images", [("FolderTasks", 24), ("ToySingle", 40), ("ToyTasks", 80)])
def test_every_image_is_trained_on_once(root, toy_root, tmp_path, dataset, images):
    data = root if dataset == "FolderTasks" else toy_root
    trainer = build_trainer(toy.config(data, tmp_path, "CoOp", *ALL, dataset=dataset))
    paths = [item.impath for item in trainer.dm.dataset.train_x]
    assert len(paths) == len(set(paths)) == images == len(trainer.train_loader_x.dataset)
    assert trainer.val_loader is None and trainer.test_loader is None and not trainer.dm.dataset.test
    assert math.isnan(trainer.test())


def test_picture_of_two_tasks_is_trained_on_in_both(tmp_path):
    toy.draw_folders(tmp_path / "data")
    toy.share_pictures(tmp_path / "data")
    trainer = build_trainer(toy.config(tmp_path / "data", tmp_path, "CoOp", *ALL, dataset="FolderTasks"))
    assert Counter(item.domain for item in trainer.dm.dataset.train_x) == {0: 24, 1: 24}
    assert len({(item.impath, item.label) for item in trainer.dm.dataset.train_x}) == 48


def test_record_says_that_there_was_no_test(run, root, capsys):
    record = json.loads((run / "results.json").read_text())
    assert record["metric"] is None and record["split"] == "none" and record["shots"] == -1
    assert [(task["value"], task["n"]) for task in record["tasks"]] == [(None, 0)] * 2
    assert [task["train"]["n"] for task in data_in(run)["tasks"]] == [12, 12]
    assert (
        not (run / "predictions.csv.gz").exists() and "Not tested: the run is trained" in (run / "log.txt").read_text()
    )
    assert train.main(toy.arguments(root, run, "CoOp", *ALL, dataset="FolderTasks")) == 0
    assert f"done before: {run} (trained on all images, not tested)" in capsys.readouterr().out


def test_reports_name_it_and_show_the_others(run, root, toy_root, tmp_path, capsys):
    assert read_records(run.parent) == []
    assert readable_records(run.parent)[1] == [f"runs trained on all images, and so not tested: 1 ({run}/results.json)"]
    assert report.main([str(run.parent)]) == 1
    assert "trained on all images, and so not tested: 1" in capsys.readouterr().err
    toy.finish(toy.arguments(root, run.parent / "tested", "CoOp", "OPTIM.MAX_EPOCH", 1, dataset="FolderTasks"))
    assert report.main([str(run.parent), "--to", str(tmp_path)]) == 0
    assert "trained on all images, and so not tested: 1" in capsys.readouterr().out
    assert "not tested" in (tmp_path / "report.html").read_text()
    assert parse_test_res.main([str(run.parent)]) == 0
    assert f"{run}: skipped, no accuracy" in capsys.readouterr().err


def test_it_predicts_and_is_exported(run, root, tmp_path, capsys):
    picture = str(root / "warm things/one/0.png")
    assert predict.main([str(run), picture, "--task", "warm things"]) == 0
    file = tmp_path / "model.safetensors"
    assert export.main([str(run), str(file)]) == 0
    assert f"{run} was trained on all images, so it is not tested" in capsys.readouterr().out
    assert load_classifier(file, backbone=toy.CLIP).predict([picture], task="warm things")[0] in ("one", "two")


def test_it_is_not_evaluated_on_its_own_images(run, root, tmp_path, capsys):
    load = ["--eval-only", "--model-dir", str(run)]
    words = toy.arguments(root, tmp_path / "test", "CoOp", dataset="FolderTasks")
    assert train.main([*load, *words]) == 1
    error = capsys.readouterr().err
    assert "was trained or validated on 4 of the images to be tested" in error and "test it on other images" in error
    assert train.main([*load, *words, "DATASET.TRAIN_ON_ALL", "True"]) == 1
    assert "DATASET.TRAIN_ON_ALL leaves no images to test on" in capsys.readouterr().err
    assert train.main([*load, "--root", str(root), "--output-dir", str(tmp_path / "test")]) == 1
    assert "was trained or validated on" in capsys.readouterr().err


@pytest.mark.parametrize(
    "method, pair, message",
    [
        ("CoOp", ("DATASET.NUM_SHOTS", 4), "DATASET.NUM_SHOTS must be -1, found 4"),
        ("CoOp", ("TEST.FINAL_MODEL", "best_val"), "TEST.FINAL_MODEL must be last_step"),
        ("ZeroshotCLIP", (), "ZeroshotCLIP learns from no images"),
        ("LinearProbe", (), "LinearProbe searches C on validation shots, and there are none for"),
        ("TipAdapter", (), "TipAdapter searches alpha and beta on validation shots, and there are none for"),
    ],
)
def test_what_needs_other_images_is_refused(root, tmp_path, capsys, method, pair, message):
    assert train.main(toy.arguments(root, tmp_path / "run", method, *ALL, *pair, dataset="FolderTasks")) == 1
    assert message in capsys.readouterr().err and not (tmp_path / "run").exists()
