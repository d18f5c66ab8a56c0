"""docs/figures.py draws the figures of the documentation, and they show the project as it is."""

import re

import pytest
from rooms import CALLS_TRAINING, MAY_IMPORT, ROOMS

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
    assert drawn == ["house.svg", "method.svg"]
    for name in drawn:
        assert parts(tmp_path / name) == parts(ROOT / "docs" / name), "run python docs/figures.py"


def test_house_shows_the_rooms_and_imports(figures):
    ids, words = parts(ROOT / "docs/house.svg")
    assert {name.removeprefix("room-") for name in ids if name.startswith("room-")} == ROOMS <= words
    arrows = [name.split("-")[1:] for name in ids if name.startswith("import-")]
    assert len(arrows) > 8
    lazy = {path.partition("/")[0]: names for path, names in CALLS_TRAINING.items()}
    assert not [pair for pair in arrows if pair[1] not in MAY_IMPORT.get(pair[0], ROOMS) | lazy.get(pair[0], set())]
    floor = figures.floors(figures.imports())
    assert all(floor[above] > floor[below] for above, below in arrows)


def test_implied_arrow_is_left_out(figures):
    assert figures.direct({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == {"a": {"b"}, "b": {"c"}, "c": set()}
    assert figures.floors({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == {"a": 2, "b": 1, "c": 0}
    with pytest.raises(RecursionError):
        figures.floors({"a": {"b"}, "b": {"a"}})
