"""Calls in their own processes: values, failures, devices, termination, and what a failed run leaves."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import CancelledError, as_completed

import pytest
import sweep
from local_calls import CONTEXT, kill_itself, no_gpu, process_id, sleep, two_gpus, work
from waiting import wait_for

from scripts.lib.train_run import BUSY, ROOT, TrainRun
from softcpt.executors import LocalExecutor, ProcessEndedError
from softcpt.files import locked
from softcpt.sweeps import read_sweep, task_folders
from softcpt.sweeps.failures import FAILURE, failure_of, log_of, note_failure


@pytest.fixture
def executor():
    with LocalExecutor(2, ["4", "7"], CONTEXT) as executor:
        yield executor


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_call_returns_its_value_or_raises(executor, tmp_path):
    assert executor.submit(task_folders, ["A b"]).result() == {"A b": "a-b"}
    with pytest.raises(FileNotFoundError, match="no config file"):
        executor.submit(read_sweep, tmp_path / "none.yaml").result()
    with pytest.raises(RuntimeError, match="lambda|pickle"):
        executor.submit(eval, "lambda: 0").result()


def test_dead_process_fails_only_its_own_call(executor):
    futures = [executor.submit(*call) for call in ((kill_itself,), (os._exit, 3), (process_id,), (process_id,))]
    assert len(list(as_completed(futures, timeout=60))) == 4
    with pytest.raises(ProcessEndedError, match="kill_itself: its process ended without an answer, killed by signal 9"):
        futures[0].result()
    with pytest.raises(ProcessEndedError, match="exit status 3"):
        futures[1].result()
    assert futures[2].result() != futures[3].result()


def test_parallel_calls_use_different_devices(executor, tmp_path):
    found = [future.result() for future in [executor.submit(work, tmp_path) for _ in range(5)]]
    assert {device for device, *_ in found} == {"4", "7"}
    assert {share for _, share, _ in found} == {"2"}
    assert max(beside for *_, beside in found) <= 1


@pytest.mark.parametrize("flags, at_a_time", [([], 2), (["--per-gpu", "3"], 6), (["--jobs", "5"], 5)])
def test_runs_at_a_time_share_the_gpus_evenly(flags, at_a_time, monkeypatch):
    monkeypatch.setattr(sweep, "device_names", two_gpus)
    args = sweep.parse_args(["configs/sweeps/demo.yaml", "--benchmark", "demo", *flags])
    with sweep.executor_of(args, 16, CONTEXT) as executor:
        devices = [executor._devices.get() for _ in range(executor._devices.qsize())]
    assert devices == (["4", "7"] * 3)[:at_a_time]


def test_runs_per_gpu_need_a_gpu_here(monkeypatch, capsys):
    monkeypatch.setattr(sweep, "device_names", no_gpu)
    own = ["configs/sweeps/demo.yaml", "--benchmark", "demo", "--per-gpu"]
    with pytest.raises(ValueError, match="--per-gpu is 2, but there is no GPU; --jobs is the number"):
        sweep.executor_of(sweep.parse_args([*own, "2"]), 16, CONTEXT)
    for flags, message in ((["0"], "must be at least 1"), (["2", "--on", "slurm"], "is for --on local")):
        with pytest.raises(SystemExit):
            sweep.parse_args([*own, *flags])
        assert message in capsys.readouterr().err


def test_terminate_ends_running_calls_and_starts_no_more(tmp_path):
    executor = LocalExecutor(1, [], CONTEXT)
    first, second = executor.submit(sleep, tmp_path / "1"), executor.submit(sleep, tmp_path / "2")
    wait_for(lambda: (tmp_path / "1").exists() and (tmp_path / "1").read_text())
    start = time.time()
    executor.terminate_workers()
    with pytest.raises(ProcessEndedError, match="signal 15"):
        first.result()
    with pytest.raises(CancelledError):
        second.result()
    assert time.time() - start < 10 and not alive(int((tmp_path / "1").read_text()))
    assert not (tmp_path / "2").exists()
    with pytest.raises(RuntimeError):
        executor.submit(process_id)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_processes_end_with_their_parent(tmp_path, number):
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from softcpt.executors import LocalExecutor\nfrom local_calls import CONTEXT, sleep\n"
        "if __name__ == '__main__':\n"
        "    LocalExecutor(1, [], CONTEXT).submit(sleep, Path(sys.argv[1])).result()\n"
    )
    (tmp_path / "main.py").write_text(code)
    path = os.pathsep.join([str(ROOT / "tests/helpers"), str(ROOT)])
    command = [sys.executable, str(tmp_path / "main.py"), str(tmp_path / "pid")]
    process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": path})
    try:
        wait_for(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text(), 60)
    finally:
        process.send_signal(number)
        process.wait(10)
    wait_for(lambda: not alive(int((tmp_path / "pid").read_text())), 10)


# -- a run -----------------------------------------------------------------------------------------------------------


def stand_in(monkeypatch, main):
    import train  # imported here, since the processes of calls import this file and need no PyTorch

    monkeypatch.setattr(train, "main", main)
    monkeypatch.chdir(ROOT)  # which a run changes


def test_failed_run_keeps_its_output(tmp_path, monkeypatch):
    def main(arguments):
        os.system("seq 50")
        print("error: no such thing:", *arguments, file=sys.__stderr__)
        return 3

    stand_in(monkeypatch, main)
    run = TrainRun(["--a", "b"], tmp_path / "x/seed1")
    assert run() == 3
    what, lines = failure_of(run.folder)
    assert what == "exit status 3" and len(lines) == 20
    assert {path.name for path in tmp_path.rglob("*")} == {"x", "seed1", FAILURE}, "no log may be left"
    stand_in(monkeypatch, lambda arguments: 0)
    assert run() == 0 and failure_of(run.folder) == ("", [])


def test_unexpected_error_is_kept_with_its_traceback(tmp_path, monkeypatch, capfd):
    def main(arguments):
        raise KeyError("unforeseen")

    stand_in(monkeypatch, main)
    with capfd.disabled():  # the run's output goes to the file, not where pytest captures it
        sys.stderr.flush()
    assert TrainRun([], tmp_path / "run")() == 1
    assert failure_of(tmp_path / "run")[0] == "exit status 1"


def test_locked_run_is_not_called(tmp_path, monkeypatch):
    stand_in(monkeypatch, None)
    with locked(tmp_path / "a"):
        assert TrainRun([], tmp_path / "a")() == BUSY
        assert not (tmp_path / "a" / FAILURE).exists()


def test_output_of_a_killed_run_becomes_its_failure(tmp_path):
    log_of(tmp_path / "run").write_text("first\n\nlast\n")
    note_failure(tmp_path / "run", "killed by signal 9")
    note_failure(tmp_path / "run", "another")  # without a new log: what is known stays
    assert failure_of(tmp_path / "run", 1) == ("killed by signal 9", ["last"])
    assert not log_of(tmp_path / "run").exists()
