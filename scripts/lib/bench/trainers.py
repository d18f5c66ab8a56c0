"""Trainers of realistic sizes with random weights and generated JPEG images, ours and the plain path's."""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Iterator
from pathlib import Path

from scripts.lib.bench import harness  # first: it provides Dassl

import numpy as np
from dassl.data.datasets import DATASET_REGISTRY, DatasetBase, Datum
from dassl.engine import TRAINER_REGISTRY
from PIL import Image

from softcpt.tasks import Task
from trainers.base import PromptTrainer
from trainers.engine import trainer as engine
from trainers.engine.config import build_cfg, read_files

# Of the methods' settings.
CONFIGS = {"RN50": "rn50", "ViT-B/32": "vit_b32", "ViT-B/16": "vit_b16", "ViT-L/14": "vit_b16", "toy": "vit_b16"}


class Bench(DatasetBase):
    """The tasks of one of BENCHMARKS (DATASET.TASKS), NUM_SHOTS training images and one test image per class."""

    def __init__(self, cfg) -> None:
        sizes, folder = harness.BENCHMARKS[cfg.DATASET.TASKS], Path(cfg.DATASET.ROOT)
        names = harness.class_names(sum(sizes))
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


def draw_images(folder: Path, count: int) -> None:
    """`count` JPEG files of 500 x 375 pixels: smooth noise, about 40 kB each."""
    rng = np.random.default_rng(0)
    for i in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)).resize((500, 375), Image.BICUBIC)
        grain = rng.integers(-12, 13, (375, 500, 3))
        pixels = np.clip(np.asarray(coarse, dtype=np.int16) + grain, 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:05}.jpg", quality=85)


@contextlib.contextmanager
def built(
    kind: str, method: str, case: str, backbone: str, prec: str, *opts: object, images: int = 4
) -> Iterator[PromptTrainer]:
    """A trainer on `images` files: "shared" as it is, or "plain" with 77 tokens, all classes in every step and no cache
    of features. What it prints is dropped.
    """
    DATASET_REGISTRY.register(Bench, force=True)  # not on import: scripts/data.py lists what is registered
    package = harness.package_clip(backbone).to(harness.DEVICE)
    engine.load_clip = lambda name, half=None, shared=None: harness.clip_of(package, half)
    if kind == "plain":
        engine.text_encoder = lambda tower, chunk: harness.PlainTextEncoder(package)
        opts = (*opts, "FEATURES.TEST_CACHE", False, "FEATURES.TRAIN_VIEWS", 0)
    with tempfile.TemporaryDirectory() as root, contextlib.redirect_stdout(io.StringIO()):
        draw_images(Path(root), images)
        settings = {"DATASET.ROOT": root, "DATASET.NAME": "Bench", "DATASET.TASKS": case, "DATASET.NUM_SHOTS": 1}
        settings |= {"TRAINER.NAME": method, f"TRAINER.{method.upper()}.PREC": prec, "MODEL.BACKBONE.NAME": backbone}
        settings |= {"OUTPUT_DIR": f"{root}/run", "SEED": 1, "DATALOADER.NUM_WORKERS": 0}
        settings |= dict(zip(opts[::2], opts[1::2]))
        cfg = build_cfg(read_files(harness.ROOT / f"configs/trainers/{method}/{CONFIGS[backbone]}.yaml"), settings)
        trainer = TRAINER_REGISTRY.get(method)(cfg)
        if kind == "plain":
            trainer.candidates = lambda label: None
        trainer.epoch, trainer.batch_idx, trainer.num_batches = 0, 0, 10**9
        yield trainer
