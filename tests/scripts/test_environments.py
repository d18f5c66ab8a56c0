"""Commands in unusual environments: without the script's folder, ASCII terminals, other shells, half of torchrun's."""

import os
import subprocess
import sys

import pytest
import toy

import train
from softcpt import distributed
from softcpt.files.console import print_any_text

ROOT = train.PROJECT_ROOT
SCRIPTS = sorted(
    path.relative_to(ROOT).as_posix() for path in ROOT.glob("scripts/**/*.sh") if path.parent.name != "lib"
)
TOGETHER = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}


@pytest.fixture
def launch(monkeypatch):
    """Sets torchrun's variables, and only these."""

    def set_to(variables):
        for name in (*TOGETHER, "LOCAL_WORLD_SIZE"):
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return set_to


@pytest.mark.parametrize(
    "variables, message",
    [
        ({"WORLD_SIZE": "2"}, "WORLD_SIZE 2 but no RANK"),
        ({"RANK": "1"}, "RANK 1 and WORLD_SIZE 1"),
        ({"RANK": "2", "WORLD_SIZE": "2"}, "RANK 2 and WORLD_SIZE 2"),
        ({"WORLD_SIZE": "0"}, "RANK 0 and WORLD_SIZE 0"),
        ({"WORLD_SIZE": "two"}, "WORLD_SIZE 'two', which is not a number"),
        ({"RANK": "-1"}, "RANK '-1', which is not a number"),
        ({"RANK": "²"}, "RANK '²', which is not a number"),
        ({"LOCAL_WORLD_SIZE": "x"}, "LOCAL_WORLD_SIZE 'x', which is not a number"),
        ({**TOGETHER, "LOCAL_RANK": "x"}, "LOCAL_RANK 'x', which is not a number"),
        *[
            ({k: v for k, v in TOGETHER.items() if k != name}, f"WORLD_SIZE 2 but no {name}")
            for name in TOGETHER
            if name != "WORLD_SIZE"
        ],
    ],
)
def test_half_of_torchruns_environment_is_one_error(toy_root, tmp_path, capsys, launch, variables, message):
    launch(variables)
    assert train.main(toy.arguments(toy_root, tmp_path / "run", "ZeroshotCLIP")) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: the environment has") and message in error and error.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("variables", [{}, {"WORLD_SIZE": "1"}, {"RANK": "0"}, {"RANK": "", "WORLD_SIZE": ""}])
def test_environment_of_one_process_is_none_at_all(launch, variables):
    launch(variables)
    distributed.check_launch()
    distributed.start(use_cuda=False)
    assert (distributed.rank(), distributed.world()) == (0, 1)


def test_commands_but_train_are_the_first_process(launch):
    """A shell that torchrun started has its variables; predictions there are of all images."""
    launch(TOGETHER)
    distributed.check_launch()
    assert (distributed.rank(), distributed.shard(7)) == (0, slice(0, 7))


@pytest.mark.parametrize("script", ["train.py", "parse_test_res.py", "scripts/report.py"])
def test_safe_path_of_python_is_no_obstacle(script, tmp_path):
    if sys.version_info < (3, 11):
        pytest.skip("python -P is new in 3.11")
    done = subprocess.run([sys.executable, "-P", ROOT / script, "--help"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and "usage:" in done.stdout, done.stderr


def test_any_text_can_be_printed_on_an_ascii_terminal():
    code = "from softcpt.files.console import print_any_text; print_any_text(); print('48.5 ± 3.0 – é')"
    env = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, env=env)
    assert (done.stdout, done.stderr) == ("48.5 \\xb1 3.0 \\u2013 \\xe9\n", "")
    print_any_text()  # a stream without an encoding, as in a test, is left alone


@pytest.mark.parametrize("module", ["train", "scripts.lib.command"])
def test_every_command_prints_any_text(module):
    """train.main and what all other commands import first."""
    use = "train.main(['--trainer', 'é±'])" if module == "train" else "print('é±')"
    env = {**os.environ, "PYTHONIOENCODING": "ascii:strict"}
    done = subprocess.run([sys.executable, "-c", f"import {module}; {use}"], cwd=ROOT, capture_output=True, env=env)
    assert done.returncode == 0 and b"\\xe9\\xb1" in done.stdout + done.stderr, done.stderr


@pytest.mark.parametrize("script", SCRIPTS)
def test_script_in_another_shell_says_that_it_needs_bash(script, tmp_path):
    """The line is the first that is not a comment, so that no other shell reads further."""
    lines = (ROOT / script).read_text().splitlines()
    first = next(line for line in lines if not line.startswith("#"))
    assert first.startswith('[ -n "${BASH_VERSION:-}" ] || ')
    (tmp_path / "first.sh").write_text(f"unset BASH_VERSION\n{first}\necho further\n")
    done = subprocess.run(["sh", tmp_path / "first.sh"], capture_output=True, text=True)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and "needs bash: bash " in done.stderr
