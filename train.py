"""Train or evaluate a method on a data set: CoOp's entry point.

    python train.py --root data --trainer SoftCPT --dataset-config-file configs/datasets/demo.yaml \
        --config-file configs/trainers/SoftCPT/tiny.yaml --output-dir output/run DATASET.NUM_SHOTS 16

Later settings win: Dassl's defaults, the data set's file, the method's file, the flags, trailing KEY VALUE pairs.
The run folder holds config.yaml, log.txt, shots.json, the checkpoint, predictions and, written last, results.json.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import re
import sys
import warnings
from pathlib import Path

if __name__ == "__main__":  # Ctrl-C during the imports below, which take seconds, is one line
    sys.excepthook = lambda kind, *error: (
        print("interrupted", file=sys.stderr) if kind is KeyboardInterrupt else sys.__excepthook__(kind, *error)
    )

import torch
import yaml
from yacs.config import CfgNode

import compat

DASSL = compat.ensure_dassl()
warnings.filterwarnings("ignore", message="pkg_resources is deprecated")  # in the clip package

from dassl.config import get_cfg_default  # noqa: E402
from dassl.engine import build_trainer  # noqa: E402
from dassl.utils import collect_env_info, set_random_seed, setup_logger  # noqa: E402

import datasets  # noqa: E402
import evaluation  # noqa: E402
import trainers  # noqa: E402
from datasets.multitask import write_shots, write_split_used  # noqa: E402
from evaluation.classes import check_classes, write_classes  # noqa: E402
from evaluation.provenance import command_line  # noqa: E402
from evaluation.records import record_in  # noqa: E402
from evaluation.run_files import write_results  # noqa: E402
from storage import (  # noqa: E402
    FAILURE_FILE,
    locked,
    make_run_folder,
    read_yaml,
    remove_run,
    write_atomically,
)
from trainers.modules import distributed, preprocessing  # noqa: E402
from trainers.modules.lost import message_of  # noqa: E402
from trainers.modules.memory import device_name  # noqa: E402
from trainers.modules.settings import flatten, merge_file, merge_list, unread_keys  # noqa: E402

logger = logging.getLogger(__name__)

PROJECT_ROOT = Path(__file__).resolve().parent
FILLED_KEYS = {f"INPUT.{key}" for key in ("SIZE", *preprocessing.KEYS)}  # left empty, they take the model's values
# A run may be continued elsewhere: these keys do not change what it computes.
FREE_KEYS = {"DATASET.ROOT", "OUTPUT_DIR", "RESUME", "USE_CUDA", "VERBOSE", "DATALOADER.NUM_WORKERS", "FEATURES.DIR"}
FREE_KEYS |= {"TRAIN.KEEP_CHECKPOINTS", "TRAIN.WANDB", "TEST.PREDICTIONS"}


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--root", default="", help="folder of the data sets")
    add("--output-dir", default="", help="run folder")
    add("--resume", default="", help="run folder to resume from (by default the output folder itself)")
    add("--seed", type=int, default=-1, help="a seed >= 0 fixes all randomness; by default only the shots, as seed 1's")
    add("--source-domains", nargs="+", help="source domains, for Dassl data sets that have them")
    add("--target-domains", nargs="+", help="target domains")
    add("--transforms", nargs="+", help="names of the training transforms")
    add("--config-file", default="", help="method's config file")
    add("--dataset-config-file", default="", help="data set's config file")
    add("--trainer", default="", help="method: SoftCPT, CoOp, ZeroshotCLIP, ...")
    add("--backbone", default="", help="CLIP's name or file")
    add("--head", default="", help="name of the head, for Dassl trainers that have one")
    add("--eval-only", action="store_true", help="evaluate what --model-dir holds, and train nothing")
    add("--model-dir", default="", help="run folder to load for --eval-only")
    add("--load-epoch", type=int, help="epoch to load; by default the best on the validation set, else the last")
    add("--no-train", action="store_true", help="build everything, but do not train")
    add("opts", nargs="*", help="KEY VALUE pairs of the config")
    argv = sys.argv[1:] if argv is None else argv
    # argparse would take the negative number of a pair for a flag: a space in front makes it a value.
    args = parser.parse_intermixed_args([re.sub(r"^(?=-[\d.])", " ", word) for word in argv])
    args.opts = [word.strip() for word in args.opts]
    args.command = command_line(argv)
    return args


def default_cfg() -> CfgNode:
    """Dassl's defaults and those of this project."""
    cfg = get_cfg_default()
    for package in (datasets, evaluation, trainers):
        package.extend_cfg(cfg)
    return cfg


