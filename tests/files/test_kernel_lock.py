"""The kernel's lock of a run folder ends with its process, and may not be had."""

import errno
import os
import subprocess
import sys
import time

import pytest
from locks import age, kernel_lock, write

import train
from softcpt.files import lock


def test_lock_of_a_killed_process_is_free_although_its_workers_live(tmp_path):
    code = (
        "import os, sys, time; from softcpt.files import locked\n"
        "with locked(sys.argv[1]):\n    child = os.fork() or time.sleep(60)\n    print(child, flush=True)\n"
        "    time.sleep(60)"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=train.PROJECT_ROOT)
    worker = int(process.stdout.readline())
    assert lock.holder(tmp_path)["pid"] == process.pid
    process.kill()
    process.wait()
    try:
        assert lock.holder(tmp_path) is None
        with lock.locked(tmp_path):
            os.kill(worker, 0)
    finally:
        os.kill(worker, 9)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.EACCES])
def test_file_system_without_locks_goes_by_the_age(tmp_path, monkeypatch, number):
    """The kernel's lock fails; what O_EXCL and the time of the last touch say remains."""

    def fail(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(lock.FileLock, "acquire", lambda *_, **__: fail())
    with lock.locked(tmp_path):
        with pytest.raises(lock.LockedError, match=f"in use by process {os.getpid()}"), lock.locked(tmp_path):
            pass
        (tmp_path / lock.KERNEL_LOCK).touch()
        assert lock.holder(tmp_path)
    write(tmp_path)
    age(tmp_path, lock.STALE_AFTER + 60)
    with lock.locked(tmp_path):
        pass
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform != "linux", reason="other systems may need the process to be waited for")
def test_zombie_process_holds_no_lock(tmp_path):
    code = "import sys; from softcpt.files import locked; held = locked(sys.argv[1]); held.__enter__()"
    code += "; import os; os._exit(0)  # as a killed process does"
    command = [sys.executable, "-c", code, str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=train.PROJECT_ROOT)
    process.stdout.read()  # until it ends; nothing has waited for it
    time.sleep(0.5)
    assert (tmp_path / lock.FILE_NAME).exists() and lock.holder(tmp_path) is None
    process.wait()


def test_process_that_has_the_kernels_lock_and_no_file_yet_is_not_overtaken(tmp_path):
    with kernel_lock(tmp_path), pytest.raises(lock.LockedError, match="process ?"), lock.locked(tmp_path):
        pass
