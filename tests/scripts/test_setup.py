"""scripts/setup.sh: the Python it finds or makes, in odd folders and with odd variables."""

import os
import shutil
import subprocess
import sys

import pytest

import train

ROOT = train.PROJECT_ROOT
# Stands for Python 3.MINOR, without any package: answers whether its version suits, and says that it makes .venv.
STUB = """#!/bin/sh
case "$1 $2" in
    "-c "*) [ {minor} -ge 10 ] && case "$2" in *"3, 14)"*) [ {minor} -le 14 ] ;; esac ;;
    "-m venv") echo "{name} makes .venv" >&2; exit 3 ;;
    *) exit 1 ;;
esac
"""


@pytest.fixture
def checkout(tmp_path):
    """A folder with the script and its requirements."""
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts/setup.sh", tmp_path / "scripts")
    (tmp_path / "requirements.txt").write_text("torch>=2\n")
    return tmp_path


def setup(checkout, **env):
    """(exit status, output, errors) of the script, called by a relative path; `None` unsets a variable."""
    env = {name: value for name, value in {**os.environ, **env}.items() if value is not None}
    done = subprocess.run(["bash", "scripts/setup.sh"], cwd=checkout, env=env, capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


def path_with(folder, pythons):
    """A PATH with stand-ins for Pythons, of {name: minor version}, and with no other Python."""
    (folder / "bin").mkdir()
    for name in ("bash", "cut", "dirname", "mkdir"):
        (folder / "bin" / name).symlink_to(shutil.which(name))
    for name, minor in pythons.items():
        (folder / "bin" / name).write_text(STUB.format(name=name, minor=minor))
        (folder / "bin" / name).chmod(0o755)
    return str(folder / "bin")


@pytest.mark.parametrize(
    "pythons, chosen",
    [
        ({"python3": 14, "python3.12": 12}, "python3"),
        ({"python3": 9, "python3.10": 10, "python3.13": 13}, "python3.13"),
        ({"python3": 15, "python3.14": 14}, "python3.14"),  # one that the tests have seen
        ({"python3": 15}, "python3"),  # no bound
        ({"python3": 9, "python": 16}, "python"),
        ({"python3": 9}, None),
    ],
)
def test_environment_is_made_by_a_suitable_python(checkout, pythons, chosen):
    status, out, err = setup(checkout, PATH=path_with(checkout, pythons), PYTHON=None)
    assert out == "" and err.startswith("Installing requirements.txt into ")
    if chosen:
        assert (status, err.splitlines()[1:]) == (3, [f"{chosen} makes .venv"])
    else:
        assert (status, err.splitlines()[1:]) == (1, ["error: no Python 3.10 or newer on the PATH"])


def test_checkout_that_cannot_be_written_is_one_line(checkout):
    (checkout / ".venv").touch()  # nor can root make a folder there
    status, out, err = setup(checkout, PATH=path_with(checkout, {"python3": 12}), PYTHON=None)
    line = err.splitlines()[-1]
    assert (status, out, len(err.splitlines())) == (1, "", 2)
    assert line.startswith(f"error: {checkout}/.venv cannot be written: ") and "set PYTHON" in line


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_folder_of_another_user_is_one_line(checkout):
    path = path_with(checkout, {"python3": 12})
    checkout.chmod(0o555)
    try:
        status, _, err = setup(checkout, PATH=path, PYTHON=None)
    finally:
        checkout.chmod(0o755)
    assert status == 1 and f"error: {checkout}/.venv cannot be written: " in err.splitlines()[-1]


@pytest.mark.parametrize("env", [{"CDPATH": ".:/"}, {"HOME": None}, {"HOME": "/dev/null"}, {"LC_ALL": "C"}], ids=str)
def test_python_is_found_with_odd_variables(checkout, env):
    assert setup(checkout, PYTHON=sys.executable, **env)[:2] == (0, f"{sys.executable}\n")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_checks_leave_no_cache_in_a_folder_of_another_user(checkout):
    stub = checkout / "python"
    stub.write_text('#!/bin/sh\necho "$2 ${RUFF_NO_CACHE:-} ${MYPY_CACHE_DIR:-}"\n')
    stub.chmod(0o755)
    (checkout / "scripts/setup.sh").write_text(f"echo {stub}\n")
    shutil.copy(ROOT / "scripts/test.sh", checkout / "scripts")
    checkout.chmod(0o555)
    try:
        done = subprocess.run(["bash", checkout / "scripts/test.sh"], capture_output=True, text=True)
    finally:
        checkout.chmod(0o755)
    said = [f"{tool} true /dev/null" for tool in ("ruff", "ruff", "mypy", "pytest")]
    assert (done.returncode, sorted(done.stdout.splitlines())) == (0, sorted(said)), done.stderr
