"""Calls of train.py in processes of their own, several side by side."""

import contextlib
import multiprocessing
import os
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Protocol

from tqdm import tqdm

ROOT = Path(__file__).resolve().parents[1]
LINES = 20  # of a failed run's output to show


class Step(Protocol):
    """A call of train.py; its text names it."""

    arguments: list[str]
    done: bool  # read after the process ended


def train_in_process(jobs: int, arguments: list[str], log: str, gpu: str | None) -> None:
    """The whole of a run's process, one of `jobs` at a time: train.py with all output in the file `log`."""
    with open(log, "wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    os.environ["LOCAL_WORLD_SIZE"] = str(jobs)  # as torchrun says it: the processors are shared by so many
    os.chdir(ROOT)
    import train

    sys.exit(train.main(arguments))


def prepare(threads: int) -> BaseContext:
    """What starts processes, each with `threads` threads; to be called once, before any of them.

    Where forks are safe, PyTorch is imported once; each process is a fork of that one, which itself runs nothing, so a
    run's state (random generators, loggers, memory) is that of a fresh process.
    """
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    # A process that has initialised CUDA cannot be forked: let PyTorch look for GPUs without it.
    os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
    # For the server of forks, to which not every Python passes on sys.path.
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    context = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")
    if sys.platform == "linux":
        context.set_forkserver_preload(["train"])
    return context


def call(context: BaseContext, function: Callable, *args: Any) -> Any:
    """The value of `function(*args)` in a process of its own, or its ValueError or OSError."""
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(sender, function, args))
    process.start()
    sender.close()
    try:
        value = receiver.recv()
    except EOFError as error:
        raise OSError(f"{function.__name__}: its process ended without an answer") from error
    process.join()
    if isinstance(value, Exception):
        raise value
    return value


def _answer(sender: Connection, function: Callable, args: tuple) -> None:
    try:
        sender.send(function(*args))
    except (ValueError, OSError) as error:
        sender.send(type(error)(str(error)))


def start_training(context: BaseContext, jobs: int, arguments: list[str], log: str, gpu: str | None) -> BaseProcess:
    process = context.Process(target=train_in_process, args=(jobs, arguments, log, gpu))
    process.start()
    return process


def run_steps(
    steps: Sequence[Step], jobs: int, gpus: Sequence[str], start: Callable, finished: Callable[[Step], None]
) -> list[str]:
    """Run the steps in order, `jobs` at a time; `finished` is called after each that succeeds.

    Returns what failed, one line each. Whatever ends this function ends the processes that it started.
    """
    waiting, running, failed = deque(steps), {}, []
    slots = list(range(jobs))
    logs = Path(tempfile.mkdtemp(prefix="sweep-"))
    bar = tqdm(total=len(steps), unit="run", disable=not steps, dynamic_ncols=True)
    try:
        while waiting or running:
            while waiting and slots:
                step, slot = waiting.popleft(), slots.pop(0)
                log = logs / f"{len(steps) - len(waiting)}.txt"
                process = start(step.arguments, str(log), gpus[slot % len(gpus)] if gpus else None)
                running[process.sentinel] = process, step, slot, log
            for sentinel in wait(list(running)):
                process, step, slot, log = running.pop(sentinel)
                process.join()
                slots.append(slot)
                error = end_of(step, process.exitcode, log, finished)
                if error:
                    failed.append(f"{step}: {error}")
                    tqdm.write(f"failed: {failed[-1]}", file=sys.stderr)
                bar.set_postfix_str(str(step), refresh=False)
                bar.update()
    finally:
        stop([process for process, *_ in running.values()])
        for *_, log in running.values():
            log.unlink(missing_ok=True)
        bar.close()
        with contextlib.suppress(OSError):
            logs.rmdir()  # where no run failed
    return failed


def end_of(step: Step, status: int, log: Path, finished: Callable[[Step], None]) -> str:
    """Conclude a step; returns what went wrong, with its last lines of output, or ""."""
    if status == 0 and step.done:
        log.unlink(missing_ok=True)
        try:
            finished(step)
        except (ValueError, OSError) as error:
            return str(error)
        return ""
    lines = log.read_text(errors="replace").splitlines() if log.is_file() else []
    what = f"exit status {status}" if status else "it left no results"
    return "\n".join([f"{what}; all of its output: {log}", *lines[-LINES:]])


def stop(processes: Sequence[BaseProcess]) -> None:
    for process in processes:
        process.terminate()
    for process in processes:
        process.join(10)
        if process.is_alive():
            process.kill()
