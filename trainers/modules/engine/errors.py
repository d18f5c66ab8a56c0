"""What a user is told of an error that ends a run: one line, also where another process was lost."""

from __future__ import annotations

import re

WORKER_LOST = re.compile(r"DataLoader worker \(pid\S* [\d, ]+\).*")
RANK_LOST = re.compile(r"Connection (closed|reset) by peer|Broken pipe|Connection refused|NCCL.*(remote|abort)", re.I)


def message_of(error: Exception) -> str:
    """The line to print for an error of data, files or numbers, or of a lost process; "" for a fault of the code.

    A rank of torchrun's that is killed is noticed by the others as a closed connection.
    """
    text = str(error).strip()
    if not isinstance(error, RuntimeError):
        # An error of a loader's worker process arrives with the worker's traceback, the message in its last line.
        return text.splitlines()[-1] if text.startswith("Caught ") else text
    if worker := WORKER_LOST.search(text):
        return (
            f"{worker.group().strip()}. Such a process reads images; most often it is killed for want of memory, of "
            "which fewer DATALOADER.NUM_WORKERS need less. The same command goes on from the last checkpoint"
        )
    if RANK_LOST.search(text):
        return (
            "the connection to another process of this run is lost: that process has ended. The same command goes on "
            f"from the last checkpoint ({text.splitlines()[0]})"
        )
    return ""
