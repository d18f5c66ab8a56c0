"""docs/reliability.md names tests that exist."""

import ast
import re

import pytest

import train

ROOT = train.PROJECT_ROOT
PAGE = ROOT / "docs/reliability.md"


def names_in(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


def test_named_tests_exist():
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE.read_text(encoding="utf-8"))
    assert len(named) > 60
    missing = {f"{file}::{name}" for file, name in set(named) if name not in names_in(ROOT / file)}
    assert not missing


def test_every_known_fault_names_a_test():
    section = PAGE.read_text(encoding="utf-8").partition("## Known faults of the field")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("|")][2:]
    assert len(rows) > 40
    assert [row for row in rows if "::test_" not in row.split("|")[2]] == []


def test_hostile_files_table_has_every_reader():
    pytest.importorskip("hypothesis")
    from fuzz.readers import NAMES

    section = PAGE.read_text(encoding="utf-8").partition("## Hostile files")[2].partition("\n## ")[0]
    assert [name for name in NAMES if f"| {name} |" not in section] == []
