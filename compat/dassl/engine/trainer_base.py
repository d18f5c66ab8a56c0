"""A trainer's registered models: modes, steps, checkpoints and exact resuming."""

import glob
import logging
import os
from typing import Any

import torch
from dassl.utils import check_availability, load_checkpoint, save_checkpoint
from dassl.utils.resume import checkpoints_of_one_epoch, get_rng_state, load_weights, restore_checkpoint, set_rng_state
from torch import nn

logger = logging.getLogger(__name__)


class TrainerBase:
    """Keeps models with their optimisers and schedulers, which may be None; each method acts on all of them."""

    def __init__(self) -> None:
        self._models: dict[str, nn.Module] = {}
        self._optims: dict[str, torch.optim.Optimizer | None] = {}
        self._scheds: dict[str, Any] = {}
        self._resumed_rng: dict[str, Any] | None = None  # states of random generators that a checkpoint held
        self.rank_states: Any = None  # those of several processes, which a subclass keeps here; saved as they are

    def register_model(
        self,
        name: str = "model",
        model: nn.Module | None = None,
        optim: torch.optim.Optimizer | None = None,
        sched: Any = None,
    ) -> None:
        """Take charge of `model`; its checkpoints go to the folder `name` of the output folder.

        Raises ValueError when the name is taken.
        """
        if name in self._models:
            raise ValueError(f"A model named {name!r} is already registered")
        self._models[name], self._optims[name], self._scheds[name] = model, optim, sched

    def get_model_names(self) -> list[str]:
        return list(self._models)

    def set_model_mode(self, mode: str = "train") -> None:
        """`mode` is "train", "eval" or "test", which means the same as "eval"."""
        check_availability(mode, ("train", "eval", "test"), key="mode")
        for model in self._models.values():
            model.train(mode == "train")

    def update_lr(self) -> None:
        """Step the schedulers; trainers call this after the last batch of an epoch."""
        for sched in self._scheds.values():
            if sched is not None:
                sched.step()

    def model_backward_and_update(self, loss: torch.Tensor) -> None:
        """Compute new gradients and step the optimisers. Raises FloatingPointError if the loss is infinite or NaN."""
        if not torch.isfinite(loss).all():
            epoch, batch = getattr(self, "epoch", None), getattr(self, "batch_idx", None)
            raise FloatingPointError(f"Loss is infinite or NaN! (epoch index {epoch}, batch index {batch})")
        optims = [optim for optim in self._optims.values() if optim is not None]
        for optim in optims:
            optim.zero_grad()
        loss.backward()
        for optim in optims:
            optim.step()

    def save_model(self, epoch: int, directory: str, val_result: float | None = None, model_name: str = "") -> None:
        """Write a checkpoint per model, with all that an exact resume needs.

        Args:
            epoch: index of the epoch that has just ended.
            directory: gets a folder per model.
            model_name: file name; default model.pth.tar-<epoch + 1>.
        """
        scaler, best_result = getattr(self, "scaler", None), getattr(self, "best_result", None)
        trainer = {
            "rng": get_rng_state(),
            "scaler": None if scaler is None else scaler.state_dict(),
            "best_result": None if best_result is None else float(best_result),
        }
        trainer |= {} if self.rank_states is None else {"ranks": self.rank_states}
        for name, model in self._models.items():
            parts = {"state_dict": model, "optimizer": self._optims[name], "scheduler": self._scheds[name]}
            state = {key: None if part is None else part.state_dict() for key, part in parts.items()}
            state |= {"epoch": epoch + 1, "val_result": val_result, "trainer": trainer}
            save_checkpoint(state, os.path.join(directory, name), model_name)

    def resume_model_if_exist(self, directory: str) -> int:
        """Continue from the newest checkpoints in `directory`; return their number of finished epochs.

        If a model has no checkpoint there, nothing is restored and 0 is returned. Raises CheckpointError or
        FileNotFoundError, naming the file, for checkpoints that do not fit.
        """
        paths = checkpoints_of_one_epoch(directory, self.get_model_names())
        if not paths:
            print("No checkpoint found, train from scratch")
            return 0
        print(f"Found checkpoint at {directory} (will resume training)")
        for name, path in paths.items():
            checkpoint = restore_checkpoint(path, self._models[name], self._optims[name], self._scheds[name])
        self._restore_trainer(checkpoint.get("trainer") or {})
        logger.info("Resumed after epoch %d", checkpoint["epoch"])
        return checkpoint["epoch"]

    def _restore_trainer(self, state: dict[str, Any]) -> None:
        if state.get("scaler") and getattr(self, "scaler", None) is not None:
            self.scaler.load_state_dict(state["scaler"])
        if state.get("best_result") is not None:
            self.best_result = state["best_result"]
        self._resumed_rng, self.rank_states = state.get("rng"), state.get("ranks")
        if self._resumed_rng is None:
            logger.warning("The checkpoint holds no state of the random generators: the resumed run is not exact")
        else:
            set_rng_state(self._resumed_rng)

    def load_model(self, directory: str, epoch: int | None = None) -> None:
        """Load the weights of all models for testing.

        Args:
            directory: output folder of the run that trained them; "" loads nothing.
            epoch: number of finished epochs; None means model-best.pth.tar.

        Raises FileNotFoundError or CheckpointError, naming the file.
        """
        if not directory:
            print("No folder of a trained model is given: load_model() is skipped")
            return
        file_name = "model-best.pth.tar" if epoch is None else f"model.pth.tar-{epoch}"
        for name, model in self._models.items():
            folder = os.path.join(directory, name)
            path = os.path.join(folder, file_name)
            if not os.path.isfile(path):
                raise FileNotFoundError(f'No model at "{path}"; there: {sorted(glob.glob("model*", root_dir=folder))}')
            checkpoint = load_checkpoint(path)
            load_weights(model, checkpoint["state_dict"], path)
            result = checkpoint.get("val_result")
            result = "none" if result is None else f"{result:.1f}"
            print(f"Load {path} to {name} (epoch={checkpoint['epoch']}, val_result={result})")
