"""The runs of one method, one after the other: what scripts/<method>/main.sh and scripts/base2new.sh call.

    python scripts/lib/methods.py coop DATASET SHOTS [CFG] [KEY VALUE ...]
    python scripts/lib/methods.py base2new coop DATASET SHOTS [CFG] [KEY VALUE ...]

Environment: DATA (folder of the data sets), OUT (folder of the results), SEEDS, VARIANT, and SEPARATE=1 to train once
per task, as the paper's baselines are trained, and merge the results of the tasks into one record. --data-changed and
--test-again are those of train.py. Folders and calls of train.py are those of a sweep; finished runs are skipped.
Exit status: 0; 1 if data or weights are missing; 2 for wrong arguments, or a finished run of other data or of another
config; the status of train.py where a run fails.
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from scripts.lib.command import one_line_errors  # first: the imports below take seconds

from scripts.lib.method_calls import FLAGS, Call, UsageError, base_to_new, method_scripts, names
from scripts.lib.queries import backbones_of, benchmark_tasks, missing, other_runs, refusal
from softcpt.evaluation.provenance import PROJECT_ROOT as ROOT
from softcpt.evaluation.records import in_the_mean
from softcpt.files.texts import counted, plain
from softcpt.sweeps.calls import merge_folder, steps_of
from softcpt.sweeps.jobs import DATASETS, Job, selected_tasks


def usage(script: str) -> str:
    if script == "base2new":
        called, methods = "base2new.sh METHOD DATASET SHOTS", f"\n  METHOD: {' '.join(method_scripts())}"
        return f"usage: [TASKS=1] bash scripts/{called} [CFG] [KEY VALUE ...]{methods}"
    shots = "" if script == "zeroshot" else "SHOTS "
    return f"usage: bash scripts/{script}/main.sh DATASET {shots}[CFG] [KEY VALUE ...]\n  DATASET: {names(DATASETS)}"


def make(jobs: Sequence[Job], data: str, out: str, flags: Sequence[str]) -> int:
    """Make the runs that are not finished, one after the other, and merge those that are trained once per task. Returns
    the exit status. Raises FileNotFoundError if data or weights are missing."""
    tasks_of = cache(lambda benchmark: benchmark_tasks(benchmark, data))
    steps = [steps_of(job, data, out, tasks_of, each=bool(flags)) for job in jobs]
    finished = [step for own in steps for step in own if step.finished and not flags]
    others = other_runs(finished) if finished else {}
    for text in others.values():
        print(f"error: {plain(text)}", file=sys.stderr)
    if others:
        print("Here OUT=FOLDER chooses the --output-dir; a flag named above is added to this command", file=sys.stderr)
        return 2
    checked = False
    for job, own in zip(jobs, steps):
        for step in own:
            if step.finished and not flags:
                print(done_before(step.folder), flush=True)
                continue
            if not checked and (lacking := missing([job.benchmark], data, backbones_of(jobs))):
                raise FileNotFoundError(refusal(lacking))
            checked = True
            if status := train([*step.arguments, *flags]):
                return status
        if own[0].task:
            record = merge_folder(job.folder(out), tasks_of(job.benchmark), selected_tasks(job.benchmark))
            print(f"merged {job.folder(out)}:\n{result_lines(record)}", flush=True)
    return 0


def train(arguments: Sequence[str]) -> int:
    """Call train.py in a process of its own. Returns its exit status, as a shell does. After Ctrl-C, which reaches that
    process, too, this one waits for it to end."""
    with subprocess.Popen([sys.executable, "train.py", *arguments], cwd=ROOT) as process:
        while process.poll() is None:
            with contextlib.suppress(KeyboardInterrupt):
                process.wait()
    return process.returncode if process.returncode >= 0 else 128 - process.returncode


def done_before(folder: Path) -> str:
    from trainers.engine import earlier  # which has compared the run, so that PyTorch is there

    return earlier.done_before(folder)


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
def main(argv: list[str] | None = None) -> int:
    script, *words = sys.argv[1:] if argv is None else argv
    flags, words = [word for word in words if word in FLAGS], [word for word in words if word not in FLAGS]
    both_halves = script == "base2new"
    try:
        if both_halves:
            if len(words) < 3:
                raise UsageError
            if words[0] not in method_scripts():
                raise ValueError(f"no method {words[0]}; one of {' '.join(method_scripts())}")
            script, *words = words
        call = Call(script, words, dict(os.environ))
        jobs = base_to_new(call) if both_halves else call.jobs()
    except ValueError as error:
        lines = [f"error: {error}"] * bool(str(error)) + [usage(script)] * isinstance(error, UsageError)
        print(plain("\n".join(lines), keep="\n"), file=sys.stderr)
        return 2
    status = make(jobs, call.data, call.out, flags)
    if status or not both_halves:
        return status
    from scripts.base2new import main as print_tables  # here: it takes pandas

    place, halves = f"{call.out}/{jobs[0].place}", jobs[0].half.partition("-")[2]
    return print_tables([place, "--halves", halves, "--shots", words[1]])


if __name__ == "__main__":
    sys.exit(main())
