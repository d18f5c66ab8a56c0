"""Runs as SLURM jobs: submitit's local executor everywhere, a real SLURM of one node where it can be started."""

import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from calls import Counted, double, fail, job_id
from cluster import Cluster, reason_to_skip
from PIL import Image
from waiting import wait_for
from warm_python import python

import train
from scripts.lib.train_run import ROOT
from softcpt.executors import SlurmExecutor
from softcpt.executors.slurm import Queue
from softcpt.sweeps import plan, read_sweep
from softcpt.sweeps.jobs import benchmark_folder

HERE = Path(__file__).resolve().parent
pytest.importorskip("submitit")
pytestmark = pytest.mark.waits


@pytest.fixture(autouse=True)
def jobs_find_the_calls(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HERE), str(ROOT)]))
    for name in [name for name in os.environ if name.startswith("SLURM_")]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="module")
def running_cluster(tmp_path_factory):
    reason = reason_to_skip()
    if reason:
        pytest.skip(reason)
    try:
        cluster = Cluster(tmp_path_factory.mktemp("slurm")).__enter__()
    except RuntimeError as error:
        pytest.skip(str(error))
    yield cluster
    cluster.__exit__()


@pytest.fixture
def cluster(running_cluster, monkeypatch):
    monkeypatch.setenv("SLURM_CONF", running_cluster.env["SLURM_CONF"])
    monkeypatch.setattr(sys, "executable", python())  # of the jobs
    return running_cluster


def preempt(folder, send):
    """Interrupt a Counted call once it has started."""
    wait_for(lambda: (folder / "start0").exists() and (folder / "start0").read_text())
    time.sleep(0.5)  # submitit's handler is there before; this is for the call to sleep
    send(int((folder / "start0").read_text()))


# -- submitit without SLURM ------------------------------------------------------------------------------------------


def test_local_jobs_behave_like_futures(tmp_path):
    executor = SlurmExecutor(tmp_path / "jobs", {}, cluster="local")
    futures = executor.submit_all([partial(double, number) for number in (3, 4)])
    assert {future: future.result() for future in executor.as_completed(futures)} == dict(zip(futures, (6, 8)))
    (failing,) = executor.submit_all([fail])
    with pytest.raises(Exception, match="not today"):
        failing.result()
    assert SlurmExecutor(tmp_path / "jobs", {}, cluster="local").attach(futures[0].job_id).result() == 6


def test_preempted_local_job_restarts(tmp_path):
    (future,) = SlurmExecutor(tmp_path / "jobs", {}, cluster="local").submit_all([Counted(tmp_path)])
    preempt(tmp_path, lambda pid: os.kill(pid, signal.SIGUSR2))
    assert future.result() == 2


def test_missing_submitit_or_slurm_is_an_error(tmp_path, monkeypatch, without_package):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(OSError, match="no srun on the path"):
        SlurmExecutor(tmp_path, {})
    without_package("submitit")
    with pytest.raises(ImportError, match="requirements-slurm.txt"):
        SlurmExecutor(tmp_path, {})


# -- a real SLURM ----------------------------------------------------------------------------------------------------


def test_calls_are_a_job_array(cluster, tmp_path):
    executor = SlurmExecutor(tmp_path / "jobs", {"time": 5, "partition": "test", "comment": "ours"})
    futures = executor.submit_all([job_id, job_id, job_id, fail])
    assert len({future.job_id.split("_")[0] for future in futures}) == 1
    assert set(executor.as_completed(futures)) == set(futures)
    assert [future.result()[1] for future in futures[:3]] == ["0", "1", "2"]
    with pytest.raises(Exception, match="not today"):
        futures[3].result()


def test_lost_or_refused_job_is_an_error(cluster, tmp_path, monkeypatch):
    monkeypatch.setattr("softcpt.executors.slurm.QUEUE_POLL", 1)
    (future,) = SlurmExecutor(tmp_path / "jobs", {"time": 5}).submit_all([partial(time.sleep, 60)])
    future._results_timeout_s = 1
    wait_for(lambda: "RUNNING" in cluster.call("squeue", "--noheader", "--format=%T", "--jobs", future.job_id))
    cluster.call("scancel", "--signal=KILL", "--full", future.job_id)
    with pytest.raises(Exception, match=f"Job {future.job_id} .*\nhas not produced any output"):
        future.result()
    with pytest.raises(OSError, match="sbatch refused the jobs: .*partition"):
        SlurmExecutor(tmp_path / "jobs", {"partition": "none"}).submit_all([job_id])


