"""The undisturbed runs that disturbed ones are compared with."""

import functools
import json
import time
from pathlib import Path

import pytest
import toy
from faults.runs import outcome

# SoftCPT reads cached views, CLIPLoRA draws dropout in every step, TipAdapterF fits on a cache after its last epoch.
METHODS = {
    "SoftCPT": ("FEATURES.TRAIN_VIEWS", 2),
    "CLIPLoRA": ("TRAINER.CLIPLORA.DROPOUT", 0.25),
    "TipAdapterF": ("FEATURES.TRAIN_VIEWS", 2, "TRAINER.TIPADAPTERF.SEARCH_STEPS", "(5,5)"),
    "CoOp": (),
}


@pytest.fixture(scope="session")
def arguments(toy_root):
    """A function of a method and config pairs: the arguments of a run into out/run, below the current folder, of three
    epochs with a checkpoint each."""

    def of(method, *opts):
        pairs = ("OPTIM.MAX_EPOCH", 3, "TRAIN.CHECKPOINT_FREQ", 1, *METHODS[method], *opts)
        return toy.arguments(toy_root, Path("out/run"), method, *pairs)

    return of


@pytest.fixture(scope="session")
def undisturbed(processes, arguments, tmp_path_factory):
    """A function of a method: the outcome of its run, its events, and the seconds it takes."""

    @functools.cache
    def run(method):
        folder, start = tmp_path_factory.mktemp(method), time.monotonic()
        ended = processes.run(folder, arguments(method), trace="events.json")
        assert ended.status == 0, ended.err
        seconds = time.monotonic() - start
        return outcome(folder / "out/run"), json.loads((folder / "events.json").read_text())["events"], seconds

    return run
