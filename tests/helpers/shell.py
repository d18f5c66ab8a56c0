"""The shell scripts with a stand-in for Python that writes down how it was called."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
UNSET = ("VARIANT", "SEEDS", "DATA", "SEPARATE", "JOBS", "PROMPTS")
# Finished runs are compared without a call that is written down; $OTHER is the exit status of that.
STUB = """#!/usr/bin/env bash
case "$1" in *scripts/lib/done.py) cat > "$CALLS.finished"; exit "${OTHER:-0}" ;; esac
[[ "$1" != */scripts/lib/needs.py ]] || exit ${LACKING:-0}
echo "$@" >> "$CALLS"
case "$1 $*" in
    *scripts/lib/tasks.py*--merge*) touch "${@: -1}/results.json"; exit ;;
    *scripts/lib/tasks.py*) printf 'sea-animals\\tsea animals\\nair\\tair\\n'; exit ;;
esac
while [ $# -gt 1 ] && [ "$1" != --output-dir ]; do shift; done
mkdir -p "$2" && [ -z "${CUT:-}" ] && touch "$2/results.json"
exit ${CUT:-0}
"""


class Caller:
    """Runs scripts from a folder of its own, of which `folder` is the path."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.stub, self.calls = folder, folder / "python-stub", folder / "calls"
        self.stub.write_text(STUB)
        self.stub.chmod(0o755)

    def __call__(self, *command: str, **variables: str) -> tuple[int, list[str], str]:
        """(exit status, the arguments of each call of Python, output) of a script below the project's folder."""
        self.calls.unlink(missing_ok=True)
        names = {"PYTHON": str(self.stub), "CALLS": str(self.calls), "OUT": "results", **variables}
        command = ["bash", ROOT / command[0], *command[1:]]
        done = subprocess.run(command, cwd=self.folder, env={**os.environ, **names}, capture_output=True, text=True)
        calls = self.calls.read_text().splitlines() if self.calls.exists() else []
        return done.returncode, calls, done.stdout + done.stderr
