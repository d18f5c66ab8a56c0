"""A tiny benchmark of three tasks, and configs over it with the tiny golden CLIP."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from dassl.data.datasets import DATASET_REGISTRY
from dassl.engine import TrainerX
from PIL import Image

import train
from datasets.base import SplitDataset
from datasets.multitask import MultiTask, TaskSpec

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
CLIP = f"{GOLDEN}/tiny_vit.npz@quickgelu"
CLASSES = {
    "ToyFlower": ["rose", "ox-eye daisy", "hard_leaved_pocket_orchid"],
    "ToyTexture": ["banded", "criss-crossed"],
    "ToyAircraft": ["707-320", "A340-600", "Boeing 717", "DHC-8-300", "Spitfire"],
}
TASKS = ["flower recognition", "texture recognition", "aircraft model recognition"]
SINGLE = ["707-320", "ox-eye daisy", "hard_leaved_pocket_orchid", "Boeing 717", "rose"]
IMAGES = {"train": 4, "val": 1, "test": 3}


@DATASET_REGISTRY.register()
class ToyFlower(SplitDataset):
    dataset_dir = "toy/flower"
    task_name = "flower recognition"


@DATASET_REGISTRY.register()
class ToyTexture(SplitDataset):
    dataset_dir = "toy/texture"
    task_name = "texture recognition"
    template = "{} texture."


@DATASET_REGISTRY.register()
class ToyAircraft(SplitDataset):
    dataset_dir = "toy/aircraft"
    task_name = "aircraft model recognition"
    metric = "mean_per_class"


@DATASET_REGISTRY.register()
class ToySingle(SplitDataset):
    dataset_dir = "toy/single"


@DATASET_REGISTRY.register()
class ToyTasks(MultiTask):
    specs = (TaskSpec("ToyFlower"), TaskSpec("ToyTexture"), TaskSpec("ToyAircraft"))


def draw(root: Path, size: int = 32) -> Path:
    """Write the images and split files of all toy data sets below `root`: one colour per class, with noise."""
    rng = np.random.default_rng(0)
    for name, classes in {**CLASSES, "ToySingle": SINGLE}.items():
        folder = root / "toy" / name.removeprefix("Toy").lower()
        (folder / "images").mkdir(parents=True)
        split = {part: [] for part in IMAGES}
        for label, classname in enumerate(classes):
            colour = rng.integers(0, 256, 3)
            for part, count in IMAGES.items():
                for i in range(count):
                    pixels = np.clip(colour + rng.normal(0, 40, (size, size, 3)), 0, 255).astype(np.uint8)
                    file = f"{part}-{label}-{i}.png"
                    Image.fromarray(pixels).save(folder / "images" / file)
                    split[part].append([file, label, classname])
        (folder / f"split_zhou_{name}.json").write_text(json.dumps(split))
    return root


def draw_folders(root: Path, classes: Sequence[str] = ("one", "two")) -> None:
    """Two tasks in folders below `root`, with six images of noise in each class."""
    rng = np.random.default_rng(0)
    for task in ("warm things", "cold things"):
        for name in classes:
            folder = root / task / name
            folder.mkdir(parents=True)
            for i in range(6):
                Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(folder / f"{i}.png")


def share_pictures(root: Path) -> None:
    """A table of the pictures of `draw_folders` for two tasks, each with parts of its own: what trains one may test the
    other."""
    lines = ["path,task,class,split"]
    for name in sorted(path.relative_to(root).as_posix() for path in root.rglob("*.png")):
        part = ("train", "train", "train", "val", "test", "test")
        i = int(Path(name).stem)
        lines.append(f"{name},number,{name.split('/')[1]},{part[i]}")
        lines.append(f"{name},warmth,{name.split()[0]},{part[i - 3]}")
    (root / "tasks.csv").write_text("\n".join(lines) + "\n")


def arguments(root: Path, out: Path, trainer: str, *opts: object, dataset: str = "ToyTasks") -> list[str]:
    """Arguments of train.py for a short run on the tiny golden CLIP."""
    settings = {
        "DATASET.NAME": dataset,
        "MODEL.BACKBONE.NAME": CLIP,
        "INPUT.TRANSFORMS": ("random_resized_crop", "normalize"),
        "DATALOADER.NUM_WORKERS": 0,
        "DATALOADER.TRAIN_X.BATCH_SIZE": 8,
        "DATALOADER.TEST.BATCH_SIZE": 16,
        "OPTIM.NAME": "sgd",
        "OPTIM.LR": 0.002,
        "OPTIM.MAX_EPOCH": 2,
        "OPTIM.LR_SCHEDULER": "cosine",
        "OPTIM.WARMUP_EPOCH": 1,
        "OPTIM.WARMUP_TYPE": "constant",
        "OPTIM.WARMUP_CONS_LR": 1e-5,
        f"TRAINER.{trainer.upper()}.PREC": "fp32",
    }
    pairs = [str(item) for pair in settings.items() for item in pair]
    flags = ["--root", str(root), "--output-dir", str(out), "--trainer", trainer, "--seed", "1"]
    return [*flags, *pairs, *map(str, opts)]


@contextlib.contextmanager
def as_a_process() -> Iterator[None]:
    """Put back what train.main changes for the rest of its process.

    It sends the log to stdout, at level INFO. Whatever ran next in the same process, such as predict.py, whose output a
    test reads, would print its log among its results; in a process of its own it does not.
    """
    stdout, handlers, level = sys.stdout, list(logging.root.handlers), logging.root.level
    try:
        sys.stdout = io.StringIO()
        yield
    finally:
        sys.stdout, logging.root.handlers[:] = stdout, handlers
        logging.root.setLevel(level)


def finish(arguments: Sequence[str]) -> None:
    """Run train.py, whose output does not matter, to its end."""
    with as_a_process():
        assert train.main(arguments) == 0


def finish_after_a_cut(arguments: Sequence[str]) -> None:
    """Run train.py twice: an interrupt ends it in the second epoch, if there is one; the second call resumes."""
    run_epoch = TrainerX.run_epoch

    def cut(self) -> None:
        if self.epoch == 1:
            raise KeyboardInterrupt
        run_epoch(self)

    with contextlib.suppress(KeyboardInterrupt), as_a_process(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrainerX, "run_epoch", cut)
        train.main(arguments)
    finish(arguments)


def run(root: Path, out: Path, trainer: str, *opts: object, dataset: str = "ToyTasks") -> dict:
    """Run train.py to its end; the record of the run."""
    assert train.main(arguments(root, out, trainer, *opts, dataset=dataset)) == 0
    return json.loads((out / "results.json").read_text())


def config(*args, **kwargs):
    """The config that train.py makes of `arguments`."""
    return train.setup_cfg(train.parse_args(arguments(*args, **kwargs)))
