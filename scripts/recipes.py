"""Write docs/recipes.md: each method's hyper-parameters, ours beside the paper's and the public code's.

    python scripts/recipes.py

Ours are read from the methods' configs, the rest from configs/recipes.yaml. Exit status: 0; 1 for a row that differs
from the public code without a reason.
"""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from scripts.lib.command import one_line_errors  # first: the imports below take seconds

from softcpt.evaluation.provenance import PROJECT_ROOT
from softcpt.files import read_yaml, write_atomically
from trainers.engine.config import build_cfg, read_files
from trainers.engine.recipes import FILE, at_shots, rows_of
from trainers.engine.same_config import plain
from trainers.engine.settings import flatten

PAGE = PROJECT_ROOT / "docs" / "recipes.md"
HEAD = """# Published recipes

Each method's hyper-parameters: ours, of `configs/methods` and `configs/trainers` (`rn50`, or `vit_b16` where the method
is published on it), the public code's, the paper's where it says otherwise, and the reason for each difference.
`python scripts/recipes.py` writes this page from the configs and `configs/recipes.yaml`.

By default (`RECIPE equal`) a method trains by our configs: the prompt-tuning methods of the paper's table have an equal
number of epochs. `RECIPE published` gives a run the values of the column "public code", those for its shots and its
data set; keys of the command win over them, and `config.yaml` has the values that they come to. For a number of shots
between the listed ones the next lower one counts, for all images the highest. Values by data set are for runs on that
data set alone, not for a benchmark of several tasks. *Kept* marks what `RECIPE published` leaves as ours.

    bash scripts/coop/main.sh oxford_pets 16 rn50 RECIPE published
    python scripts/sweep.py configs/sweeps/table1.yaml --benchmark oxford_pets --recipe published

A sweep's report names its methods `CoOp-CA, published`, and is kept in a folder of its own. The accuracy of the
published recipes was not measured here.
"""


def shown(value: Any) -> str:
    """A value as a cell of the table."""
    if isinstance(value, Mapping):
        groups: dict[str, list[str]] = {}
        for shots, here in value["shots"].items():
            groups.setdefault(shown(here), []).append(str(shots))
        return "; ".join(f"{here} at {', '.join(shots)}" for here, shots in groups.items()) + " shots"
    if isinstance(value, str):
        return f'"{value}"' if " " in value and "{}" in value else value or "empty"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def differs(row: Mapping[str, Any], ours: Any) -> bool:
    """Whether a row's public value is not ours, at some number of shots or on some data set."""
    code = row["code"]
    values = [at_shots(code, n) for n in code["shots"]] if isinstance(code, Mapping) else [code]
    return any(plain(value) != plain(ours) for value in [*values, *row.get("datasets", {}).values()])


def table(method: str, recipes: Mapping[str, Any]) -> Iterator[str]:
    """The lines of a method's table. Raises ValueError for a difference without a reason, or an unknown key."""
    config = recipes[method].get("config", "rn50")
    files = read_files(PROJECT_ROOT / f"configs/trainers/{method}/{config}.yaml")
    ours_of = flatten(build_cfg(files, {"TRAINER.NAME": method, "DATASET.NUM_SHOTS": 16}))
    yield "| | ours | public code | paper | source | reason |\n|---|---|---|---|---|---|"
    for key, row in rows_of(method, recipes).items():
        if "." in key and key not in ours_of:
            raise ValueError(f"{FILE}: {method}: unknown config key {key}")
        ours = plain(ours_of[key]) if "." in key else row["ours"]
        if differs(row, ours) and not row.get("reason"):
            raise ValueError(f"{FILE}: {method}: {key} is {ours!r}, not {row['code']!r}, and has no reason")
        own = "; ".join(f"{shown(value)} on {name}" for name, value in row.get("datasets", {}).items())
        reason = row["reason"] if differs(row, ours) else ""
        name = f"`{key}`" if "." in key else key
        name += " (*kept*)" if "." not in key or row.get("keep") else ""
        cells = name, shown(ours), "; ".join(filter(None, [shown(row["code"]), own])), row.get("paper", "")
        yield "| " + " | ".join([*map(str, cells), row["file"], reason]) + " |"


def page(recipes: Mapping[str, Any]) -> str:
    """The text of docs/recipes.md. Raises ValueError as `table`."""
    parts = [HEAD]
    for method, recipe in recipes.items():
        parts.append(f"## {method}\n\nSource: `{recipe['source']}`.\n\n" + "\n".join(table(method, recipes)) + "\n")
    return "\n".join(parts)


@one_line_errors(1)
def main(_argv: list[str] | None = None) -> int:
    write_atomically(PAGE, page(read_yaml(FILE)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
