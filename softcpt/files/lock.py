"""The lock of a run folder: one process at a time trains or evaluates there.

`running.json` names the process's host, its boot and namespace of process ids, the id and the start. It is created
exclusively (O_EXCL, which also works on network file systems) and touched every minute. So the lock of a killed process
is recognised:

- among the processes that this one sees, because the process no longer exists (its start time tells it from a later
  one with the same id);
- on another host, or in another container, whose processes are not seen from here, because the lock has not been
  touched for some time, or not since this host was started;
- by a SLURM job that was put back in the queue, because the lock holds the job's own id.
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

from .atomic import temporary_of
from .run_folder import remove_temporaries
from .texts import plain

FILE_NAME = "running.json"
TOUCHED_EVERY = 60  # seconds
STALE_AFTER = 10 * TOUCHED_EVERY  # for a lock of another host, whose clock may differ a little
UNWRITTEN_FOR = 10  # seconds after which a lock without content is stale: its process was killed before it wrote


class LockedError(OSError):
    """Another process holds the run folder."""


def describe(owner: Mapping) -> str:
    """The holder of a run folder, in words."""
    job = f", SLURM job {owner['job']}" if owner.get("job") else ""
    return plain(f"process {owner['pid']} on {owner['host']}{job}, since {owner['since']}")


def this_process() -> dict[str, object]:
    """The content of this process's lock."""
    return {
        "host": socket.gethostname(),
        "boot": boot_id(),
        "namespace": pid_namespace(),
        "pid": os.getpid(),
        "start": start_time(os.getpid()),
        "job": slurm_job(),
        "since": time.strftime("%Y-%m-%d %H:%M:%S"),
    }


def boot_id() -> str:
    """The start of this host, as the kernel names it; "" if it does not."""
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    return ""


def pid_namespace() -> str:
    """The namespace in which this process's id counts, which containers have of their own; "" if it is not known."""
    with contextlib.suppress(OSError):
        return os.readlink("/proc/self/ns/pid")
    return ""


def slurm_job() -> str:
    """The SLURM job of this process: "12", "12_3" in an array, "" outside of SLURM. A restart keeps it."""
    array, task = (os.environ.get(f"SLURM_ARRAY_{name}_ID") for name in ("JOB", "TASK"))
    return f"{array}_{task}" if array and task else os.environ.get("SLURM_JOB_ID", "")


def start_time(pid: int) -> str:
    """The start of a process on this host, in ticks since boot; "" if it is not known, "ended" for a process that has
    ended and waits for its parent."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    state, *fields = text.rpartition(")")[2].split()  # the name before it may hold anything
    return "ended" if state in "ZX" else fields[18]


def holder(folder: str | os.PathLike) -> dict | None:
    """The process that holds a run folder and is, or may be, alive; None if there is none."""
    path = Path(folder, FILE_NAME)
    try:
        age, owner = _age(path), _read(path)
    except FileNotFoundError:
        return None
    if not owner:
        return {"host": "?", "pid": "?", "since": "just now"} if age < UNWRITTEN_FOR else None
    return owner if _held(owner, age) else None


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


def _held(owner: Mapping, age: float) -> bool:
    """Whether the process of a lock that was touched `age` seconds ago is alive, or may be."""
    if owner["host"] != socket.gethostname():
        return age < STALE_AFTER and not _same_job(owner)
    if owner.get("boot") and owner["boot"] != boot_id():  # before this host was restarted, or on another of its name
        return age < min(STALE_AFTER, _uptime())
    if owner.get("namespace") and owner["namespace"] != pid_namespace():
        return age < STALE_AFTER and not _same_job(owner)
    return _alive(owner)


def _uptime() -> float:
    """Seconds since this host was started; without end if it is not known."""
    with contextlib.suppress(OSError, ValueError):
        return float(Path("/proc/uptime").read_text(encoding="utf-8").split()[0])
    return float("inf")


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


def _same_job(owner: Mapping) -> bool:
    """Whether the lock comes from an earlier start of this process's SLURM job."""
    return bool(owner.get("job")) and owner["job"] == slurm_job()


def _alive(owner: Mapping) -> bool:
    try:
        os.kill(int(owner["pid"]), 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass  # another user's
    start = start_time(int(owner["pid"]))
    return start != "ended" and (not owner.get("start") or owner["start"] == start)


@contextlib.contextmanager
def locked(folder: str | os.PathLike) -> Iterator[None]:
    """Hold a run folder, creating it if needed, and remove what a killed process left half-written there.

    Raises LockedError, with host and process, if another process holds it.
    """
    path = Path(folder, FILE_NAME)
    path.parent.mkdir(parents=True, exist_ok=True)
    _take(path)
    remove_temporaries(path.parent)
    _remove_asides(path)
    released = threading.Event()
    threading.Thread(target=_touch, args=(path, released), daemon=True).start()
    try:
        yield
    finally:
        released.set()
        with contextlib.suppress(OSError):  # the next process sees that this one has ended
            path.unlink()


def _take(path: Path) -> None:
    for _ in range(3):
        with contextlib.suppress(FileExistsError):
            file = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
            try:
                with os.fdopen(file, "w", encoding="utf-8") as stream:
                    json.dump(this_process(), stream)
            except OSError as error:
                path.unlink(missing_ok=True)
                raise OSError(f"{path} cannot be written: {error.strerror or error}") from error
            return
        owner = holder(path.parent)
        if owner:
            raise LockedError(
                f"{path.parent} is in use by {describe(owner)}; wait for it, or choose another --output-dir. "
                f"If that process no longer exists, remove {path}{_unseen(owner)}"
            )
        _remove_stale(path)
    raise LockedError(f"{path.parent}: other processes are taking its lock at the same moment; try again")


def _unseen(owner: Mapping) -> str:
    """Why a process on this host cannot be looked up, and what happens then."""
    other = owner.get("host") == socket.gethostname() and owner.get("namespace", "") not in ("", pid_namespace())
    after = (
        f"; it is of another container, so it counts as ended {STALE_AFTER // 60} minutes after its last sign of life"
    )
    return after if other else ""


def _remove_stale(path: Path) -> None:
    """Remove a stale lock, but not a new one that another process may have put in its place meanwhile."""
    aside = path.with_name(f"{path.name}.{socket.gethostname()}.{os.getpid()}")
    with contextlib.suppress(FileNotFoundError):
        os.rename(path, aside)  # of several processes one succeeds
        content, age = _read(aside), _age(aside)
        if _held(content, age) if content else age < UNWRITTEN_FOR:
            with contextlib.suppress(FileExistsError):
                os.link(aside, path)
        aside.unlink()


def _remove_asides(path: Path) -> None:
    """Remove the stale locks that killed processes of this host moved aside."""
    start = f"{path.name}.{socket.gethostname()}."
    for aside in path.parent.glob(f"{path.name}.*"):
        pid = aside.name.removeprefix(start)
        if pid.isdigit() and not _alive({"pid": pid}):
            aside.unlink(missing_ok=True)


def _touch(path: Path, released: threading.Event) -> None:
    while not released.wait(TOUCHED_EVERY):
        with contextlib.suppress(OSError):
            os.utime(path)
