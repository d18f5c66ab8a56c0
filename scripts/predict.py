"""Classify pictures with a finished run or an exported file.

    python scripts/predict.py RUN_FOLDER IMAGE_OR_FOLDER [...] [--task NAME] [--top 5] [--csv FILE] [KEY VALUE ...]
    python scripts/predict.py MODEL.safetensors IMAGE_OR_FOLDER [...]
    python scripts/predict.py RUN_FOLDER IMAGE_OR_FOLDER [...] --classes NAMES.txt --task "mushroom species recognition"

Prints a line per picture: its path, then the most likely classes of the task with their probabilities. Folders are
searched recursively. With --classes the task is one that the run was not trained on, and each picture has three lines:
for the method, for zero-shot CLIP and for their mean. docs/inference.md says when to trust which. KEY VALUE pairs
override the run's config.yaml. If a call with --csv or --json is stopped, the same call goes on where it stopped.
Exit status: 0; 1 if pictures could not be read (they are named at the end); 2 for wrong arguments.
"""

import argparse
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from scripts.lib.command import one_line_errors  # first: the imports below take seconds

from tqdm import tqdm

from softcpt import distributed
from softcpt.files import PROMPTS, check_replaceable, write_atomically
from softcpt.files.messages import memory_message, nearest, out_of_memory
from softcpt.files.texts import counted, plain
from softcpt.inference import load_classifier
from softcpt.inference.images import find_images
from softcpt.inference.predictions import Prediction, csv_of, json_of, predictions, text_of
from softcpt.inference.unfinished import Unfinished, picture_list
from trainers.engine.config import build_cfg, default_cfg, read_files
from trainers.engine.settings import pairs
from trainers.finished.load import check_run, load_run, load_run_for
from trainers.finished.new_tasks import new_task, read_names
from trainers.finished.predictors import ExportPredictor, NewTaskPredictor, RunPredictor

WORKERS = "DATALOADER.NUM_WORKERS"
# The config keys that apply to an export.
EXPORT_KEYS = ("DATALOADER.TEST.BATCH_SIZE", WORKERS, "USE_CUDA", "MODEL.BACKBONE.NAME")


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("run", type=Path, metavar="RUN_FOLDER", help="run folder (--output-dir of train.py) or exported file")
    add("words", nargs="+", metavar="IMAGE_OR_FOLDER", help="pictures or folders, then KEY VALUE pairs")
    add("--task", default="", help="name of the task, if the run has several; with --classes, of the new task")
    add("--classes", type=Path, metavar="FILE", help="class names of a new task, one per line")
    add("--template", default="", help="hand-made prompt of the new task (default: 'a photo of a {}.')")
    add("--top", type=int, default=5, help="number of classes to print (default: 5)")
    add("--csv", type=Path, metavar="FILE", help="also write path,task,rank,class,probability to this file")
    add(
        "--json",
        type=Path,
        metavar="FILE",
        help="also write the same as JSON, with the pictures that could not be read",
    )
    add("--root", default="", help="folder of the data sets, for an old run without classes.json")
    args = parser.parse_intermixed_args(argv)
    # The first word that starts with a section of the config ends the pictures, unless it is a file.
    sections = default_cfg()
    keys = [i for i, word in enumerate(args.words) if i and word.split(".")[0] in sections and not Path(word).exists()]
    first = min(keys, default=len(args.words))
    args.pictures, args.opts = [Path(word) for word in args.words[:first]], args.words[first:]
    return args


def check_args(args: argparse.Namespace) -> None:
    """Raise ValueError for wrong arguments that can be found before anything is loaded."""
    if args.top < 1:
        raise ValueError(f"--top: {args.top} is not at least 1")
    for flag, path in (("--csv", args.csv), ("--json", args.json)):
        if path and (path.is_dir() or not path.parent.is_dir()):
            raise ValueError(f"{flag}: {path} is a folder, or in a folder that does not exist")
        if path:
            check_replaceable(path)
    if args.classes and not args.task:
        raise ValueError("--classes: name the new task with --task, in words: 'mushroom species recognition'")
    if args.template and not args.classes:
        raise ValueError("--template: it is the prompt of a new task; give its class names with --classes")
    if not args.run.is_file():
        check_run(args.run)
    elif args.classes:
        raise ValueError(f"--classes: {args.run} is an export, whose classes are fixed; name a run folder")