def test_job_of_a_slurm_that_does_not_answer_is_waited_for(monkeypatch):
    monkeypatch.setattr("softcpt.executors.slurm.job_states", lambda: None)
    assert not Queue().is_done("12_0") and Queue().get_state("12_0") == "UNKNOWN"
    monkeypatch.setattr("softcpt.executors.slurm.job_states", lambda: {"12_0": "PENDING"})
    queue = Queue()
    assert not queue.is_done("12_0") and queue.is_done("12_1")


@pytest.mark.slow  # the sweep below is pre-empted, too
@pytest.mark.parametrize("by", ["signal", "requeue"])
def test_preempted_job_is_requeued(cluster, tmp_path, by):
    (future,) = SlurmExecutor(tmp_path / "jobs", {"time": 5}).submit_all([Counted(tmp_path)])
    command = {"signal": ["scancel", "--signal=USR2"], "requeue": ["scontrol", "requeue"]}[by]
    preempt(tmp_path, lambda pid: cluster.call(*command, future.job_id))
    assert future.result() == 2


def draw(root):
    rng = np.random.default_rng(0)
    for task in ("warm things", "cold things"):
        for name in ("one", "two"):
            folder = root / task / name
            folder.mkdir(parents=True)
            for i in range(6):
                Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(folder / f"{i}.png")


def results(folder):
    record = json.loads((folder / "results.json").read_text())
    return {key: record[key] for key in ("tasks", "epochs", "steps", "n_params")}


def learned(folder):
    (path,) = (folder / "prompt_learner").glob("model.pth.tar-*")
    return torch.load(path, weights_only=True)["state_dict"]


def test_preempted_sweep_ends_like_an_undisturbed_one(cluster, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    draw(tmp_path / "data")
    long = {"OPTIM.MAX_EPOCH": 60, "TRAIN.CHECKPOINT_FREQ": 1}
    methods = [{"label": "rows", "trainer": "TaskRes", "opts": long}]
    (tmp_path / "s.yaml").write_text(yaml.safe_dump({"methods": methods, "benchmarks": ["folder"], "shots": [1]}))
    command = [sys.executable, str(ROOT / "scripts/sweep.py"), "s.yaml", *"--config tiny --data data --seeds 1".split()]
    start = {"cwd": tmp_path, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    slurm = [*command, "--out", "slurm", *"--on slurm --time 10 --partition test".split()]
    sweep = subprocess.Popen(slurm, **start)
    place = benchmark_folder("folder", str(tmp_path / "data"))
    runs = f"{place}/TaskRes/tiny_1shots/OPTIM.MAX_EPOCH-60_TRAIN.CHECKPOINT_FREQ-1/seed1"
    try:
        wait_for(lambda: (tmp_path / "slurm" / runs / "prompt_learner/checkpoint").exists(), 120)
        job = (tmp_path / "slurm" / runs).with_name("seed1.job").read_text()
        sweep.send_signal(signal.SIGTERM)
        cluster.call("scancel", "--signal=USR2", job)
        assert sweep.wait(60) == 130 and "scancel" in sweep.stderr.read()
        status = subprocess.run([*command, "--out", "slurm", "--status"], cwd=tmp_path, capture_output=True, text=True)
        assert f"SLURM job {job}" in status.stdout, status.stdout + status.stderr
        again = subprocess.run(slurm, cwd=tmp_path, capture_output=True, text=True, timeout=150)
    finally:
        sweep.kill()
    assert again.returncode == 0, again.stderr
    logs = "\n".join(path.read_text() for path in (tmp_path / "slurm" / place / "s/slurm").glob("*.err"))
    assert "DUE TO JOB REQUEUE" in logs
    assert not list((tmp_path / "slurm").rglob("*.job")) and not list((tmp_path / "slurm").rglob("seed1.log"))
    assert (tmp_path / "slurm" / place / "s/report.md").is_file()
    (job,) = plan(read_sweep(tmp_path / "s.yaml"), "folder", [1], [1], "tiny", data=str(tmp_path / "data"))
    monkeypatch.chdir(ROOT)
    assert train.main(job.arguments(str(tmp_path / "data"), str(tmp_path / "here"))) == 0
    undisturbed, preempted = (tmp_path / name / runs for name in ("here", "slurm"))
    assert results(preempted) == results(undisturbed)
    own, other = (learned(folder) for folder in (preempted, undisturbed))
    assert own.keys() == other.keys() and all(torch.equal(own[key], other[key]) for key in own)
