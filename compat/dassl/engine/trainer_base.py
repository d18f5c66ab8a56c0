"""The loop over epochs, and everything about registered models: modes, steps, checkpoints, exact resume."""

import glob
import logging
import os
from collections import OrderedDict
from typing import Any

import torch
from dassl.utils import check_availability, load_checkpoint, save_checkpoint, tolist_if_not
from dassl.utils.resume import (
    checkpoints_of_one_epoch,
    get_rng_state,
    load_weights,
    restore_checkpoint,
    scheduler_state,
    set_rng_state,
)
from torch import nn

from .writer import LazyWriter

__all__ = ["TrainerBase"]

logger = logging.getLogger(__name__)


class TrainerBase:
    """A trainer of registered models; subclasses implement the verbs that raise NotImplementedError."""

    def __init__(self) -> None:
        self._models: OrderedDict[str, nn.Module] = OrderedDict()
        self._optims: OrderedDict[str, torch.optim.Optimizer | None] = OrderedDict()
        self._scheds: OrderedDict[str, Any] = OrderedDict()
        self._writer: LazyWriter | None = None
        self._resumed_rng: dict[str, Any] | None = None

    # Registered models

    def register_model(
        self,
        name: str = "model",
        model: nn.Module | None = None,
        optim: torch.optim.Optimizer | None = None,
        sched: Any = None,
    ) -> None:
        """Make `model` part of modes, steps and checkpoints; the latter go to <output>/<name>."""
        if "_models" not in self.__dict__:
            raise AttributeError("register_model needs super().__init__() to be called first")
        if name in self._models:
            raise ValueError(f"A model named {name!r} is already registered")
        self._models[name], self._optims[name], self._scheds[name] = model, optim, sched

    def get_model_names(self, names: str | list[str] | None = None) -> list[str]:
        """`names` as a checked list; None means all registered names."""
        if names is None:
            return list(self._models)
        names = tolist_if_not(names)
        for name in names:
            check_availability(name, self._models, key="model name")
        return names

    def set_model_mode(self, mode: str = "train", names: str | list[str] | None = None) -> None:
        """`mode` is "train", or "eval" or "test"."""
        check_availability(mode, ["train", "eval", "test"], key="mode")
        for name in self.get_model_names(names):
            self._models[name].train(mode == "train")

    def update_lr(self, names: str | list[str] | None = None) -> None:
        """One scheduler step; trainers call it after an epoch's last batch."""
        for name in self.get_model_names(names):
            if self._scheds[name] is not None:
                self._scheds[name].step()

    def detect_anomaly(self, loss: torch.Tensor) -> None:
        """Raise FloatingPointError when the loss is infinite or NaN."""
        if not torch.isfinite(loss).all():
            epoch, batch = getattr(self, "epoch", None), getattr(self, "batch_idx", None)
            raise FloatingPointError(f"Loss is infinite or NaN! (epoch index {epoch}, batch index {batch})")

    def model_zero_grad(self, names: str | list[str] | None = None) -> None:
        for name in self.get_model_names(names):
            if self._optims[name] is not None:
                self._optims[name].zero_grad()

    def model_backward(self, loss: torch.Tensor) -> None:
        self.detect_anomaly(loss)
        loss.backward()

    def model_update(self, names: str | list[str] | None = None) -> None:
        for name in self.get_model_names(names):
            if self._optims[name] is not None:
                self._optims[name].step()

    def model_backward_and_update(self, loss: torch.Tensor, names: str | list[str] | None = None) -> None:
        """Clear the gradients, backward, one optimiser step per name."""
        self.model_zero_grad(names)
        self.model_backward(loss)
        self.model_update(names)

    # Checkpoints

    def save_model(
        self, epoch: int, directory: str, is_best: bool = False, val_result: float | None = None, model_name: str = ""
    ) -> None:
        """Write one checkpoint per registered model, with everything that an exact resume needs.

        Args:
            epoch: index of the epoch that has just ended.
            directory: gets a folder per model.
            is_best: also write model-best.pth.tar.
            model_name: file name; default model.pth.tar-<epoch + 1>.
        """
        scaler = getattr(self, "scaler", None)
        best_result = getattr(self, "best_result", None)
        trainer = {
            "rng": get_rng_state(),
            "scaler": scaler.state_dict() if scaler is not None else None,
            "best_result": None if best_result is None else float(best_result),
        }
        for name, model in self._models.items():
            optim, sched = self._optims[name], self._scheds[name]
            state = {
                "state_dict": model.state_dict(),
                "epoch": epoch + 1,
                "optimizer": None if optim is None else optim.state_dict(),
                "scheduler": None if sched is None else scheduler_state(sched),
                "val_result": val_result,
                "trainer": trainer,
            }
            save_checkpoint(state, os.path.join(directory, name), is_best=is_best, model_name=model_name)

    def resume_model_if_exist(self, directory: str) -> int:
        """Continue from the newest checkpoint in `directory`; return the number of epochs that it has finished.

        0, and nothing is touched, when a model has no checkpoint there. Raises CheckpointError or FileNotFoundError,
        naming the file, for checkpoints that do not fit.
        """
        names = self.get_model_names()
        paths = checkpoints_of_one_epoch(directory, names)
        if not paths:
            print("No checkpoint found, train from scratch")
            return 0
        print(f"Found checkpoint at {directory} (will resume training)")
        for name, path in paths.items():
            checkpoint = restore_checkpoint(path, self._models[name], self._optims[name], self._scheds[name])
        self._restore_trainer_state(checkpoint.get("trainer") or {})
        logger.info("Resumed after epoch %d", checkpoint["epoch"])
        return checkpoint["epoch"]

    def _restore_trainer_state(self, state: dict[str, Any]) -> None:
        if state.get("scaler") and getattr(self, "scaler", None) is not None:
            self.scaler.load_state_dict(state["scaler"])
        if state.get("best_result") is not None:
            self.best_result = state["best_result"]
        self._resumed_rng = state.get("rng")
        if self._resumed_rng is None:
            logger.warning("The checkpoint holds no state of the random generators: the resumed run is not exact")
        else:
            set_rng_state(self._resumed_rng)

    def load_model(self, directory: str, epoch: int | None = None) -> None:
        """Load the weights of every registered model for testing.

        Args:
            directory: output folder of the run that trained them; "" or None loads nothing.
            epoch: number of finished epochs; None means model-best.pth.tar.

        Raises FileNotFoundError or CheckpointError, naming the file.
        """
        if not directory:
            print("No folder of a trained model is given: load_model() is skipped")
            return
        file_name = "model-best.pth.tar" if epoch is None else f"model.pth.tar-{epoch}"
        for name, model in self._models.items():
            path = os.path.join(directory, name, file_name)
            if not os.path.isfile(path):
                there = sorted(os.path.basename(other) for other in glob.glob(os.path.join(directory, name, "model*")))
                raise FileNotFoundError(f'No model at "{path}"; there: {there}')
            checkpoint = load_checkpoint(path)
            load_weights(model, checkpoint["state_dict"], path)
            val_result = checkpoint.get("val_result")
            shown = "none" if val_result is None else f"{val_result:.1f}"
            print(f"Load {path} to {name} (epoch={checkpoint['epoch']}, val_result={shown})")

    # Tensorboard

    def init_writer(self, log_dir: str) -> None:
        """Write scalars below `log_dir` from now on."""
        if self._writer is None:
            self._writer = LazyWriter(log_dir)

    def close_writer(self) -> None:
        if self._writer is not None:
            self._writer.close()

    def write_scalar(self, tag: str, scalar_value: float, global_step: int | None = None) -> None:
        """Add a scalar; does nothing before `init_writer`, so outside of training."""
        if self._writer is not None:
            self._writer.add_scalar(tag, scalar_value, global_step)

    # The loop

    def train(self, start_epoch: int, max_epoch: int) -> None:
        """before_train, then before_epoch, run_epoch, after_epoch per epoch, then after_train."""
        self.start_epoch = start_epoch
        self.max_epoch = max_epoch
        self.before_train()
        if self._resumed_rng is not None:
            set_rng_state(self._resumed_rng)  # again: preparations in before_train may have drawn numbers
        for epoch in range(self.start_epoch, self.max_epoch):
            self.epoch = epoch
            self.before_epoch()
            self.run_epoch()
            self.after_epoch()
        self.after_train()

    def before_train(self) -> None:
        pass

    def after_train(self) -> None:
        pass

    def before_epoch(self) -> None:
        pass

    def after_epoch(self) -> None:
        pass

    def run_epoch(self) -> None:
        raise NotImplementedError

    def test(self) -> float:
        raise NotImplementedError

    def parse_batch_train(self, batch: dict[str, Any]) -> Any:
        raise NotImplementedError

    def parse_batch_test(self, batch: dict[str, Any]) -> Any:
        raise NotImplementedError

    def forward_backward(self, batch: dict[str, Any]) -> dict[str, float]:
        raise NotImplementedError

    def model_inference(self, input: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError
