"""`compat.ensure_dassl`: which Dassl is used. Each case runs in a fresh interpreter with its own installed packages."""

import shutil
import subprocess
from pathlib import Path

import pytest
from warm_python import python

ROOT = Path(__file__).resolve().parents[2]

SCRIPT = """
import logging, sys
logging.basicConfig(level=logging.INFO, format="%(name)s %(message)s")
sys.path[:0] = {path!r}
{before}
import compat
description = compat.ensure_dassl()
length = len(sys.path)
assert compat.ensure_dassl() == description and len(sys.path) == length
import dassl, dassl.optim
print(description)
print(dassl.__file__)
print(getattr(dassl.optim, "MARK", "unmarked"))
"""


def choose(tmp_path, before=""):
    script = SCRIPT.format(path=[str(tmp_path), str(ROOT)], before=before)
    done = subprocess.run([python(), "-c", script], capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert done.returncode == 0, done.stderr
    return (*done.stdout.strip().splitlines(), done.stderr)


@pytest.fixture
def installed(tmp_path):
    """A working Dassl in its own folder: a marked copy of the one in compat."""
    package = tmp_path / "dassl"
    shutil.copytree(ROOT / "compat" / "dassl", package, ignore=shutil.ignore_patterns("__pycache__"))
    with open(package / "optim.py", "a") as file:
        file.write('\nMARK = "installed"\n')
    return package


def test_compat_is_used_without_an_installed_dassl(tmp_path):
    description, path, _, log = choose(tmp_path)
    assert description.startswith("compat/dassl 0.6.3")
    assert Path(path).parent == ROOT / "compat" / "dassl"
    assert description in log


def test_working_dassl_is_kept(installed, tmp_path):
    description, path, mark, _ = choose(tmp_path)
    assert description.startswith("installed Dassl 0.6.3") and str(installed) in description
    assert Path(path).parent == installed and mark == "installed"


SCHEDULER = "super().__init__(optimizer)"
STATE = 'return super().state_dict() | {"successor": self.successor.state_dict()}'


@pytest.mark.parametrize(
    "file, old, new, before, reason",
    [
        # Upstream passes `verbose`, which PyTorch 2.7 has removed; this is one argument too many for every version.
        ("optim.py", SCHEDULER, f"{SCHEDULER[:-1]}, -1, False, False)", "import dassl, dassl.optim", "TypeError"),
        ("optim.py", STATE, "return super().state_dict()", "", "fails: "),  # pickles the scheduler, as upstream
        ("__init__.py", "", "import a_module_that_does_not_exist\n", "", "ModuleNotFoundError"),
    ],
    ids=["scheduler", "checkpoints", "import"],
)
def test_broken_dassl_is_replaced(installed, tmp_path, file, old, new, before, reason):
    text = (installed / file).read_text()
    assert old in text
    (installed / file).write_text(text.replace(old, new) if old else new)
    description, path, mark, _ = choose(tmp_path, before)
    assert description.startswith("compat/dassl 0.6.3") and reason in description
    assert Path(path).parent == ROOT / "compat" / "dassl" and mark == "unmarked"
