"""What a run shows while it trains: bar, log lines, curves, warnings, checkpoints."""

import importlib.machinery
import importlib.util
import io
import json
import os
import pty
import re
import signal
import subprocess
import sys
import types

import pytest
import toy
from dassl.utils.logger import Logger
from methods import build
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from warm_python import python

import train
from trainers.engine.progress import TrainingBar

LINE = "epoch [1/2] batch [1/5] time 0.1 (0.1) loss 1.0 (1.0) lr 1e-3 eta 0:00:01"


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def terminal(tmp_path, monkeypatch):
    """A function that replaces stdout with Dassl's logger, which writes to the given terminal and to log.txt."""

    def start(console):
        monkeypatch.setattr(sys, "stdout", console)
        monkeypatch.setattr(sys, "stdout", Logger(str(tmp_path / "log.txt")))
        return console

    return start


def test_terminal_shows_a_bar_and_the_log_the_lines(terminal, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    console = terminal(Terminal())
    bar = TrainingBar(total=10, done=4, epochs=2)
    bar.bar.mininterval = 0
    print("epoch [1/2]", LINE[12:])
    print("Checkpoint saved")
    bar.update(1, {"loss": 0.123456, "acc": 75.0}, 0.002)
    print("no end of line", end="")
    bar.close()
    bar.close()
    print(LINE)
    shown = console.getvalue()
    assert re.search(r"epoch 2/2: 50% \|####    \| 5/10 \[00:\d\d left, .*/s, loss=0.123, acc=75, lr=2e-03\]", shown)
    assert "Checkpoint saved\n" in shown and "no end of line" in shown
    assert shown.count("batch [1/5]") == 1, "only the line after the bar"
    assert (tmp_path / "log.txt").read_text() == f"{LINE}\nCheckpoint saved\nno end of line{LINE}\n"


@pytest.mark.parametrize("why", ["a pipe", "no logger", "nothing left to train"])
def test_no_bar_without_a_terminal_logger_or_steps(terminal, monkeypatch, why):
    console = io.StringIO() if why == "a pipe" else Terminal()
    if why == "no logger":
        monkeypatch.setattr(sys, "stdout", console)
    else:
        terminal(console)
    bar = TrainingBar(total=10, done=10 if why.startswith("nothing") else 0, epochs=2)
    bar.update(0, {"loss": 1.0}, 0.1)
    print(LINE)
    bar.close()
    assert console.getvalue() == f"{LINE}\n"


def test_run_prints_plain_lines_and_says_what_is_cached(toy_root, tmp_path, capsys):
    for name in ("first", "second"):
        toy.run(toy_root, tmp_path / name, "CoOp", "TRAIN.PRINT_FREQ", 1)
    first, second = ((tmp_path / name / "log.txt").read_text() for name in ("first", "second"))
    for text, count in ((first, 5), (capsys.readouterr().out, 10)):
        assert text.count("epoch [1/2] batch [") == count and "step/s" not in text
    folder = tmp_path / "features"
    assert f"Computing the features of 30 images, to be kept in {folder}\nFeatures of 30 images computed in " in first
    for n_images in (30, 10):  # of the test, and the validation shots
        (kept,) = (path for path in folder.iterdir() if f"Features of {n_images} images read from {path}\n" in second)
    assert len(list(folder.iterdir())) == 2 and "Computing" not in second
    assert first.count("Loading evaluator") == 1


def curves(folder):
    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_curves_hold_the_accuracy_of_each_task(toy_root, tmp_path):
    opts = ("TEST.FINAL_MODEL", "best_val", "DATALOADER.TRAIN_X.BATCH_SIZE", 40, "DATASET.NUM_SHOTS", 2)
    record = toy.run(toy_root, tmp_path / "run", "CoOp", *opts)
    found = curves(tmp_path / "run")
    for task in record["tasks"]:
        assert [step for step, _ in found[f"val_task/{task['name']}"]] == [0, 1]
        assert found[f"test_task/{task['name']}"][-1][1] == pytest.approx(task["value"], rel=1e-5)
        assert [step for step, _ in found[f"train_task/{task['name']}"]] == [0, 1]
    # One batch of 20 images an epoch, of 6, 4 and 10: the accuracy of all is the mean weighted by the images.
    shares = {"flower recognition": 0.3, "texture recognition": 0.2, "aircraft model recognition": 0.5}
    for epoch in range(2):
        mean = sum(share * found[f"train_task/{name}"][epoch][1] for name, share in shares.items())
        assert mean == pytest.approx(found["train/acc"][epoch][1], rel=1e-4)


@pytest.fixture
def wandb(monkeypatch):
    """A stand-in for the package that records its calls."""
    module = types.ModuleType("wandb")
    module.__spec__ = importlib.machinery.ModuleSpec("wandb", None)
    module.told, module.finished = [], []

    class Run:
        def log(self, values, step):
            module.told.append((step, values))

        def finish(self):
            module.finished.append(True)

    module.init = lambda **settings: setattr(module, "settings", settings) or Run()
    monkeypatch.setitem(sys.modules, "wandb", module)
    return module


def test_wandb_gets_the_curves_of_a_project(toy_root, tmp_path, wandb):
    assert train.main(toy.arguments(toy_root, tmp_path / "none", "CoOp")) == 0
    assert not wandb.told
    record = toy.run(toy_root, tmp_path / "run", "CoOp", "TRAIN.WANDB", "prompts")
    assert wandb.settings["project"] == "prompts" and wandb.settings["name"] == "ToyTasks/CoOp"
    assert wandb.settings["config"]["OPTIM.LR"] == 0.002 and wandb.settings["dir"] == str(tmp_path / "run")
    steps = [step for step, _ in wandb.told]
    assert steps == sorted(steps) and steps[-1] == 9 and wandb.finished == [True]  # two epochs of five batches
    losses = [values["train/loss"] for _, values in wandb.told if "train/loss" in values]
    tested = {name: value for _, values in wandb.told for name, value in values.items() if name.startswith("test")}
    assert len(losses) == 10 and tested["test/accuracy"] == pytest.approx(record["metric"])
    assert tested["test_task/flower recognition"] == pytest.approx(record["tasks"][0]["value"])


def test_missing_wandb_is_an_error(toy_root, tmp_path, capsys, monkeypatch):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *a: None if name == "wandb" else find_spec(name, *a))
    assert train.main(toy.arguments(toy_root, tmp_path / "run", "CoOp", "TRAIN.WANDB", "prompts")) == 1
    error = capsys.readouterr().err
    assert error == (
        "error: TRAIN.WANDB: 'prompts', but the package wandb is not installed: pip install wandb, or leave the key "
        "empty\n"
    )


