"""The lock of a run folder: who holds it, who is refused, and when it is stale."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time

import pytest
import torch
import toy
from dassl.utils import save_checkpoint
from locks import OTHER, age, ended_process, kernel_lock, write

import train
from softcpt.backbones.weights import write_safetensors
from softcpt.files import lock, write_atomically
from softcpt.files.atomic import TEMPORARY


def test_folder_is_locked_within_the_block(tmp_path):
    with lock.locked(tmp_path / "run"):
        owner = lock.holder(tmp_path / "run")
        assert (owner["host"], owner["pid"]) == (socket.gethostname(), os.getpid())
    assert lock.holder(tmp_path / "run") is None and not list((tmp_path / "run").iterdir())
    with pytest.raises(KeyboardInterrupt), lock.locked(tmp_path / "run"):
        raise KeyboardInterrupt
    assert not list((tmp_path / "run").iterdir())


def test_lock_removes_leftovers_of_killed_processes(tmp_path):
    (tmp_path / "prompt_learner").mkdir()
    ended = ended_process()
    left = [f".results.json.{ended}.softcpt-tmp", f"prompt_learner/.model.pth.tar-3.{ended}.softcpt-tmp"]
    kept = ["results.json", "prompt_learner/model.pth.tar-2", f".results.json.{os.getppid()}.softcpt-tmp"]
    kept += [
        f".results.json.{'9' * 30}.softcpt-tmp.bak",
        ".softcpt-tmp",
        f"prompt_learner/deeper/.a.{ended}.softcpt-tmp",
    ]
    (tmp_path / "prompt_learner/deeper").mkdir()
    for name in (*left, *kept):
        (tmp_path / name).touch()
    with lock.locked(tmp_path):
        assert not any((tmp_path / name).exists() for name in left)
        assert all((tmp_path / name).exists() for name in kept)


@pytest.mark.parametrize("pid", [None, "x", "12", 0, -1, 1.5, True, [], 10**30])
def test_lock_with_an_impossible_process_is_stale(tmp_path, pid):
    write(tmp_path, pid=pid)
    age(tmp_path, 60)
    assert lock.holder(tmp_path) is None
    with lock.locked(tmp_path):
        assert lock.holder(tmp_path)["pid"] == os.getpid()


def test_files_of_others_stay_when_a_run_is_refused(toy_root, tmp_path, capsys):
    """A folder with people's own files, given as --output-dir."""
    (tmp_path / "prompt_learner").mkdir()
    own = ["thesis.tmp", ".draft.tmp-2", "results.json.12.tmp", "prompt_learner/x.tmp", "prompt_learner/.y.tmp-1"]
    for name in own:
        (tmp_path / name).write_text("mine")
    assert train.main(toy.arguments(toy_root, tmp_path, "CoOp", "OPTIM.LR", "0.1", "MODEL.BACKBONE.NAME", "no.pt")) == 1
    assert train.main(toy.arguments(toy_root, tmp_path, "ZeroshotCLIP")) == 0
    assert {name: (tmp_path / name).read_text() for name in own} == dict.fromkeys(own, "mine")


def test_every_temporary_file_has_a_name_that_is_recognised(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr("os.replace", lambda source, target: seen.append(os.path.basename(source)))
    write_atomically(tmp_path / "a.json", "x")
    write_safetensors(tmp_path / "b.safetensors", {"w": torch.zeros(1)}, {})
    save_checkpoint({"state_dict": {}, "epoch": 1}, str(tmp_path))
    assert len(seen) == 4 and all(TEMPORARY.fullmatch(name)[1] == str(os.getpid()) for name in seen)


def test_second_process_is_refused(tmp_path):
    with lock.locked(tmp_path):
        with pytest.raises(lock.LockedError, match=f"in use by process {os.getpid()} on {socket.gethostname()}"):
            with lock.locked(tmp_path):
                pass
        assert lock.holder(tmp_path), "the refused process must not remove the lock"


def test_one_of_many_processes_gets_the_lock(tmp_path):
    code = (
        "import sys, time; from softcpt.files import locked\n"
        "try:\n    with locked(sys.argv[1]): print('held'); time.sleep(2)\n"
        "except OSError: print('refused')"
    )
    write(tmp_path, pid=ended_process())
    command = [sys.executable, "-c", code, str(tmp_path)]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=train.PROJECT_ROOT) for _ in range(6)]
    assert sorted(process.communicate(timeout=60)[0].strip() for process in started) == ["held"] + 5 * ["refused"]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "changes, seconds, taken, held",
    [
        ({}, 0, True, True),
        ({}, 10**6, True, True),  # on this machine the kernel decides, not the time
        ({}, 0, False, False),  # of an ended process
        ({"pid": 10**30}, 10**6, True, True),  # in another container, whose processes are not seen from here
        ({"boot": ""}, 10**6, True, True),  # on a system whose kernel does not name its start
        ({"boot": ""}, 0, False, False),
        (OTHER, lock.STALE_AFTER - 60, False, True),
        (OTHER, lock.STALE_AFTER + 60, False, False),
        (OTHER, lock.STALE_AFTER + 60, True, True),  # on a file system that passes locks on to other hosts
        ({**OTHER, "job": "7"}, 0, False, True),
        ({"boot": "another"}, 0, False, True),  # on another host of this name
        ({"boot": "another"}, 10**9, False, False),
    ],
)
def test_lock_of_an_ended_process_is_stale(tmp_path, changes, seconds, taken, held, monkeypatch):
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    write(tmp_path, **changes)
    age(tmp_path, seconds)
    with kernel_lock(tmp_path) if taken else contextlib.nullcontext():
        assert bool(lock.holder(tmp_path)) == held
    if not taken and not held:
        with lock.locked(tmp_path):
            assert lock.holder(tmp_path)["pid"] == os.getpid()
        assert not list(tmp_path.iterdir())


