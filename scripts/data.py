"""Download, check and inspect data sets.

    python scripts/data.py list
    python scripts/data.py check OxfordPets --root data
    python scripts/data.py download FGVC --root data
    python scripts/data.py splits EuroSAT                     write a split file in CoOp's format, unless one exists
    python scripts/data.py splits FolderTasks --root my_data  write tasks.csv, or extend it by new pictures
    python scripts/data.py shots General10 --shots 16 --seed 1
    python scripts/data.py stats Plant6 --plot
    python scripts/data.py verify OxfordPets --backbone RN50  compare zero-shot accuracy with the published one
    python scripts/data.py weights open_clip:ViT-B-16-SigLIP2/webli    download a CLIP and its tokenizer

NAME is a data set or a benchmark shown by `list`, or FolderTasks for your own tasks in the folder --root.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from scripts.lib.command import one_line_errors  # first: the imports below take seconds

import compat.provide  # noqa: F401  before dassl

from dassl.config import get_cfg_default
from dassl.data.datasets import DATASET_REGISTRY, build_dataset
from tabulate import tabulate
from yacs.config import CfgNode

import datasets
from datasets.folder import find_table
from datasets.multitask import drawn_shots, write_shots
from datasets.splits import PARTS, write_split
from datasets.tools import on_disk
from datasets.tools.check import Report, check_contents, describe, per_class
from datasets.tools.download import fetch as download
from datasets.tools.obtain import obtain
from datasets.tools.own_tables import extend_table, table_report
from scripts.lib.sentences import text_encoder
from softcpt.evaluation.published import TABLE, TOLERANCE, published_of, read_published
from softcpt.files.texts import counted, plain


def config(args: argparse.Namespace) -> CfgNode:
    """The config of a data set with the options of a command."""
    cfg = get_cfg_default()
    datasets.extend_cfg(cfg)
    cfg.DATASET.ROOT, cfg.DATASET.NAME, cfg.DATASET.NUM_SHOTS = args.root, args.name, args.shots
    cfg.DATASET.CSV, cfg.DATASET.ABSOLUTE_PATHS = args.csv, args.absolute_paths
    cfg.SEED, cfg.VERBOSE = args.seed, False
    cfg.freeze()
    return cfg


def run_list(args: argparse.Namespace) -> None:
    cfg, rows = config(args), []
    for name in sorted(DATASET_REGISTRY.registered_names(), key=lambda name: (-len(on_disk.specs_of(name)), name)):
        specs = on_disk.specs_of(name)
        metrics = {spec.metric or getattr(on_disk.dataset_class(spec.dataset), "metric", "accuracy") for spec in specs}
        state, count = on_disk.state_on_disk(name, cfg), on_disk.count_classes(name, cfg)
        tasks = "?" if on_disk.is_own_tasks(name) else len(specs)
        rows.append((name, tasks, count or "?", " / ".join(sorted(metrics)), state))
    print(f"Data root: {args.root}\n")
    headers = ("data set", "tasks", "classes", "metric", "on disk")
    print(tabulate(rows, headers=headers, colalign=("left", "right", "right")))


def run_check(args: argparse.Namespace) -> int:
    cfg, encode = config(args), text_encoder(args.backbone, args.name)
    reports = [table_report(cfg)] if on_disk.is_own_tasks(args.name) and find_table(cfg) else []
    for name, read in on_disk.readers_of(args.name, cfg, problems=[]).items():  # the table's are in its report
        problems: list[str] = []
        try:
            contents = read(problems)
        except (ValueError, OSError) as error:
            reports.append(Report(name, problems=[*problems, str(error)]))
            continue
        report = check_contents(contents, args.n_ctx, args.workers, not args.no_images, encode)
        report.problems[:0] = problems
        if args.classes:
            report.lines.append(tabulate(per_class(contents), headers=("class", *PARTS)))
        reports.append(report)
    for report in reports:
        notes = [*(f"note: {note}" for note in report.notes), *(f"WRONG: {text}" for text in report.problems)]
        print(*(plain(text, keep="\n") for text in (f"== {report.name}", *report.lines, *notes)), "", sep="\n")
    wrong = sum(len(report.problems) for report in reports)
    print(f"{counted(wrong, 'problem')} found." if wrong else "All right.")
    return 1 if wrong else 0


def run_download(args: argparse.Namespace) -> int:
    cfg, failed, told = config(args), 0, set()
    for spec in on_disk.specs_of(args.name):
        message, complete = obtain(on_disk.dataset_class(spec.dataset), cfg, keep=args.keep)
        if message not in told:  # the tasks of Fashion-20 share one archive
            print(f"{spec.dataset}: {message}")
        told.add(message)
        failed += not complete
    return 1 if failed else 0


def run_splits(args: argparse.Namespace) -> int:
    cfg = config(args)
    if on_disk.is_own_tasks(args.name):
        lines, gone = extend_table(cfg, args.drop_gone)
        print(*lines, sep="\n")
        return 1 if gone else 0
    for spec in on_disk.specs_of(args.name):
        dataset = on_disk.dataset_class(spec.dataset)
        if not hasattr(dataset, "unloaded") or dataset.test_only or dataset.val_is_test:
            print(f"{spec.dataset}: its published split is used")
            continue
        unloaded = dataset.unloaded(cfg)
        if os.path.exists(unloaded.split_path):
            print(f"{unloaded.split_path} already exists{on_disk.not_in_split(unloaded)}")
            continue
        parts = unloaded.read()
        write_split(unloaded.split_path, unloaded.image_dir, parts)
        print(f"{unloaded.split_path}: {', '.join(f'{len(items):,} {part}' for part, items in zip(PARTS, parts))}")
    return 0


def run_shots(args: argparse.Namespace) -> None:
    if args.shots < 1 and args.shots != -1:
        raise ValueError(f"--shots: {args.shots} is not -1 (all images) or at least 1")
    dataset = build_dataset(config(args))
    for task, parts in drawn_shots(dataset).items():
        print(f"== {plain(task)}: {', '.join(f'{len(paths)} {part}' for part, paths in parts.items())}")
        shown = parts["train"] if args.all or args.shots == -1 else parts["train"][: args.shots]
        print(*(f"  {plain(path)}" for path in shown), *["  ..."] * (len(shown) < len(parts["train"])), sep="\n")
    path = Path(args.out or f"output/shots/{args.name}_{args.shots}shots_seed{args.seed}.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_shots(dataset, str(path))
    print(f"Saved as {path}")


def run_stats(args: argparse.Namespace) -> None:
    everything = on_disk.read_all(args.name, config(args))
    for contents in everything:
        print(plain(f"{contents.task.name}: {describe(contents)}; {contents.task.metric}; '{contents.task.template}'"))
    if args.plot is not None:
        from datasets.tools import pictures

        folder = Path(args.plot or f"output/stats/{args.name}")
        folder.mkdir(parents=True, exist_ok=True)
        for name, draw in (("counts", pictures.counts_figure), ("samples", pictures.samples_figure)):
            draw(everything).savefig(folder / f"{name}.png", dpi=110)
        print(f"Pictures: {folder / 'counts.png'}, {folder / 'samples.png'}")


def run_verify(args: argparse.Namespace) -> int:
    """0: all published values are met; 1: one is not, or a data set cannot be read; 3: nothing is published."""
    from softcpt.backbones.openai import published_name
    from trainers.finished.load import zero_shot_trainer
    from trainers.finished.verification import verify

    table, done, failed = read_published(args.table), [], 0
    known = args.published_as or published_name(Path(args.backbone)) or args.backbone
    keys = {"DATASET.CSV": args.csv, "DATASET.ABSOLUTE_PATHS": args.absolute_paths}
    for name in dict.fromkeys(spec.dataset for spec in on_disk.specs_of(args.name)):
        print(f"== {name}", flush=True)
        try:
            trainer = zero_shot_trainer(name, args.backbone, args.root, keys)
            done.append(verify(trainer, published_of(table, name, known)))
            print(*done[-1].lines, "", sep="\n")
        except (ValueError, OSError) as error:
            failed += 1
            print(f"WRONG  {error}\n")
    compared, missed = sum(part.compared for part in done), sum(part.missed for part in done)
    met = f"{compared - missed} of {compared} published values are met within {TOLERANCE} points."
    print(met if compared else f"Nothing to compare with in {args.table}")
    if missed:
        print(f"Is the data complete? python scripts/data.py check {args.name} --root {args.root}")
    return 1 if failed or missed else 0 if compared else 3


def run_weights(args: argparse.Namespace) -> None:
    from softcpt.backbones.hub import fetch

    print(f"{args.name}: {fetch(args.name, download)}")


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run, text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        if name != "list":
            sub.add_argument("name", metavar="NAME")
        sub.add_argument("--root", default=os.environ.get("DATA", "data"), help="folder of the data sets (data)")
        sub.add_argument("--csv", default="", help="for FolderTasks: the table to read, relative to the root")
        sub.add_argument("--absolute-paths", action="store_true", help="for FolderTasks: allow these in the table")
        sub.set_defaults(run=run, name="", shots=-1, seed=1)
        return sub

    command("list", run_list, "show all data sets, and what is on disk")
    check = command("check", run_check, "check files, counts, images, copies across parts, and class names")
    check.add_argument("--classes", action="store_true", help="show the counts of every class")
    check.add_argument("--no-images", action="store_true", help="do not read the images")
    check.add_argument("--workers", type=int, help="processes that read images (one per core)")
    check.add_argument(
        "--backbone", default="", help="CLIP to find classes with equal features (the demo's own for the demo)"
    )
    check.add_argument("--n-ctx", type=int, default=16, help="context tokens beside a class name (16)")
    archives = command("download", run_download, "download what is public, into CoOp's layout")
    archives.add_argument("--keep", action="store_true", help="keep the archives")
    splits = command("splits", run_splits, "write the split file (for your own tasks: write or extend tasks.csv)")
    splits.add_argument("--drop-gone", action="store_true", help="for FolderTasks: remove the lines of lost images")
    shots = command("shots", run_shots, "show and save the images that a run draws")
    shots.add_argument("--shots", type=int, default=16, help="images per class (16)")
    shots.add_argument("--seed", type=int, default=1, help="seed of the draw (1)")
    shots.add_argument("--out", help="file to write (output/shots/...json)")
    shots.add_argument("--all", action="store_true", help="show all images, not only the first")
    stats = command("stats", run_stats, "show tasks, counts and prompts")
    stats.add_argument("--plot", nargs="?", const="", metavar="DIR", help="draw counts.png and samples.png")
    verify = command("verify", run_verify, "compare the zero-shot accuracy of your weights with the published one")
    verify.add_argument("--backbone", default="RN50", help="CLIP's name or file (RN50)")
    verify.add_argument("--published-as", default="", metavar="NAME", help="name under which to look up your weights")
    verify.add_argument("--table", default=TABLE, help="published values (configs/published_zeroshot.csv)")
    command("weights", run_weights, "download the weights and the tokenizer of a CLIP: what MODEL.BACKBONE.NAME takes")
    return parser.parse_args(argv)


@one_line_errors(1)
def main(argv: list[str] | None = None) -> int | None:
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    args = parse_args(argv)
    args.root = os.path.abspath(os.path.expanduser(args.root))
    if args.name and args.run is not run_weights:
        args.name = on_disk.registered_name(args.name)
    return args.run(args)


if __name__ == "__main__":
    sys.exit(main())
