"""The classes that a finished run, or the file of an export, sees in pictures of one's own.

    python scripts/predict.py RUN_FOLDER IMAGE_OR_FOLDER [...] [--task NAME] [--top 5] [--csv FILE] [KEY VALUE ...]
    python scripts/predict.py MODEL.safetensors IMAGE_OR_FOLDER [...]
    python scripts/predict.py RUN_FOLDER IMAGE_OR_FOLDER [...] --classes NAMES.txt --task "mushroom species recognition"

Prints a line per picture: its path, then the likeliest classes of the task with their probabilities. Folders are
searched at all depths. With --classes the task is one that the run was not trained on, and each picture has a line for
the method, for zero-shot CLIP and for the mean of both: docs/inference.md says when to trust which. The settings are
those of the run's config.yaml, which KEY VALUE pairs change. Exit status: 0; 1 if pictures could not be read, which are
skipped and named at the end; 2 for wrong arguments.
"""

import argparse
import logging
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from scripts.lib.command import one_line_errors  # first: the imports below take seconds

import train  # first: it provides Dassl

# isort: split
from tqdm import tqdm

from datasets.messages import nearest
from evaluation.classes import write_classes
from finished.load import check_run, load_run, load_run_for
from finished.new_tasks import new_task, read_names
from finished.predictors import ExportPredictor, NewTaskPredictor, RunPredictor
from inference import load_classifier
from inference.images import find_images
from inference.predictions import Prediction, csv_of, json_of, predictions, text_of
from storage import write_atomically

# Of the config's keys those that say something of an export.
EXPORT_KEYS = ("DATALOADER.TEST.BATCH_SIZE", "DATALOADER.NUM_WORKERS", "USE_CUDA", "MODEL.BACKBONE.NAME")


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("run", type=Path, metavar="RUN_FOLDER", help="what --output-dir of train.py named, or an exported file")
    add("words", nargs="+", metavar="IMAGE_OR_FOLDER", help="pictures or folders, then KEY VALUE pairs")
    add("--task", default="", help="name of the task, for a run of several; with --classes that of the new task")
    add("--classes", type=Path, metavar="FILE", help="class names of a task that is new to the run, one a line")
    add("--template", default="", help="hand-made prompt of a new task (default: 'a photo of a {}.')")
    add("--top", type=int, default=5, help="number of classes to name (default: 5)")
    add("--csv", type=Path, metavar="FILE", help="write path,task,rank,class,probability, too")
    add("--json", type=Path, metavar="FILE", help="write the same as JSON, with the pictures that could not be read")
    add("--root", default="", help="folder of the data sets, for a run of an older version, without classes.json")
    args = parser.parse_intermixed_args(argv)
    # The pictures end before a word that begins with a section of the config, unless there is such a file.
    sections = train.setup_cfg(train.parse_args([]))
    keys = [i for i, word in enumerate(args.words) if i and word.split(".")[0] in sections and not Path(word).exists()]
    first = min(keys, default=len(args.words))
    args.pictures, args.opts = [Path(word) for word in args.words[:first]], args.words[first:]
    return args


def check_args(args: argparse.Namespace) -> None:
    """Raise ValueError for what can be known to be wrong before anything is loaded."""
    if args.top < 1:
        raise ValueError(f"--top: {args.top} is not at least 1")
    for flag, path in (("--csv", args.csv), ("--json", args.json)):
        if path and (path.is_dir() or not path.parent.is_dir()):
            raise ValueError(f"{flag}: {path} is a folder, or in a folder that is not there")
    if args.classes and not args.task:
        raise ValueError("--classes: name the new task with --task, in words: 'mushroom species recognition'")
    if args.template and not args.classes:
        raise ValueError("--template: it is the hand-made prompt of a new task, whose class names --classes gives")
    if not args.run.is_file():
        check_run(args.run)
    elif args.classes:
        raise ValueError(f"--classes: {args.run} is an export, which has the classes that it was made for; name a run")


def predictor_of(args: argparse.Namespace) -> tuple[Any, int, int]:
    """What predicts, the size of its batches and the number of processes that read images."""
    if args.run.is_file():
        cfg = train.setup_cfg(train.parse_args(args.opts))
        unread = [key for key in args.opts[::2] if key not in EXPORT_KEYS]
        if unread:
            raise ValueError(f"{unread[0]}: an export has no such setting; legal are {', '.join(EXPORT_KEYS)}")
        backbone = cfg.MODEL.BACKBONE.NAME if "MODEL.BACKBONE.NAME" in args.opts else None
        predictor: Any = ExportPredictor(load_classifier(args.run, backbone, None if cfg.USE_CUDA else "cpu"))
        workers = cfg.DATALOADER.NUM_WORKERS
    else:
        if args.classes:
            with tempfile.TemporaryDirectory() as folder:
                task, path = new_task(args.task, read_names(args.classes), args.template), Path(folder, "classes.json")
                write_classes(path, [task])
                predictor = NewTaskPredictor(load_run_for(args.run, task, path, args.opts))
        else:
            predictor = RunPredictor(load_run(args.run, args.root, args.opts))
        cfg = predictor.trainer.cfg
        workers = cfg.DATALOADER.NUM_WORKERS
    return predictor, cfg.DATALOADER.TEST.BATCH_SIZE, workers


def printed(made: Iterator[Prediction], count: int, names: list[str], top: int) -> list[Prediction]:
    """All predictions; each is printed as it comes, above a bar on a terminal."""
    result = []
    with tqdm(total=count, unit="image", disable=not sys.stderr.isatty() or count < 2, leave=False) as bar:
        for prediction in made:
            result.append(prediction)
            if not prediction.error:
                with bar.external_write_mode(file=sys.stdout):
                    print(text_of(prediction, names, top), flush=True)
            bar.update()
    return result


def predict(args: argparse.Namespace) -> int:
    check_args(args)
    paths = find_images(args.pictures)
    predictor, batch_size, workers = predictor_of(args)
    if args.task not in predictor.tasks and (args.task or len(predictor.tasks) > 1):
        what = f"no task {args.task!r}{nearest(args.task, predictor.tasks)}" if args.task else "it has several tasks"
        raise ValueError(f"--task: {what}; name one of {', '.join(predictor.tasks)}")
    task = args.task or predictor.tasks[0]
    names = predictor.classes_[task]
    if args.classes:
        print(f"{predictor.legend()}.", file=sys.stderr)
    made = printed(predictions(predictor, paths, task, batch_size, workers), len(paths), names, args.top)
    if args.csv:
        write_atomically(args.csv, csv_of(made, task, names, args.top))
    if args.json:
        write_atomically(args.json, json_of(made, task, names, args.top, str(args.run)))
    failed = [prediction for prediction in made if prediction.error]
    for prediction in failed:
        print(f"error: {prediction.error}", file=sys.stderr)
    if len(failed) > 1:
        print(f"{len(failed)} of {len(made)} pictures could not be read", file=sys.stderr)
    return 1 if failed else 0


@one_line_errors(2)
def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    logging.basicConfig(level=logging.ERROR)  # what there is to know of the training data, training has said
    return predict(args)


if __name__ == "__main__":
    sys.exit(main())