@pytest.mark.parametrize("keep, left", [(1, [4]), (2, [3, 4]), (0, [1, 2, 3, 4])])
def test_keep_checkpoints_keeps_the_newest(toy_root, tmp_path, capsys, keep, left):
    opts = ("OPTIM.MAX_EPOCH", 4, "TRAIN.CHECKPOINT_FREQ", 1, "TRAIN.KEEP_CHECKPOINTS", keep)
    assert train.main(toy.arguments(toy_root, tmp_path / "run", "CoOp", *opts)) == 0
    names = sorted(path.name for path in (tmp_path / "run/prompt_learner").glob("model*"))
    assert names == [f"model.pth.tar-{epoch}" for epoch in left]
    said = {0: "", 1: "The newest checkpoint alone is kept", 2: "The newest 2 checkpoints are kept"}[keep]
    text = capsys.readouterr().out
    assert text.count("(TRAIN.KEEP_CHECKPOINTS)") == bool(keep) and said in text
    load = ["--eval-only", "--model-dir", str(tmp_path / "run"), "--load-epoch", "3"]
    status = train.main([*toy.arguments(toy_root, tmp_path / "eval", "CoOp"), *load])
    if 3 in left:
        assert status == 0 and json.loads((tmp_path / "eval/results.json").read_text())["epochs"] == 3
    else:
        error = capsys.readouterr().err
        assert status == 1 and "there: model.pth.tar-4; a run keeps more of its epochs with TRAIN.KEEP" in error


