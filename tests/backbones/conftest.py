"""Fixtures of the tests of several libraries."""

import shutil
from pathlib import Path

import miniatures
import pytest


@pytest.fixture(scope="session")
def miniature(tmp_path_factory):
    """A function of a family: its miniature, made once."""
    folder = tmp_path_factory.getbasetemp() / "miniatures"
    return lambda family: miniatures.make(family, folder)


@pytest.fixture
def copied(miniature, tmp_path):
    """A function of a family: a copy of its miniature's folder, which a test may change; of `only` some files."""

    def copy(family, only=()):
        source = Path(miniature(family).name.removeprefix("open_clip:"))
        ignored = [path.name for path in source.iterdir() if only and path.name not in only]
        return shutil.copytree(source, tmp_path / family, ignore=lambda *_: ignored)

    return copy