def setup_cfg(args: argparse.Namespace) -> CfgNode:
    """The frozen config of a run; raises ValueError on an unknown key or a value of the wrong type."""
    cfg = default_cfg()
    for path in (args.dataset_config_file, args.config_file):
        if path:
            merge_file(cfg, path)
    flags = {
        "DATASET.ROOT": args.root,
        "OUTPUT_DIR": args.output_dir,
        "RESUME": args.resume,
        "SEED": args.seed if args.seed >= 0 else None,
        "DATASET.SOURCE_DOMAINS": args.source_domains,
        "DATASET.TARGET_DOMAINS": args.target_domains,
        "INPUT.TRANSFORMS": args.transforms,
        "TRAINER.NAME": args.trainer,
        "MODEL.BACKBONE.NAME": args.backbone,
        "MODEL.HEAD.NAME": args.head,
    }
    given = [item for key, value in flags.items() if value not in ("", None) for item in (key, value)]
    merge_list(cfg, given)
    merge_list(cfg, args.opts)
    if args.eval_only and args.model_dir:
        keep_shots(cfg, args)
    if cfg.DATALOADER.NUM_WORKERS < 0:
        cfg.DATALOADER.NUM_WORKERS = distributed.cores_per_process()
    cfg.freeze()
    return cfg


def keep_shots(cfg: CfgNode, args: argparse.Namespace) -> None:
    """Let an evaluation have the shots of the run that it loads and, unless --seed says otherwise, its seed."""
    file = Path(args.model_dir, "config.yaml")
    run = (read_yaml(file) or {}) if file.is_file() else {}
    shots = run.get("DATASET", {}).get("NUM_SHOTS", cfg.DATASET.NUM_SHOTS)
    if "DATASET.NUM_SHOTS" in args.opts and shots != cfg.DATASET.NUM_SHOTS:
        print(f"DATASET.NUM_SHOTS is {shots}, as in the run that is evaluated, {args.model_dir}", file=sys.stderr)
    cfg.DATASET.NUM_SHOTS = shots
    if args.seed < 0:
        cfg.SEED = run.get("SEED", cfg.SEED)


def check_same_config(cfg: CfgNode, folder: Path) -> None:
    """Raise ValueError where a run folder with a checkpoint was made with another config: it must not be resumed."""
    saved = folder / "config.yaml"
    if not saved.is_file() or not (folder / "prompt_learner" / "checkpoint").is_file():
        return
    old, new = flatten(read_yaml(saved) or {}), flatten(yaml.safe_load(cfg.dump()))
    differing = [key for key in sorted(old.keys() | new.keys()) if old.get(key) != new.get(key)]
    # What an older version had no key for, it did without.
    differing = [key for key in differing if (new.get(key) or key not in FILLED_KEYS) and (key in old or new[key])]
    if new["OPTIM.MAX_STEPS"]:
        differing = [key for key in differing if key != "OPTIM.MAX_EPOCH"]  # which follows from it
    differing = [f"{key} ({old.get(key)!r} there, {new.get(key)!r} here)" for key in differing if key not in FREE_KEYS]
    if differing:
        raise ValueError(
            f"{folder} holds a run with another config; choose another --output-dir or remove it. Differing: "
            + ", ".join(differing)
        )


