"""docs/architecture.md: which room may import which, and the path from the command line to the loss."""

import ast
import inspect
import re
import traceback

import pytest
import toy
from dassl.engine import TRAINER_REGISTRY
from rooms import CALLS_TRAINING, MAY_IMPORT, ROOMS

import train
from trainers.base import PromptTrainer
from trainers.modules import losses
from trainers.softcpt import SoftCPT

ROOT = train.PROJECT_ROOT
# What may import what within trainers/modules; its single files, which serve all rooms, are "".
PARTS = {
    "": set(),
    "images": {""},
    "prompts": {""},
    "method_parts": {""},
    "engine": {"", "images", "prompts"},
}
SECTION = re.compile(r"^## From the command line to the loss\n(.*?)^## ", re.M | re.S)
HOP = re.compile(r"^\d\. `([\w/.]+)`, `(\w+)`", re.M)


def imported(path):
    """The rooms that a file imports, except its own."""
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


WITHIN_EXPERIMENTS = {
    "executors": set(),
    "interpretation": {"pictures"},
    "sweeps": {"executors"},
    "reports": {"interpretation", "pictures", "sweeps"},
}


@pytest.mark.parametrize("room", WITHIN_EXPERIMENTS)
def test_imports_within_experiments_go_one_way(room):
    """Only at the top of modules: a sweep imports its report at its end."""
    for path in (ROOT / "experiments" / room).glob("*.py"):
        nodes = [node for node in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(node, ast.ImportFrom)]
        assert {node.module.partition(".")[0] for node in nodes if node.level == 2} <= WITHIN_EXPERIMENTS[room], path


@pytest.mark.parametrize("room", [*MAY_IMPORT, *(f"experiments/{room}" for room in WITHIN_EXPERIMENTS)])
def test_each_room_has_a_docstring(room):
    assert ast.get_docstring(ast.parse((ROOT / room / "__init__.py").read_text(encoding="utf-8")))


def test_reports_need_neither_pytorch_nor_dassl():
    for path in (ROOT / "experiments").rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        top = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
        names = {getattr(node, "module", None) or node.names[0].name for node in top}
        assert not {name for name in names if name.partition(".")[0] in ("torch", "dassl", "submitit")}, path


def parts_imported(path):
    """The rooms of trainers/modules that a file of one imports, and "methods" for what lies above them."""
    base, names = ROOT / "trainers/modules", set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            folder = path.parents[node.level - 1]
            for name in [node.module] if node.module else [alias.name for alias in node.names]:
                target = folder.joinpath(*name.split("."))
                parts = target.relative_to(base).parts if target.is_relative_to(base) else ("methods",)
                names.add(parts[0] if (base / parts[0]).is_dir() or parts[0] == "methods" else "")
    return names - {path.relative_to(base).parts[0]}


@pytest.mark.parametrize("part", PARTS)
def test_trainer_modules_import_one_way_and_have_docstrings(part):
    folder = ROOT / "trainers/modules" / part
    assert ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8")))
    found = {path.name: parts_imported(path) - PARTS[part] for path in folder.glob("*.py")}
    assert {name: parts for name, parts in found.items() if parts} == {}


def test_methods_override_only_what_the_base_documents():
    text = (ROOT / "trainers/base.py").read_text(encoding="utf-8")
    start, end = text.index("what a method overrides"), text.index("what a method uses")
    legal = {
        "__init__",
        *re.findall(r"def (\w+)", text[start:end]),
        *re.findall(r"`(\w+)`", inspect.getdoc(PromptTrainer)),
    }
    inherited = {name for cls in PromptTrainer.__mro__ for name in vars(cls) if not name.startswith("__")}
    methods = [TRAINER_REGISTRY.get(name) for name in TRAINER_REGISTRY.registered_names()]
    classes = {cls for method in methods for cls in method.__mro__ if issubclass(cls, PromptTrainer)} - {PromptTrainer}
    for cls in classes:
        found = {name for name, value in vars(cls).items() if callable(value) and name in inherited}
        assert found - legal == set(), cls


def test_training_follows_the_documented_path(toy_root, tmp_path, monkeypatch):
    hops = HOP.findall(SECTION.search((ROOT / "docs/architecture.md").read_text(encoding="utf-8"))[1])
    assert 1 < len(hops) <= 6
    for path, function in hops:
        tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
        assert function in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}, path

    stacks = []

    def recording(function):
        def wrapped(*args, **kwargs):
            stacks.append([(frame.filename, frame.name) for frame in traceback.extract_stack()])
            return function(*args, **kwargs)

        return wrapped

    monkeypatch.setattr(SoftCPT, "generated_features", recording(SoftCPT.generated_features))
    monkeypatch.setattr(losses, "within_task", recording(losses.within_task))
    options = ("OPTIM.MAX_EPOCH", 1, "OPTIM.MAX_STEPS", 1, "DATASET.NUM_SHOTS", 1, "TEST.NO_TEST", True)
    assert train.main(toy.arguments(toy_root, tmp_path, "SoftCPT", *options)) == 0
    features, loss = stacks[:2]
    for stack, way in ((features, hops[:5]), (loss, [*hops[:4], hops[5]])):
        places = [stack.index((str(ROOT / path), function)) for path, function in way]
        assert places == sorted(places)
