"""Predictions of finished runs on pictures of one's own, beside Dassl's test loop and the whole model's logits."""

import json
import logging
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
import toy
from dassl.engine import build_trainer
from dassl.utils import read_image
from test_trainers import METHODS
from torchvision.transforms.functional import normalize, to_tensor

import train

sys.path.insert(0, str(train.PROJECT_ROOT / "scripts"))

import predict

TASKS = ["flower recognition", "texture recognition", "aircraft model recognition"]
FLOWERS = toy.CLASSES["ToyFlower"]
OPTS = ("OPTIM.MAX_EPOCH", 1, "DATASET.NUM_SHOTS", 2, "TRAINER.PLOT.THRESH", 0.0)  # a plan that no other image stops


@pytest.fixture(autouse=True)
def no_logs(monkeypatch):
    """train.py leaves its log with the process; a prediction has none."""
    monkeypatch.setattr(logging.root, "handlers", [logging.NullHandler()])


def learn(arguments):
    stdout = sys.stdout
    try:
        assert train.main(arguments) == 0
    finally:
        sys.stdout, logging.root.handlers = stdout, [logging.NullHandler()]


@pytest.fixture(scope="module")
def flowers(toy_root, tmp_path_factory):
    """A folder of the flowers' nine test pictures, in folders of their classes."""
    folder = tmp_path_factory.mktemp("flowers")
    for path in (toy_root / "toy/flower/images").glob("test-*"):
        to = folder / "some" / FLOWERS[int(path.name.split("-")[1])]
        to.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, to / path.name)
    return folder


@pytest.fixture(scope="module")
def run(toy_root, tmp_path_factory):
    """A finished run of CoOp over the three tasks."""
    out = tmp_path_factory.mktemp("runs") / "run"
    learn(toy.arguments(toy_root, out, "CoOp", *OPTS))
    return out


