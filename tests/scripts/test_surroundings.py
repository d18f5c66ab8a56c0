"""The tests pass whatever starts them: see tests/helpers/surroundings.py."""

import os
import signal
import subprocess
import sys

import pytest
import surroundings
from warm_python import VARIABLE

import train

# Of a background job of a script, nohup, a git hook, a job of several processes, a cluster's login, a CI runner.
ODD = {
    "HOME": "/dev/null",
    "XDG_CACHE_HOME": "/dev/null",
    "MPLCONFIGDIR": "/dev/null",
    "LC_ALL": "C",
    "CDPATH": ".:/",
    "GIT_DIR": "/dev/null",
    "BASH_ENV": "/dev/null/none",
    "COLUMNS": "20",
    "FORCE_COLOR": "1",
    "PYTHONWARNINGS": "always",
    "PYTHONSAFEPATH": "1",
    "PYTEST_ADDOPTS": "-p no:cacheprovider",
    "OMP_NUM_THREADS": "4,2",
    "CUDA_VISIBLE_DEVICES": "7",
    "RANK": "1",
    "WORLD_SIZE": "2",
    "SLURM_JOB_ID": "12",
    "http_proxy": "http://127.0.0.1:9",
    "DATA": "/nowhere",
    "OUT": "/nowhere",
    "HALF": "new-tasks",
    "VARIANT": "NONE",
}
# What an odd signal, variable or folder would break.
TESTS = """tests/scripts/test_warm_python.py::test_a_signal_ends_the_command_and_its_stand_in
tests/scripts/test_scripts.py::test_one_run_per_seed_in_its_own_folder
tests/scripts/test_train.py::test_run_leaves_config_shots_checkpoint_and_record
tests/evaluation/test_records.py::test_versions_and_git_commit""".split()


@pytest.mark.waits
def test_tests_pass_under_any_launcher(tmp_path):
    env = {name: value for name, value in os.environ.items() if name != VARIABLE}
    command = [sys.executable, "-m", "pytest", "-q", "-c", train.PROJECT_ROOT / "pyproject.toml"]
    command += [f"--basetemp={tmp_path}/tests", *(train.PROJECT_ROOT / test for test in TESTS)]
    script = 'trap "" INT TERM HUP QUIT CHLD USR1; umask 0777; exec "$@" 0<&-'
    command = ["bash", "-c", script, "-", *map(str, command)]
    done = subprocess.run(command, cwd="/", env={**env, **ODD}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_started_programs_take_signals_that_are_ignored_here():
    code = "import os, signal, sys; os.kill(os.getpid(), int(sys.argv[1]))"
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name)
        before = signal.signal(number, signal.SIG_IGN)
        try:
            assert subprocess.run([sys.executable, "-c", code, str(int(number))]).returncode == 0
            surroundings.let_signals_through()
            assert subprocess.run([sys.executable, "-c", code, str(int(number))]).returncode == -number
            os.kill(os.getpid(), number)  # still ignored
        finally:
            signal.signal(number, before)
