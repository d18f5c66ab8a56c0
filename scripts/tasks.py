"""The tasks of a data set, or one record from those of its tasks.

    python scripts/tasks.py demo                 # a line per task: its folder's name, a tab, its name
    python scripts/tasks.py demo --merge RUN     # RUN/results.json from RUN/tasks/<folder>/results.json

For SEPARATE=1 of the methods' scripts, which trains once per task. Tasks that are folders of yours need --root.
"""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import compat
from evaluation.predictions import merge_predictions
from evaluation.records import FILE_NAME, merge_tasks, write_record
from experiments.sweeps import TASKS_FOLDER, task_folders

ROOT = Path(__file__).resolve().parents[1]


def task_names(dataset: str, root: str = "") -> list[str]:
    """The names of the tasks of configs/datasets/<dataset>.yaml, in order.

    Those of a benchmark are declared, those of other data sets are read from disk. Raises ValueError and
    FileNotFoundError as the data set does, and ValueError for a name that DATASET.TASKS cannot take.
    """
    compat.ensure_dassl()
    from dassl.data.datasets import DATASET_REGISTRY

    import train  # here: importing it takes seconds
    from datasets.multitask import tasks_of

    file = str(ROOT / "configs" / "datasets" / f"{dataset}.yaml")
    cfg = train.setup_cfg(train.parse_args(["--dataset-config-file", file, "--root", root]))
    cls = DATASET_REGISTRY.get(cfg.DATASET.NAME)
    specs = getattr(cls, "specs", ())
    names = [spec.task_name for spec in specs] if specs else [task.name for task in tasks_of(cls(cfg))]
    odd = [name for name in names if "," in name]
    if odd:
        raise ValueError(f"{dataset}: the task {odd[0]!r} cannot be trained alone: DATASET.TASKS has names with commas")
    return names


def merge_folder(folder: Path, names: list[str]) -> None:
    """Write a run's results.json, and its predictions, from those of its tasks. Raises FileNotFoundError if a record is
    missing."""
    parts = [folder / TASKS_FOLDER / name for name in task_folders(names).values()]
    record = merge_tasks([json.loads((part / FILE_NAME).read_text(encoding="utf-8")) for part in parts])
    merge_predictions(folder, parts)
    write_record(folder / FILE_NAME, record)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", metavar="DATASET", help="name of a file in configs/datasets")
    parser.add_argument("--root", default="", help="folder of the data sets")
    parser.add_argument("--merge", type=Path, metavar="RUN", help="run folder whose tasks are all trained")
    args = parser.parse_args(argv)
    try:
        names = task_names(args.dataset, args.root)
        if args.merge:
            merge_folder(args.merge, names)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if not args.merge:
        print("\n".join(f"{folder}\t{name}" for name, folder in task_folders(names).items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
