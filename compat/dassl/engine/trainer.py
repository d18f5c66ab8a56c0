"""The trainer that methods derive from: the loop over epochs and batches, and the test."""

import datetime
import logging
import math
import os
import time
from collections import defaultdict
from typing import Any, NamedTuple

import torch
from dassl.data import DataManager
from dassl.evaluation import build_evaluator
from dassl.utils.resume import set_rng_state
from tqdm import tqdm
from yacs.config import CfgNode

from .trainer_base import TrainerBase
from .writer import LazyWriter

logger = logging.getLogger(__name__)


class TrainerX(TrainerBase):
    """Trains on labelled images. A method implements `build_model`, which registers what learns, and
    `forward_backward`, a step on a batch, whose returned values are logged.

    Attributes:
        cfg, device, output_dir, evaluator, dm.
        train_loader_x, val_loader (or None), test_loader, num_classes, lab2cname: those of `dm`, the DataManager.
        start_epoch, max_epoch, epoch: the first epoch, the number of epochs and the current one, counted from 0.
        num_batches, batch_idx: batches of an epoch and the current one, counted from 0.
        best_result: the best result on the validation images, with TEST.FINAL_MODEL "best_val".
    """

    def __init__(self, cfg: CfgNode) -> None:
        super().__init__()
        self.check_cfg(cfg)
        self.cfg = cfg
        self.device = torch.device("cuda" if cfg.USE_CUDA and torch.cuda.is_available() else "cpu")
        self.output_dir = cfg.OUTPUT_DIR
        self.start_epoch, self.epoch, self.max_epoch = 0, 0, cfg.OPTIM.MAX_EPOCH
        self._writer: LazyWriter | None = None
        self.build_data_loader()
        self.build_model()
        self.evaluator = build_evaluator(cfg, lab2cname=self.lab2cname)
        self.best_result = -math.inf

    # What a method may override

    def check_cfg(self, cfg: CfgNode) -> None:
        """Raise if a value does not suit the method; called before anything is built."""

    def build_data_loader(self) -> None:
        """Set `dm`, its loaders and what it knows of the classes."""
        self.dm = DataManager(self.cfg)
        names = "train_loader_x train_loader_u val_loader test_loader num_classes num_source_domains lab2cname"
        for name in names.split():
            setattr(self, name, getattr(self.dm, name))

    def build_model(self) -> None:
        raise NotImplementedError

    def forward_backward(self, batch: dict[str, Any]) -> dict[str, Any] | None:
        raise NotImplementedError

    def parse_batch_train(self, batch: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Images (B, 3, H, W), labels (B,) and domains (B,) on the trainer's device."""
        return tuple(batch[key].to(self.device) for key in ("img", "label", "domain"))

    def parse_batch_test(self, batch: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
        """Images (B, 3, H, W) and labels (B,) on the trainer's device."""
        return tuple(batch[key].to(self.device) for key in ("img", "label"))

    def model_inference(self, input: torch.Tensor) -> torch.Tensor:
        """Scores (B, C) of images."""
        return self.model(input)

    def before_epoch(self) -> None:
        pass

    # The loop

    def train(self) -> None:
        """All epochs that are left, between `before_train` and `after_train`."""
        self.before_train()
        if self._resumed_rng is not None:
            set_rng_state(self._resumed_rng)  # again: before_train may have drawn numbers
        for epoch in range(self.start_epoch, self.max_epoch):
            self.epoch = epoch
            self.before_epoch()
            self.run_epoch()
            self.after_epoch()
        self.after_train()

    def before_train(self) -> None:
        """Resume from `cfg.RESUME`, by default the output folder, if there is a checkpoint."""
        self.start_epoch = self.resume_model_if_exist(self.cfg.RESUME or self.cfg.OUTPUT_DIR)
        self.epoch = max(self.start_epoch - 1, 0)  # the final test's, if nothing is left to train
        if self.start_epoch > self.max_epoch:
            logger.warning("The checkpoint has %d epochs, OPTIM.MAX_EPOCH is %d", self.start_epoch, self.max_epoch)
        self.init_writer(os.path.join(self.output_dir, "tensorboard"))
        self.time_start = time.time()

    def run_epoch(self) -> None:
        self.set_model_mode("train")
        cfg, clock, logged = self.cfg.TRAIN, defaultdict(_Mean), defaultdict(_Mean)
        self.num_batches = len(self.train_loader_x)
        unread: list[_Step] = []
        start = time.time()
        for batch_idx, batch in enumerate(self.train_loader_x):
            self.batch_idx = batch_idx
            clock["data"].add(time.time() - start)
            values = self.forward_backward(batch) or {}
            unread.append(_Step(self.epoch * self.num_batches + batch_idx, self.get_current_lr(), values))
            clock["batch"].add(time.time() - start)
            prints = (batch_idx + 1) % cfg.PRINT_FREQ == 0 or self.num_batches < cfg.PRINT_FREQ
            if prints or self.device.type == "cpu":
                self._log(unread, logged)
            if prints:
                self._print_progress(clock, logged)
            start = time.time()
        self._log(unread, logged)

    def _log(self, steps: list["_Step"], logged: dict[str, "_Mean"]) -> None:
        """Write the curves of some steps, and empty the list. On a GPU the values of all are read at once."""
        tensors = [v for step in steps for v in step.values.values() if isinstance(v, torch.Tensor)]
        numbers = iter(torch.cat([tensor.double().flatten() for tensor in tensors]).tolist() if tensors else [])
        for step in steps:
            for name, value in step.values.items():
                logged[name].add(next(numbers) if isinstance(value, torch.Tensor) else value)
            for name, mean in logged.items():
                self.write_scalar(f"train/{name}", mean.mean, step.number)
            self.write_scalar("train/lr", step.lr, step.number)
        steps.clear()

    def _print_progress(self, clock: dict[str, "_Mean"], logged: dict[str, "_Mean"]) -> None:
        done = self.epoch * self.num_batches + self.batch_idx + 1
        seconds = clock["batch"].mean * (self.max_epoch * self.num_batches - done)
        values = " ".join(f"{name} {mean:.4f}" for name, mean in logged.items())
        print(
            f"epoch [{self.epoch + 1}/{self.max_epoch}] batch [{self.batch_idx + 1}/{self.num_batches}] "
            f"time {clock['batch']:.3f} data {clock['data']:.3f} {values} "
            f"lr {self.get_current_lr():.4e} eta {datetime.timedelta(seconds=int(seconds))}"
        )

    def after_epoch(self) -> None:
        """Keep the best model on the validation images if the config asks for it; write a checkpoint that is due."""
        if self.cfg.TEST.FINAL_MODEL == "best_val" and not self.cfg.TEST.NO_TEST:
            result = self.test(split="val")
            if result > self.best_result:
                self.best_result = result
                self.save_model(self.epoch, self.output_dir, val_result=result, model_name="model-best.pth.tar")
        done, period = self.epoch + 1, self.cfg.TRAIN.CHECKPOINT_FREQ
        if done == self.max_epoch or (period > 0 and done % period == 0):
            self.save_model(self.epoch, self.output_dir)

    def after_train(self) -> None:
        print("Finish training")
        if not self.cfg.TEST.NO_TEST:
            if self.cfg.TEST.FINAL_MODEL == "best_val":
                print("Deploy the model with the best val performance")
                self.load_model(self.output_dir)
            else:
                print("Deploy the last-epoch model")
            self.test()
        print(f"Elapsed: {datetime.timedelta(seconds=round(time.time() - self.time_start))}")
        self.close_writer()

    @torch.no_grad()
    def test(self, split: str | None = None) -> float:
        """Evaluate on the images of "val", if there are any, or "test" (default: `TEST.SPLIT`).

        Returns the evaluator's first value.
        """
        self.set_model_mode("eval")
        self.evaluator.reset()
        on_val = (split or self.cfg.TEST.SPLIT) == "val" and self.val_loader is not None
        split = "val" if on_val else "test"
        print(f"Evaluate on the *{split}* set")
        for batch in tqdm(self.val_loader if on_val else self.test_loader, disable=None):
            input, label = self.parse_batch_test(batch)
            self.evaluator.process(self.model_inference(input), label)
        results = self.evaluator.evaluate()
        for name, value in results.items():
            self.write_scalar(f"{split}/{name}", value, self.epoch)
        return next(iter(results.values()))

    def get_current_lr(self) -> float:
        """Learning rate of the first model that was registered."""
        return next(iter(self._optims.values())).param_groups[0]["lr"]

    # Tensorboard

    def init_writer(self, log_dir: str) -> None:
        """Write scalars below `log_dir` from now on."""
        if self._writer is None:
            self._writer = LazyWriter(log_dir)

    def close_writer(self) -> None:
        if self._writer is not None:
            self._writer.close()

    def write_scalar(self, tag: str, scalar_value: float, global_step: int | None = None) -> None:
        """Add a scalar to the curves; before `init_writer`, so outside of training, there are none."""
        if self._writer is not None:
            self._writer.add_scalar(tag, scalar_value, global_step)


class _Step(NamedTuple):
    number: int
    lr: float
    values: dict[str, Any]  # numbers, and scalars on the device


class _Mean:
    """The last value and the mean of a number; formatted as "last (mean)"."""

    def __init__(self) -> None:
        self.last = self.total = 0.0
        self.count = 0

    def add(self, value: float) -> None:
        self.last = value
        self.total += self.last
        self.count += 1

    @property
    def mean(self) -> float:
        return self.total / self.count

    def __format__(self, spec: str) -> str:
        return f"{self.last:{spec}} ({self.mean:{spec}})"
