"""Train every method of a sweep on a benchmark, several runs at a time, and report.

    python scripts/sweep.py configs/sweeps/table1.yaml --benchmark demo
    python scripts/sweep.py configs/sweeps/table1.yaml --benchmark demo --steps 50 350 1500    # at equal steps
    python scripts/sweep.py configs/sweeps/table1.yaml --benchmark demo --halves tasks --shots 4    # on unseen tasks
    python scripts/sweep.py configs/sweeps/paper.yaml --on slurm --time 240 --gpus 1    # the paper's, as SLURM jobs
    python scripts/sweep.py configs/sweeps/paper.yaml --status

Runs = methods x benchmarks x shots x seeds. docs/protocol.md says what they have in common, docs/sweeps.md how to run
them on one machine or on a cluster. The state of a sweep is read from disk: a run with a results.json is skipped, an
interrupted one is resumed, a failed one starts again, and one that another process runs is left alone. So the same
command continues a stopped sweep. The runs are those of scripts/<method>/main.sh and, with --halves,
scripts/base2new.sh, each in a process of its own.
Exit status: 0; 1 if a run failed (the others go on); 2 for wrong arguments; 130 after Ctrl-C.
"""

import argparse
import contextlib
import os
import shlex
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from scripts.lib.command import one_line_errors  # first: the imports below take seconds

from scripts.lib.queries import device_names, refusal
from scripts.lib.sweep_arguments import parse_args
from scripts.lib.sweep_runs import Sweep
from softcpt.executors import LocalExecutor, SlurmExecutor, arrays_of, prepare
from softcpt.files.texts import counted
from softcpt.sweeps.calls import status_report
from softcpt.sweeps.totals import totals

MOST_JOBS = 8  # runs at a time on a CPU, unless --jobs says otherwise


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """Let SIGTERM end the runs as Ctrl-C does. (Shells make background processes ignore Ctrl-C.)"""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def executor_of(args: argparse.Namespace, cores: int, context: object) -> LocalExecutor | SlurmExecutor:
    """The executor that --on names. Raises ValueError for --per-gpu without a GPU."""
    if args.on == "slurm":
        return SlurmExecutor(args.to / "slurm", args.job_options, args.jobs)
    with LocalExecutor(1, [], context) as own:
        devices = own.submit(device_names).result()
    if args.per_gpu and not devices:
        raise ValueError(f"--per-gpu is {args.per_gpu}, but there is no GPU; --jobs is the number of runs at a time")
    at_a_time = len(devices) * (args.per_gpu or 1)
    return LocalExecutor(args.jobs or at_a_time or min(cores, MOST_JOBS), devices, context)


def dry_lines(sweep: Sweep) -> list[str]:
    """The calls of train.py that are left, then, as a shell's comments, the totals and SLURM's job arrays."""
    args, steps = sweep.args, sweep.to_do()
    lines = [shlex.join(["python", "train.py", *step.arguments]) for step in steps] or ["all is done"]
    comments = totals(sweep.steps, steps, sweep.missing(steps) if steps else [])
    if args.on == "slurm":
        for own in ([step for step in steps if not step.loads], [step for step in steps if step.loads]):
            comments += arrays_of(len(own), args.job_options, args.jobs)
    return [*lines, *(f"# {line}" for line in comments)]


def run_sweep(args: argparse.Namespace) -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    context = prepare(max(1, cores // (args.jobs or min(cores, MOST_JOBS))))

    def elsewhere(function, *arguments):
        with LocalExecutor(1, [], context) as executor:
            return executor.submit(function, *arguments).result()

    sweep = Sweep(args, elsewhere)
    refused = sweep.refused()
    if args.status:
        print(status_report(sweep.steps, sweep.queue))
        return 0
    if args.dry:
        print("\n".join([*dry_lines(sweep), *(f"# {line}" for line in refused)]))
        return 0
    sweep.merge_all()
    steps = sweep.to_do()
    lacking = sweep.missing(steps) if steps else []
    if lacking:
        raise FileNotFoundError(refusal(lacking))
    with terminable():
        failed = refused + (sweep.run(steps, executor_of(args, cores, context)) if steps else [])
    if failed:
        runs = counted(len(steps) + len(refused), "run")
        print(f"{len(failed)} of {runs} failed:", *failed, sep="\n  ", file=sys.stderr)
    if refused:
        print("--out FOLDER chooses another --output-dir; a run whose folder is removed is made again", file=sys.stderr)
    sweep.report()
    return 1 if failed else 0


@one_line_errors(1, ImportError)
def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv, __doc__)
    try:
        return run_sweep(args)
    except KeyboardInterrupt:
        print("\nstopped; the same command continues", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
