"""The runs that a report shows: reading their records, naming them, and keeping repeated runs apart."""

import functools
import os
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path

from softcpt.evaluation.records import FILE_NAME, NOT_TESTED, is_of_one_task, read_record
from softcpt.files import PROMPTS
from softcpt.files.texts import plain

from ..sweeps import HALVES, Method, benchmark_of, for_halves, on_benchmark, with_steps
from ..sweeps.failures import FAILURE, failure_of
from .names import named_by_root, presentable, told_apart_by_settings
from .tables import method_name, tested

EVALUATION = " (evaluation)"  # suffix of a method's name if its runs evaluate prompts that other runs learned
NOT_RUNS = {PROMPTS, "tensorboard", "features"}  # folders without runs below them
NAMED = 5  # unfinished runs that are listed by name
ON_HALF = re.compile(r"^[^-]+(-(base|new)-classes|(-(base|new)-classes)?-(base|new)-tasks$)")  # a record's split
SHOTS = re.compile(r"_(-?\d+)shots$")  # end of a folder's name


def runs_below(
    folder: Path,
    methods: Sequence[Method] = (),
    steps: Mapping[int, int] | None = None,
    halves: str = "",
    folders: Collection[Path] | None = None,
    shots: Sequence[int] = (),
    reasons: Mapping[str, str] | None = None,
) -> tuple[list[dict], list[str]]:
    """The records of a report, each with its method's name in the key "method", and notes on the other runs.

    Args:
        methods: the methods of a sweep, to select their runs and to name them; () selects all runs.
        steps, halves: see `named_records`.
        folders: read only the runs in these folders; None reads all.
        shots: keep only runs at these numbers of shots, and those without training images; () keeps all.
        reasons: {label: why} of methods that have no runs, see `missing_methods`.

    Raises ValueError if no run is left, with the reasons.
    """
    records, left_out = readable_records(folder, folders)
    if methods:
        records = named_records(records, methods, steps, halves)
        left_out += missing_methods(records, methods, folders, _labels(methods, steps, halves), reasons or {})
    records = [record for record in records if not shots or record["shots"] in (0, *shots)]
    if not records:
        of = (" of this sweep" if methods else "") + (f" on halves of the {halves}" if halves else "")
        why = "".join(f"; {text}" for text in left_out)
        raise ValueError(f"{folder}: no results.json below this folder, so no finished run{of} to report{why}")
    if halves:  # their tables have the order of the records
        place = {method.label: i for i, method in enumerate(methods)}
        records.sort(key=lambda record: place[record["method"]])
    records, twice = told_apart(named_by_root(records))
    records, differing = told_apart_by_settings(records)
    return [presentable(record) for record in records], [plain(note) for note in (*left_out, *twice, *differing)]


