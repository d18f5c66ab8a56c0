"""The lock of a run folder: one process at a time trains or evaluates there.

`running.lock` is locked by the kernel (filelock), which lets go of it when the process ends, however it ends, and for
all containers of a machine. Some network file systems pass such locks on to other hosts, some do not. So
`running.json`, which names the holder, is created exclusively (O_EXCL, which works on them all) and touched every
minute. A lock is stale

- of this machine, if the kernel's lock is free;
- of another one, if the kernel's lock is free and `running.json` has not been touched for some time, or not since this
  host was started;
- of this process's SLURM job, which was put back in the queue.
"""

import contextlib
import json
import os
import socket
import stat
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout

from .atomic import temporary_of
from .run_folder import remove_temporaries
from .texts import plain

FILE_NAME = "running.json"
KERNEL_LOCK = "running.lock"
TOUCHED_EVERY = 60  # seconds
STALE_AFTER = 10 * TOUCHED_EVERY  # for a lock of another host, whose clock may differ a little
UNWRITTEN_FOR = 10  # seconds after which a lock without content is stale: its process was killed before it wrote
LONGEST_LOOK = 0.2  # seconds for which another process may have the kernel's lock only to see whether it is free


class LockedError(OSError):
    """Another process holds the run folder."""


def describe(owner: Mapping) -> str:
    """The holder of a run folder, in words."""
    job = f", SLURM job {owner['job']}" if owner.get("job") else ""
    return plain(f"process {owner['pid']} on {owner['host']}{job}, since {owner['since']}")


def this_process() -> dict[str, object]:
    """The content of this process's lock."""
    since = time.strftime("%Y-%m-%d %H:%M:%S")
    return {"host": socket.gethostname(), "boot": boot_id(), "pid": os.getpid(), "job": slurm_job(), "since": since}


def boot_id() -> str:
    """The start of this machine, as the kernel names it in all its containers; "" if it does not."""
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    return ""


def slurm_job() -> str:
    """The SLURM job of this process: "12", "12_3" in an array, "" outside of SLURM. A restart keeps it."""
    array, task = (os.environ.get(f"SLURM_ARRAY_{name}_ID") for name in ("JOB", "TASK"))
    return f"{array}_{task}" if array and task else os.environ.get("SLURM_JOB_ID", "")


def holder(folder: str | os.PathLike) -> dict | None:
    """The process that holds a run folder and is, or may be, alive; None if there is none."""
    path = Path(folder, FILE_NAME)
    kernel = FileLock(path.with_name(KERNEL_LOCK))
    free = _acquired(kernel) if os.path.exists(kernel.lock_file) else True
    kernel.release()
    return _holder(path, free) if path.exists() else None


def _acquired(kernel: BaseFileLock) -> bool | None:
    """Take the kernel's lock: whether it was free; None where it cannot be had, as on a file system without locks."""
    try:
        kernel.acquire(timeout=LONGEST_LOOK, poll_interval=LONGEST_LOOK / 10)
    except Timeout:
        return False
    except OSError:
        return None
    return True


def _holder(path: Path, free: bool | None) -> dict | None:
    """The process of a lock if it is, or may be, alive; `free`: whether the kernel's lock is, None if unknown."""
    unknown = {"host": "?", "pid": "?", "since": "just now"}
    try:
        age, owner = _age(path), _read(path)
    except FileNotFoundError:
        return unknown if free is False else None
    if not owner:
        return unknown if free is False or age < UNWRITTEN_FOR else None
    boot, same_name = boot_id(), owner["host"] == socket.gethostname()
    here = owner["boot"] == boot if boot and owner.get("boot") else same_name
    if here and free is not None:
        return None if free else owner
    if not here and owner.get("job") and owner["job"] == slurm_job():
        return None  # an earlier start of this process's job
    limit: float = STALE_AFTER
    if boot and same_name:  # before this host was started, or on another of its name
        limit = min(limit, time.clock_gettime(time.CLOCK_BOOTTIME))
    return owner if free is False or age < limit else None


def _age(path: Path) -> float:
    """Seconds between the last touch of a lock and now, by the clock of its file system: a server's may differ from
    this host's. A lock from the future is as old as one from the past, since its process would have touched it."""
    probe, touched = temporary_of(path), path.stat().st_mtime
    now = time.time()
    with contextlib.suppress(OSError):  # of a folder that cannot be written
        probe.touch()
        now = probe.stat().st_mtime
    with contextlib.suppress(OSError):
        probe.unlink()
    return abs(now - touched)


def _read(path: Path) -> dict:
    """A lock's content; {} if it is not written yet or not that of a lock. Raises FileNotFoundError."""
    if not stat.S_ISREG(path.stat().st_mode):
        return {}
    try:
        owner = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        return {}
    texts = isinstance(owner, dict) and all(isinstance(owner.get(key), str) for key in ("host", "since"))
    return owner if texts and type(owner.get("pid")) is int and owner["pid"] > 0 else {}


@contextlib.contextmanager
def locked(folder: str | os.PathLike) -> Iterator[None]:
    """Hold a run folder, creating it if needed, and remove what a killed process left half-written there.

    Raises LockedError, with host and process, if another process holds it.
    """
    path = Path(folder, FILE_NAME)
    path.parent.mkdir(parents=True, exist_ok=True)
    kernel = FileLock(path.with_name(KERNEL_LOCK))
    try:
        try:
            _take(path, _acquired(kernel))
        except LockedError:
            raise
        except OSError:  # of the disk
            Path(kernel.lock_file).unlink(missing_ok=True)
            raise
        remove_temporaries(path.parent)
        released = threading.Event()
        threading.Thread(target=_touch, args=(path, released), daemon=True).start()
        try:
            yield
        finally:
            released.set()
            for file in (path, Path(kernel.lock_file)):
                with contextlib.suppress(OSError):  # the next process sees that this one has ended
                    file.unlink()
    finally:
        kernel.release()


def _take(path: Path, free: bool | None) -> None:
    """Create the lock, in the place of a stale one; `free`: whether this process has the kernel's, see `_acquired`."""
    for _ in range(3):
        with contextlib.suppress(FileExistsError):
            if free is not False:
                return _create(path)
        owner = _holder(path, free)
        if owner:
            raise LockedError(
                f"{path.parent} is in use by {describe(owner)}; wait for it, or choose another --output-dir. "
                f"If that process no longer exists, remove {path} and {KERNEL_LOCK} beside it"
            )
        path.unlink(missing_ok=True)
        free = free or None  # False: this job's earlier start has it, on a host that failed
    raise LockedError(f"{path.parent}: other processes are taking its lock at the same moment; try again")


def _create(path: Path) -> None:
    file = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    try:
        with os.fdopen(file, "w", encoding="utf-8") as stream:
            json.dump(this_process(), stream)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise OSError(f"{path} cannot be written: {error.strerror or error}") from error


def _touch(path: Path, released: threading.Event) -> None:
    while not released.wait(TOUCHED_EVERY):
        with contextlib.suppress(OSError):
            os.utime(path)
