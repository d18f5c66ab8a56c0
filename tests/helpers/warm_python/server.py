"""python server.py SOCKET STAND_IN: runs the commands of clients in forks of this process, until its input ends.

A command is the child of a monitor, which passes signals on to it, and kills it when its client is gone.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import importlib
import json
import multiprocessing
import os
import runpy
import select
import signal
import socket
import sys
import types
import warnings
from collections.abc import Sequence
from pathlib import Path

from client import FORWARDED
from forks import live

LIBRARIES = (
    "clip",
    "matplotlib.backends.backend_agg",
    "numpy",
    "pandas",
    "safetensors.torch",
    "scipy.stats",
    "sklearn.linear_model",
    "tabulate",
    "torch",
    "torch.distributed.run",
    "torch.utils.tensorboard",
    "torchvision.transforms",
    "tqdm",
    "yacs.config",
)
MOST_FILES = 250  # that can be sent at once
ABOVE = 500  # the number of no file of a command


def run(job: dict, stand_in: str) -> None:
    """What Python does with a command line: a script, -m MODULE or -c CODE, each with its arguments."""
    import numpy as np
    import torch

    os.environ.clear()
    os.environ.update(job["env"])
    os.chdir(job["cwd"])
    np.random.seed()  # of the server's state each fork has a copy
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count()))
    if job["unbuffered"]:
        sys.stdout.reconfigure(line_buffering=True)
    take_signals(job["ignored"])
    kind, *rest = job["arguments"]
    where = os.path.dirname(os.path.abspath(kind)) if kind not in ("-c", "-m") else ""
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.executable, sys.path[:1] = stand_in, [where or os.getcwd(), *paths]
    multiprocessing.set_executable(stand_in)
    if kind == "-m":
        sys.argv = rest
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
        return
    module = sys.modules["__main__"] = types.ModuleType("__main__")
    if kind == "-c":
        sys.argv, code = [kind, *rest[1:]], compile(rest[0], "<string>", "exec")
    else:
        sys.argv, module.__file__ = job["arguments"], os.path.abspath(kind)
        code = compile(Path(kind).read_bytes(), module.__file__, "exec")
    exec(code, module.__dict__)


def take_signals(ignored: Sequence[int] = ()) -> None:
    """Take signals as Python does that is started with some of them ignored."""
    for number in FORWARDED:
        usual = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
        signal.signal(number, signal.SIG_IGN if number in ignored else usual)


def move(file: int, above: int) -> int:
    """An open file under another number."""
    number = fcntl.fcntl(file, fcntl.F_DUPFD_CLOEXEC, above)
    os.close(file)
    return number


def monitor(client: socket.socket, stand_in: str) -> None:
    """Fork for a client's command; tell the client its exit status, the number of a signal below zero."""
    message, files, *_ = socket.recv_fds(client, 2**20, MOST_FILES)
    while message and not message.endswith(b"\n"):
        message += client.recv(2**20)
    command = os.fork()
    if command == 0:
        client.close()
        job = json.loads(message)
        files = [move(file, ABOVE) for file in files]  # out of the way of those that get their numbers
        for file, number in zip(files, job["files"]):
            os.dup2(file, number)
            os.close(file)
        os.setpgid(0, 0)
        live(run, job, stand_in)
    with contextlib.suppress(PermissionError):  # it has done so itself, and may have started another program
        os.setpgid(command, command)
    for number in (0, 1, 2, *files):
        os.close(number)  # else a reader of the command's output waits for this process, too
    ended = os.pidfd_open(command)
    while ended not in select.select([client, ended], [], [])[0]:
        signals = client.recv(100)
        for number in signals:
            os.kill(command, number)
        if not signals:  # the client was killed
            os.killpg(command, signal.SIGKILL)
            break
    status = os.waitstatus_to_exitcode(os.waitpid(command, 0)[1])
    with contextlib.suppress(BrokenPipeError):
        client.sendall(f"{status}\n".encode())
    os._exit(0)


def serve(address: str, stand_in: str) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"{address}.new")
        listening.listen(64)
        os.rename(f"{address}.new", address)  # who sees it can connect
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for monitors
        while sys.stdin not in select.select([listening, sys.stdin], [], [])[0]:
            client, _ = listening.accept()
            with client:
                if os.fork() == 0:
                    listening.close()
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    monitor(client, stand_in)


if __name__ == "__main__":
    take_signals()  # whatever has started the tests: they end this server by a signal
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for library in LIBRARIES:
            importlib.import_module(library)
    gc.freeze()  # else each fork copies all objects of the libraries when it ends
    serve(*sys.argv[1:])
