"""A budget of steps instead of epochs."""

import json
import math

import pytest
import torch
import toy
import yaml
from records import prompts

import train
from trainers.coop import CoOp


def counted_steps(monkeypatch, stop=None):
    """The (epoch, learning rate, labels) of each later step of CoOp, which is killed before step `stop`."""
    steps, forward_backward = [], CoOp.forward_backward

    def counted(trainer, batch):
        if len(steps) == stop:
            raise KeyboardInterrupt
        steps.append((trainer.epoch, trainer.get_current_lr(), batch["label"].tolist()))
        return forward_backward(trainer, batch)

    monkeypatch.setattr(CoOp, "forward_backward", counted)
    return steps


@pytest.mark.parametrize("steps, epochs", [(1, 1), (5, 1), (6, 2), (13, 3)])
def test_max_steps_is_kept_exactly(toy_root, tmp_path, monkeypatch, steps, epochs):
    made = counted_steps(monkeypatch)
    record = toy.run(toy_root, tmp_path / "run", "CoOp", "OPTIM.MAX_STEPS", steps)
    assert len(made) == steps and (record["steps"], record["epochs"]) == (steps, epochs)  # 5 batches an epoch
    config = yaml.safe_load((tmp_path / "run/config.yaml").read_text())
    assert (config["OPTIM"]["MAX_STEPS"], config["OPTIM"]["MAX_EPOCH"]) == (steps, epochs)
    assert (tmp_path / f"run/prompt_learner/model.pth.tar-{epochs}").is_file()


@pytest.mark.parametrize("schedule", ["cosine", "single_step"])
def test_max_steps_follows_the_schedule_of_its_epochs(toy_root, tmp_path, monkeypatch, schedule):
    made = {}
    for name, budget in (("epochs", ("OPTIM.MAX_EPOCH", 3)), ("steps", ("OPTIM.MAX_STEPS", 13))):
        with monkeypatch.context() as patch:
            made[name] = counted_steps(patch)
            toy.run(toy_root, tmp_path / name, "CoOp", *budget, "OPTIM.LR_SCHEDULER", schedule)
    assert made["steps"] == made["epochs"][:13] and len(made["epochs"]) == 15
    rates = [rate for _, rate, _ in made["steps"][::5]]
    if schedule == "cosine":
        # One epoch of warm-up, one at the base rate, then the cosine over three epochs.
        assert rates == pytest.approx([1e-5, 2e-3, 1e-3 * (1 + math.cos(math.pi / 3))])


@pytest.mark.parametrize("views, stop", [(0, 6), (2, 11)])  # in the second epoch, and in the last, shortened one
def test_killed_run_with_max_steps_resumes_bit_for_bit(toy_root, tmp_path, monkeypatch, views, stop):
    opts = ("OPTIM.MAX_STEPS", 13, "TRAIN.CHECKPOINT_FREQ", 1, "FEATURES.TRAIN_VIEWS", views)
    whole = toy.run(toy_root, tmp_path / "whole", "CoOp", *opts)
    with monkeypatch.context() as patch:
        counted_steps(patch, stop)
        with pytest.raises(KeyboardInterrupt):
            toy.run(toy_root, tmp_path / "cut", "CoOp", *opts)
    cut = toy.run(toy_root, tmp_path / "cut", "CoOp", *opts)
    a, b = prompts(tmp_path / "whole"), prompts(tmp_path / "cut")
    assert all(torch.equal(a[key], b[key]) for key in a)
    assert whole["tasks"] == cut["tasks"] and cut["steps"] == 13 and cut["train_seconds"] is None


def test_run_is_not_resumed_with_other_max_steps(toy_root, tmp_path, capsys):
    toy.run(toy_root, tmp_path / "run", "CoOp", "OPTIM.MAX_STEPS", 6)
    toy.run(toy_root, tmp_path / "run", "CoOp", "OPTIM.MAX_STEPS", 6, "OPTIM.MAX_EPOCH", 9)  # set by the steps
    for steps in (7, 0):
        assert train.main(toy.arguments(toy_root, tmp_path / "run", "CoOp", "OPTIM.MAX_STEPS", steps)) == 2
        assert f"OPTIM.MAX_STEPS (6 there, {steps} here)" in capsys.readouterr().err


@pytest.mark.parametrize("value", ["-1", "1.5", "many", "True", "None"])
def test_invalid_max_steps_is_an_error(toy_root, tmp_path, capsys, value):
    for name in ("CoOp", "ZeroshotCLIP"):
        assert train.main(toy.arguments(toy_root, tmp_path / "run", name, "OPTIM.MAX_STEPS", value)) != 0
        error = capsys.readouterr().err
        assert error.count("error: ") == 1 and "OPTIM.MAX_STEPS" in error and value in error
        assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["ZeroshotCLIP", "ProtoNet"])
def test_method_without_optimiser_ignores_max_steps(toy_root, tmp_path, name):
    budget = toy.run(toy_root, tmp_path / "steps", name, "OPTIM.MAX_STEPS", 7)
    assert budget["tasks"] == toy.run(toy_root, tmp_path / "epochs", name)["tasks"]
    assert (budget["epochs"], budget["steps"]) == (0, 0)
    log = (tmp_path / "steps/log.txt").read_text()
    assert f"OPTIM.MAX_STEPS is ignored: {name} makes no optimiser steps" in log


def test_evaluation_records_epochs_and_steps_of_training(toy_root, tmp_path):
    toy.run(toy_root, tmp_path / "run", "CoOp", "OPTIM.MAX_STEPS", 13, "DATASET.SUBSAMPLE_CLASSES", "base")  # 24 images
    arguments = toy.arguments(toy_root, tmp_path / "new", "CoOp", "DATASET.SUBSAMPLE_CLASSES", "new")
    assert train.main(["--eval-only", "--model-dir", str(tmp_path / "run"), *arguments]) == 0
    record = json.loads((tmp_path / "new/results.json").read_text())
    assert (record["epochs"], record["steps"], record["train_seconds"]) == (5, 13, None)


@pytest.mark.parametrize("drop_last, steps, line", [(True, 2, True), (False, 3, False)])
def test_last_batch_is_never_lost_without_a_word(toy_root, tmp_path, monkeypatch, capsys, drop_last, steps, line):
    made = counted_steps(monkeypatch)
    opts = ("DATALOADER.TRAIN_X.BATCH_SIZE", 16, "OPTIM.MAX_EPOCH", 1, "TRAIN.DROP_LAST", drop_last)
    record = toy.run(toy_root, tmp_path / "run", "CoOp", *opts)
    assert record["steps"] == len(made) == steps, "40 images"
    left = 8 if drop_last else 0
    assert sum(len(labels) for _, _, labels in made) == 40 - left
    said = f"TRAIN.DROP_LAST True: an epoch leaves {left} of 40 images out (batches of 16)"
    assert (said in capsys.readouterr().out) is line


def test_run_is_not_resumed_with_other_last_batches(toy_root, tmp_path, capsys):
    toy.run(toy_root, tmp_path / "run", "CoOp", "OPTIM.MAX_EPOCH", 1)
    with pytest.raises(AssertionError):
        toy.run(toy_root, tmp_path / "run", "CoOp", "OPTIM.MAX_EPOCH", 1, "TRAIN.DROP_LAST", False)
    assert "Differing: TRAIN.DROP_LAST (True there, False here)" in capsys.readouterr().err