def predictor_of(args: argparse.Namespace) -> tuple[Any, int, int]:
    """The predictor, its batch size and the number of processes that read images: as many as the call says, at most one
    per core."""
    predictor: Any
    settings = pairs(args.opts)
    if args.run.is_file():
        cfg = build_cfg(read_files(), settings)
        unread = [key for key in settings if key not in EXPORT_KEYS]
        if unread:
            raise ValueError(f"{unread[0]}: an export has no such setting; legal are {', '.join(EXPORT_KEYS)}")
        backbone = cfg.MODEL.BACKBONE.NAME if "MODEL.BACKBONE.NAME" in settings else None
        predictor = ExportPredictor(load_classifier(args.run, backbone, None if cfg.USE_CUDA else "cpu"))
    else:
        if args.classes:
            task = new_task(args.task, read_names(args.classes), args.template)
            predictor = NewTaskPredictor(load_run_for(args.run, task, settings))
        else:
            predictor = RunPredictor(load_run(args.run, args.root, settings))
        cfg = predictor.trainer.cfg
    workers = distributed.reading_processes(cfg.DATALOADER.NUM_WORKERS if WORKERS in settings else -1)
    return predictor, cfg.DATALOADER.TEST.BATCH_SIZE, min(workers, distributed.cores_per_process())


def printed(made: Iterator[Prediction], count: int, names: list[str], top: int) -> list[Prediction]:
    """All predictions. Each is printed as it arrives, on a terminal above a progress bar."""
    result = []
    with tqdm(total=count, unit="image", disable=not sys.stderr.isatty() or count < 2, leave=False) as bar:
        for prediction in made:
            result.append(prediction)
            if not prediction.error:
                with bar.external_write_mode(file=sys.stdout):
                    print(text_of(prediction, names, top), flush=True)
            bar.update()
    return result


def unfinished(args: argparse.Namespace, paths: list[Path], task: str, names: list[str]) -> Unfinished | None:
    """The file of the predictions until they are written; None if they are only printed."""
    target = args.csv or args.json
    if target is None:
        return None
    files = [args.run] if args.run.is_file() else [args.run / "config.yaml", *sorted((args.run / PROMPTS).glob("*"))]
    settings = [pair for pair in pairs(args.opts).items() if pair[0] != WORKERS]  # changes no answer
    of = {
        "the run or export": [str(args.run.resolve()), picture_list(files)],
        "the settings": [*settings, args.template, args.top],
        "the task": task,
        "the classes": names,
        "the pictures": picture_list(paths),
    }
    return Unfinished(target, of, len(names), args.top)


def continued(kept: Unfinished, predictor: Any, paths: list[Path], task: str, batch: int, workers: int) -> Iterator:
    """The predictions that an earlier call has made, then the others, which are kept one by one."""
    done = kept.start(paths, batch)
    if kept.reason:
        print(f"the unfinished predictions in {kept.path} are begun anew: {kept.reason} changed", file=sys.stderr)
    if done:
        print(f"{len(done):,} of {len(paths):,} pictures are done; the others follow", file=sys.stderr)
    yield from done
    for prediction in (
        predictions(predictor, paths[len(done) :], task, batch, workers) if len(done) < len(paths) else ()
    ):
        kept.add(prediction)
        yield prediction


@one_line_errors(2)
def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    logging.basicConfig(level=logging.ERROR)  # the warnings about the training data were shown in training
    check_args(args)
    paths = find_images(args.pictures)
    predictor, batch_size, workers = predictor_of(args)
    if args.task not in predictor.tasks and (args.task or len(predictor.tasks) > 1):
        what = f"no task {args.task!r}{nearest(args.task, predictor.tasks)}" if args.task else "the run has several"
        raise ValueError(f"--task: {what}; name one of {', '.join(predictor.tasks)}")
    task = args.task or predictor.tasks[0]
    names = predictor.classes_[task]
    if args.classes:
        print(f"{predictor.legend()}.", file=sys.stderr)
    kept = unfinished(args, paths, task, names)
    if kept is None:
        arriving = predictions(predictor, paths, task, batch_size, workers)
    else:
        arriving = continued(kept, predictor, paths, task, batch_size, workers)
    try:
        made = printed(arriving, len(paths), names, args.top)
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        advice = f"use a smaller DATALOADER.TEST.BATCH_SIZE (now {batch_size}), or USE_CUDA False"
        raise ValueError(memory_message(error, advice)) from error
    if args.csv:
        write_atomically(args.csv, csv_of(made, task, names, args.top), follow=True)
    if args.json:
        write_atomically(args.json, json_of(made, task, names, args.top, str(args.run)), follow=True)
    if kept is not None:
        kept.remove()
    failed = [prediction for prediction in made if prediction.error]
    for prediction in failed:
        print(f"error: {plain(prediction.error)}", file=sys.stderr)
    if len(failed) > 1:
        print(f"{len(failed)} of {counted(len(made), 'picture')} could not be read", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
