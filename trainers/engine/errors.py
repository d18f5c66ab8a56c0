"""The line that a user reads when an error ends a run."""

import re
import traceback
from pathlib import Path

from yacs.config import CfgNode

from softcpt.files import CHECKPOINT
from softcpt.files.messages import memory_message, out_of_memory

from .earlier_precision import given_in, key_of
from .evaluating import Tester
from .same_config import keys_read
from .settings import declared, flatten

WORKER_LOST = re.compile(r"DataLoader worker \(pid\S* [\d, ]+\).*")
RANK_LOST = re.compile(r"Connection (closed|reset) by peer|Broken pipe|Connection refused|NCCL.*(remote|abort)", re.I)


def message_of(error: Exception, cfg: CfgNode) -> str:
    """The line to print for an error in data, files or numbers, for a lost process, or if memory runs out; "" for a bug
    in the code.

    If torchrun loses a rank, the others see a closed connection.
    """
    text = str(error).strip()
    if out_of_memory(error):
        return memory_message(error, what_needs_memory(cfg, in_test(error)))
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


def in_test(error: BaseException) -> bool:
    return any(frame.f_code is Tester.test.__wrapped__.__code__ for frame, _ in traceback.walk_tb(error.__traceback__))


def what_needs_memory(cfg: CfgNode, testing: bool) -> str:
    """The keys that a run's memory depends on, in a test or in training, with their values, and how it can go on."""
    folder, own = Path(cfg.OUTPUT_DIR), f"TRAINER.{cfg.TRAINER.NAME.upper()}"
    free = ["TRAINER.TEXT_CHUNK", "DATALOADER.TEST.BATCH_SIZE"]
    keys = free if testing else [free[0], "DATALOADER.TRAIN_X.BATCH_SIZE", f"{own}.CLASS_SAMPLE_RATE"]
    read = keys_read(flatten(cfg))
    if keys[1] not in read:  # a method that makes no steps encodes its shots as a test does
        keys = free
    lower = [f"{key} (now {declared(cfg, key)})" for key in keys if key in read]
    precision = given_in(cfg)
    halved = f"; {key_of(cfg)} {precision} is in half precision already"
    halved = f", or set {key_of(cfg)} amp (now fp32)" if precision == "fp32" else halved
    going_on = (
        f". With other values of {' or '.join(free)} the same command goes on from the last checkpoint; any other "
    )
    going_on = f"{going_on}change needs another --output-dir" if (folder / CHECKPOINT).is_file() else ""
    return f"use a smaller {', '.join(lower)}{halved}{going_on}"
