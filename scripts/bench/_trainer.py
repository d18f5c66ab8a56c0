"""Trainers of the true sizes on random weights and generated JPEG images, ours and the plain path's."""

from __future__ import annotations

from pathlib import Path

import _common
import numpy as np
from dassl.data.datasets import DATASET_REGISTRY, DatasetBase, Datum
from dassl.engine import TRAINER_REGISTRY
from PIL import Image

import train
import trainers.base
import trainers.modules.engine.trainer
from datasets.multitask import Task

CONFIGS = {"RN50": "rn50", "ViT-B/32": "vit_b32", "ViT-B/16": "vit_b16", "ViT-L/14": "vit_b16"}  # methods' settings


@DATASET_REGISTRY.register()
class Bench(DatasetBase):
    """The tasks of one of BENCHMARKS (DATASET.TASKS), NUM_SHOTS training images and one test image per class."""

    def __init__(self, cfg) -> None:
        sizes, folder = _common.BENCHMARKS[cfg.DATASET.TASKS], Path(cfg.DATASET.ROOT)
        names = _common.class_names(sum(sizes))
        files, items, label = sorted(folder.glob("*.jpg")), {"train": [], "test": []}, 0
        counts = {"train": cfg.DATASET.NUM_SHOTS, "test": 1}
        self.tasks = []
        for index, size in enumerate(sizes):
            self.tasks.append(Task(f"{names[index]} recognition", tuple(names[label : label + size])))
            for _ in range(size):
                for part, count in counts.items():
                    for _ in range(count):
                        path = files[(len(items["train"]) + len(items["test"])) % len(files)]
                        items[part].append(Datum(str(path), label, index, names[label]))
                label += 1
        super().__init__(train_x=items["train"], test=items["test"])


def draw_images(folder: Path, count: int) -> Path:
    """`count` JPEG files of 500 x 375 pixels: smooth noise, about 40 kB each."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for i in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)).resize((500, 375), Image.BICUBIC)
        grain = rng.integers(-12, 13, (375, 500, 3))
        pixels = np.clip(np.asarray(coarse, dtype=np.int16) + grain, 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:05}.jpg", quality=85)
    return folder


def build(kind: str, method: str, case: str, backbone: str, prec: str, root: Path, *opts: object):
    """A trainer, `shared` as it is, or `plain`: 77 tokens, all classes in every step, no cache of features."""
    package = _common.package_clip(backbone).to(_common.DEVICE)
    trainers.modules.engine.trainer.load_clip = lambda name, half=None, shared=None: _common.clip_of(package, half)
    if kind == "plain":
        trainers.base.text_encoder = lambda tower, chunk: _common.PlainTextEncoder(package)
        opts = (*opts, "FEATURES.TEST_CACHE", False, "FEATURES.TRAIN_VIEWS", 0)
    flags = f"--root {root} --output-dir {root}/run --trainer {method} --seed 1 --backbone {backbone}"
    flags += f" --config-file {_common.ROOT}/configs/trainers/{method}/{CONFIGS[backbone]}.yaml"
    pairs = ["DATASET.NAME", "Bench", "DATASET.TASKS", case, "DATASET.NUM_SHOTS", 1, "DATALOADER.NUM_WORKERS", 0]
    pairs += [f"TRAINER.{method.upper()}.PREC", prec, *opts]
    cfg = train.setup_cfg(train.parse_args(flags.split() + [str(item) for item in pairs]))
    trainer = TRAINER_REGISTRY.get(method)(cfg)
    if kind == "plain":
        trainer.candidates = lambda label: None
    return trainer
