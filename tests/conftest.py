"""Puts the project on the path and provides Dassl, before any test module is imported."""

import builtins
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import compat  # noqa: E402

compat.ensure_dassl()

import torch  # noqa: E402

torch.set_num_threads(1)  # the test models are too small for more

import pytest  # noqa: E402


@pytest.fixture(scope="session")
def toy_root(tmp_path_factory):
    """A data root with the toy tasks."""
    import toy

    return toy.draw(tmp_path_factory.mktemp("data"))


@pytest.fixture
def without_package(monkeypatch):
    """A function of a package's name, after which importing the package fails."""
    own, missing = builtins.__import__, set()

    def import_the_others(name, *args, **kwargs):
        if name.split(".")[0] in missing:
            raise ImportError(f"No module named {name!r}")
        return own(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", import_the_others)
    return missing.add
