"""Puts the project on the path and provides Dassl, before any test module is imported."""

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
