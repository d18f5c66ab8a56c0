"""The peak memory of a run, and the name of its device."""

import contextlib
import ctypes
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import torch

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

PROCESS = Path("/proc/self")  # of Linux


def peak_memory_bytes(device: torch.device) -> int:
    """Peak memory of this process so far: allocated on the GPU, or resident on the CPU; 0 on Windows."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    with contextlib.suppress(OSError):
        # Not `ru_maxrss`, which a process inherits from its parent.
        found = re.search(r"^VmHWM:\s*(\d+) kB$", (PROCESS / "status").read_text(), re.M)
        if found:
            return 1024 * int(found.group(1))
    if resource is None:
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def forget_peak(device: torch.device) -> None:
    """Reset the peak, which is possible on a GPU and on Linux."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    with contextlib.suppress(OSError, AttributeError, TypeError):  # TypeError: of None on Windows
        ctypes.CDLL(None).malloc_trim(0)  # glibc: return freed memory to the system
    with contextlib.suppress(OSError):
        (PROCESS / "clear_refs").write_text("5")


def device_name(device: torch.device) -> str:
    """The name of a GPU, or "cpu"."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


class PeakMemory:
    """The peak memory of a run, since this object was made.

    On a CPU it is the resident memory of the process, with the interpreter and its libraries. Where the peak cannot be
    reset, it includes what ran in the process before.
    """

    def __init__(self, device: torch.device) -> None:
        self.device, self._before = device, 0
        forget_peak(device)

    def peak_bytes(self) -> int:
        return max(self._before, peak_memory_bytes(self.device))

    @contextlib.contextmanager
    def set_aside(self) -> Iterator[None]:
        """Leave out what is done within this context: filling caches, which only the first run does."""
        self._before = self.peak_bytes()
        try:
            yield
        finally:
            forget_peak(self.device)
