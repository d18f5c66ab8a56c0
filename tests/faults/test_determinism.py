"""Runs of one seed are equal to the bit on one machine, and losses to 1e-4 across threads and processes."""

import json
from pathlib import Path

import numpy as np
import pytest
import toy
from faults.runs import Processes, assert_same, outcome, start_pair
from methods import METHODS


@pytest.fixture(scope="module")
def others():
    """Processes with another hash seed, so that sets have another order."""
    with Processes(hash_seed=1) as started:
        yield started


@pytest.mark.parametrize("method", METHODS)
def test_same_seed_gives_the_same_bits(processes, others, toy_root, tmp_path, method):
    arguments = toy.arguments(toy_root, Path("out/run"), method, "DATASET.NUM_SHOTS", 3)
    folders = tmp_path / "a", tmp_path / "b"
    started = [own.start(folder, arguments) for own, folder in zip((processes, others), folders)]
    for process in started:
        ended = process.wait()
        assert ended.status == 0, ended.err
    assert_same(*(outcome(folder / "out/run") for folder in folders))


def test_cached_features_change_no_bit(processes, toy_root, tmp_path):
    pairs = ("TEST.FINAL_MODEL", "best_val", "FEATURES.DIR", tmp_path / "features")  # read after every epoch
    arguments = toy.arguments(toy_root, Path("out/run"), "CoOp", *pairs)
    for name in "ab":
        assert processes.run(tmp_path / name, arguments).status == 0
    first, second = (outcome(tmp_path / name / "out/run") for name in "ab")
    assert first == second


def losses(folder):
    return np.array(json.loads((folder / "events.json").read_text())["losses"])


@pytest.mark.parametrize("method", ["SoftCPT", "CoOp", "MaPLe"])
def test_losses_hardly_depend_on_threads_and_processes(processes, toy_root, tmp_path, method):
    arguments = toy.arguments(toy_root, Path("out/run"), method, "OPTIM.MAX_EPOCH", 4)  # of 5 steps
    started = [processes.start(tmp_path / f"{n}", arguments, threads=n, trace="events.json") for n in (1, 2)]
    started += start_pair(processes, tmp_path / "pair", arguments)
    for process in started:
        ended = process.wait()
        assert ended.status == 0, ended.err
    one, two, pair = (losses(tmp_path / name) for name in ("1", "2", "pair"))
    assert len(one) == 20 and one[0] > one[-1]
    print(f"{method}: {abs(two / one - 1).max():.1e} with 2 threads, {abs(pair / one - 1).max():.1e} with 2 processes")
    np.testing.assert_allclose(two, one, rtol=1e-4)
    np.testing.assert_allclose(pair, one, rtol=1e-4)
