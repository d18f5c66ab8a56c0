"""docs/tutorial.md: its commands and code run in order, as they are printed."""

import re
import shlex
import shutil
import subprocess
import sys

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


def commands(text: str) -> list[str]:
    """The command lines of a block, with those that go on joined."""
    return text.replace("\\\n", " ").splitlines()


def test_the_tutorial_runs_as_it_is_printed(processes, tmp_path):
    kinds = [kind for kind, _ in steps()]
    assert kinds.count("sh") >= 6 and "yaml" in kinds and "python" in kinds
    # A folder that looks like the checkout, so that data and output stay out of it.
    for path in ROOT.iterdir():
        if not path.name.startswith(".") and path.name not in ("data", "output", "my_data"):
            (tmp_path / path.name).symlink_to(path)

    def run(command):
        """A script of the project runs in a process that has imported all, everything else in the shell."""
        words = shlex.split(command)
        if words[0] == "python":
            ended = processes.run(tmp_path, words[2:], script=words[1], patience=300)
            assert ended.status == 0, f"{command}\n{ended.out[-2000:]}\n{ended.err[-2000:]}"
        else:
            subprocess.run(command, shell=True, cwd=tmp_path, check=True)

    for kind, text in steps():
        if kind == "yaml":
            (tmp_path / "my_data" / "tasks.yaml").write_text(text)
        elif kind == "python":
            picture = next((tmp_path / "my_data" / "sign").rglob("*.png"))
            shutil.copy(picture, tmp_path / "picture.png")
            done = subprocess.run([sys.executable, "-c", text], cwd=tmp_path, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
        else:
            for command in commands(text):
                run(command)
    left = {path.name for path in (tmp_path / "output" / "mine").iterdir()}
    assert {"softcpt", "zeroshot", "report.html", "report.md", "accuracy.png"} <= left
    assert len((tmp_path / "predictions.csv").read_text().splitlines()) > 100
