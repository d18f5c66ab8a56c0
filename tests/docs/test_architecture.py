"""docs/architecture.md: which package may import which, and the path from the command line to the loss."""

import ast
import inspect
import re
import traceback

import pytest
import toy
from dassl.engine import TRAINER_REGISTRY
from packages import direct, drawing, imported, imports

import train
from trainers.base import PromptTrainer
from trainers.engine import losses
from trainers.softcpt import SoftCPT

ROOT = train.PROJECT_ROOT
SECTION = re.compile(r"^## From the command line to the loss\n(.*?)^## ", re.M | re.S)
HOP = re.compile(r"^\d\. `([\w/.]+)`, `(\w+)`", re.M)


PACKAGES = imports()


def test_no_package_imports_one_above_it():
    """RecursionError where packages import in a circle."""
    direct(PACKAGES)
    library = {name: below for name, below in PACKAGES.items() if name.startswith("softcpt")}
    assert {name: {o for o in below if not o.startswith("softcpt")} for name, below in library.items()} == {
        name: set() for name in library
    }
    assert PACKAGES["datasets"] <= set(library)
    for name, below in PACKAGES.items():
        assert name == "scripts" or "scripts" not in below, name


def test_circle_is_found():
    with pytest.raises(RecursionError):
        direct({"a": {"b"}, "b": {"a"}})
    assert direct({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == {"a": {"b"}, "b": {"c"}, "c": set()}


def test_library_needs_no_dassl():
    for path in (ROOT / "softcpt").rglob("*.py"):
        assert not {name.partition(".")[0] for name in imported(path)} & {"dassl", "yacs", "compat"}, path


def test_picture_of_the_packages_is_true():
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    assert f"```mermaid\n{drawing()}\n```" in text, drawing()


@pytest.mark.parametrize("package", [name for name in PACKAGES if (ROOT / name).is_dir() and name != "scripts"])
def test_each_package_has_a_docstring(package):
    assert ast.get_docstring(ast.parse((ROOT / package / "__init__.py").read_text(encoding="utf-8")))


def test_reports_need_neither_pytorch_nor_dassl():
    for package in ("sweeps", "executors", "reports"):
        for path in (ROOT / "softcpt" / package).rglob("*.py"):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            top = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
            names = {getattr(node, "module", None) or node.names[0].name for node in top}
            assert not {name for name in names if name.partition(".")[0] in ("torch", "dassl", "submitit")}, path


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
