"""Train every method of a sweep on a benchmark, several runs side by side, and report.

    python scripts/sweep.py configs/sweeps/table1.yaml --benchmark demo
    python scripts/sweep.py configs/sweeps/table1.yaml --benchmark demo --steps 50 350 1500    # at equal steps
    python scripts/sweep.py configs/sweeps/table1.yaml --benchmark demo --halves tasks --shots 4    # on unseen tasks

Runs = methods x shots x seeds of the yaml; what is equal in them: docs/protocol.md. What is done is read from disk: a
run with a results.json is skipped, one that was cut off resumes, so the same command continues a sweep that was
stopped. The runs are those of scripts/<method>/main.sh and, for --halves, scripts/base2new.sh: each is a process of
train.py, forked from one that has imported it.
Exit status: 0; 1 if a run failed (the others go on); 2 for wrong arguments; 130 after Ctrl-C.
"""

import argparse
import contextlib
import difflib
import functools
import os
import re
import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from processes import call, prepare, run_steps, start_training
from tasks import merge_folder, task_names

from evaluation.records import FILE_NAME
from experiments.sweeps import (
    HALVES,
    Job,
    Method,
    default_config,
    for_halves,
    leaving_out,
    on_backbone,
    on_benchmark,
    plan,
    read_sweep,
    task_folders,
    without_config,
)

ROOT = Path(__file__).resolve().parents[1]
MOST_JOBS = 8  # runs at a time on a CPU, unless --jobs says otherwise


@dataclass(frozen=True)
class Step:
    """A call of train.py: a job, or its part on one task."""

    job: Job
    task: str
    folder: Path
    arguments: list[str]

    @property
    def done(self) -> bool:
        return (self.folder / FILE_NAME).is_file()

    @property
    def loads(self) -> bool:
        """Whether it evaluates what another step has trained."""
        return self.job.trained != self.job

    def loaded_from(self, out: str) -> Path:
        """The run folder of that step."""
        return self.job.trained.folder(out, self.folder.name if self.task else "")

    def __str__(self) -> str:
        return f"{self.job}" + (f", task {self.task}" if self.task else "")


def steps_of(job: Job, data: str, out: str, tasks: Sequence[str]) -> list[Step]:
    """The calls of train.py that a job needs, whether done or not."""
    if not job.method.separate:
        return [Step(job, "", job.folder(out), job.arguments(data, out))]
    return [
        Step(job, task, job.folder(out, name), job.arguments(data, out, task, name))
        for task, name in task_folders(tasks).items()
    ]


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("sweep", type=Path, metavar="SWEEP.yaml", help="e.g. configs/sweeps/table1.yaml")
    add("--benchmark", required=True, help="name of a file in configs/datasets")
    add("--out", default=ROOT / "output", help="folder of the results")
    add("--data", default=ROOT / "data", help="folder of the data sets")
    add(
        "--to",
        type=Path,
        help="folder of the report (default: OUT/BENCHMARK/<sweep>[-steps][-HALVES][-BACKBONE])",
    )
    add("--jobs", type=int, help="runs at a time (default: one per GPU, or per core and 8 at most)")
    add("--config", help="the methods' config, e.g. vit_b16; one that has none is left out (default: tiny or rn50)")
    add("--backbone", default="", help="MODEL.BACKBONE.NAME of all methods (default: that of their config)")
    add("--shots", type=int, nargs="+", default=[1, 4, 16])
    add("--seeds", type=int, nargs="+", default=[1, 2, 3])
    add("--steps", type=int, nargs="+", help="optimiser steps of every run, one number or one for each of --shots")
    add("--halves", choices=HALVES, default="", help="train on the base half, test on it and on the new one")
    add("--dry-run", action="store_true", help="print the calls of train.py that are left to do, and stop")
    add("--paper", action="store_true", help="the paper's numbers beside those of its benchmarks")
    args = parser.parse_args(argv)
    args.out, args.data = (os.path.abspath(os.path.expanduser(path)) for path in (args.out, args.data))
    args.config = args.config or default_config(args.benchmark)
    names = [args.sweep.stem, "steps" if args.steps else "", args.halves, re.sub(r"\W+", "-", args.backbone).strip("-")]
    args.to = args.to or Path(args.out, args.benchmark, "-".join(filter(None, names)))
    known = sorted(path.stem for path in (ROOT / "configs/datasets").glob("*.yaml"))
    if args.benchmark not in known:
        near = difflib.get_close_matches(args.benchmark, known, n=1)
        parser.error(
            f"no benchmark {args.benchmark!r}" + (f"; did you mean {near[0]}?" if near else f": {', '.join(known)}")
        )
    if args.jobs is not None and args.jobs < 1:
        parser.error(f"--jobs is {args.jobs}; it must be at least 1")
    if args.paper and args.halves:
        parser.error("--paper: the paper's table has no numbers of --halves")
    args.steps = steps_by_shots(args, parser.error)
    return args


