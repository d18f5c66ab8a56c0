"""A trainer's files: its checkpoints and its curves."""

import importlib.util
import logging
from pathlib import Path
from typing import Any

from dassl.engine import TrainerX
from dassl.utils import load_checkpoint
from yacs.config import CfgNode

from softcpt import distributed
from softcpt.evaluation.classes import write_classes
from softcpt.files import CHECKPOINT, PROMPTS

from .checkpoints import find_checkpoint, keep_newest, read_prompts
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


class WandbRun:
    """The curves and the config of a run, in the project of Weights & Biases that TRAIN.WANDB names.

    The accuracy of a test, for one, is measured between two training steps and has the number of the last one.
    """

    def __init__(self, cfg: CfgNode) -> None:
        import wandb

        self.step = 0
        name = "/".join(part for part in (cfg.DATASET.NAME, cfg.TRAINER.NAME, cfg.TRAINER.LABEL) if part)
        self.run = wandb.init(project=cfg.TRAIN.WANDB, name=name, dir=cfg.OUTPUT_DIR, config=flatten(cfg))

    def add_scalar(self, tag: str, value: Any, step: int | None) -> None:
        if tag.startswith("train/") and step is not None:
            self.step = step
        self.run.log({tag: float(value)}, step=self.step)

    def close(self) -> None:
        self.run.finish()


class SavingTrainer(TrainerX):
    """Saves and loads `prompts`, the only module that a trainer learns, and writes the curves of its training."""

    _tracker: WandbRun | None = None
    _told_of_checkpoints = False

    def save_model(self, epoch: int, directory: str, **kwargs: Any) -> None:
        """Save a checkpoint, and remove all but the TRAIN.KEEP_CHECKPOINTS newest."""
        if distributed.rank() == 0:
            folder, count = Path(directory, PROMPTS), self.cfg.TRAIN.KEEP_CHECKPOINTS
            folder.mkdir(parents=True, exist_ok=True)
            write_classes(folder / "classes.json", self.tasks)  # first: a killed run leaves no checkpoint without it
            super().save_model(epoch, directory, **kwargs)
            keep_newest(folder, epoch + 1, count)
            if count and not self._told_of_checkpoints:
                kept = "checkpoint alone is" if count == 1 else f"{count} checkpoints are"
                logger.info("The newest %s kept (TRAIN.KEEP_CHECKPOINTS)", kept)
                self._told_of_checkpoints = True
        distributed.barrier()

    def resume_model_if_exist(self, directory: str) -> int:
        """Resume as Dassl does, after checking that the checkpoint belongs to these classes and tasks."""
        folder = Path(directory, PROMPTS)
        if Path(directory, CHECKPOINT).is_file():
            read_prompts(find_checkpoint(folder), self.prompts.state_dict(), type(self).__name__)
        epoch = super().resume_model_if_exist(directory)
        if epoch and directory == self.output_dir and distributed.rank() == 0:
            keep_newest(folder, epoch, self.cfg.TRAIN.KEEP_CHECKPOINTS)  # a kill may have come before
        return epoch

    def load_model(self, directory: str, epoch: int | None = None) -> None:
        """Load the prompts that a run saved: of `epoch`, else the best of the validation set, else the last.

        Raises:
            FileNotFoundError: no such checkpoint.
            ValueError: a checkpoint of another method or of other shapes (other classes, tasks, widths).
        """
        if not directory:
            logger.info("No model directory is given: the prompts stay as they are initialised")
            return
        path = find_checkpoint(Path(directory, PROMPTS), epoch)
        any_number = getattr(self.prompts, "any_number", ())
        self.prompts.load_state_dict(read_prompts(path, self.prompts.state_dict(), type(self).__name__, any_number))
        self.epochs_done = load_checkpoint(str(path)).get("epoch", 0) if self.learns_by_gradient else 0
        self.steps_done = None if self.learns_by_gradient else 0
        logger.info("Prompts loaded from %s", path)

    def init_writer(self, log_dir: str) -> None:
        if distributed.rank() == 0:  # the others write no curves
            super().init_writer(log_dir)
            self._tracker = WandbRun(self.cfg) if self.cfg.TRAIN.WANDB else None

    def write_scalar(self, tag: str, scalar_value: float, global_step: int | None = None) -> None:
        super().write_scalar(tag, scalar_value, global_step)
        if self._tracker is not None:
            self._tracker.add_scalar(tag, scalar_value, global_step)

    def close_writer(self) -> None:
        super().close_writer()
        if self._tracker is not None:
            self._tracker.close()
            self._tracker = None
