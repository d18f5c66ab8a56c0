"""scripts/test_versions.py without its environments: the interpreters it finds and the rows it prints."""

import subprocess
from pathlib import Path

import pytest
import test_versions as versions
from warm_python import python

TESTS = """
import pytest

def test_passes(): pass
def test_fails(): assert False
def test_is_skipped(): pytest.skip()
@pytest.fixture
def broken(): raise ValueError
def test_cannot_start(broken): pass
"""


def test_errors_count_as_failures(tmp_path):
    (tmp_path / "test_some.py").write_text(TESTS)
    command = [python(), "-m", "pytest", "-c", "/dev/null", f"--junitxml={tmp_path}/report.xml", tmp_path]
    subprocess.run(list(map(str, command)), capture_output=True, cwd=tmp_path)
    assert versions.outcomes(tmp_path / "report.xml") == {"passed": 1, "skipped": 1, "failed": 2}


def test_broken_interpreter_is_skipped(tmp_path, monkeypatch):
    for path, text in {"shims/python3.12": "exit 127", "pyenv/versions/3.12.1/bin/python": "exit 0"}.items():
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / path).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/shims")
    monkeypatch.setenv("PYENV_ROOT", f"{tmp_path}/pyenv")
    assert versions.find_python("3.12") == f"{tmp_path}/pyenv/versions/3.12.1/bin/python"
    with pytest.raises(ValueError, match=r"no Python 3\.1 on the PATH"):
        versions.find_python("3.1")


@pytest.mark.parametrize("failed", [0, 2])
def test_main_prints_a_row_per_version_and_fails_with_its_tests(monkeypatch, capsys, failed):
    monkeypatch.setattr(versions, "make_environment", lambda folder, *wanted: Path(folder))
    monkeypatch.setattr(versions, "run_tests", lambda python, options, report: None)
    monkeypatch.setattr(versions, "outcomes", lambda report: {"passed": 1234, "skipped": 5, "failed": failed})
    assert versions.main(["--durations=3"]) == (failed > 0)
    rows = capsys.readouterr().out.splitlines()[2:]
    assert [row.split(" | ")[:3] for row in rows] == [[f"| {python}", *others] for python, *others in versions.VERSIONS]
    assert rows[0].endswith(f"| 1,234 | 5 | {failed} | 0 | `pytest -n 2 --dist loadfile --durations=3` |")
    assert versions.main(["3.10", "2.4.1", "0.19.1", "tests/storage"]) == (failed > 0)
    assert capsys.readouterr().out.endswith("--dist loadfile tests/storage` |\n")