def steps_by_shots(args: argparse.Namespace, error: Callable[[str], NoReturn]) -> dict[int, int]:
    """{shots: steps}, {} where the methods' epochs are trained."""
    steps = args.steps or []
    if any(count < 1 for count in steps):
        error(f"--steps is {' '.join(map(str, steps))}; a number of steps is at least 1")
    if len(steps) not in (0, 1, len(args.shots)):
        error(f"--steps has {len(steps)} numbers; give one, or one for each of --shots")
    return dict(zip(args.shots, steps * len(args.shots) if len(steps) == 1 else steps))


def gpu_names() -> list[str]:
    """The GPUs that runs may use, as CUDA_VISIBLE_DEVICES names them."""
    import torch

    named = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    count = torch.cuda.device_count()
    return named[:count] or [str(i) for i in range(count)]


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """Let a request to terminate end the runs as Ctrl-C does, in the background too, where that is ignored."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def jobs_to_do(args: argparse.Namespace, methods: Sequence[Method]) -> list[Job]:
    """The jobs without a record; says which methods have none at all."""
    for label, configs in without_config(methods, args.config).items():
        print(f"{label} is left out: it has no config {args.config}, but {', '.join(configs)}", file=sys.stderr)
    able = [method.label for method in for_halves(methods, args.halves)]
    for method in methods:
        if method.label not in able:
            print(f"{method.label} is left out: it does not serve new {args.halves}", file=sys.stderr)
    jobs = plan(methods, args.benchmark, args.shots, args.seeds, args.config, args.steps, args.halves)
    return [job for job in jobs if not (job.folder(args.out) / FILE_NAME).is_file()]


def run_in_order(steps: Sequence[Step], out: str, run: Callable[[list[Step]], list[str]]) -> list[str]:
    """`run` what trains, then what evaluates it on a new half; what failed, as in `run_steps`."""
    failed = run([step for step in steps if not step.loads])
    loading = [step for step in steps if step.loads]
    there = [(step.loaded_from(out) / FILE_NAME).is_file() for step in loading]
    failed += [f"{step}: it was not trained" for step, trained in zip(loading, there) if not trained]
    return failed + run([step for step, trained in zip(loading, there) if trained])


def run_sweep(args: argparse.Namespace) -> int:
    methods = on_backbone(on_benchmark(read_sweep(args.sweep), args.benchmark), args.backbone)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    context = prepare(max(1, cores // (args.jobs or min(cores, MOST_JOBS))))
    by_task = any(method.separate or method.leave_out for method in methods)
    tasks = call(context, task_names, args.benchmark, args.data) if by_task else []
    methods = leaving_out(methods, tasks)
    jobs = jobs_to_do(args, methods)
    parts = {job.folder(args.out): steps_of(job, args.data, args.out, tasks) for job in jobs}

    def merge(step: Step) -> None:
        folder = step.job.folder(args.out)
        if step.task and all(part.done for part in parts[folder]):
            merge_folder(folder, tasks)

    if not args.dry_run:
        for steps in parts.values():  # cut off between the last task and the merging
            merge(steps[0])
    steps = [step for steps in parts.values() for step in steps if not step.done]
    if args.dry_run:
        print("\n".join(shlex.join(["python", "train.py", *step.arguments]) for step in steps) or "all is done")
        return 0

    gpus = call(context, gpu_names) if steps else []
    at_a_time = args.jobs or len(gpus) or min(cores, MOST_JOBS)
    start = functools.partial(start_training, context, at_a_time)
    with terminable():
        failed = run_in_order(steps, args.out, lambda some: run_steps(some, at_a_time, gpus, start, merge))
    if failed:
        lines = [line.splitlines()[0] for line in failed]
        print(f"{len(failed)} of {len(steps)} runs failed:", *lines, sep="\n  ", file=sys.stderr)
    report(args, methods)
    return 1 if failed else 0


def report(args: argparse.Namespace, methods: Sequence[Method]) -> None:
    # Here: the runs' processes import this file, and need no pandas.
    from experiments.reports import write_halves_report, write_report

    out = Path(args.out, args.benchmark)
    if args.halves:
        text = write_halves_report(out, args.to, methods, args.halves, args.steps)
    else:
        text = write_report(out, args.to, methods, args.paper, args.steps)
    print(text)
    print(f"Written to {args.to}: report.md, report.csv{'' if args.halves else ', accuracy.png'}")


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    try:
        return run_sweep(args)
    except KeyboardInterrupt:
        print("\nstopped; the same command continues", file=sys.stderr)
        return 130
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