def run(args: argparse.Namespace, cfg: CfgNode) -> None:
    folder = Path(cfg.OUTPUT_DIR)
    if cfg.SEED >= 0:
        set_random_seed(cfg.SEED)
    torch.backends.cudnn.benchmark = torch.cuda.is_available() and cfg.USE_CUDA
    print(cfg, collect_env_info(), sep="\n")
    logger.info("Dassl: %s", DASSL)
    for key in unread_keys(cfg, default_cfg()):
        logger.warning("Warning: %s is set, but %s does not read it", key, cfg.TRAINER.NAME)

    trainer = build_trainer(cfg)
    check_classes(trainer.tasks, cfg, args.model_dir if args.eval_only else "")
    if distributed.rank() == 0:
        write_atomically(folder / "config.yaml", trainer.cfg.dump())
        write_shots(trainer.dm.dataset, folder / "shots.json", cfg.DATASET.ROOT)
        write_classes(folder / "classes.json", trainer.tasks)
        (folder / FAILURE_FILE).unlink(missing_ok=True)  # of an earlier attempt
        write_split_used(trainer.dm.dataset, folder / "split.csv")
    if args.eval_only:
        if trainer.uses_shots and not (args.model_dir or cfg.MODEL.INIT_WEIGHTS):
            raise ValueError(f"--eval-only: {cfg.TRAINER.NAME} learns; name the run folder to load with --model-dir")
        trainer.load_model(args.model_dir, epoch=args.load_epoch)
        if args.model_dir and args.load_epoch is None:
            trainer.steps_done = record_in(args.model_dir).get("steps", trainer.steps_done)
        trainer.test()
    elif not args.no_train:
        try:
            trainer.train()
        finally:
            trainer.close_writer()  # whose thread would write on while a failed run is removed
    if trainer.test_seconds is not None and distributed.rank() == 0:
        loaded = (args.model_dir or cfg.MODEL.INIT_WEIGHTS) if args.eval_only and trainer.uses_shots else ""
        write_results(folder, trainer, cfg, device_name(trainer.device), args.command, loaded)


def how_to_resume(folder: Path, command: str) -> str:
    """What to say of a run that was cut off: where it goes on, and by what command."""
    last = folder / "prompt_learner" / "checkpoint"
    start = f"goes on from {last.read_text().strip()}" if last.is_file() else "starts anew: there is no checkpoint yet"
    return f"The same command {start}\n    {command}"


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    try:
        cfg = setup_cfg(args)
        folder = Path(cfg.OUTPUT_DIR)
        check_same_config(cfg, folder)
        new_folders = make_run_folder(folder)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    distributed.start(cfg.USE_CUDA)
    first = distributed.rank() == 0
    try:
        with locked(folder) if first else contextlib.nullcontext():
            status = logged_run(args, cfg)
        kept = [path for path in (folder / "prompt_learner/checkpoint", folder / FAILURE_FILE) if path.is_file()]
        if status and first and new_folders and not kept:
            remove_run(folder, new_folders)
        return status
    except OSError as error:  # another process holds the folder
        print(f"error: {error}", file=sys.stderr)
        return 2
    finally:
        distributed.stop()


def logged_run(args: argparse.Namespace, cfg: CfgNode) -> int:
    """`run` with its output in log.txt; its exit status, where an error is one line."""
    first = distributed.rank() == 0
    try:
        if first:
            setup_logger(cfg.OUTPUT_DIR)
            logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout, force=True)
        else:
            sys.stdout = open(os.devnull, "w")
        run(args, cfg)
    except KeyboardInterrupt:
        if first:
            logger.warning("Interrupted. %s", how_to_resume(Path(cfg.OUTPUT_DIR), args.command))
        raise
    except (ValueError, OSError, FloatingPointError, RuntimeError) as error:
        message = message_of(error)
        if not message:
            raise
        print(f"error: {message}" if first else f"process {distributed.rank()}: {message}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)  # as shells have it, without a traceback
