"""Calls as processes of this machine, each with its own device."""

import multiprocessing
import os
import pickle
import queue
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext, SpawnContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 10  # seconds that a process has to end when it is asked to


class ProcessEndedError(RuntimeError):
    """A process ended without an answer: it was killed, or exited."""


def prepare(threads: int, preload: str = "train") -> ForkServerContext | SpawnContext:
    """A multiprocessing context whose processes have `threads` threads each. Call it once, before any process starts.

    On Linux a server process imports the module `preload` (and so PyTorch) once, and each call runs in a fork of it.
    """
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    # A process that has initialised CUDA cannot be forked, so PyTorch must look for GPUs without it.
    os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
    # Not every Python passes sys.path on to the server of forks.
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([preload])
    return context


class LocalExecutor(ThreadPoolExecutor):
    """A pool of workers, each with a device, that starts a fresh process for every call.

    The standard library's process pool drops all calls when one process is killed, and before Python 3.11 it reuses
    processes. Here a worker is a thread that waits for one process at a time. If a process is killed, only its own
    Future raises a ProcessEndedError. No process outlives this one.

    Args:
        workers: number of calls at a time.
        devices: values of CUDA_VISIBLE_DEVICES, given to the workers in turn; [] leaves the variable alone.
        context: from `prepare`.
    """

    def __init__(self, workers: int, devices: Sequence[str], context: ForkServerContext | SpawnContext) -> None:
        self._devices: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        for i in range(workers):
            self._devices.put(devices[i % len(devices)] if devices else None)
        self._context, self._workers = context, workers
        self._running: set[BaseProcess] = set()
        self._stopped = False
        # Starts and ends of processes must not overlap, since multiprocessing polls all processes at each start.
        self._lock = threading.Lock()
        super().__init__(max_workers=workers, thread_name_prefix="worker", initializer=self._take_device)
        self._own = threading.local()

    def _take_device(self) -> None:
        self._own.device = self._devices.get()

    def submit(self, function: Callable, /, *args: Any) -> Future:  # type: ignore[override]
        return super().submit(self._call, function, args)

    def submit_all(self, calls: Sequence[Callable[[], Any]]) -> list[Future]:
        return [self.submit(call) for call in calls]

    as_completed = staticmethod(as_completed)

    def _call(self, function: Callable, args: tuple) -> Any:
        receiver, sender = self._context.Pipe(duplex=False)
        env = {"LOCAL_WORLD_SIZE": str(self._workers)}  # torchrun's variable: so many processes share the cores
        env |= {} if self._own.device is None else {"CUDA_VISIBLE_DEVICES": self._own.device}
        process = self._context.Process(target=_answer, args=(sender, env, function, args))
        with receiver:
            with sender, self._lock:
                if self._stopped:
                    raise ProcessEndedError("it was not started: the executor was stopped")
                process.start()
                self._running.add(process)
            try:
                kind, value = receiver.recv()
            except EOFError:
                kind = None
        wait([process.sentinel])
        with self._lock:
            process.join()
            self._running.discard(process)
        if kind is None:
            name, status = getattr(function, "__name__", type(function).__name__), process.exitcode or 0
            end = f"killed by signal {-status}" if status < 0 else f"exit status {status}"
            raise ProcessEndedError(f"{name}: its process ended without an answer, {end}")
        if kind == "error":
            raise value
        return value

    def terminate_workers(self) -> None:
        """End the running processes and drop the waiting calls."""
        with self._lock:
            self._stopped = True
            running = list(self._running)
            for process in running:
                process.terminate()
        self.shutdown(wait=False, cancel_futures=True)
        left = [process.sentinel for process in running]
        while left and (ended := wait(left, PATIENCE)):
            left = [sentinel for sentinel in left if sentinel not in ended]
        with self._lock:
            for process in self._running:
                process.kill()


def _answer(sender: Connection, env: dict[str, str], function: Callable, args: tuple) -> None:
    """The body of a call's process: sends ("value", value) or ("error", exception)."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ |= env
    try:
        answer = "value", function(*args)
    except Exception as error:
        answer = "error", error
    try:
        sender.send(answer)
    except (pickle.PicklingError, TypeError, AttributeError) as error:  # an answer that cannot be sent
        sender.send(("error", RuntimeError(f"{answer[1]!r} ({error})")))


def _end_with_parent() -> None:
    """End this process when its parent ends, even by a kill."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
