"""A trainer's files: its checkpoints and its curves."""

import importlib.util
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dassl.utils import load_checkpoint
from yacs.config import CfgNode

from softcpt import distributed
from softcpt.evaluation.classes import write_classes
from softcpt.files import CHECKPOINT, PROMPTS

from .checkpoints import find_checkpoint, keep_newest, read_learned
from .rank_draws import states_of_ranks
from .settings import flatten

logger = logging.getLogger(__name__)


def check_tracking(cfg: CfgNode) -> None:
    """Raise ValueError if TRAIN.WANDB names a project and the package wandb is not installed."""
    try:
        missing = importlib.util.find_spec("wandb") is None
    except ValueError:  # a module in sys.modules without a specification
        missing = False
    if cfg.TRAIN.WANDB and missing:
        raise ValueError(
            f"TRAIN.WANDB: {cfg.TRAIN.WANDB!r}, but the package wandb is not installed: pip install wandb, or leave "
            "the key empty"
        )


class WandbWriter:
    """Writes curves as `writer` does, and to the project of Weights & Biases that TRAIN.WANDB names, with the config.

    The accuracy of a test, for one, is measured between two training steps and has the number of the last one.
    """

    def __init__(self, writer: Any, cfg: CfgNode) -> None:
        import wandb

        self.writer, self.step = writer, 0
        name = "/".join(part for part in (cfg.DATASET.NAME, cfg.TRAINER.NAME, cfg.TRAINER.LABEL) if part)
        self.run = wandb.init(project=cfg.TRAIN.WANDB, name=name, dir=cfg.OUTPUT_DIR, config=flatten(cfg))

    def add_scalar(self, tag: str, value: Any, step: int | None = None) -> None:
        self.writer.add_scalar(tag, value, step)
        if tag.startswith("train/") and step is not None:
            self.step = step
        if self.run is not None:
            self.run.log({tag: float(value)}, step=self.step)

    def close(self) -> None:
        """A second call does nothing."""
        self.writer.close()
        if self.run is not None:
            self.run.finish()
            self.run = None


class Saver:
    """Saves and loads what a trainer learns, the only module that it registers."""

    def __init__(self, trainer: Any) -> None:
        self.trainer, self.told = trainer, False  # which checkpoints are kept

    def save(self, write: Callable[..., None], epoch: int, directory: str, **kwargs: Any) -> None:
        """Save a checkpoint by Dassl's `write`, and remove all but the TRAIN.KEEP_CHECKPOINTS newest."""
        self.trainer.rank_states = states_of_ranks()
        if distributed.rank() == 0:
            folder, count = Path(directory, PROMPTS), self.trainer.cfg.TRAIN.KEEP_CHECKPOINTS
            folder.mkdir(parents=True, exist_ok=True)
            write_classes(folder / "classes.json", self.trainer.tasks)  # first: no checkpoint of a killed run lacks it
            write(epoch, directory, **kwargs)
            keep_newest(folder, epoch + 1, count)
            if count and not self.told:
                kept = "checkpoint alone is" if count == 1 else f"{count} checkpoints are"
                logger.info("The newest %s kept (TRAIN.KEEP_CHECKPOINTS)", kept)
                self.told = True
        distributed.barrier()

    def resume(self, read: Callable[[str], int], directory: str) -> int:
        """Resume by Dassl's `read`, after checking that the checkpoint belongs to these classes and tasks."""
        trainer, folder = self.trainer, Path(directory, PROMPTS)
        if Path(directory, CHECKPOINT).is_file():
            read_learned(find_checkpoint(folder), trainer.learned.state_dict(), type(trainer).__name__)
        epoch = read(directory)
        if epoch and directory == trainer.output_dir and distributed.rank() == 0:
            keep_newest(folder, epoch, trainer.cfg.TRAIN.KEEP_CHECKPOINTS)  # a kill may have come before
        return epoch

    def load(self, directory: str, epoch: int | None = None) -> None:
        """Load what a run saved: of `epoch`, else the best of the validation set, else the last.

        Raises:
            FileNotFoundError: no such checkpoint.
            ValueError: a checkpoint of another method or of other shapes (other classes, tasks, widths).
        """
        if not directory:
            logger.info("No model directory is given: the prompts stay as they are initialised")
            return
        trainer, path = self.trainer, find_checkpoint(Path(directory, PROMPTS), epoch)
        learned = trainer.learned
        state = read_learned(path, learned.state_dict(), type(trainer).__name__, getattr(learned, "any_number", ()))
        learned.load_state_dict(state)
        trainer.epochs_done = load_checkpoint(str(path)).get("epoch", 0) if trainer.learns_by_gradient else 0
        trainer.steps_done = None if trainer.learns_by_gradient else 0
        logger.info("Prompts loaded from %s", path)
