"""The command line of scripts/sweep.py."""

import argparse
import re
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from softcpt.evaluation.provenance import PROJECT_ROOT
from softcpt.executors import SLURM_OPTIONS
from softcpt.sweeps.calls import KEYS, read_only
from softcpt.sweeps.jobs import absolute, benchmark_folder
from softcpt.sweeps.methods import HALVES, NUMBERS, did_you_mean, read_defaults


def parse_args(argv: list[str] | None, description: str | None = None) -> argparse.Namespace:
    """The checked arguments of scripts/sweep.py. Benchmarks, shots and seeds default to those of the sweep's yaml."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    _add_arguments(parser)
    args = parser.parse_args(argv)
    try:
        own = read_defaults(args.sweep) if args.sweep.is_file() else {}
        args.only = read_only(args.only)
    except ValueError as error:
        parser.error(str(error))
    args.benchmarks = args.benchmark or own.get("benchmarks") or []
    args.shots = args.shots or own.get("shots", [1, 4, 16])
    args.seeds = args.seeds or own.get("seeds", [1, 2, 3])
    for flag, values in (("--shots", args.shots), ("--seeds", args.seeds)):
        _check_numbers(flag, values, parser.error)
    try:
        args.out, args.data = absolute(args.out), absolute(args.data)
    except ValueError as error:
        parser.error(str(error))
    _check_benchmarks(args.benchmarks, parser.error)
    names = [args.sweep.stem, "steps" if args.steps else "", args.halves, re.sub(r"\W+", "-", args.backbone).strip("-")]
    names += [args.recipe] if args.recipe != "equal" else []
    args.runs = (
        Path(args.out, benchmark_folder(args.benchmarks[0], args.data)) if len(args.benchmarks) == 1 else Path(args.out)
    )
    args.to = args.to or args.runs / "-".join(filter(None, names))
    for flag, count in (("--jobs", args.jobs), ("--per-gpu", args.per_gpu)):
        if count is not None and count < 1:
            parser.error(f"{flag} is {count}; it must be at least 1")
    if args.per_gpu and args.on == "slurm":
        parser.error("--per-gpu is for --on local; as SLURM jobs each run has the GPUs of --gpus")
    if args.paper and args.halves:
        parser.error("--paper: the paper's table has no numbers for --halves")
    args.steps = _steps_by_shots(args, parser.error)
    args.job_options = _job_options(args, parser.error)
    return args


def _check_numbers(flag: str, values: list[int], error: Callable[[str], NoReturn]) -> None:
    """Call `error` for a number of shots or a seed that no run can have."""
    is_legal, text = NUMBERS[flag.strip("-")]
    for value in values:
        if not is_legal(value):
            error(f"{flag}: {value} is not {text}")


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("sweep", type=Path, metavar="SWEEP.yaml", help="e.g. configs/sweeps/table1.yaml")
    add("--benchmark", nargs="+", help="names of files in configs/datasets (default: the sweep's own)")
    add("--out", default=PROJECT_ROOT / "output", help="folder of the results")
    add("--data", default=PROJECT_ROOT / "data", help="folder of the data sets")
    to = "<sweep>[-steps][-HALVES][-BACKBONE][-published]"
    add("--to", type=Path, help=f"folder of the report (default: OUT/BENCHMARK/{to}, or OUT/{to} for several)")
    at_a_time = parser.add_mutually_exclusive_group()
    jobs = "runs at a time (default: one per GPU, or per core and 8 at most; on slurm all)"
    at_a_time.add_argument("--jobs", type=int, help=jobs)
    at_a_time.add_argument("--per-gpu", type=int, help="runs at a time on each GPU of this machine (default: 1)")
    add("--config", help="config of all methods, e.g. vit_b16; methods without it are left out (default: tiny or rn50)")
    add("--backbone", default="", help="MODEL.BACKBONE.NAME of all methods (default: the config's)")
    recipe = "equal (default): the budget of our configs; published: each method's own, docs/recipes.md"
    add("--recipe", choices=("equal", "published"), default="equal", help=recipe)
    add("--shots", type=int, nargs="+", help="images per class (default: the sweep's own, or 1 4 16)")
    add("--seeds", type=int, nargs="+", help="(default: the sweep's own, or 1 2 3)")
    add("--steps", type=int, nargs="+", help="optimiser steps of every run, one number or one for each of --shots")
    add("--halves", choices=HALVES, default="", help="train on the base half, and test on both halves")
    only = f"only some runs, e.g. method=SoftCPT,shots=16; keys: {', '.join(KEYS)}; repeatable"
    add("--only", action="append", default=[], metavar="KEY=VALUE,...", help=only)
    what = parser.add_mutually_exclusive_group()
    dry = "print the calls of train.py that are left, totals, and with --on slurm the job arrays; and stop"
    what.add_argument("--dry", "--dry-run", dest="dry", action="store_true", help=dry)
    status = "print which runs are done, running, queued, cut off, failed or to do, and stop"
    what.add_argument("--status", action="store_true", help=status)
    retry = "start only the failed runs (by default they start after all others)"
    what.add_argument("--retry", action="store_true", help=retry)
    add("--paper", action="store_true", help="add the paper's numbers for its benchmarks")
    add("--on", choices=("local", "slurm"), default="local", help="this machine (default) or a SLURM cluster")
    slurm = parser.add_argument_group("jobs of --on slurm")
    for flag in ("--time", "--memory", "--gpus", "--cpus", "--partition"):
        slurm.add_argument(flag, type=str if flag == "--partition" else int, help=SLURM_OPTIONS[flag[2:]][1])
    more = "any other option of sbatch, e.g. --sbatch account=vision --sbatch constraint=a100"
    slurm.add_argument("--sbatch", action="append", default=[], metavar="KEY=VALUE", help=more)


def _check_benchmarks(benchmarks: list[str], error: Callable[[str], NoReturn]) -> None:
    known = sorted(path.stem for path in (PROJECT_ROOT / "configs/datasets").glob("*.yaml"))
    if not benchmarks:
        error(f"--benchmark is missing, and the sweep names none; use one of {', '.join(known)}")
    for name in benchmarks:
        if name not in known:
            error(f"no benchmark {name!r}{did_you_mean(name, known) or ': ' + ', '.join(known)}")


def _steps_by_shots(args: argparse.Namespace, error: Callable[[str], NoReturn]) -> dict[int, int]:
    """{shots: steps}; {} trains the epochs of the methods' configs."""
    steps = args.steps or []
    if any(count < 1 for count in steps):
        error(f"--steps is {' '.join(map(str, steps))}; a number of steps is at least 1")
    if len(steps) not in (0, 1, len(args.shots)):
        error(f"--steps has {len(steps)} numbers; give one, or one for each of --shots")
    return dict(zip(args.shots, steps * len(args.shots) if len(steps) == 1 else steps))


def _job_options(args: argparse.Namespace, error: Callable[[str], NoReturn]) -> dict[str, object]:
    """The options of SlurmExecutor."""
    options = {name: getattr(args, name) for name in SLURM_OPTIONS if getattr(args, name) is not None}
    for pair in args.sbatch:
        key, equals, value = pair.partition("=")
        if not equals:
            error(f"--sbatch {pair}: use KEY=VALUE")
        options[key] = value
    if options and args.on != "slurm":
        error(f"--{next(iter(options))} is for --on slurm")
    return options