def files(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def expected(trainer, paths, task):
    """Softmax of the task's columns among the logits of all classes, of pictures that need no resizing."""
    cfg = trainer.cfg.INPUT
    image = torch.stack([normalize(to_tensor(read_image(path)), cfg.PIXEL_MEAN, cfg.PIXEL_STD) for path in paths])
    trainer.set_model_mode("eval")
    return trainer.model_inference(image)[:, trainer.class_task == TASKS.index(task)].softmax(1)


@pytest.mark.parametrize("method", METHODS)
def test_the_probabilities_are_those_of_the_whole_model_and_the_accuracy_that_of_the_run(
    method, toy_root, flowers, tmp_path, capsys
):
    out, table = tmp_path / "runs/run", tmp_path / "table.csv"
    arguments = toy.arguments(toy_root, out, method, *OPTS)
    learn(arguments)
    before = files(tmp_path)
    capsys.readouterr()
    task = "flower recognition"
    assert predict.main([str(out), str(flowers), "--task", task, "--csv", str(table)]) == 0
    assert files(tmp_path).keys() - before.keys() == {table}
    assert all(path.stat().st_mtime_ns == time for path, time in before.items() if path.is_file())

    rows = pd.read_csv(table)
    assert len(rows) == 9 * 3 and set(rows["task"]) == {task}
    trainer = build_trainer(train.setup_cfg(train.parse_args(arguments)))
    trainer.load_model(str(out) if trainer.prompts.state_dict() else "")
    wide = rows.pivot(index="path", columns="class", values="probability")[FLOWERS]
    p = expected(trainer, list(wide.index), task)
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


def test_batches_and_worker_processes_change_nothing(run, flowers, capsys):
    arguments = [str(run), str(flowers), "--task", "aircraft model recognition", "--top", "2"]
    assert predict.main(arguments) == 0
    whole = capsys.readouterr().out
    assert predict.main([*arguments, "DATALOADER.TEST.BATCH_SIZE", "4", "DATALOADER.NUM_WORKERS", "1"]) == 0
    assert capsys.readouterr().out == whole and len(whole.splitlines()) == 9
    assert all(line.count(" %") == 2 for line in whole.splitlines())


def test_a_folder_gives_its_images_in_order_without_hidden_ones_and_a_file_counts_once(tmp_path):
    for name in ("b/2.PNG", "b/1.jpeg", "a.webp", "notes.txt", ".x.png", ".hidden/y.png", "named like.png/z.bmp"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = predict.find_images([tmp_path / "b/2.PNG", tmp_path, tmp_path / "notes.txt"])
    names = [path.relative_to(tmp_path).as_posix() for path in found]
    assert names == ["b/2.PNG", "a.webp", "b/1.jpeg", "named like.png/z.bmp", "notes.txt"]


def test_pictures_end_where_the_settings_begin_wherever_the_flags_are(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "SEED").mkdir()
    args = predict.parse_args("run IMG_1.JPG SEED --top 2 MODEL/a.png USE_CUDA False --task x OPTIM.LR -1".split())
    assert [str(path) for path in args.pictures] == ["IMG_1.JPG", "SEED", "MODEL/a.png"]
    assert args.opts == ["USE_CUDA", "False", "OPTIM.LR", "-1"] and (args.top, args.task) == (2, "x")
    assert predict.parse_args(["run", "a"]).opts == []


def test_a_run_of_one_task_needs_no_choice_and_one_per_task_has_a_folder_for_each(toy_root, flowers, tmp_path, capsys):
    part = tmp_path / "run/tasks/flower-recognition"
    learn(toy.arguments(toy_root, part, "CoOp", *OPTS, "DATASET.TASKS", "flower recognition"))
    capsys.readouterr()
    assert predict.main([str(part), str(flowers)]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 9
    assert predict.main([str(tmp_path / "run"), str(flowers)]) == 2
    assert str(part) in capsys.readouterr().err


def test_the_data_may_have_moved(toy_root, flowers, run, tmp_path, capsys):
    moved = tmp_path / "moved"
    shutil.copytree(run, moved)
    config = (moved / "config.yaml").read_text().replace(str(toy_root), "nowhere")
    (moved / "config.yaml").write_text(config)
    arguments = [str(moved), str(flowers), "--task", "flower recognition"]
    assert predict.main(arguments) == 2 and "nowhere" in capsys.readouterr().err
    assert predict.main([*arguments, "--root", str(toy_root)]) == 0


FLOWER = ("--task", "flower recognition")
BAD = {
    "no config": (["{tmp}", "{images}"], "config.yaml"),
    "no image there": (["{run}", "{images}/roze.png", *FLOWER], "roze.png"),
    "no images": (["{run}", "{tmp}", *FLOWER], "no images"),
    "no task chosen": (["{run}", "{images}"], "flower recognition, texture recognition"),
    "unknown task": (["{run}", "{images}", "--task", "flower recognitoin"], "did you mean 'flower recognition'"),
    "top": (["{run}", "{images}", *FLOWER, "--top", "0"], "--top"),
    "csv": (["{run}", "{images}", *FLOWER, "--csv", "{tmp}/no/table.csv"], "--csv"),
    "unreadable image": (["{run}", "{images}", "{bad}", *FLOWER], "bad.png"),
    "unreadable image in a worker": (
        ["{run}", "{images}", "{bad}", *FLOWER, "DATALOADER.NUM_WORKERS", "1", "DATALOADER.TEST.BATCH_SIZE", "4"],
        "bad.png",
    ),
    "config key": (["{run}", "{images}", *FLOWER, "DATALOADER.TEST.BATCHSIZE", "4"], "DATALOADER.TEST.BATCH_SIZE"),
    "no checkpoint": (["{empty}", "{images}", *FLOWER], "no checkpoint"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_input_is_one_clear_error(what, run, flowers, tmp_path, capsys):
    (tmp_path / "bad").mkdir()
    (tmp_path / "empty").mkdir()
    bad = tmp_path / "bad/bad.png"
    bad.write_bytes(next(flowers.rglob("*.png")).read_bytes()[:200] if "worker" in what else b"no image")
    shutil.copy(run / "config.yaml", tmp_path / "empty")
    places = {"run": run, "images": flowers, "tmp": tmp_path / "none", "empty": tmp_path / "empty", "bad": bad}
    places["tmp"].mkdir()
    arguments, message = BAD[what]
    assert predict.main([word.format(**places) for word in arguments]) == 2
    error = capsys.readouterr().err
    assert error.count("error: ") == 1 and message in error and len(error.splitlines()) == 1, error


def test_the_command_line_works_from_any_folder(tmp_path):
    command = [sys.executable, str(train.PROJECT_ROOT / "scripts/predict.py"), "nowhere", "."]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.startswith("error: nowhere is no run's folder")
