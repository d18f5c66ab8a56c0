"""docs/figures.py draws the figures of the documentation, and they show the project as it is."""

import re

import pytest

import train

ROOT = train.PROJECT_ROOT


@pytest.fixture
def figures(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    import figures

    return figures


def parts(path):
    """The ids of a picture's rooms and imports, and its words."""
    text = path.read_text(encoding="utf-8")
    return set(re.findall(r'id="((?:room|import)-[\w-]+)"', text)), set(re.findall(r"<!-- (.*?) -->", text, re.S))


def test_figures_match_the_script(figures, tmp_path):
    figures.main(tmp_path)
    drawn = sorted(path.name for path in tmp_path.iterdir())
    assert drawn == ["method.svg"]
    for name in drawn:
        assert parts(tmp_path / name) == parts(ROOT / "docs" / name), "run python docs/figures.py"
