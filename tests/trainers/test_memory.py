"""The peak memory of a run."""

import json

import pytest
import torch
import toy

import train
from trainers.modules.engine.memory import PROCESS, PeakMemory


def trained(root, out, *opts, name="CoOp"):
    assert train.main(toy.arguments(root, out, name, *opts)) == 0
    return json.loads((out / "results.json").read_text())


@pytest.mark.skipif(not (PROCESS / "clear_refs").exists(), reason="only Linux forgets a peak")
def test_memory_excludes_filling_the_cache():
    size = 2**28
    torch.ones(size, dtype=torch.uint8)  # before the run
    memory = PeakMemory(torch.device("cpu"))
    before = memory.peak_bytes()
    with memory.set_aside():
        torch.ones(size, dtype=torch.uint8)
    assert memory.peak_bytes() - before < size // 10
    torch.ones(size, dtype=torch.uint8)
    with memory.set_aside():
        pass
    assert 0.9 * size < memory.peak_bytes() - before < 1.1 * size


def test_record_names_the_device(toy_root, tmp_path):
    record = trained(toy_root, tmp_path / "run")
    assert record["device"] == "cpu" and 10**8 < record["peak_memory_bytes"] < 10**11
