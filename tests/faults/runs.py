"""Runs of train.py in their own processes, with faults, and their outcomes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from records import without_costs
from warm_python import python

from softcpt.evaluation.predictions import PREDICTIONS_FILE

ZYGOTE = Path(__file__).with_name("zygote.py")
PATIENCE = 60  # seconds


class Ended(NamedTuple):
    """A process that has ended: its exit status, negative for a signal, and what it printed."""

    status: int
    out: str
    err: str


class Process:
    """A started run. Its pipes are read to the end, so none of its child processes may outlive it."""

    def __init__(self, owner: Processes, pid: int, pipes: Sequence[int]) -> None:
        self.pid, self._owner, self._texts = pid, owner, ["", ""]
        self._readers = [threading.Thread(target=self._read, args=pair, daemon=True) for pair in enumerate(pipes)]
        for reader in self._readers:
            reader.start()

    def _read(self, number: int, pipe: int) -> None:
        with os.fdopen(pipe, encoding="utf-8", errors="replace") as stream:
            self._texts[number] = stream.read()

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process and its children, as a terminal does."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def wait(self, patience: float = PATIENCE) -> Ended:
        """How it ended. Raises TimeoutError if it, or one of its children, is still alive after `patience` seconds."""
        end = time.monotonic() + patience
        while (status := self._owner.ask({"poll": self.pid})) is None:
            if time.monotonic() > end:
                self.send(signal.SIGKILL)
                raise TimeoutError(f"process {self.pid} has not ended within {patience} s")
            time.sleep(0.01)
        for reader in self._readers:
            reader.join(max(0, end - time.monotonic()))
            if reader.is_alive():
                self.send(signal.SIGKILL)
                raise TimeoutError(f"what process {self.pid} has started lives on")
        return Ended(status, *self._texts)


class Processes:
    """A context manager that starts runs as forks of one process that has imported everything (see zygote.py).

    Args:
        hash_seed: PYTHONHASHSEED of all runs.
    """

    def __init__(self, hash_seed: int = 0) -> None:
        self._hash_seed = hash_seed
        self._env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": str(hash_seed)}

    def __enter__(self) -> Processes:
        self._control, other = socket.socketpair()
        with other:
            executable = sys.executable if self._hash_seed else python()
            self._server = subprocess.Popen([executable, str(ZYGOTE)], stdin=other, env=self._env)
        return self

    def __exit__(self, *_: object) -> None:
        self._control.shutdown(socket.SHUT_RDWR)  # a fork of this process may hold a copy, so closing is not enough
        self._control.close()
        self._server.wait(PATIENCE)

    def ask(self, job: dict, pipes: Sequence[int] = ()) -> Any:
        socket.send_fds(self._control, [json.dumps(job).encode()], pipes)
        return json.loads(self._control.recv(1000))

    def start(
        self, cwd: Path, arguments: Sequence[str], threads: int = 1, env: dict[str, str] | None = None, **fault: Any
    ) -> Process:
        """Start train.py in the folder `cwd`, which is created; `fault` as in zygote.Fault."""
        cwd.mkdir(parents=True, exist_ok=True)
        ends, theirs = zip(os.pipe(), os.pipe(), strict=True)
        job = {"cwd": str(cwd), "arguments": list(arguments), "threads": threads, "env": env or {}, "fault": fault}
        pid = self.ask(job, theirs)
        for pipe in theirs:
            os.close(pipe)
        return Process(self, pid, ends)

    def run(self, cwd: Path, arguments: Sequence[str], **options: Any) -> Ended:
        return self.start(cwd, arguments, **options).wait()


def start_pair(
    processes: Processes, folder: Path, arguments: Sequence[str], rank: int = 1, **fault: Any
) -> list[Process]:
    """Start a run of two processes, as torchrun does, with a fault in that of number `rank`."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        env = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(listening.getsockname()[1])}
    env |= {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    ranks = [{**env, "RANK": rank, "LOCAL_RANK": rank} for rank in "01"]
    faults: list[dict[str, Any]] = [{"trace": "events.json"}, {}]
    faults[rank] |= fault
    return [processes.start(folder, arguments, env=ranks[i], **faults[i]) for i in range(2)]


def outcome(folder: Path) -> dict[str, object]:
    """All that a finished run has found: the files of its folder, without times, memory and commands, and the tensors
    of its checkpoint. Two runs are the same where these are equal, to the bit."""
    files = {path.name for path in folder.iterdir()} - {"tensorboard"}
    files = {name for name in files if not name.startswith("log.txt")}  # one log per start
    paths = list((folder / "prompt_learner").glob("model.pth.tar-*"))
    checkpoints = {path.name: torch.load(path, weights_only=True) for path in paths}
    same = ("config.yaml", "shots.json", "classes.json", PREDICTIONS_FILE)
    return {
        "files": files,
        "checkpoints": {path.name for path in folder.glob("prompt_learner/*")},
        "record": without_costs(folder / "results.json"),
        "tensors": {name: tensor.numpy().tobytes() for name, tensor in tensors_of(checkpoints).items()},
        **{name: (folder / name).read_bytes() for name in same},
    }


def tensors_of(value: object, name: str = "") -> dict[str, torch.Tensor]:
    """All tensors in nested containers, by their paths: parameters, optimiser, random states."""
    if isinstance(value, torch.Tensor):
        return {name: value}
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list | tuple) else ()
    return {place: tensor for key, item in pairs for place, tensor in tensors_of(item, f"{name}/{key}").items()}


def errors_in(ended: Ended) -> list[str]:
    """The error lines that a user sees; fails if there is a traceback."""
    assert "Traceback" not in ended.err + ended.out, ended.err
    return [line for line in ended.err.splitlines() if line.startswith("error: ")]


def assert_same(found: dict[str, object], expected: dict[str, object]) -> None:
    """An `outcome` has everything that is expected; names the first difference."""
    for name, value in expected.items():
        assert found[name] == value, name


def finish(processes: Processes, folder: Path, arguments: Sequence[str], expected: dict[str, object]) -> None:
    """Run the same command again, undisturbed: it succeeds with the expected `outcome`."""
    ended = processes.run(folder, arguments)
    assert ended.status == 0 and not errors_in(ended), ended.err
    assert_same(outcome(folder / "out/run"), expected)
