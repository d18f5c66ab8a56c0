"""How the processes that read images start."""

from __future__ import annotations

import multiprocessing


def start_method(workers: int) -> str | None:
    """The `multiprocessing_context` of a DataLoader with so many workers.

    From Python 3.14 on, Linux starts them from a server, which imports PyTorch anew. Here they are forks, as before:
    these start at once, share the run's memory, and need no `__main__` that can be imported. None leaves the default.
    """
    return "fork" if workers and multiprocessing.get_start_method() == "forkserver" else None
