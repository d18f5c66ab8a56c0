"""The classes that a finished run sees in pictures of one's own.

    python scripts/predict.py RUN_FOLDER IMAGE_OR_FOLDER [...] [--task NAME] [--top 5] [--csv FILE] [KEY VALUE ...]

Prints a line per picture: its path, then the likeliest classes of the task with their probabilities. Folders are
searched at all depths. The settings are those of the run's config.yaml, which KEY VALUE pairs change; the data set must
be there, for it names the classes. Exit status: 0; 2 for wrong arguments, or a picture that cannot be read.
"""

import argparse
import contextlib
import functools
import glob
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import train  # first: it provides Dassl

# isort: split
import pandas as pd
import torch
from dassl.engine import build_trainer
from dassl.utils import read_image
from torch.utils.data import DataLoader
from yacs.config import CfgNode

from datasets.raw import is_image
from datasets.splits import nearest
from evaluation.records import write_atomically
from experiments.sweeps import TASKS_FOLDER
from trainers import PromptTrainer


def read_images(transform: Callable, paths: Sequence[Path]) -> torch.Tensor | str:
    """(B, 3, H, W) of image files; or, since what a worker process raises arrives as its traceback, what is wrong."""
    images = []
    for path in paths:
        try:
            images.append(transform(read_image(str(path))))
        except Exception as error:  # of Pillow's many kinds, some of which do not name the file
            return f"cannot read the image {path} ({error.__cause__ or error})"
    return torch.stack(images)


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, metavar="RUN_FOLDER", help="what --output-dir of train.py named")
    parser.add_argument("words", nargs="+", metavar="IMAGE_OR_FOLDER", help="pictures or folders, then KEY VALUE pairs")
    parser.add_argument("--task", default="", help="name of the task, for a run of several")
    parser.add_argument("--top", type=int, default=5, help="number of classes to name (default: 5)")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write path,task,rank,class,probability, too")
    parser.add_argument("--root", default="", help="folder of the data sets (default: the run's)")
    args = parser.parse_intermixed_args(argv)
    # The pictures end before a word that begins with a section of the config, unless there is such a file.
    sections = train.setup_cfg(train.parse_args([]))
    keys = [i for i, word in enumerate(args.words) if i and word.split(".")[0] in sections and not Path(word).exists()]
    first = min(keys, default=len(args.words))
    args.pictures, args.opts = [Path(word) for word in args.words[:first]], args.words[first:]
    return args


def find_images(places: Sequence[Path]) -> list[Path]:
    """The files among `places` and the images below its folders, but no hidden ones. Raises FileNotFoundError."""
    images: list[Path] = []
    for place in places:
        if not place.exists():
            raise FileNotFoundError(f"no image or folder {place}")
        inside = [place / name for name in sorted(glob.glob("**", root_dir=place, recursive=True)) if is_image(name)]
        images += [path for path in inside if path.is_file()] if place.is_dir() else [place]
    if not images:
        raise FileNotFoundError(f"no images in {', '.join(map(str, places))}")
    return list(dict.fromkeys(images))


def config_of(run: Path, root: str, opts: Sequence[str]) -> CfgNode:
    """A run's config, without what it has of other files: a folder to write to, first weights, cached features."""
    if not (run / "config.yaml").is_file():
        parts = ", ".join(sorted(str(path.parent) for path in (run / TASKS_FOLDER).glob("*/config.yaml")))
        hint = f"; it was trained once per task, so name the folder of one: {parts}" if parts else ""
        raise FileNotFoundError(f"{run} is no run's folder: it has no config.yaml{hint}")
    cfg = train.setup_cfg(train.parse_args(["--config-file", str(run / "config.yaml"), "--root", root, *opts]))
    cfg.defrost()
    cfg.OUTPUT_DIR = cfg.RESUME = cfg.MODEL.INIT_WEIGHTS = ""
    cfg.FEATURES.TEST_CACHE, cfg.FEATURES.TRAIN_VIEWS = False, 0
    cfg.freeze()
    return cfg


@torch.no_grad()
def probabilities(trainer: PromptTrainer, transform: Callable, paths: list[Path], task: int) -> Iterator[torch.Tensor]:
    """Of each picture in turn the probabilities (R,) of the task's classes. Raises OSError for one not readable."""
    rows = (trainer.class_task == task).nonzero().squeeze(1)  # (R,)
    size, workers = trainer.cfg.DATALOADER.TEST.BATCH_SIZE, trainer.cfg.DATALOADER.NUM_WORKERS
    read = functools.partial(read_images, transform)
    with trainer.autocast():
        text_features = None if trainer.conditional else trainer.class_features(rows)  # once for all batches
    for image in DataLoader(paths, size, num_workers=workers if len(paths) > size else 0, collate_fn=read):
        if isinstance(image, str):
            raise OSError(image)
        with trainer.autocast():
            x = trainer.image_features(image.to(trainer.device))
            logits = trainer.class_logits(x, rows) if trainer.conditional else trainer.logits(x, text_features)
        yield from logits.float().softmax(1).cpu()


def predict(args: argparse.Namespace) -> None:
    if args.top < 1:
        raise ValueError(f"--top: {args.top} is not at least 1")
    if args.csv and (args.csv.is_dir() or not args.csv.parent.is_dir()):
        raise ValueError(f"--csv: {args.csv} is a folder, or in a folder that is not there")
    cfg, paths = config_of(args.run, args.root, args.opts), find_images(args.pictures)
    with contextlib.redirect_stdout(None):  # what Dassl prints
        trainer = build_trainer(cfg)
        transform = trainer.test_transform
    names = [task.name for task in trainer.tasks]
    if args.task not in names and (args.task or len(names) > 1):
        what = f"no task {args.task!r}{nearest(args.task, names)}" if args.task else "the run has several tasks"
        raise ValueError(f"--task: {what}; name one of {', '.join(names)}")
    if trainer.prompts.state_dict():  # else the method learns nothing
        trainer.load_model(str(args.run))
    trainer.set_model_mode("eval")
    index, rows = names.index(args.task or names[0]), []
    for path, p in zip(paths, probabilities(trainer, transform, paths, index)):
        values, columns = p.topk(min(args.top, len(p)))
        best = [(trainer.tasks[index].classnames[c], value) for c, value in zip(columns.tolist(), values.tolist())]
        print(f"{path}: " + ", ".join(f"{name} {100 * value:.1f} %" for name, value in best), flush=True)
        rows += [(path, names[index], rank, *found) for rank, found in enumerate(best, start=1)]
    if args.csv:
        table = pd.DataFrame(rows, columns=["path", "task", "rank", "class", "probability"])
        write_atomically(args.csv, table.to_csv(index=False))


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    logging.basicConfig(level=logging.ERROR)  # what there is to know of the training data, training has said
    try:
        predict(args)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
