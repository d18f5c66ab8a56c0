"""Long trainings use constant memory, descriptors and threads."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from methods import METHODS

SCRIPT = Path(__file__).resolve().parents[1] / "helpers/long_run.py"
GROWTH = 0.05  # of resident memory, since epoch 20


def long_run(method, epochs, *opts):
    command = [sys.executable, str(SCRIPT), method, "--epochs", str(epochs), *opts]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def check(rows):
    first, *later = rows
    for row in later:
        assert row["resident_bytes"] < (1 + GROWTH) * first["resident_bytes"], rows
        assert row["descriptors"] <= first["descriptors"] and row["threads"] <= first["threads"], rows


@pytest.mark.skipif(sys.platform != "linux", reason="usage is read from /proc")
@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_memory_descriptors_and_threads_do_not_grow(method):
    rows = long_run(method, 200)
    assert [row["epoch"] for row in rows] == [20, 60, 100, 140, 180, 200]
    print(method, rows)
    check(rows)


@pytest.mark.skipif(sys.platform != "linux", reason="usage is read from /proc")
@pytest.mark.slow
def test_loader_workers_are_not_left_behind():
    check(long_run("CoOp", 60, "DATALOADER.NUM_WORKERS", "2"))
