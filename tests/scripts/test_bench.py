"""The benchmark for a GPU: what it calls, its status, and at toy size what it prints."""

import re
import subprocess

import pytest
from dassl.data.datasets import DATASET_REGISTRY
from methods import LEARNING
from warm_python import python

import train
from scripts.bench import end_to_end
from trainers.engine import trainer

GPU_SH = "scripts/bench/gpu.sh"


def values_of(flag, calls):
    return [value for call in calls for value in re.findall(rf"{flag} (\S+)", call)]


def test_steps_of_all_methods_that_learn_are_timed_on_a_gpu(call):
    status, calls, output = call.in_bash(GPU_SH)  # the stand-in for Python says that there is a GPU
    assert status == 0, output
    first, images, *_ = values_of("--methods", calls)
    assert sorted([*first.split(","), *images.split(",")]) == sorted(LEARNING)
    assert values_of("--precs?", calls) == ["bf16", "bf16", "fp32", "fp16", "fp32,bf16"]
    assert values_of("--per-gpu", calls) == ["1", "4"] and not values_of("--jobs", calls)


def test_part_that_fails_is_named_and_the_others_go_on(call):
    stub = call.folder / "failing"
    stub.write_text('#!/usr/bin/env bash\necho "$@" >> "$CALLS"\n[[ "$*" != *text_encoder* ]]\n')
    stub.chmod(0o755)
    status, calls, output = call.in_bash(GPU_SH, PYTHON=str(stub))
    assert status == 1 and "failed: Text encoder, forward and backward" in output
    assert "end_to_end.py" in calls[-4] and "| 4 at a time |" in output


def test_whole_run_is_projected(monkeypatch):
    for name in ("load_clip", "text_encoder"):  # which the benchmark replaces, and this puts back
        monkeypatch.setattr(trainer, name, getattr(trainer, name))
    (objects,) = (name for name in ("_objects", "_obj_map") if hasattr(DATASET_REGISTRY, name))  # ours, upstream's
    monkeypatch.setattr(DATASET_REGISTRY, objects, dict(getattr(DATASET_REGISTRY, objects)))
    found = end_to_end.measure("toy", "toy", "fp32", 7, 2)
    assert (found["images"], found["steps"]) == (35, 50)  # a batch of 32 in each of 50 epochs
    minutes = (found["fill_seconds"] + 50 * found["step_seconds"]) / 60
    assert found["run_minutes"] == pytest.approx(minutes) and minutes > 0


@pytest.mark.slow
def test_toy_run_without_a_gpu(tmp_path):
    env = {"PATH": "/usr/bin:/bin", "PYTHON": python(), "OUT": str(tmp_path), "DATA": str(tmp_path / "data")}
    env["CUDA_VISIBLE_DEVICES"] = ""
    command = ["bash", str(train.PROJECT_ROOT / GPU_SH)]
    done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "There is no GPU" in done.stdout and done.stdout.count("\n## ") == 8
    assert len(re.findall(r"^\|.* toy ", done.stdout, re.M)) == 6 and "| 4 at a time |" in done.stdout
