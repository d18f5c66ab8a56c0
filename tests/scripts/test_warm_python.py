"""The stand-in for Python that other tests use: a command cannot tell it from Python."""

import os
import signal
import subprocess
import sys
import time

import pytest
from warm_python import python

SCRIPT = """
import json, os, signal, sys
print(json.dumps([sys.argv, sys.path[:2], os.getcwd(), os.environ.get("MARK"), __name__, __file__]))
print(sys.stdin.read(), file=sys.stderr)
"""
SLEEPING = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"


def both(arguments, **options):
    """How Python ends, and how the stand-in does: exit status, output and errors."""
    options = {"capture_output": True, "text": True, "stdin": subprocess.DEVNULL, **options}
    if "input" in options:
        del options["stdin"]
    ends = [subprocess.run([executable, *arguments], **options) for executable in (sys.executable, python())]
    return [(done.returncode, done.stdout, done.stderr) for done in ends]


@pytest.mark.parametrize(
    "arguments",
    [
        ["script.py", "--flag", "a b", ""],
        ["folder/script.py"],
        ["-u", "script.py"],
        ["-m", "folder.script", "x"],
        ["-c", "import sys; print(sys.argv, sys.path[0] in ('', sys.path[0])); sys.exit(3)", "y"],
        ["-c", "raise SystemExit('error: no')"],
        ["-c", "import os; os.kill(os.getpid(), 15)"],
        ["--version"],
        ["-"],
    ],
    ids=str,
)
def test_a_command_does_what_it_does_in_python(arguments, tmp_path):
    (tmp_path / "folder").mkdir()
    for folder in (tmp_path, tmp_path / "folder"):
        (folder / "script.py").write_text(SCRIPT)
    env = {**os.environ, "MARK": "here", "PYTHONPATH": "/nowhere"}
    real, stand_in = both(arguments, cwd=tmp_path, env=env, input="print('of stdin')")
    assert real == stand_in


def test_an_error_ends_in_a_traceback_and_status_1():
    real, stand_in = both(["-c", "1 / 0"])
    assert stand_in[0] == real[0] == 1 and stand_in[2].splitlines()[-1] == real[2].splitlines()[-1]


def test_a_command_gets_the_open_files_that_are_passed():
    reader, writer = os.pipe()
    code = f"import os; os.write({writer}, b'from the command')"
    done = subprocess.run([python(), "-c", code], pass_fds=[writer])
    os.close(writer)
    with open(reader, "rb") as pipe:
        assert done.returncode == 0 and pipe.read() == b"from the command"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_ends_the_command_and_its_stand_in(number):
    process = subprocess.Popen([python(), "-c", SLEEPING], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    command = int(process.stdout.readline())
    process.send_signal(number)
    process.communicate(timeout=30)
    assert process.returncode == -number
    for _ in range(1000):
        try:
            os.kill(command, 0)
        except ProcessLookupError:
            return
        time.sleep(0.01)
    raise AssertionError("the command lives on")