def test_lock_from_before_this_host_was_started_is_stale(tmp_path, monkeypatch):
    write(tmp_path, boot="another")
    age(tmp_path, 60)
    assert lock.holder(tmp_path)
    monkeypatch.setattr(time, "clock_gettime", lambda clock: 30)
    assert lock.holder(tmp_path) is None


def test_requeued_slurm_job_takes_its_own_lock(tmp_path, monkeypatch):
    write(tmp_path, **OTHER, job="7")
    monkeypatch.setenv("SLURM_JOB_ID", "8")
    with pytest.raises(lock.LockedError, match="on elsewhere, SLURM job 7, since"):
        with lock.locked(tmp_path):
            pass
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    with lock.locked(tmp_path):
        assert lock.holder(tmp_path)["job"] == "7"
        monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "5")
        monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "2")
        assert lock.slurm_job() == "5_2"


def test_requeued_slurm_job_does_not_wait_for_the_server_of_a_failed_host(tmp_path, monkeypatch):
    """Which lets go of the kernel's lock some time after the host has failed."""
    write(tmp_path, **OTHER, job="7")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    with kernel_lock(tmp_path), lock.locked(tmp_path):
        assert lock.this_process().items() >= {"pid": os.getpid(), "job": "7"}.items()


def test_process_of_another_container_is_refused_with_the_way_out(tmp_path):
    """Its id means nothing here."""
    write(tmp_path, pid=ended_process())
    with kernel_lock(tmp_path):
        with pytest.raises(lock.LockedError, match="remove .*running.json and running.lock beside it"):
            with lock.locked(tmp_path):
                pass
        assert lock.holder(tmp_path)


ODD = [None, "x", 1.5, True, -1, 0, [], {}]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": 1}', "[" * 99_999, "\0", *map(json.dumps, ODD)])
def test_lock_without_content_holds_briefly(tmp_path, content):
    (tmp_path / lock.FILE_NAME).write_text(content)
    if content in map(json.dumps, ODD):
        write(tmp_path, pid=json.loads(content))
    assert lock.holder(tmp_path)
    with pytest.raises(lock.LockedError, match="in use by process ?"), lock.locked(tmp_path):
        pass
    age(tmp_path, lock.UNWRITTEN_FOR + 1)
    assert lock.holder(tmp_path) is None
    with lock.locked(tmp_path):
        pass


def test_held_lock_is_touched(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "TOUCHED_EVERY", 0.05)
    with lock.locked(tmp_path):
        age(tmp_path, 1000)
        time.sleep(0.5)
        assert time.time() - (tmp_path / lock.FILE_NAME).stat().st_mtime < 100


def test_train_refuses_a_locked_folder(toy_root, tmp_path, capsys):
    arguments = toy.arguments(toy_root, tmp_path / "run", "ZeroshotCLIP")
    with lock.locked(tmp_path / "run"):
        assert train.main(arguments) == 2
        assert {path.name for path in (tmp_path / "run").iterdir()} == {lock.FILE_NAME, lock.KERNEL_LOCK}
    assert f"in use by process {os.getpid()} on {socket.gethostname()}" in capsys.readouterr().err
    assert train.main(arguments) == 0
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert "results.json" in names and not {lock.FILE_NAME, lock.KERNEL_LOCK} & names


@pytest.mark.parametrize("ahead", [-7200, 7200])
def test_lock_is_as_old_as_its_file_system_says(ahead, tmp_path, monkeypatch):
    """The clock of this host is wrong, but not that of the server that keeps the files."""
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + ahead)
    write(tmp_path, **OTHER)
    os.utime(tmp_path / lock.FILE_NAME)
    assert lock.holder(tmp_path), "touched just now"
    os.utime(tmp_path / lock.FILE_NAME, (now() - 1200, now() - 1200))
    assert lock.holder(tmp_path) is None, "20 minutes without a sign of life"
    assert [path.name for path in tmp_path.iterdir()] == [lock.FILE_NAME]


def test_lock_from_the_future_is_no_sign_of_life(tmp_path):
    write(tmp_path, **OTHER)
    age(tmp_path, -3 * 3600)
    assert lock.holder(tmp_path) is None
    with lock.locked(tmp_path):
        pass


def test_age_is_known_where_nothing_can_be_written(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError

    monkeypatch.setattr("pathlib.Path.touch", refuse)
    write(tmp_path, **OTHER)
    assert lock.holder(tmp_path)
    age(tmp_path, 1200)
    assert lock.holder(tmp_path) is None


def test_pipe_in_the_place_of_a_lock_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / lock.FILE_NAME)
    age(tmp_path, 60)
    with lock.locked(tmp_path):
        assert lock.holder(tmp_path)["pid"] == os.getpid()
    assert not list(tmp_path.iterdir())


def test_lock_that_cannot_be_removed_ends_no_run_in_an_error(tmp_path, monkeypatch):
    with lock.locked(tmp_path):
        monkeypatch.setattr("pathlib.Path.unlink", lambda *_, **__: (_ for _ in ()).throw(OSError("read-only")))


def test_holder_is_named_without_control_characters(tmp_path, capsys):
    write(tmp_path, **OTHER, since="\x1b[31mnow")
    arguments = toy.arguments(tmp_path, tmp_path, "CoOp")
    assert train.main(arguments) == 2
    error = capsys.readouterr().err
    assert "is in use by" in error and r"since \x1b[31mnow" in error and "\x1b" not in error
