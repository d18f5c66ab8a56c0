"""A stand-in for Python whose commands start at once: they run in forks of a server that has imported the libraries.

Importing torch, torchvision and scikit-learn takes longer than most commands that the tests run. `python()` is the path
of an executable that takes Python's command line; the project's own modules are still imported by each command. All
commands have the hash seed 0.
"""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
VARIABLE = "STAND_IN_FOR_PYTHON"  # holds the path of the stand-in, for child processes
PATIENCE = 120  # seconds that a server may take to start


@functools.cache
def python() -> str:
    """The path of the stand-in, whose server is started if need be; of Python itself where the system lacks pidfd."""
    if not hasattr(os, "pidfd_open"):
        return sys.executable
    if VARIABLE not in os.environ:
        start()
    socket, end = Path(os.environ[VARIABLE]).with_name("socket"), time.monotonic() + PATIENCE
    while not socket.exists():
        if time.monotonic() > end:
            raise TimeoutError(f"the server of {os.environ[VARIABLE]} does not listen")
        time.sleep(0.02)
    return os.environ[VARIABLE]


def start() -> None:
    """Start a server, which ends with this process, without waiting for it."""
    folder = Path(tempfile.mkdtemp(prefix="python-"))  # a socket's path must be short
    stand_in = folder / "python"
    client = [sys.executable, "-IS", str(HERE / "client.py"), str(folder / "socket")]
    stand_in.write_text(f'#!/bin/sh\nexec {" ".join(client)} "$@"\n')
    stand_in.chmod(0o755)
    command = [sys.executable, str(HERE / "server.py"), str(folder / "socket"), str(stand_in)]
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}  # each command has its own
    env |= {"PYTHONHASHSEED": "0", "OMP_WAIT_POLICY": "PASSIVE"}  # threads that wait leave the cores to other tests
    server = subprocess.Popen(command, cwd="/", env=env, start_new_session=True, stdin=subprocess.PIPE)
    os.environ[VARIABLE] = str(stand_in)

    @atexit.register
    def end() -> None:
        server.terminate()  # a fork of this process may hold its input open
        server.wait()
        shutil.rmtree(folder, ignore_errors=True)
