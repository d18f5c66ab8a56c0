"""The methods' scripts with a stand-in for train.py, and other shell scripts with one for Python, that write down how
they were called."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
from pathlib import Path

import pytest
from records import run_of

import scripts.base2new
from scripts.lib import methods
from softcpt.evaluation.records import write_record

ROOT = Path(__file__).resolve().parents[2]
STUB = '#!/usr/bin/env bash\necho "$@" >> "$CALLS"\n'


class Caller:
    """Runs scripts from a folder of its own, of which `folder` is the path.

    Attributes:
        other: what differs in each finished run, "" if they are those of the calls.
        lacking: a line on missing data.
        status: exit status of train.py; a run that fails leaves no results.
        compared: the finished runs that the last call compared.
    """

    other, lacking, status = "", "", 0

    def __init__(self, folder: Path) -> None:
        self.folder, self.calls, self.compared = folder, [], []

    def __call__(self, *command: str, **variables: str) -> tuple[int, list[str], str]:
        """(exit status, the calls of Python, output) of a script: scripts/<method>/main.sh, scripts/base2new.sh."""
        script, *words = command
        if script == "scripts/demo.sh":
            return self.in_bash(*command, **variables)
        path, output = Path(script), io.StringIO()
        self.calls, self.compared = [], []
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(self.folder)
            for name, value in {"OUT": "results", **variables}.items():
                patch.setenv(name, value)
            for name in ("train", "other_runs", "merge_folder"):
                patch.setattr(methods, name, getattr(self, name))
            patch.setattr(methods, "missing", lambda *_: [self.lacking] * bool(self.lacking))
            patch.setattr(methods, "benchmark_tasks", lambda *_: ["sea animals", "air"])
            patch.setattr(scripts.base2new, "main", self.print_tables)
            with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
                status = methods.main([path.stem if path.stem == "base2new" else path.parent.name, *words])
        return status, self.calls, output.getvalue()

    def in_bash(self, *command: str, **variables: str) -> tuple[int, list[str], str]:
        """The same of any script in bash, with a stand-in for Python."""
        stub, calls = self.folder / "python-stub", self.folder / "calls"
        stub.write_text(STUB)
        stub.chmod(0o755)
        names = {"PYTHON": str(stub), "CALLS": str(calls), "OUT": "results", **variables}
        words = ["bash", str(ROOT / command[0]), *command[1:]]
        done = subprocess.run(words, cwd=self.folder, env={**os.environ, **names}, capture_output=True, text=True)
        return done.returncode, calls.read_text().splitlines() if calls.exists() else [], done.stdout + done.stderr

    def finish(self, folder: Path, metric: float = 50.0) -> None:
        """Write the record of a finished run."""
        folder.mkdir(parents=True, exist_ok=True)
        write_record(folder / "results.json", run_of("CoOp", "", 1, 1, metric))

    def train(self, arguments: list[str]) -> int:
        self.calls.append(" ".join(["train.py", *arguments]))
        if not self.status:
            self.finish(Path(arguments[arguments.index("--output-dir") + 1]))
        return self.status

    def other_runs(self, steps: list) -> dict[str, str]:
        self.compared = steps
        return {str(step.folder): self.other for step in steps if self.other}

    def merge_folder(self, folder: Path, names: list[str], selected: str) -> dict:
        self.calls.append(f"merge {folder}: {names}, {selected}")
        self.finish(folder)
        return run_of("CoOp", "", 1, 1, 50.0)

    def print_tables(self, arguments: list[str]) -> int:
        self.calls.append(" ".join(["base2new.py", *arguments]))
        return 0
