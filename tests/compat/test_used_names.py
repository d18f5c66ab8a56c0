"""compat/dassl offers exactly what the CoOp family (used_names.txt) and this project use."""

import ast
import functools
import importlib
import re
from pathlib import Path

from dassl.config import get_cfg_default
from dassl_toy import build

import train

HERE = Path(__file__).parent
LINES = [line for line in (HERE / "used_names.txt").read_text().splitlines() if line and line[0] != "#"]
IMPORTED = [line for line in LINES if line.startswith("dassl.")]
ATTRIBUTES = [line.split(".") for line in LINES if re.match(r"[A-Z][a-z]", line)]
KEYS = dict(line.partition(" ")[::2] for line in LINES if re.match(r"[A-Z]{2}", line))
OTHERWISE = {"emit", "get_lr", "Classification"}  # called by logging and PyTorch, or named in a default
COMPAT = train.PROJECT_ROOT / "compat/dassl"


def leaves(node, prefix=""):
    """The dotted keys of a config."""
    for key, value in node.items():
        yield from leaves(value, f"{prefix}{key}.") if isinstance(value, dict) else [prefix + key]


@functools.cache
def trees():
    """Path and syntax tree of each source file of the project; tests do not count as users."""
    folders = [path for path in train.PROJECT_ROOT.iterdir() if path.name not in ("tests", "docs")]
    paths = [path for folder in folders if folder.name[0] != "." for path in folder.rglob("*.py")]
    return [(path, ast.parse(path.read_text(encoding="utf-8"))) for path in (*paths, *train.PROJECT_ROOT.glob("*.py"))]


def names_used(tree):
    """Names that a file imports, calls or reads."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.Name):
            yield node.id


def test_imports_of_the_coop_family_exist():
    missing = []
    for module, _, name in (line.rpartition(".") for line in IMPORTED):
        missing += [] if hasattr(importlib.import_module(module), name) else [f"{module}.{name}"]
    assert IMPORTED and missing == []


def test_configs_and_attributes_of_the_coop_family_work(cfg):
    size = cfg.INPUT.SIZE
    assert set(KEYS) <= set(leaves(get_cfg_default()))
    for key, names in KEYS.items():
        if names:
            cfg.merge_from_list([key, names.split() if key == "INPUT.TRANSFORMS" else names])
    cfg.INPUT.SIZE, cfg.OPTIM.MAX_EPOCH = size, 1
    trainer = build(cfg)
    trainer.train()
    dataset = trainer.dm.dataset
    objects = {"TrainerX": trainer, "DataManager": trainer.dm, "EvaluatorBase": trainer.evaluator}
    objects |= {"DatasetBase": dataset, "Datum": dataset.train_x[0]}
    assert len(ATTRIBUTES) > 30
    assert [names for names in ATTRIBUTES if not hasattr(objects[names[0]], names[1])] == []


def test_compat_offers_nothing_unused():
    used = {name.rpartition(".")[2] for name in IMPORTED} | {name for _, name in ATTRIBUTES} | OTHERWISE
    offered = set()
    for path, tree in trees():
        if COMPAT not in path.parents or path.name != "__init__.py":  # which only re-export names
            used |= set(names_used(tree))
        if COMPAT in path.parents:
            nodes = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)]
            offered |= {node.name for node in nodes if not node.name.startswith("_")}
    assert len(offered) > 50
    assert offered - used == set()


def test_every_config_key_is_used():
    read = set()
    for path, tree in trees():
        read |= set(names_used(tree)) if path != COMPAT / "config.py" else set()
    assert [key for key in leaves(get_cfg_default()) if key not in KEYS and key.rpartition(".")[2] not in read] == []
