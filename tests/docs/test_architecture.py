"""Which room may import which: docs/architecture.md."""

import ast

import pytest

import train

ROOT = train.PROJECT_ROOT
MAY_IMPORT = {
    "storage": set(),
    "backbones": set(),
    "datasets": {"compat", "storage"},
    "evaluation": {"storage"},
    "experiments": {"evaluation", "storage"},
    "inference": {"backbones", "storage"},
    "trainers": {"backbones", "compat", "datasets", "evaluation", "storage"},
    "finished": {"backbones", "datasets", "evaluation", "experiments", "storage", "inference", "train", "trainers"},
}
CALLS_TRAINING = {"experiments/runs.py": {"datasets", "train"}}  # in processes of its own
ROOMS = {*MAY_IMPORT, "train", "scripts", "compat"}


def imported(path):
    """The rooms that a file imports, its own left out."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(node.module.partition(".")[0])
    return (names & ROOMS) - {path.relative_to(ROOT).parts[0]}


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_imports_go_one_way(room):
    files = sorted((ROOT / room).rglob("*.py"))
    assert files
    found = {path.relative_to(ROOT).as_posix(): imported(path) - MAY_IMPORT[room] for path in files}
    assert {path: names for path, names in found.items() if names - CALLS_TRAINING.get(path, set())} == {}


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_each_room_says_what_lives_there(room):
    assert ast.get_docstring(ast.parse((ROOT / room / "__init__.py").read_text(encoding="utf-8")))


def test_reports_need_neither_pytorch_nor_dassl():
    for path in (ROOT / "experiments").rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        top = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
        names = {getattr(node, "module", None) or node.names[0].name for node in top}
        assert not {name for name in names if name.partition(".")[0] in ("torch", "dassl", "submitit")}, path
