"""List the tasks of a data set, or merge the records of a run that trained once per task: SEPARATE=1 of methods.sh.

    python scripts/lib/tasks.py demo                 # a line per task: its folder's name, a tab, its DATASET.TASKS
    python scripts/lib/tasks.py demo --merge RUN     # RUN/results.json from RUN/tasks/<folder>/results.json

Your own tasks need --root.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from scripts.lib.command import one_line_errors  # first: the imports below take seconds

from scripts.lib.train_run import benchmark_tasks
from softcpt.evaluation.records import in_the_mean
from softcpt.files.texts import CONTROLS, counted, joined_names, plain
from softcpt.sweeps import task_folders
from softcpt.sweeps.calls import merge_folder
from softcpt.sweeps.jobs import selected_tasks


def result_lines(record: dict) -> str:
    """The values of a merged record, a line per task, and their mean."""
    rows = [(plain(task["name"]), task["metric"].replace("_", " "), task["value"]) for task in record["tasks"]]
    rows.append((f"mean over {counted(len(in_the_mean(record['tasks'])), 'task')}", "", record["metric"]))
    width = max(len(name) for name, *_ in rows)
    return "\n".join(
        f"{name:<{width}}  " + ("–" if value is None else f"{value:5.1f} % {metric}".rstrip())
        for name, metric, value in rows
    )


@one_line_errors(1)
def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", metavar="DATASET", help="name of a file in configs/datasets")
    parser.add_argument("--root", default="", help="folder of the data sets")
    parser.add_argument("--merge", type=Path, metavar="RUN", help="run folder in which all tasks are trained")
    args = parser.parse_args(argv)
    names = benchmark_tasks(args.dataset, args.root)
    if args.merge:
        merged = merge_folder(args.merge, names, selected_tasks(args.dataset))
        print(f"merged {args.merge}:\n{result_lines(merged)}")
        return
    odd = [name for name in names if CONTROLS.search(name)]
    if odd:
        raise ValueError(f"the task {odd[0]!r} cannot be trained alone: its name has control characters")
    print("\n".join(f"{folder}\t{joined_names([name])}" for name, folder in task_folders(names).items()))


if __name__ == "__main__":
    sys.exit(main())
