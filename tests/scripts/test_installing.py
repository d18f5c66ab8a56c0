"""Every script that runs Python finds or installs it itself: nobody need set PYTHON."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

import train

ROOT = train.PROJECT_ROOT
ARGUMENTS = {"base2new.sh": ["softcpt", "fgvc", "16"], "main.sh": ["fgvc", "16"]}
OTHERS = ("setup.sh", "python.sh", "plug_into.sh")  # the last is for the Python of a CoOp checkout
SCRIPTS = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "scripts").rglob("*.sh") if path.name not in OTHERS)


@pytest.mark.parametrize("script", SCRIPTS)
def test_script_asks_setup_for_its_python(script, tmp_path):
    """In a copy whose setup.sh names a Python that only writes down its calls."""
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts", ignore=shutil.ignore_patterns("__pycache__", "*.npz"))
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    (tmp_path / "python").write_text('#!/usr/bin/env bash\necho "$@" >> "$CALLS"\n')
    (tmp_path / "python").chmod(0o755)
    (tmp_path / "scripts" / "setup.sh").write_text(f'touch "{tmp_path}/asked"; echo "{tmp_path}/python"\n')
    names = {name: value for name, value in os.environ.items() if name != "PYTHON"}
    command = ["bash", script, *ARGUMENTS.get(Path(script).name, [])]
    env = {**names, "CALLS": str(tmp_path / "calls")}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60)
    assert "unbound variable" not in done.stderr
    assert (tmp_path / "asked").exists() and (tmp_path / "calls").exists(), done.stdout + done.stderr
