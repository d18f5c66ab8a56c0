"""Predictions of finished runs on images, compared with Dassl's test loop and the logits of the whole model."""

import json
import shutil
from pathlib import Path

import export
import pandas as pd
import predict
import pytest
import torch
import toy
from dassl.engine import build_trainer
from methods import METHODS, probabilities_of

import train

FLOWERS = toy.CLASSES["ToyFlower"]
WORKERS = "DATALOADER.NUM_WORKERS"
FLOWER = ("--task", "flower recognition")
# THRESH: so that no other image stops a transport plan.
OPTS = ("OPTIM.MAX_EPOCH", 1, "DATASET.NUM_SHOTS", 2, "TRAINER.PLOT.THRESH", 0.0)


def files(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


@pytest.mark.parametrize("method", METHODS)
def test_predictions_match_the_model_and_the_runs_accuracy(method, toy_root, flowers, finished_run, tmp_path, capsys):
    out, table = finished_run(method), tmp_path / "table.csv"
    arguments = toy.arguments(toy_root, out, method, *OPTS)
    before = files(out.parent)
    capsys.readouterr()
    task = "flower recognition"
    assert predict.main([str(out), str(flowers), "--task", task, "--csv", str(table)]) == 0
    assert files(tmp_path).keys() == {table}
    assert files(out.parent) == before

    rows = pd.read_csv(table)
    assert len(rows) == 9 * 3 and set(rows["task"]) == {task}
    trainer = build_trainer(train.setup_cfg(train.parse_args(arguments)))
    trainer.load_model(str(out) if trainer.learned.state_dict() else "")
    wide = rows.pivot(index="path", columns="class", values="probability")[FLOWERS]
    p = probabilities_of(trainer, list(wide.index), task)
    torch.testing.assert_close(torch.tensor(wide.values.tolist()), p, atol=1e-4, rtol=1e-3)

    first = rows[rows["rank"] == 1]
    assert first["class"].tolist() == [FLOWERS[i] for i in p.argmax(1)]
    right = first["class"] == [Path(path).parent.name for path in first["path"]]
    result = json.loads((out / "results.json").read_text())["tasks"][0]
    assert result["name"] == task and 100 * right.mean() == pytest.approx(result["value"])
    printed = capsys.readouterr()
    assert printed.out.splitlines() == [
        f"{path}: " + ", ".join(f"{name} {100 * value:.1f} %" for name, value in zip(own["class"], own["probability"]))
        for path, own in rows.groupby("path", sort=False)
    ]


def test_batches_and_workers_change_nothing(run, flowers, capsys):
    arguments = [str(run), str(flowers), "--task", "aircraft model recognition", "--top", "2"]
    assert predict.main(arguments) == 0
    whole = capsys.readouterr().out
    assert predict.main([*arguments, "DATALOADER.TEST.BATCH_SIZE", "4", "DATALOADER.NUM_WORKERS", "1"]) == 0
    assert capsys.readouterr().out == whole and len(whole.splitlines()) == 9
    assert all(line.count(" %") == 2 for line in whole.splitlines())


@pytest.mark.parametrize("own, workers", [((), 8), ((WORKERS, "-1"), 8), ((WORKERS, "3"), 3)])
def test_workers_are_those_of_the_call_not_of_the_run(run, flowers, monkeypatch, own, workers):
    monkeypatch.setattr("softcpt.distributed.cores_per_process", lambda: 128)
    args = predict.parse_args([str(run), str(flowers), *own])
    assert predict.predictor_of(args)[2] == workers


def test_find_images_sorts_and_skips_hidden_and_repeated_files(tmp_path):
    for name in ("b/2.PNG", "b/1.jpeg", "a.webp", "notes.txt", ".x.png", ".hidden/y.png", "named like.png/z.bmp"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = predict.find_images([tmp_path / "b/2.PNG", tmp_path, tmp_path / "notes.txt"])
    names = [path.relative_to(tmp_path).as_posix() for path in found]
    assert names == ["b/2.PNG", "a.webp", "b/1.jpeg", "named like.png/z.bmp", "notes.txt"]


def test_images_end_where_the_settings_begin(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "SEED").mkdir()
    args = predict.parse_args("run IMG_1.JPG SEED --top 2 MODEL/a.png USE_CUDA False --task x OPTIM.LR -1".split())
    assert [str(path) for path in args.pictures] == ["IMG_1.JPG", "SEED", "MODEL/a.png"]
    assert args.opts == ["USE_CUDA", "False", "OPTIM.LR", "-1"] and (args.top, args.task) == (2, "x")
    assert predict.parse_args(["run", "a"]).opts == []


def test_run_of_one_task_needs_no_task_flag(toy_root, flowers, tmp_path, capsys):
    part = tmp_path / "run/tasks/flower-recognition"
    toy.finish(toy.arguments(toy_root, part, "CoOp", *OPTS, "DATASET.TASKS", "flower recognition"))
    capsys.readouterr()
    assert predict.main([str(part), str(flowers)]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 9
    assert predict.main([str(tmp_path / "run"), str(flowers)]) == 2
    assert str(part) in capsys.readouterr().err


def moved_run(run, toy_root, to):
    """A copy of a run whose data have moved."""
    shutil.copytree(run, to)
    (to / "config.yaml").write_text((to / "config.yaml").read_text().replace(str(toy_root), "nowhere"))
    return [str(to)]


def test_predicting_needs_no_data_set(toy_root, flowers, run, tmp_path, capsys, monkeypatch):
    arguments = [str(flowers), "--task", "flower recognition"]
    assert predict.main([str(run), *arguments]) == 0
    expected = capsys.readouterr().out
    moved = moved_run(run, toy_root, tmp_path / "moved")
    monkeypatch.chdir(tmp_path)
    assert predict.main(["moved", *arguments]) == 0 and capsys.readouterr().out == expected
    Path(*moved, "classes.json").unlink()  # a copy lies beside the checkpoint
    assert predict.main(["moved", *arguments]) == 0 and capsys.readouterr().out == expected


def test_older_run_takes_its_classes_from_the_data_set(toy_root, flowers, run, tmp_path, capsys):
    moved = moved_run(run, toy_root, tmp_path / "moved")
    for name in ("classes.json", "prompt_learner/classes.json"):
        Path(*moved, name).unlink()
    arguments = [*moved, str(flowers), "--task", "flower recognition"]
    assert predict.main(arguments) == 2 and "nowhere" in capsys.readouterr().err
    assert predict.main([*arguments, "--root", str(toy_root)]) == 0


def test_class_added_later_is_not_predicted(flowers, tmp_path, capsys):
    data, out = toy.draw(tmp_path / "data"), tmp_path / "run"
    toy.finish(toy.arguments(data, out, "CoOp", *OPTS))
    split = data / "toy/flower/split_zhou_ToyFlower.json"
    rows = json.loads(split.read_text())
    for part in rows.values():
        part.append([part[0][0], 3, "tulip"])
    split.write_text(json.dumps(rows))
    capsys.readouterr()
    assert predict.main([str(out), str(flowers), "--task", "flower recognition"]) == 0
    assert "tulip" not in capsys.readouterr().out
    split.unlink()
    assert predict.main([str(out), str(flowers), "--task", "flower recognition"]) == 0


def test_broken_images_are_skipped_and_named(run, flowers, tmp_path, capsys):
    for name, content in (("a.png", b"no image"), ("b.png", next(flowers.rglob("*.png")).read_bytes()[:200])):
        (tmp_path / name).write_bytes(content)
    places = [str(tmp_path / "a.png"), str(flowers), str(tmp_path / "b.png")]
    table, tree = tmp_path / "table.csv", tmp_path / "tree.json"
    arguments = [str(run), *places, *FLOWER, "--csv", str(table), "--json", str(tree)]
    for workers in ("0", "1"):
        settings = ["DATALOADER.NUM_WORKERS", workers, "DATALOADER.TEST.BATCH_SIZE", "4"]
        assert predict.main([*arguments, *settings]) == 1
        printed = capsys.readouterr()
        assert len(printed.out.splitlines()) == 9
        first, second, count = printed.err.splitlines()
        assert "a.png" in first and "b.png" in second and count.startswith("2 of 11 ")
    found = json.loads(tree.read_text())
    assert [Path(error["path"]).name for error in found["errors"]] == ["a.png", "b.png"]
    assert found["task"] == "flower recognition" and found["classes"] == FLOWERS
    rows = pd.read_csv(table)
    for image, (path, own) in zip(found["images"], rows.groupby("path", sort=False), strict=True):
        assert image["path"] == path and [p["class"] for p in image["predictions"]] == own["class"].tolist()
        assert [p["probability"] for p in image["predictions"]] == pytest.approx(own["probability"].tolist())


def test_export_predicts_what_its_run_does(run, flowers, tmp_path, capsys):
    model, tables = tmp_path / "model.safetensors", [tmp_path / "run.csv", tmp_path / "export.csv"]
    assert export.main([str(run), str(model)]) == 0
    clip = ("MODEL.BACKBONE.NAME", toy.CLIP)
    assert predict.main([str(model), str(flowers), *FLOWER]) == 2
    assert "not a published one: name its file with `backbone`, or scripts/predict.py" in capsys.readouterr().err
    for source, table in zip((run, model), tables):
        assert predict.main([str(source), str(flowers), *FLOWER, "--csv", str(table), *clip]) == 0
    ours, theirs = map(pd.read_csv, tables)
    pd.testing.assert_frame_equal(ours, theirs, atol=1e-6)
    capsys.readouterr()
    assert predict.main([str(model), str(flowers), *FLOWER, "OPTIM.LR", "1.0"]) == 2
    assert "OPTIM.LR" in capsys.readouterr().err
    assert predict.main([str(model), str(flowers), *FLOWER, "DATALOADER.TEST.BATCH_SIZE", "2", *clip]) == 0


BAD = {
    "no config": (["{tmp}", "{images}"], "config.yaml"),
    "no image there": (["{run}", "{images}/roze.png", *FLOWER], "roze.png"),
    "no images": (["{run}", "{tmp}", *FLOWER], "no images"),
    "no task chosen": (["{run}", "{images}"], "flower recognition, texture recognition"),
    "unknown task": (["{run}", "{images}", "--task", "flower recognitoin"], "did you mean 'flower recognition'"),
    "top": (["{run}", "{images}", *FLOWER, "--top", "0"], "--top"),
    "csv": (["{run}", "{images}", *FLOWER, "--csv", "{tmp}/no/table.csv"], "--csv"),
    "json": (["{run}", "{images}", *FLOWER, "--json", "{tmp}/no/table.json"], "--json"),
    "classes without a task": (["{run}", "{images}", "--classes", "{bad}"], "--task"),
    "template of a known task": (["{run}", "{images}", *FLOWER, "--template", "a {{}}."], "--template"),
    "no file of classes": (["{run}", "{images}", "--classes", "{tmp}/names.txt", *FLOWER], "names.txt"),
    "classes of an export": (["{bad}", "{images}", "--classes", "{bad}", *FLOWER], "is an export"),
    "no export": (["{bad}", "{images}", *FLOWER], "bad.png is not an exported classifier"),
    "config key": (["{run}", "{images}", *FLOWER, "DATALOADER.TEST.BATCHSIZE", "4"], "DATALOADER.TEST.BATCH_SIZE"),
    "no checkpoint": (["{empty}", "{images}", *FLOWER], "no checkpoint"),
}


@pytest.mark.parametrize("what", BAD)
def test_invalid_input_is_a_one_line_error(what, run, flowers, tmp_path, capsys):
    (tmp_path / "bad").mkdir()
    (tmp_path / "empty").mkdir()
    bad = tmp_path / "bad/bad.png"
    bad.write_bytes(b"no image")
    shutil.copy(run / "config.yaml", tmp_path / "empty")
    places = {"run": run, "images": flowers, "tmp": tmp_path / "none", "empty": tmp_path / "empty", "bad": bad}
    places["tmp"].mkdir()
    arguments, message = BAD[what]
    assert predict.main([word.format(**places) for word in arguments]) == 2
    error = capsys.readouterr().err
    assert error.count("error: ") == 1 and message in error and len(error.splitlines()) == 1, error
