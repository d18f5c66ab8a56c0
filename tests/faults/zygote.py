"""train.py in processes of their own that cost no import: forks of one process, the server at the end of this file,
which has imported everything and runs nothing. A fork executes train.py as a command does, with a fault at a chosen
moment.

A moment is an event, counted from 1: each training step, and each file below the current folder that is opened for
writing, renamed, removed or made.
"""

from __future__ import annotations

import gc
import json
import multiprocessing
import os
import resource
import runpy
import signal
import socket
import sys
import threading
import time
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "helpers"), str(TESTS.parent)]

from warm_python.forks import live  # noqa: E402

FILE_EVENTS = {"open", "os.rename", "os.remove", "os.mkdir", "os.link", "shutil.rmtree"}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class Fault:
    """Counts the events of this process, writes them to the file `trace`, and does `action` at one of them.

    Args:
        at: the number of an event, or the beginning of an event's name: the first such one counts.
        action: the name of a signal, which the process gets; "limit", after which no file may grow beyond 8 bytes;
            "fill:FOLDER", which fills the file system of a folder; "pause:FILE", which waits until that file is there;
            "worker", which kills the processes that this one has started; "nan", after which no loss is a number.
    """

    def __init__(self, at: int | str | None = None, action: str = "", trace: str = "") -> None:
        self.at, self.action, self.trace = at, action, trace
        self.folder, self.main = f"{os.getcwd()}{os.sep}", threading.get_ident()
        self.events: list[str] = []
        self.losses: list[float] = []
        self.acting = False

    def audit(self, event: str, args: tuple) -> None:
        """A hook of sys.addaudithook. What tensorboard's thread writes has no fixed order, and is not counted."""
        if event not in FILE_EVENTS or self.acting or threading.get_ident() != self.main:
            return
        if event == "open" and not (isinstance(args[2], int) and args[2] & WRITING):
            return
        if isinstance(args[0], str | os.PathLike):
            path = os.path.abspath(args[0])
            if path.startswith(self.folder) and "tensorboard" not in path:
                self.happens(f"{os.path.relpath(path, self.folder)} {event}")

    def happens(self, event: str) -> None:
        self.events.append(event)
        name = os.path.basename(event).lstrip(".")
        if self.at == len(self.events) or isinstance(self.at, str) and name.startswith(self.at):
            self.at, self.acting = None, True
            self.act()
            self.acting = False

    def act(self) -> None:
        kind, _, value = self.action.partition(":")
        if kind == "limit":
            resource.setrlimit(resource.RLIMIT_FSIZE, (8, resource.RLIM_INFINITY))
        elif kind == "fill":
            fill(Path(value))
        elif kind == "pause":
            Path(f"{value}.waiting").touch()
            while not Path(value).exists():
                time.sleep(0.01)
        elif kind == "nan":
            spoil_losses()
        elif kind == "worker":
            for process in multiprocessing.active_children():
                os.kill(process.pid, signal.SIGKILL)
        elif kind:
            os.kill(os.getpid(), signal.Signals[kind])

    def watch(self) -> None:
        from trainers.base import PromptTrainer

        forward_backward = PromptTrainer.forward_backward

        def counted(trainer, batch):
            self.happens("step")
            logs = forward_backward(trainer, batch)
            self.losses.append(logs["loss"])
            return logs

        PromptTrainer.forward_backward = counted
        sys.addaudithook(self.audit)

    def conclude(self) -> None:
        """Write what was counted, if the process is still alive."""
        self.acting = True
        if self.trace:
            Path(self.trace).write_text(json.dumps({"events": self.events, "losses": self.losses}))


def spoil_losses() -> None:
    """From now on no loss of this process is a number."""
    from trainers.base import PromptTrainer

    cross_entropy = PromptTrainer.cross_entropy

    def spoilt(*arguments):
        loss, terms = cross_entropy(*arguments)
        return loss * float("nan"), terms

    PromptTrainer.cross_entropy = spoilt


def fill(folder: Path) -> None:
    """Fill the file system of a folder."""
    with open(folder / "filler", "ab", buffering=0) as file:
        for size in (4096, 1):
            try:
                while True:
                    file.write(b"\0" * size)
            except OSError:
                continue


def run(job: dict) -> None:
    """Run train.py as a process does from start to end, with the fault only in the rank
    that the job names, if it names one."""
    import torch

    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(job["cwd"])
    os.environ |= job["env"]
    torch.set_num_threads(job["threads"])
    fault = Fault(**job["fault"] if job.get("rank") in (None, os.environ.get("RANK")) else {})
    fault.watch()
    sys.argv = ["train.py", *job["arguments"]]
    try:
        runpy.run_path(str(TESTS.parent / "train.py"), run_name="__main__")
    finally:
        fault.conclude()


def serve(control: socket.socket) -> None:
    """Fork for each job, and say how forks have ended, until the other side is closed; then end those that are left."""
    forks: set[int] = set()
    while True:
        message, files, *_ = socket.recv_fds(control, 2**20, 2)
        if not message:
            break
        job = json.loads(message)
        if "poll" in job:
            pid, status = os.waitpid(job["poll"], os.WNOHANG)
            forks.discard(pid)
            answer = os.waitstatus_to_exitcode(status) if pid else None
        else:
            answer = os.fork()
            if answer == 0:
                control.close()
                for number, file in enumerate(files, 1):
                    os.dup2(file, number)
                    os.close(file)
                os.setpgid(0, 0)  # its own group, as in a shell, so that Ctrl-C reaches all of its processes
                live(run, job)
            forks.add(answer)
            for file in files:
                os.close(file)
        control.send(json.dumps(answer).encode())
    for pid in forks:
        os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    import compat

    compat.ensure_dassl()
    import torch.utils.tensorboard  # noqa: F401
    import toy  # noqa: F401

    import train  # noqa: F401

    gc.freeze()  # otherwise each fork copies all objects of the libraries when it ends
    if len(sys.argv) > 1:  # as a command that torchrun starts
        run(json.loads(sys.argv[1]))
    else:
        control = socket.socket(fileno=os.dup(0))
        with open(os.devnull) as nothing:
            os.dup2(nothing.fileno(), 0)
        serve(control)
