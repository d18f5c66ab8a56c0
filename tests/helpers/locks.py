"""Locks of a run folder, as other processes leave and hold them."""

import json
import os
import subprocess
import sys
import time

from filelock import FileLock

from softcpt.files import lock


def write(folder, **changes):
    owner = {**lock.this_process(), **changes}
    (folder / lock.FILE_NAME).write_text(json.dumps(owner))
    return owner


def age(folder, seconds):
    then = time.time() - seconds
    os.utime(folder / lock.FILE_NAME, (then, then))


OTHER = {"host": "elsewhere", "boot": "another"}


def kernel_lock(folder):
    """The kernel's lock of a folder, as another process has it."""
    return FileLock(folder / lock.KERNEL_LOCK)


def ended_process():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid
