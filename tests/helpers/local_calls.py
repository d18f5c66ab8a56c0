"""The functions that the tests of executors call, in a module that other processes import."""

import multiprocessing
import os
import signal
import sys
import time

CONTEXT = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")


def process_id():
    return os.getpid()


def kill_itself():
    os.kill(os.getpid(), signal.SIGKILL)


def work(folder):
    """The device it ran on, and how many other calls were running."""
    beside = len(list(folder.iterdir()))
    own = folder / str(os.getpid())
    own.touch()
    time.sleep(0.2)
    own.unlink()
    return os.environ.get("CUDA_VISIBLE_DEVICES"), os.environ["LOCAL_WORLD_SIZE"], beside


def sleep(file, seconds=60):
    file.write_text(str(os.getpid()))
    time.sleep(seconds)


def two_gpus():
    return ["4", "7"]


def no_gpu():
    return []
