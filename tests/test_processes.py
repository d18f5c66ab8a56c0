"""Runs side by side in processes of their own, with shell commands in the place of train.py."""

import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from experiments.sweeps import read_sweep, task_folders

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

import processes


class Shell:
    """A run's process, of a shell command."""

    def __init__(self, command, log):
        self.sentinel, other_end = os.pipe()  # which ends with the process
        with open(log, "w") as file:
            streams = {"stdin": subprocess.DEVNULL, "stdout": file, "stderr": file, "pass_fds": [other_end]}
            self.process = subprocess.Popen(["sh", "-c", command], **streams)
        os.close(other_end)

    exitcode = property(lambda self: self.process.returncode)

    def join(self, timeout=None):
        self.process.wait(timeout)

    def terminate(self):
        self.process.terminate()

    def is_alive(self):
        return self.process.poll() is None


class Command:
    def __init__(self, folder, name, command):
        self.file, self.name = folder / name, name
        self.arguments = [command.format(done=self.file)]

    done = property(lambda self: self.file.exists())

    def __str__(self):
        return self.name


def run(commands, folder, jobs=2, gpus=(), finished=lambda step: None):
    steps = [Command(folder, f"step{i}", command) for i, command in enumerate(commands)]
    used = []

    def start(arguments, log, gpu):
        used.append(gpu)
        return Shell(arguments[0], log)

    return processes.run_steps(steps, jobs, gpus, start, finished), used


def test_a_failing_run_is_shown_and_the_others_go_on(tmp_path, capsys):
    finished = []
    commands = ["touch {done}", "seq 50; exit 3", "true", "touch {done}"]
    failed, _ = run(commands, tmp_path, finished=lambda step: finished.append(step.name))
    assert sorted(finished) == ["step0", "step3"]
    error = capsys.readouterr().err
    assert "step1: exit status 3" in error and "\n31\n" in error and "\n30\n" not in error
    assert sorted(line.split(";")[0] for line in failed) == ["step1: exit status 3", "step2: it left no results"]
    log = Path(failed[0].splitlines()[0].split("all of its output: ")[1])
    assert log.is_file() and {path.name for path in log.parent.iterdir()} == {"2.txt", "3.txt"}


def test_runs_side_by_side_have_different_gpus_and_are_as_many_as_asked_for(tmp_path):
    (tmp_path / "n").mkdir()
    command = f"ls {tmp_path}/n | wc -l >> {tmp_path}/count; touch {tmp_path}/n/$$; sleep 0.2; rm {tmp_path}/n/$$; "
    failed, used = run([command + "touch {done}"] * 5, tmp_path, jobs=2, gpus=["4", "7"])
    assert not failed and used[:2] == ["4", "7"] and set(used) == {"4", "7"}
    assert max(map(int, (tmp_path / "count").read_text().split())) <= 1


def test_a_call_in_another_process_returns_its_value_or_raises_its_error(tmp_path):
    context = multiprocessing.get_context("fork")
    assert processes.call(context, task_folders, ["A b"]) == {"A b": "a-b"}
    with pytest.raises(FileNotFoundError, match="no sweep"):
        processes.call(context, read_sweep, tmp_path / "none.yaml")
    with pytest.raises(OSError, match="_exit: its process ended without an answer"):
        processes.call(context, os._exit, 3)


def test_an_interruption_ends_the_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def interrupted(step):
        raise KeyboardInterrupt

    start = time.time()
    with pytest.raises(KeyboardInterrupt):
        run(["exec sleep 30", "touch {done}", "touch {done}"], tmp_path, finished=interrupted)
    assert time.time() - start < 10 and not (tmp_path / "step2").exists()
    assert not list(tmp_path.rglob("*.txt")), "the logs of runs that were stopped are of no use"
