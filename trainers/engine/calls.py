"""Checks of a call of train.py before anything is loaded: what it names is there, and nothing is forgotten."""

from pathlib import Path

from dassl.data.datasets import DATASET_REGISTRY
from dassl.engine import TRAINER_REGISTRY
from yacs.config import CfgNode

from softcpt.files import CHECKPOINT, PROMPTS
from softcpt.files.texts import in_utf8

from .settings import flatten

NEEDED = {  # what a call cannot do without: {key: (flag, what it names, where the names are known)}
    "TRAINER.NAME": ("--trainer", "a method", TRAINER_REGISTRY),
    "DATASET.NAME": ("--dataset-config-file", "a data set, such as configs/datasets/demo.yaml", DATASET_REGISTRY),
    "MODEL.BACKBONE.NAME": ("--config-file", "a method's settings, such as configs/trainers/CoOp/rn50.yaml", None),
}


def check_run_folder(flag: str, folder: str) -> None:
    """Raise FileNotFoundError, NotADirectoryError or ValueError, with what to name instead, unless a folder may be a
    run's."""
    path = Path(folder)
    if not in_utf8(folder):
        raise ValueError(f"{flag}: {folder} is not a name in UTF-8, which no file of a run could hold: rename it")
    if path.is_file():
        raise NotADirectoryError(f"{flag}: {folder} is a file; name the run folder (--output-dir of the training)")
    if not path.is_dir():
        raise FileNotFoundError(f"{flag}: no folder {folder}; name the run folder (--output-dir of the training)")
    if path.resolve().name == PROMPTS and not (path / CHECKPOINT).is_file():
        raise FileNotFoundError(f"{flag}: {folder} is the folder of a run's checkpoints; name the run, {path.parent}")
    parts = [str(part) for part in sorted(path.glob("tasks/*")) if (part / "config.yaml").is_file()]
    if parts and not (path / "config.yaml").is_file():
        raise FileNotFoundError(
            f"{flag}: {folder} is a run that was trained once per task; name one of {', '.join(parts)}"
        )


def check_complete(cfg: CfgNode) -> None:
    """Raise ValueError if a call names no method, data set or CLIP, FileNotFoundError if there is nothing to resume."""
    values = flatten(cfg)
    for key, (flag, what, registry) in NEEDED.items():
        if not values[key]:
            known = f"; known are {', '.join(sorted(registry.registered_names()))}" if registry else ""
            raise ValueError(f"{key} is empty: {flag} names {what}{known}")
    if cfg.RESUME:
        check_run_folder("--resume (RESUME)", cfg.RESUME)
        if not (Path(cfg.RESUME) / CHECKPOINT).is_file():
            raise FileNotFoundError(
                f"--resume (RESUME): {cfg.RESUME} holds no checkpoint: there is no {CHECKPOINT} in it"
            )
