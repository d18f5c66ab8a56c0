"""What only Unix has is looked for before it is used, so that Python's commands run elsewhere, too."""

import ast
import os
import runpy
import sys
from pathlib import Path

import pytest
import torch

from softcpt.files import atomic

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("softcpt", "trainers", "datasets", "compat", "scripts")
SOURCES = [ROOT / "train.py", *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))]
UNIX = {"fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty"}  # modules that Windows lacks
UNIX_CALLS = {
    "os": ("fork", "getpgid", "getuid", "geteuid", "killpg", "mkfifo", "setsid", "uname", "O_DIRECTORY"),
    "signal": ("SIGKILL", "SIGHUP", "SIGALRM", "alarm", "SIGUSR1", "SIGUSR2"),
}


def imported(tree):
    """The modules that are imported when a file is, outside of a `try`."""
    waiting = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield str(node.module)
        elif isinstance(node, ast.If | ast.With | ast.ClassDef):
            waiting += node.body


def test_sources_need_nothing_of_unix():
    for path in SOURCES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert not UNIX & set(imported(tree)), path
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                assert node.attr not in UNIX_CALLS.get(node.value.id, ()), (path, node.lineno)


def test_memory_is_unknown_without_the_module_resource(monkeypatch):
    monkeypatch.setitem(sys.modules, "resource", None)
    memory = runpy.run_path(str(ROOT / "trainers/engine/memory.py"))
    memory["peak_memory_bytes"].__globals__["PROCESS"] = Path("/none")
    assert memory["peak_memory_bytes"](torch.device("cpu")) == 0


def test_forgetting_the_peak_needs_no_c_library_of_the_process(monkeypatch):
    def windows(name):
        raise TypeError("LoadLibrary() argument 1 must be str, not None")

    memory = runpy.run_path(str(ROOT / "trainers/engine/memory.py"))
    monkeypatch.setattr(memory["ctypes"], "CDLL", windows)
    memory["forget_peak"](torch.device("cpu"))


def test_processes_get_no_signal_on_windows(monkeypatch, tmp_path):
    """There signal 0 is a Ctrl-C. Temporary files then stay, whether their process has ended or not."""
    left = tmp_path / ".results.json.999999999.softcpt-tmp"
    left.touch()
    with monkeypatch.context() as patched:
        patched.setattr(os, "kill", lambda *arguments: pytest.fail(f"os.kill{arguments}"))
        patched.setattr(os, "name", "nt")
        exists = atomic._exists(999999999)
    assert exists
    atomic.remove_left_behind(tmp_path)
    assert not left.exists()
