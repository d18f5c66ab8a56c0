"""Data sets for tests: building one, what CoOp would draw from it, and a benchmark of one-colour images."""

from __future__ import annotations

import hashlib
import json
import random
from collections import defaultdict
from pathlib import Path

from dassl.config import get_cfg_default
from dassl.data.datasets import DATASET_REGISTRY, DatasetBase, Datum, build_dataset
from PIL import Image

import datasets
from datasets.base import SplitDataset
from datasets.multitask import MultiTask, TaskSpec
from datasets.splits import split_train_val_test

FRUIT = ("apple", "orange", "pear", "plum", "fig")
COLORS = ("red", "orange", "blue")


def config_of(root, name, **keys):
    """The config of a data set; a dot of a key is written as two underscores."""
    cfg = get_cfg_default()
    datasets.extend_cfg(cfg)
    cfg.DATASET.ROOT, cfg.DATASET.NAME, cfg.SEED, cfg.VERBOSE = str(root), name, 1, False
    cfg.merge_from_list([part for key, value in keys.items() for part in (key.replace("__", "."), value)])
    return cfg


def build(root, name="FolderTasks", **keys):
    cfg = config_of(root, name, **keys)
    cfg.freeze()
    return build_dataset(cfg)


def fill(folder, count, suffix=".png"):
    """Pictures of one colour each, 0 to count - 1, in the folder of a class."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        Image.new("RGB", (4, 4), (i, 0, 0)).save(folder / f"{i}{suffix}")


def own_part(name):
    """The part that the hash of an own image's name, class/file, gives it."""
    share = int(hashlib.blake2b(name.encode(), digest_size=6).hexdigest(), 16) / 16**12
    return "train" if share < 0.5 else "val" if share < 0.7 else "test"


def coop_draw(split, shots, seed):
    """CoOp's draw as a loop: one generator, train before val, classes in order of appearance."""
    rng, drawn = random.Random(seed), {}
    for part, k in (("train", shots), ("val", min(shots, 4))):
        by_class = defaultdict(list)
        for path, label, _ in split[part]:
            by_class[label].append(path)
        drawn[part] = [
            path for paths in by_class.values() for path in (rng.sample(paths, k) if k <= len(paths) else paths)
        ]
    return drawn


@DATASET_REGISTRY.register()
class ModelFruit(SplitDataset):
    dataset_dir = "fruit"
    task_name = "kind of fruit"
    template = "a photo of a {}, a type of fruit."
    metric = "mean_per_class"
    how_to_get = "Draw it yourself."


@DATASET_REGISTRY.register()
class ModelColor(SplitDataset):
    dataset_dir = "color"


@DATASET_REGISTRY.register()
class ModelFolders(SplitDataset):
    """No split file: one folder per class, read by a reader."""

    dataset_dir = "folders"

    def read_raw(self):
        root = Path(self.image_dir)
        items = [
            Datum(impath=str(image), label=label, classname=folder.name)
            for label, folder in enumerate(sorted(root.iterdir()))
            for image in folder.iterdir()
        ]
        return split_train_val_test(items)


@DATASET_REGISTRY.register()
class ModelOrdinarySet(DatasetBase):
    """A data set as in other projects: no declarations, and draws from the global generator."""

    dataset_dir = "color"

    def __init__(self, cfg):
        folder = Path(cfg.DATASET.ROOT, self.dataset_dir)
        split = json.loads((folder / "split_zhou_ModelColor.json").read_text())

        def datum(path, label, name):
            return Datum(impath=str(folder / "images" / path), label=label, classname=name)

        train, val, test = ([datum(*row) for row in split[part]] for part in ("train", "val", "test"))
        train = self.generate_fewshot_dataset(train, num_shots=cfg.DATASET.NUM_SHOTS)
        super().__init__(train_x=train, val=val, test=test)


@DATASET_REGISTRY.register()
class ModelBenchmark(MultiTask):
    specs = (
        TaskSpec("ModelFruit"),
        TaskSpec("ModelColor", name="colour", template="{} things."),
        TaskSpec("ModelOrdinarySet", metric="mean_per_class"),
    )


def write_task(root, folder, class_name, names, n_train=7, n_val=6, n_test=3):
    """Draw one-pixel images and their split file, with the classes interleaved in an order of their own."""
    split = {}
    for part, n in (("train", n_train), ("val", n_val), ("test", n_test)):
        rows = []
        for label, name in reversed(list(enumerate(names))):
            for i in range(n + (label if part == "train" else 0)):
                path = root / folder / "images" / name / f"{part}{i}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (8, 8), (40 * label, 20 * i, 0)).save(path)
                rows.append([f"{name}/{path.name}", label, name])
        split[part] = rows
    file = root / folder / f"split_zhou_{class_name}.json"
    file.write_text(json.dumps(split))
    return file


def draw(root):
    """Draw the images of all these data sets below `root`, and return it."""
    write_task(root, "fruit", "ModelFruit", FRUIT)
    write_task(root, "color", "ModelColor", COLORS)
    return root
