"""Fixtures of the tests of several libraries."""

import shutil
from pathlib import Path

import huggingface_hub
import miniatures
import open_clip
import pytest

SMALL = {"embed_dim": 64, "vision_cfg": miniatures.VISION, "text_cfg": miniatures.TEXT}


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


@pytest.fixture
def tags(monkeypatch):
    """Gives open_clip an architecture "mini" with these tags."""

    def give(**facts):
        monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "mini", SMALL)
        monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "mini", facts)

    return give


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A cache of huggingface_hub's, and a function that puts a folder there as a repository."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))

    def put(repo, folder):
        there = tmp_path / "cache" / f"models--{repo.replace('/', '--')}"
        (there / "refs").mkdir(parents=True)
        (there / "refs" / "main").write_text("0123abcd")
        return shutil.copytree(folder, there / "snapshots" / "0123abcd")

    return put
