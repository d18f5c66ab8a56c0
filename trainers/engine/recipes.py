"""Published recipes: `RECIPE published` trains a method as its authors do, by configs/recipes.yaml."""

from collections.abc import Iterator, Mapping
from typing import Any

from softcpt.evaluation.provenance import PROJECT_ROOT
from softcpt.files import read_yaml

FILE = PROJECT_ROOT / "configs" / "recipes.yaml"
KEY = "RECIPE"
RECIPES = ("equal", "published")


def rows_of(method: str, recipes: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """{key or name: row} of a method, each with its file. Those of the shared keys of the method that it is `like` come
    first, with the method's own file unless the row names one."""
    own = recipes[method]
    other = recipes[own["like"]]["rows"] if "like" in own else {}
    shared = {key: row for key, row in other.items() if "." in key and not key.startswith("TRAINER.")}
    return {key: {"file": own["file"], **row} for key, row in {**shared, **own["rows"]}.items()}


def at_shots(code: Any, shots: int) -> Any:
    """A row's `code` at a number of shots: that of the largest listed number up to `shots`, the largest for -1."""
    if not isinstance(code, Mapping):
        return code
    listed = code["shots"]
    return listed[max((n for n in listed if shots < 0 or n <= shots), default=min(listed))]


def published(method: str, shots: int, dataset: str) -> dict[str, Any]:
    """{config key: value} of a method's published recipe at `shots` images per class (-1: all) on the data set named
    `dataset`. {} for a method without one."""
    recipes = read_yaml(FILE)
    return dict(_values(rows_of(method, recipes), shots, dataset)) if method in recipes else {}


def _values(rows: Mapping[str, Mapping[str, Any]], shots: int, dataset: str) -> Iterator[tuple[str, Any]]:
    for key, row in rows.items():
        if "." in key and not row.get("keep"):
            yield key, row.get("datasets", {}).get(dataset, at_shots(row["code"], shots))
