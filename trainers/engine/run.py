"""A run from its config to its results: build the trainer, train or evaluate it, write what it has found."""

import argparse
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from dassl.engine import TrainerX, build_trainer
from dassl.utils import collect_env_info
from yacs.config import CfgNode

import compat
from softcpt import distributed
from softcpt.evaluation.records import record_in

from . import earlier
from .earlier_precision import with_precision
from .memory import device_name
from .rank_draws import seed_run
from .run_files import write_results
from .settings import unread_keys

logger = logging.getLogger(__name__)


def run(args: argparse.Namespace, cfg: CfgNode, defaults: Mapping[str, Any], precision: str = "") -> None:
    """Build the trainer, train or evaluate it, and write the results. A `precision` takes the place of PREC."""
    folder, first = Path(cfg.OUTPUT_DIR), distributed.rank() == 0
    seed_run(cfg.SEED)
    torch.backends.cudnn.benchmark = torch.cuda.is_available() and cfg.USE_CUDA
    for key in unread_keys(cfg, defaults):
        logger.warning("Warning: %s is set, but %s does not read it", key, cfg.TRAINER.NAME)
    trainer = build_trainer(with_precision(cfg, precision))
    print(cfg, collect_env_info(), sep="\n")  # after what may fail, so that an error is not far below
    logger.info("Dassl: %s", compat.ensure_dassl())
    if first:
        earlier.write_inputs(folder, trainer, cfg, defaults, args)
    loaded = ""
    if args.eval_only:
        loaded = evaluate(trainer, args)
    elif not args.no_train:
        try:
            trainer.train()
        finally:
            trainer.close_writer()  # its thread must not write while a failed run is removed
    if trainer.test_seconds is not None and first:
        write_results(folder, trainer, cfg, device_name(trainer.device), args.command, loaded)


def evaluate(trainer: TrainerX, args: argparse.Namespace) -> str:
    """Load the run in --model-dir and test it. Returns what was loaded, "" for a method that learns nothing."""
    loaded = (args.model_dir or trainer.cfg.MODEL.INIT_WEIGHTS) if trainer.uses_shots else ""
    if trainer.uses_shots and not loaded:
        name = trainer.cfg.TRAINER.NAME
        raise ValueError(f"--eval-only: {name} needs training; name the run folder to load with --model-dir")
    trainer.load_model(args.model_dir, epoch=args.load_epoch)
    if args.model_dir and args.load_epoch is None:
        trainer.steps_done = record_in(args.model_dir).get("steps", trainer.steps_done)
    trainer.test()
    return loaded
