"""Memory of a run."""

from __future__ import annotations

import contextlib
import ctypes
import re
import resource
import sys
from collections.abc import Iterator
from pathlib import Path

import torch

PROCESS = Path("/proc/self")  # of Linux


def peak_memory_bytes(device: torch.device) -> int:
    """Peak memory of this process so far: allocated on the GPU, or resident on the CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    with contextlib.suppress(OSError):
        # Not `ru_maxrss`, which a process inherits from the one that started it.
        found = re.search(r"^VmHWM:\s*(\d+) kB$", (PROCESS / "status").read_text(), re.M)
        if found:
            return 1024 * int(found.group(1))
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def forget_peak(device: torch.device) -> None:
    """Let the peak be counted anew, where the system can do that: on a GPU, and on Linux."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)  # of glibc: what was freed is not resident any more
    with contextlib.suppress(OSError):
        (PROCESS / "clear_refs").write_text("5")


def device_name(device: torch.device) -> str:
    """What times and memory were measured on: "cpu", or a GPU's name."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


class PeakMemory:
    """The peak memory of a run, from the making of this object on.

    On a CPU it is the resident memory of the process, with the interpreter and its libraries. Where the system cannot
    forget a peak it is that of the whole process, whatever ran in it.
    """

    def __init__(self, device: torch.device) -> None:
        self.device, self._before = device, 0
        forget_peak(device)

    def peak_bytes(self) -> int:
        return max(self._before, peak_memory_bytes(self.device))

    @contextlib.contextmanager
    def set_aside(self) -> Iterator[None]:
        """What is done within does not count, as the filling of caches, whose cost is that of whoever comes first."""
        self._before = self.peak_bytes()
        try:
            yield
        finally:
            forget_peak(self.device)
