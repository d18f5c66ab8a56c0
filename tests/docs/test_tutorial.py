"""docs/tutorial.md: its commands and code run in order, as they are printed."""

import os
import re
import shutil
import subprocess

from warm_python import python

import train

ROOT = train.PROJECT_ROOT
TEXT = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")


def steps() -> list[tuple[str, str]]:
    """("sh", "python" or "yaml", text) of each block, in order."""
    found = []
    for match in re.finditer(r"```(python|yaml)\n(.*?)```|((?:^    [^\n]*\n)+)", TEXT, re.M | re.S):
        kind, block, commands = match.groups()
        found.append((kind, block) if kind else ("sh", re.sub(r"^    ", "", commands, flags=re.M)))
    return found


def test_tutorial_runs_as_printed(tmp_path):
    kinds = [kind for kind, _ in steps()]
    assert kinds.count("sh") >= 6 and "yaml" in kinds and "python" in kinds
    # A folder that looks like the checkout, so that data and output stay out of it.
    for path in ROOT.iterdir():
        if not path.name.startswith(".") and path.name not in ("data", "output", "my_data"):
            (tmp_path / path.name).symlink_to(path)
    env = {**os.environ, "PATH": f"{os.path.dirname(python())}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    env.pop("PYTHONPATH", None)
    for kind, text in steps():
        if kind == "yaml":
            (tmp_path / "my_data" / "tasks.yaml").write_text(text)
            continue
        if kind == "python":
            picture = next((tmp_path / "my_data" / "sign").rglob("*.png"))
            shutil.copy(picture, tmp_path / "picture.png")
        command = ["bash", "-euc", text] if kind == "sh" else [python(), "-c", text]
        done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
        assert done.returncode == 0, f"{text}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    left = {path.name for path in (tmp_path / "output" / "mine").iterdir()}
    assert {"softcpt", "zeroshot", "report.html", "report.md", "accuracy.png"} <= left
    assert len((tmp_path / "predictions.csv").read_text().splitlines()) > 100