@pytest.mark.parametrize("value", ["-1", "True", "None"])
def test_invalid_keep_checkpoints_is_an_error(toy_root, tmp_path, capsys, value):
    assert train.main(toy.arguments(toy_root, tmp_path / "run", "CoOp", "TRAIN.KEEP_CHECKPOINTS", value)) != 0
    assert "TRAIN.KEEP_CHECKPOINTS" in capsys.readouterr().err


def test_last_test_is_compared_with_zero_shot(toy_root, tmp_path, caplog):
    """It is compared with the values of a run of ZeroshotCLIP."""
    zero_shot = build(toy_root, tmp_path / "zero", "ZeroshotCLIP")
    zero_shot.test()
    trainer = build(toy_root, tmp_path / "run", "CoOp")
    judged, weak_tasks = [], trainer.evaluator.weak_tasks
    trainer.evaluator.weak_tasks = lambda values: judged.append(values) or weak_tasks(values)
    trainer.test("val")
    assert not judged
    trainer.test()
    assert judged == [[result["value"] for result in zero_shot.evaluator.task_results]]
    worse = [r["name"] for r, value in zip(trainer.evaluator.task_results, judged[0]) if r["value"] < value]
    assert ("below zero-shot" in caplog.text) == bool(worse) and all(name in caplog.text for name in worse)


@pytest.mark.parametrize("name", ["PLOT", "ProLIP", "CLIPLoRA", "ZeroshotCLIP"])
def test_methods_with_other_features_are_not_compared(toy_root, tmp_path, name):
    assert build(toy_root, tmp_path, name).tester.zero_shot() is None


@pytest.mark.parametrize(
    "name, said", [("CoOp", 1), ("ZeroshotCLIP", 1), ("MaPLe", 1), ("CoCoOp", 1), ("LinearProbe", 0), ("ProtoNet", 0)]
)
def test_indistinguishable_classes_are_named_where_names_matter(name, said, toy_root, tmp_path, caplog):
    trainer = build(toy_root, tmp_path, name)
    texts = [("rose", "Rose ", "tulip"), *(task.classnames for task in trainer.tasks[1:])]
    for task, names in zip(trainer.tasks, texts):
        object.__setattr__(task, "classnames", names)
    trainer.test()
    text = "task flower recognition: 'rose' and 'Rose ' have the same class features (cosine 1.00000): this CLIP reads"
    assert caplog.text.count("same class features") == caplog.text.count(text) == said
    assert caplog.text.count("(own data: `classes` in tasks.yaml, or the column `class` of tasks.csv)") == said


def test_ctrl_c_on_a_terminal_says_how_to_resume(tmp_path):
    """In a pseudo-terminal."""
    toy.draw_folders(tmp_path / "data")
    opts = ("OPTIM.MAX_EPOCH", 100000, "TRAIN.CHECKPOINT_FREQ", 1, "FEATURES.TRAIN_VIEWS", 1)
    arguments = toy.arguments(tmp_path / "data", tmp_path / "my run", "CoOp", *opts, dataset="FolderTasks")
    master, slave = pty.openpty()
    command = [python(), str(train.PROJECT_ROOT / "train.py"), *arguments]
    process = subprocess.Popen(
        command,
        stdout=slave,
        stderr=slave,
        env={**os.environ, "COLUMNS": "200", "OMP_NUM_THREADS": "1"},
    )
    os.close(slave)
    shown = b""
    try:
        while b"/100000: " not in shown or not (tmp_path / "my run/prompt_learner/checkpoint").is_file():
            shown += os.read(master, 65536)
        process.send_signal(signal.SIGINT)
        while True:
            try:
                shown += os.read(master, 65536)
            except OSError:  # the other end is closed
                break
        assert process.wait(60) == 130
    finally:
        process.kill()
        os.close(master)
    shown, log = shown.decode(), (tmp_path / "my run/log.txt").read_text()
    assert "batch [" not in shown and "epoch [1/100000] batch [" in log and re.search(r"epoch \d+/100000: ", shown)
    assert "Traceback" not in shown
    for text in (shown.replace("\r\n", "\n"), log):
        said = text[text.index("Interrupted. The same command goes on from model.pth.tar-") :]
        assert f"--output-dir '{tmp_path}/my run'" in said and "OPTIM.MAX_EPOCH 100000" in said
