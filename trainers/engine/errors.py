"""The line that a user reads when an error ends a run."""

import re

WORKER_LOST = re.compile(r"DataLoader worker \(pid\S* [\d, ]+\).*")
RANK_LOST = re.compile(r"Connection (closed|reset) by peer|Broken pipe|Connection refused|NCCL.*(remote|abort)", re.I)


def message_of(error: Exception) -> str:
    """The line to print for an error in data, files or numbers, or for a lost process; "" for a bug in the code.

    If torchrun loses a rank, the others see a closed connection.
    """
    text = str(error).strip()
    if not isinstance(error, RuntimeError):
        # An error in a loader's worker process arrives as the worker's traceback, with the message in the last line.
        return text.splitlines()[-1] if text.startswith("Caught ") else text
    if worker := WORKER_LOST.search(text):
        return (
            f"{worker.group().strip()}. Such a process reads images, and is usually killed when memory runs out: use "
            "fewer DATALOADER.NUM_WORKERS. The same command goes on from the last checkpoint"
        )
    if RANK_LOST.search(text):
        return (
            "the connection to another process of this run is lost: that process has ended. The same command goes on "
            f"from the last checkpoint ({text.splitlines()[0]})"
        )
    return ""
