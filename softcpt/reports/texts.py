"""Numbers and names as texts: the cells, columns and titles of reports."""

import re
import textwrap
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePath

import pandas as pd

from softcpt.files.texts import counted, markdown_text

MISSING = "–"
NUMBER = re.compile(rf"[<>]? ?[+-]?\d|{MISSING}$")  # the beginning of a number's cell
TESTED = re.compile(r"(?<=\)), ")  # between the tasks of `tables.tested`
MOST_TESTS = 3  # tasks that a title names


def cell(mean: float, sd: float, n: int, usual: int) -> str:
    """ "45.6 ± 1.5", with the number of seeds if it is not the usual one."""
    if n == 0:
        return MISSING
    return f"{mean:.1f}" + (f" ± {sd:.1f}" if n > 1 else "") + (f" (n={n})" if n != usual else "")


def shots_name(shots: int) -> str:
    """A number of shots in words."""
    return {0: "zero-shot", -1: "all images"}.get(shots, counted(shots, "shot"))


def shots_order(shots: int) -> float:
    """A sort key: -1, all images, comes last."""
    return float("inf") if shots < 0 else shots


def duration(seconds: float) -> str:
    """Seconds in the unit that reads best."""
    if not seconds > 0:  # also NaN, the unknown time of a resumed run
        return MISSING
    if seconds < 120:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def cost_columns(rows: pd.DataFrame) -> pd.DataFrame:
    """Parameters, steps, training and memory of the rows' methods, as texts."""
    texts = {
        "parameters": ["0" if value == 0 else count(value) for value in rows["parameters"]],
        "steps": [count(value) for value in rows["steps"]],
        "training": [duration(value) for value in rows["train_seconds"]],
        "memory": [memory_size(value) for value in rows["peak_memory_bytes"]],
    }
    return pd.DataFrame(texts, index=rows.index)


def count(number: float) -> str:
    """A number of steps or parameters; a dash for 0 and NaN."""
    return f"{number:,.0f}" if number > 0 else MISSING


def memory_size(size: float) -> str:
    """Bytes in GB (10^9)."""
    return f"{size / 1e9:.2f} GB" if size > 0 else MISSING


def cost_note(devices: Iterable[str]) -> str:
    """What the columns of costs mean, for runs on `devices`."""
    devices = sorted({name for text in devices for name in text.split(", ") if name})
    kinds = ["resident on a CPU (with PyTorch itself)"] if "cpu" in devices or not devices else []
    kinds += ["allocated on a GPU"] if devices != ["cpu"] else []
    measured = f" Measured on: {', '.join(devices)}." if devices else ""
    return (
        "The parameters are those that are trained; a step is a batch. Training is the time without the test and "
        f"without filling feature caches; memory is the peak of a run's process, {' and '.join(kinds)}. If a method is "
        f"trained once per task, parameters, steps and times are summed, and memory is the largest.{measured}"
    )


def wrapped(name: str, width: int = 30, lines: int = 3) -> str:
    """A name in at most so many lines for a picture; of a longer one the middle is left out."""
    found = textwrap.wrap(name, width) or [name]
    return "\n".join(found if len(found) <= lines else [*found[: lines - 1], "…" + name[1 - width :]])


def sides(table: pd.DataFrame) -> list[str]:
    """For each column "left" if it holds names, as the first always does, else "right": numbers."""
    named = [any(not NUMBER.match(str(cell)) for cell in table.iloc[:, i]) for i in range(table.shape[1])]
    return ["left" if i == 0 or names else "right" for i, names in enumerate(named)]


def markdown(table: pd.DataFrame) -> str:
    """A table in Markdown that also reads well in a terminal."""
    aligned = sides(table)
    table = table.map(markdown_text).rename(columns=markdown_text)
    return table.to_markdown(index=False, disable_numparse=True, colalign=aligned)


def section_title(name: Mapping[str, str]) -> str:
    """Data set, backbone and split; in a report, its own "title", see `section_titles`."""
    own = f"{name['dataset']}, {backbone_title(name['backbone'])}, {name['split']} set"
    return name.get("title") or own


def section_titles(names: Sequence[Mapping[str, str]]) -> list[str]:
    """The titles of a report's sections. Those that would be equal say how they differ: in the file of the backbone, or
    in the tasks and their test images."""
    titles = [section_title(name) for name in names]
    for title in [title for title, count in Counter(titles).items() if count > 1]:
        places = [i for i, own in enumerate(titles) if own == title]
        backbones = [names[i]["backbone"] for i in places]
        tests = [TESTED.split(names[i].get("tested", "")) for i in places]
        common = set(tests[0]).intersection(*tests[1:])
        for i, backbone, own in zip(places, backbones, tests):
            words = [f"backbone {backbone}"] * (len(set(backbones)) > 1)
            if len(set(map(tuple, tests))) > 1:
                words.append(_tests_in_words([test for test in own if test not in common], len(own)))
            titles[i] = "; ".join([title, *words])
    return titles


def _tests_in_words(different: Sequence[str], count: int) -> str:
    """What a section tests: the tasks that another section does not test or not on as many images."""
    more = f" and {len(different) - MOST_TESTS} more" if len(different) > MOST_TESTS else ""
    named = f"{', '.join(different[:MOST_TESTS])}{more}"
    if len(different) == count:
        return f"tested on {named}"
    return f"tested on {counted(count, 'task')}" + (f", among them {named}" if different else "")


def backbone_title(name: str) -> str:
    """A backbone's name without the folders of its file: "models/tiny.npz@gelu" becomes "tiny", "open_clip:RN50
    models/a.pt" becomes "open_clip:RN50 a", and "hf-hub:owner/model" stays."""
    head, gap, file = name.partition(" ") if name.startswith("open_clip:") else ("", "", name)
    path = PurePath(re.sub("@(quick)?gelu$", "", file))
    if path.suffix in (".pt", ".pth", ".bin", ".npz", ".safetensors"):
        return head + gap + path.stem
    return head + gap + (path.name if path.is_absolute() or file.startswith((".", "~")) else file)
