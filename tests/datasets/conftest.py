"""Fixtures of the tests of data sets."""

import json
import shutil
import time
import tracemalloc

import pytest
from data_sets import draw, fill


@pytest.fixture
def costs():
    """A test that takes more than 64 MiB of Python objects, or 20 s of processor time, fails."""
    tracemalloc.start()
    start = time.process_time()
    yield
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 64 * 2**20, f"{peak / 2**20:.0f} MiB"
    assert time.process_time() - start < 20


@pytest.fixture
def root(tmp_path):
    """A data root with the one-colour images of fruit and colours."""
    return draw(tmp_path)


@pytest.fixture
def flowers(toy_root, tmp_path):
    """A copy of the toy flowers, and a function that changes their split file."""
    shutil.copytree(toy_root / "toy/flower", tmp_path / "toy/flower")
    path = tmp_path / "toy/flower/split_zhou_ToyFlower.json"

    def change(edit):
        split = json.loads(path.read_text())
        edit(split)
        path.write_text(json.dumps(split))
        return tmp_path

    return change


@pytest.fixture
def leaves(tmp_path):
    """Two tasks in folders, each with two classes of ten images."""
    for task in ("leaves", "cups"):
        for name in ("a", "b"):
            fill(tmp_path / task / name, 10)
    return tmp_path
