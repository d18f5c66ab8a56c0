"""Trainers that do not train: that of a finished run, and zero-shot CLIP on a data set. Nothing is written.

The classes come from the run's classes.json, so its data set is not needed. A run of an older version, which has no
such file, takes them from its data set.
"""

import contextlib
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dassl.data.datasets import DATASET_REGISTRY, DatasetBase
from dassl.engine import build_trainer
from yacs.config import CfgNode

from datasets.splits import datum
from softcpt.evaluation.classes import FILE_NAME, classes_in, write_classes
from softcpt.prompts.owners import OWNERS
from softcpt.sweeps import TASKS_FOLDER
from softcpt.tasks import Task
from trainers import PromptTrainer
from trainers.engine.config import build_cfg, read_files
from trainers.engine.earlier_precision import as_trained, given_in, key_of, with_precision


@DATASET_REGISTRY.register()
class ClassesAlone(DatasetBase):
    """The tasks of a classes.json in a folder (DATASET.ROOT), without images: one datum per class, never read."""

    def __init__(self, cfg: CfgNode) -> None:
        self.root = cfg.DATASET.ROOT
        self.tasks = classes_in(self.root)
        names = [(t, name) for t, task in enumerate(self.tasks) for name in task.classnames]
        items = [datum(self.root, label, name, t) for label, (t, name) in enumerate(names)]
        super().__init__(train_x=items, test=items)


def check_run(run: Path) -> None:
    """Raise FileNotFoundError for a folder that does not hold a run."""
    if not run.exists():
        raise FileNotFoundError(f"no run folder or exported file {run}")
    if not (run / "config.yaml").is_file():
        parts = ", ".join(sorted(str(path.parent) for path in (run / TASKS_FOLDER).glob("*/config.yaml")))
        hint = f"; it was trained once per task, so name the folder of one: {parts}" if parts else ""
        raise FileNotFoundError(f"{run} is not the folder of a run: it has no config.yaml{hint}")


def config_of(run: Path, settings: Mapping[str, Any], classes: Path | None = None) -> CfgNode:
    """A run's config without references to other files: output folder, initial weights, cached features.

    Args:
        settings: values of keys that win over the run's.
        classes: folder whose classes.json is used in place of the data set.
    """
    check_run(run)
    cfg = build_cfg(read_files(run / "config.yaml"), settings, loaded=run)
    if key_of(cfg) not in settings:
        cfg = with_precision(cfg, as_trained(given_in(cfg), cfg.USE_CUDA))
    cfg.defrost()
    cfg.OUTPUT_DIR = cfg.RESUME = cfg.MODEL.INIT_WEIGHTS = ""
    cfg.DATASET.TRAIN_ON_ALL = False
    cfg.FEATURES.TEST_CACHE, cfg.FEATURES.TRAIN_VIEWS = False, 0
    if cfg.INPUT.UPRIGHT is None:
        cfg.INPUT.UPRIGHT = False  # an older run, which turned no picture
    if classes is not None:
        cfg.DATASET.NAME, cfg.DATASET.ROOT = ClassesAlone.__name__, str(classes)
        cfg.DATASET.TASKS = cfg.DATASET.SUBSAMPLE_CLASSES = "all"
        # The loaders and the schedule are built but not used; these values suit so few data.
        cfg.DATALOADER.TRAIN_X.SAMPLER, cfg.DATALOADER.TRAIN_X.BATCH_SIZE = "RandomSampler", 1
        cfg.OPTIM.MAX_STEPS = 0
    cfg.freeze()
    return cfg


def load_run(run: Path, root: str = "", settings: Mapping[str, Any] | None = None) -> PromptTrainer:
    """The trainer of a run, with its classes and learned prompts, ready to predict.

    Args:
        root: folder of the data sets, for a run without classes.json.
        settings: values of config keys that win over the run's.

    Raises FileNotFoundError without run, checkpoint or CLIP, ValueError if they do not fit together.
    """
    settings = ({"DATASET.ROOT": root} if root else {}) | dict(settings or {})
    with contextlib.redirect_stdout(None):  # what Dassl prints
        return _loaded(build_trainer(config_of(run, settings, run if classes_in(run) else None)), run)


def load_run_for(run: Path, task: Task, settings: Mapping[str, Any]) -> PromptTrainer:
    """The trainer of a run with one task that it was not trained on.

    Raises ValueError for a method with parameters for each class or task, which do not apply to new ones.
    """
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(None):
        write_classes(Path(folder, FILE_NAME), [task])
        trainer = build_trainer(config_of(run, settings, Path(folder)))
    owned = [key for key in trainer.learned.state_dict() if OWNERS.search(key)]
    if owned:
        name = " ".join(filter(None, (type(trainer).__name__, trainer.variant)))
        raise ValueError(
            f"{run} is a run of {name}, which has its own parameters for each class or task and so none for "
            f"{task.name!r}. SoftCPT NATA and CATA, or methods with one context for all tasks, can predict on it"
        )
    return _loaded(trainer, run)


def _loaded(trainer: PromptTrainer, run: Path) -> PromptTrainer:
    if trainer.learned.state_dict():  # else the method learns nothing
        trainer.load_model(str(run))
    trainer.set_model_mode("eval")
    return trainer


def zero_shot_trainer(
    dataset: str, backbone: str, root: str, settings: Mapping[str, Any] | None = None
) -> PromptTrainer:
    """Zero-shot CLIP on all images of a data set, in full precision."""
    settings = {
        "TRAINER.NAME": "ZeroshotCLIP",
        "MODEL.BACKBONE.NAME": backbone,
        "DATASET.NAME": dataset,
        "DATASET.ROOT": root,
        "DATASET.NUM_SHOTS": -1,
        "INPUT.TRANSFORMS": ("normalize",),
        "DATALOADER.NUM_WORKERS": -1,
        "DATALOADER.TEST.BATCH_SIZE": 100,
        "TRAINER.ZEROSHOTCLIP.PREC": "fp32",
        "FEATURES.TEST_CACHE": False,
        **(settings or {}),
    }
    with contextlib.redirect_stdout(None):
        return build_trainer(build_cfg(read_files(), settings))
