"""Faults of several processes: a killed rank, two runs in one folder, and a killed sweep."""

import functools
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import toy
import yaml
from faults.runs import assert_same, errors_in, outcome, start_pair
from records import prompts, without_costs
from waiting import wait_for
from warm_python import python

from softcpt.evaluation.predictions import PREDICTIONS_FILE
from softcpt.files import RUN_FILES, holder

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def undisturbed_pair(processes, arguments, tmp_path_factory):
    """A function of a method: the outcome of its run in two processes."""

    @functools.cache
    def run(method):
        folder = tmp_path_factory.mktemp(method)
        assert [process.wait().status for process in start_pair(processes, folder, arguments(method))] == [0, 0]
        return outcome(folder / "out/run")

    return run


@pytest.mark.parametrize("method", ["SoftCPT", "CLIPLoRA"])  # the second draws dropout in each process
def test_killed_rank_ends_the_pair_which_then_resumes(processes, arguments, undisturbed_pair, tmp_path, method):
    pair = start_pair(processes, tmp_path, arguments(method), at=8, action="SIGKILL")
    first, second = (process.wait(60) for process in pair)
    assert second.status == -signal.SIGKILL and first.status == 1
    (line,) = errors_in(first)
    assert "the connection to another process of this run is lost" in line
    pair = start_pair(processes, tmp_path, arguments(method))
    assert [process.wait().status for process in pair] == [0, 0]
    assert_same(outcome(tmp_path / "out/run"), undisturbed_pair(method))


def test_second_run_in_a_folder_is_refused(processes, arguments, undisturbed, tmp_path):
    first = processes.start(tmp_path, arguments("SoftCPT"), at=30, action=f"pause:{tmp_path}/go")
    wait_for((tmp_path / "go.waiting").exists)
    ended = processes.run(tmp_path, arguments("SoftCPT"))
    (line,) = ended.err.splitlines()
    assert ended.status == 2 and not ended.out
    assert f"out/run is in use by process {first.pid} on {socket.gethostname()}" in line
    (tmp_path / "go").touch()
    assert first.wait().status == 0 and outcome(tmp_path / "out/run") == undisturbed("SoftCPT")[0]


def test_only_one_of_two_simultaneous_runs_trains(processes, arguments, undisturbed, tmp_path):
    both = [processes.start(tmp_path, arguments("SoftCPT")) for _ in range(2)]
    ended = sorted((process.wait() for process in both), key=lambda one: one.status)
    assert [one.status for one in ended] == [0, 2] and "in use by process" in ended[1].err
    assert outcome(tmp_path / "out/run") == undisturbed("SoftCPT")[0]


def torchrun(folder, arguments, **fault):
    folder.mkdir(exist_ok=True)
    job = {"cwd": str(folder), "arguments": arguments, "threads": 1, "env": {}, "fault": fault, "rank": "1"}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    command += [str(Path(__file__).with_name("zygote.py")), json.dumps(job)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env=env)


@pytest.mark.slow
@pytest.mark.parametrize("step", [1, 8, 13])
def test_killed_rank_under_torchrun(arguments, undisturbed_pair, tmp_path, step):
    start = time.monotonic()
    ended = torchrun(tmp_path, arguments("SoftCPT"), at=step, action="SIGKILL")
    seconds = time.monotonic() - start
    assert ended.returncode != 0 and seconds < 60 and "Signal 9 (SIGKILL)" in ended.stderr
    print(f"killed at event {step} of rank 1: all have ended after {seconds:.0f} s, with the start")
    again = torchrun(tmp_path, arguments("SoftCPT"))
    assert again.returncode == 0, again.stderr
    assert_same(outcome(tmp_path / "out/run"), undisturbed_pair("SoftCPT"))


def group_of(leader):
    """The processes of a group that are alive."""
    pids = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, group = stat.read_text().rpartition(")")[2].split()[:3]
        except OSError:  # it has just ended
            continue
        pids += [int(stat.parent.name)] if int(group) == leader and state not in "ZX" else []
    return pids


@pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc")
@pytest.mark.parametrize("number", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_killed_sweep_leaves_no_process_and_resumes(processes, tmp_path, number):
    toy.draw_folders(tmp_path / "data")
    methods = [{"label": name, "trainer": name, "opts": {"OPTIM.MAX_EPOCH": 2}} for name in ("SoftCPT", "CoOp")]
    (tmp_path / "s.yaml").write_text(yaml.safe_dump({"methods": methods}))
    flags = "--benchmark folder --config tiny --data data --out out --shots 1 --seeds 1 --jobs 1".split()
    command = [sys.executable, str(ROOT / "scripts/sweep.py"), "s.yaml", *flags]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    with open(tmp_path / "said", "wb") as said:
        sweep = subprocess.Popen(command, cwd=tmp_path, env=env, stdout=said, stderr=said, start_new_session=True)
    wait_for(lambda: list((tmp_path / "out").rglob("running.json")))
    (lock,) = (tmp_path / "out").rglob("running.json")
    sweep.send_signal(number)
    sweep.wait(30)
    wait_for(lambda: not group_of(sweep.pid), 20)
    assert holder(lock.parent) is None and not (lock.parent / "results.json").exists()
    again = subprocess.run([python(), *command[1:]], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120)
    assert again.returncode == 0, again.stderr
    assert "| SoftCPT" in again.stdout and "| CoOp" in again.stdout
    (folder,) = tmp_path.glob("out/folder-data-*/SoftCPT/tiny_1shots/OPTIM.MAX_EPOCH-2/seed1")
    names = {path.name for path in folder.iterdir() if not path.name.startswith("log.txt")}  # one log per start
    assert names <= {*RUN_FILES, "results.json"}
    # The same command in another folder gives an undisturbed run.
    call = shlex.split(json.loads((folder / "results.json").read_text())["command"])[2:]
    call[call.index("--output-dir") + 1] = str(tmp_path / "here")
    assert processes.run(ROOT, call).status == 0
    assert without_costs(folder / "results.json") == without_costs(tmp_path / "here/results.json")
    assert (folder / PREDICTIONS_FILE).read_bytes() == (tmp_path / "here" / PREDICTIONS_FILE).read_bytes()
    there, here = prompts(folder), prompts(tmp_path / "here")
    assert there.keys() == here.keys() and all(torch.equal(value, here[key]) for key, value in there.items())
