"""Tests are short files that stand alone."""

import ast
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
FILES = sorted(TESTS.rglob("*.py"))
LONGEST = 300  # lines


def imported(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def test_no_file_is_longer_than_300_lines():
    assert not {path.name for path in FILES if len(path.read_text(encoding="utf-8").splitlines()) > LONGEST}


def test_tests_import_no_other_tests():
    names = {path.stem for path in FILES if path.name.startswith("test_")}
    found = {(path.name, name) for path in FILES for name in imported(path) if name.rpartition(".")[2] in names}
    assert not found
    assert len(names) == len([path for path in FILES if path.name.startswith("test_")]), (
        "two test files have the same name"
    )
