"""How a command ends: Ctrl-C, once and more often."""

import signal
import subprocess
import sys

import pytest

import train

COMMAND = """
import sys, time
sys.path.insert(0, sys.argv[1])
from softcpt.files.console import set_up
set_up()
import atexit
atexit.register(lambda: eval("1"))  # as PyTorch does: Python then forgets that Ctrl-C ended it
try:
    print("ready", flush=True)
    time.sleep(60)
finally:
    print("stopping", flush=True)
    if sys.argv[2] == "slowly":
        time.sleep(60)
"""


@pytest.fixture
def command():
    """A function of how long a command takes to stop: the command, which waits."""
    started = []

    def start(how):
        words = [sys.executable, "-c", COMMAND, str(train.PROJECT_ROOT), how]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        default = lambda: signal.signal(signal.SIGINT, signal.default_int_handler)  # noqa: E731  (jobs may ignore it)
        started.append(subprocess.Popen(words, preexec_fn=default, **pipes))
        assert started[-1].stdout.readline() == "ready\n"
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_ctrl_c_is_one_line_and_its_signal(command):
    process = command("at once")
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=30)
    assert (out, error, process.returncode) == ("stopping\n", "interrupted\n", -signal.SIGINT)


def test_second_ctrl_c_ends_what_is_stopping_without_a_word(command):
    process = command("slowly")
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "stopping\n"
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=30)
    assert (out, error, process.returncode) == ("", "", -signal.SIGINT)