def readable_records(folder: str | os.PathLike, runs: Collection[Path] | None = None) -> tuple[list[dict], list[str]]:
    """The records below `folder`, sorted by path, and notes on what cannot be read.

    There is a note for each file that is not a record of this schema, for instance because it is cut off, one for all
    runs that failed, with the reasons, and one for all others without a record. `runs` limits the search to these run
    folders.

    Raises FileNotFoundError if the folder does not exist.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder {folder}")
    paths, unfinished, failed = [], [], []
    for where, folders, files in os.walk(folder):
        path = Path(where, FILE_NAME)
        folders[:] = [name for name in folders if name not in NOT_RUNS]
        if runs is not None and path.parent not in runs and path.parent.parent.parent not in runs:
            continue
        if is_of_one_task(path, folder):
            failed += [where] * (FAILURE in files and FILE_NAME not in files)
        elif FILE_NAME in files:
            paths.append(path)
        elif FAILURE in files:
            failed.append(where)
        elif "config.yaml" in files:
            unfinished.append(where)
    records, left_out = [], []
    for path in sorted(paths):
        try:
            if not path.is_file():
                raise ValueError(f"{path}: not a regular file")
            records.append(read_record(path))
        except (ValueError, OSError) as error:
            left_out.append(str(error))
    untested = [record["path"] for record in records if record["split"] == NOT_TESTED]
    reasons = [f"{where}: {reason_of(Path(where))}" for where in sorted(failed)[:NAMED]]
    for what, some, names, comma in (
        ("failed runs", failed, reasons, "; "),
        ("runs trained on all images, and so not tested", untested, untested[:NAMED], ", "),
        (f"unfinished runs, without a {FILE_NAME}", unfinished, sorted(unfinished)[:NAMED], ", "),
    ):
        if some:
            more = ["..."] * (len(some) > NAMED)
            left_out.append(f"{what}: {len(some)} ({comma.join([*names, *more])})")
    return [record for record in records if record["split"] != NOT_TESTED], left_out


def reason_of(folder: Path) -> str:
    """Why a run failed, with the last line of its output; "" if it did not fail."""
    what, lines = failure_of(folder, 1)
    return ": ".join(filter(None, [what, *lines]))


def missing_methods(
    records: Iterable[Mapping],
    methods: Sequence[Method],
    folders: Collection[Path] | None,
    label_of: Callable[[Path, int], str],
    reasons: Mapping[str, str],
) -> list[str]:
    """A note for each method, on each benchmark of several, that has no record, with the reason where it is known.

    Args:
        records: with their labels in the key "method".
        folders: the run folders of the methods; None expects a run of every method.
        label_of: from `_labels`.
        reasons: {label: why} of methods that have no runs.
    """
    found = {(_run_of(Path(record["path"]))[0], record["method"]) for record in records}
    expected: dict[tuple[str, str], list[Path]] = {}
    for folder in folders or ():
        benchmark = _run_of(folder / FILE_NAME)[0]
        shots = next((int(match[1]) for part in folder.parts if (match := SHOTS.search(part))), 0)
        label = label_of(folder / FILE_NAME, shots)
        expected.setdefault((benchmark, label), []).append(folder)
    if folders is None:
        benchmarks = dict.fromkeys(benchmark for benchmark, _ in sorted(found)) or {"": None}
        expected = {(benchmark, method.label): [] for benchmark in benchmarks for method in methods}
    several = len({benchmark for benchmark, _ in expected}) > 1
    notes = [f"{label}: left out, {why}" for label, why in reasons.items()]
    for (benchmark, label), own in expected.items():
        if label and (benchmark, label) not in found and label not in reasons:
            tasks = [path for folder in own for path in sorted(folder.glob("tasks/*"))]
            why = next(filter(None, (reason_of(path) for path in (*own, *tasks))), "")
            where = f" on {benchmark}" if several else ""
            notes.append(f"{label}: no finished run{where}" + (f" ({why})" if why else ""))
    return notes


def named_records(
    records: Iterable[Mapping], methods: Sequence[Method], steps: Mapping[int, int] | None = None, halves: str = ""
) -> list[dict]:
    """The records whose run folders belong to `methods`, each with the method's label in the key "method".

    With `steps` ({shots: steps}) only runs with that budget are kept; with `halves` only runs on halves of the
    "classes" or "tasks", and without it none of them.
    """
    label_of = _labels(methods, steps, halves)
    found = [{**record, "method": label_of(Path(record["path"]), record["shots"])} for record in records]
    return [record for record in found if record["method"]]


def _labels(methods: Sequence[Method], steps: Mapping[int, int] | None, halves: str) -> Callable[[Path, int], str]:
    """A function of a record's file and its shots: the label of its method, "" for none; see `named_records`."""

    @functools.cache
    def labels(benchmark: str, shots: int) -> dict[tuple[str, str], str]:
        own = for_halves(on_benchmark(methods, benchmark), halves)
        runs = [with_steps(method, (steps or {}).get(shots, 0)) for method in own]
        return {(run.trainer, run.run_label or "default"): run.label for run in runs}

    def label_of(path: Path, shots: int) -> str:
        benchmark, trainer, variant, half = _run_of(path)
        if half.partition("-")[2] != halves or (steps and shots and shots not in steps):
            return ""
        return labels(benchmark, shots).get((trainer, variant), "")

    return label_of


def _run_of(path: Path) -> tuple[str, str, str, str]:
    """Benchmark, trainer, variant and half ("" for none) of a record's file,
    <benchmark>/<trainer>/<config>_<shots>shots/<variant>[/<half>]/seed<n>/results.json."""
    parts = ["", *path.absolute().parts[:-2]]
    half = parts.pop() if re.fullmatch(f"(base|new)-({'|'.join(HALVES)})", parts[-1]) else ""
    benchmark, trainer, _, variant = [*[""] * 3, *parts][-4:]
    return benchmark_of(benchmark), trainer, variant, half


def told_apart(records: Iterable[Mapping]) -> tuple[list[dict], list[str]]:
    """The records, each with a name in the key "method", so that no name has the same run twice; and a note for each
    name that was changed.

    A run that evaluates the prompts of another run is called "<name> (evaluation)", except on new classes or tasks,
    where every run is an evaluation. If two folders hold the same run, the second, by path, is called
    "<name> [<the part of the path that differs>]". So no mean contains a run twice.
    """
    copies = [dict(record) for record in records]
    first: dict[tuple, dict] = {}
    twins: dict[str, list[tuple[dict, dict]]] = {}
    for record in sorted(copies, key=lambda record: (bool(record["loaded_from"]), record.get("path", ""))):
        name = method_name(record)
        if record["loaded_from"] and not ON_HALF.match(record["split"]):
            name += EVALUATION
        twin = first.setdefault((*_run(record), name), record)
        if twin is not record:
            same, name = name, f"{name} [{_difference(twin['path'], record['path'])}]"
            if first.setdefault((*_run(record), name), record) is not record:
                name = f"{same} [{Path(record['path']).parent}]"
                first[(*_run(record), name)] = record
            twins.setdefault(name, []).append((twin, record))
        record["method"] = name
    notes = [
        f"{name}: runs that are in two folders, {len(pairs)} in all, e.g. {pairs[0][1]['path']} and "
        f"{pairs[0][0]['path']}; they are kept apart (TRAINER.LABEL names a run)"
        for name, pairs in twins.items()
    ]
    return copies, notes


def _run(record: Mapping) -> tuple:
    """The values that identify a run of a method."""
    on_half = ON_HALF.match(record["split"])  # the tables of halves have one section for all lists of tasks
    run = (*(record[key] for key in ("dataset", "backbone", "split", "shots", "seed")),)
    return (*run, "" if on_half else tested(record["tasks"]))


def _difference(path: str, other: str) -> str:
    """The first part of `other` that differs from the same part of `path`."""
    parts = zip(Path(path).parts, Path(other).parts)
    return next((theirs for ours, theirs in parts if ours != theirs), str(Path(other).parent))
