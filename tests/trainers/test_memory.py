"""The peak memory of a run."""

import pytest
import torch

from trainers.engine.memory import PROCESS, PeakMemory


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
