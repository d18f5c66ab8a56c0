"""Train or evaluate a method on a data set, with the command line of CoOp's train.py.

    python train.py --root data --trainer SoftCPT --dataset-config-file configs/datasets/demo.yaml \
        --config-file configs/trainers/SoftCPT/tiny.yaml --output-dir output/run DATASET.NUM_SHOTS 16

Later settings win: Dassl's defaults, the data set's file, the method's file, the flags, trailing KEY VALUE pairs.
The run folder holds config.yaml, log.txt, shots.json, the checkpoint, predictions and, written last, results.json.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import logging
import os
import re
import sys
import warnings
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent))  # python -P leaves the script's folder out
    from softcpt.files.console import set_up

    set_up()  # first: Ctrl-C during the slow imports below prints one line

import torch
from yacs.config import CfgNode

import compat

DASSL = compat.ensure_dassl()
warnings.filterwarnings("ignore", message="pkg_resources is deprecated")  # in the clip package

from dassl.config import get_cfg_default  # noqa: E402
from dassl.engine import TrainerX, build_trainer  # noqa: E402
from dassl.utils import collect_env_info, set_random_seed, setup_logger  # noqa: E402

import datasets  # noqa: E402
import trainers  # noqa: E402
from softcpt import distributed  # noqa: E402
from softcpt.evaluation.provenance import command_line  # noqa: E402
from softcpt.evaluation.records import record_in  # noqa: E402
from softcpt.files import CHECKPOINT, FAILURE_FILE, locked, make_run_folder, remove_run  # noqa: E402
from softcpt.files.console import print_any_text  # noqa: E402
from softcpt.files.texts import PlainFormatter, plain  # noqa: E402
from trainers.engine import earlier  # noqa: E402
from trainers.engine.calls import check_complete, check_run_folder  # noqa: E402
from trainers.engine.errors import message_of  # noqa: E402
from trainers.engine.evaluated import with_config_of  # noqa: E402
from trainers.engine.legal import check_values  # noqa: E402
from trainers.engine.memory import device_name  # noqa: E402
from trainers.engine.run_files import write_results  # noqa: E402
from trainers.engine.same_config import check_same_config, saved_values  # noqa: E402
from trainers.engine.settings import merge_file, merge_list, unread_keys  # noqa: E402

logger = logging.getLogger(__name__)

PROJECT_ROOT = Path(__file__).resolve().parent


def main(argv: list[str] | None = None) -> int:
    """Parse the command line and run. Returns the exit status: 0, 1 if the run fails, 2 if it cannot start."""
    print_any_text()
    try:
        distributed.check_launch()
        args = parse_args(argv)
        if args.eval_only and args.model_dir:
            check_run_folder("--model-dir", args.model_dir)
        cfg = setup_cfg(args)
        check_complete(cfg)
        for folder in filter(None, (cfg.OUTPUT_DIR, cfg.RESUME)):
            check_same_config(cfg, Path(folder), default_cfg())
        # Only the first process, which removes the folder if the run fails.
        new_folders = make_run_folder(Path(cfg.OUTPUT_DIR)) if distributed.launched_rank() == 0 else []
    except (ValueError, OSError) as error:
        print(f"error: {plain(error, keep=chr(10))}", file=sys.stderr)
        return 2
    distributed.start(cfg.USE_CUDA)
    try:
        return locked_run(args, cfg, new_folders)
    except OSError as error:  # another process holds the folder
        print(f"error: {plain(error, keep=chr(10))}", file=sys.stderr)
        return 2
    finally:
        distributed.stop()


def locked_run(args: argparse.Namespace, cfg: CfgNode, new_folders: list[Path]) -> int:
    """Call `logged_run` while this process holds the run folder. A failed run with nothing to resume is removed."""
    folder, first = Path(cfg.OUTPUT_DIR), distributed.rank() == 0
    with locked(folder) if first else contextlib.nullcontext():
        status = logged_run(args, cfg)
    kept = [path for path in (folder / CHECKPOINT, folder / FAILURE_FILE) if path.is_file()]
    if status and first and new_folders and not kept:
        remove_run(folder, new_folders)
    return status


def logged_run(args: argparse.Namespace, cfg: CfgNode) -> int:
    """Call `run` with its output in log.txt. Returns the exit status; an expected error is printed as one line."""
    first = distributed.rank() == 0
    try:
        todo = earlier.plan(args, cfg, default_cfg())
        if todo == earlier.DONE:
            if first:
                print(f"{earlier.done_before(cfg.OUTPUT_DIR)}; --test-again tests it again")
            return 0
        distributed.barrier()  # the other processes have read what the first one may remove
        if first:
            if todo == earlier.ANEW:
                earlier.remove_earlier(Path(cfg.OUTPUT_DIR))
            setup_logger(cfg.OUTPUT_DIR)
            logging.basicConfig(level=logging.INFO, stream=sys.stdout, force=True)
            logging.root.handlers[0].setFormatter(PlainFormatter("%(message)s"))
        else:
            sys.stdout = open(os.devnull, "w")
        run(args, cfg)
    except KeyboardInterrupt:
        if first:
            logger.warning("Interrupted. %s", earlier.how_to_resume(Path(cfg.OUTPUT_DIR), args.command))
        raise
    except (ValueError, OSError, FloatingPointError, RuntimeError) as error:
        message = message_of(error)
        if not message:
            raise
        message = plain(message, keep="\n")
        print(f"error: {message}" if first else f"process {distributed.rank()}: {message}", file=sys.stderr)
        return 1
    return 0


def run(args: argparse.Namespace, cfg: CfgNode) -> None:
    """Build the trainer, train or evaluate it, and write the results."""
    folder, first = Path(cfg.OUTPUT_DIR), distributed.rank() == 0
    if cfg.SEED >= 0:
        set_random_seed(cfg.SEED)
    torch.backends.cudnn.benchmark = torch.cuda.is_available() and cfg.USE_CUDA
    for key in unread_keys(cfg, default_cfg()):
        logger.warning("Warning: %s is set, but %s does not read it", key, cfg.TRAINER.NAME)
    trainer = build_trainer(cfg)
    print(cfg, collect_env_info(), sep="\n")  # after what may fail, so that an error is not far below
    logger.info("Dassl: %s", DASSL)
    if first:
        evaluates = earlier.identity(args.model_dir, args.load_epoch) if args.eval_only else ""
        earlier.write_inputs(folder, trainer, cfg, default_cfg(), evaluates, args.eval_only)
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


# -- arguments and config --------------------------------------------------------------------------------------------


@functools.cache
def parser() -> argparse.ArgumentParser:
    """The flags of CoOp's train.py."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--root", default="", help="folder of the data sets")
    add("--output-dir", default="", help="run folder")
    add("--resume", default="", help="run folder to resume from (default: the output folder)")
    add("--seed", type=int, default=-1, help="fixes all randomness if >= 0 (default: random, with the shots of seed 1)")
    add("--source-domains", nargs="+", help="source domains, for Dassl data sets that have them")
    add("--target-domains", nargs="+", help="target domains")
    add("--transforms", nargs="+", help="names of the training transforms")
    add("--config-file", default="", help="config file of the method")
    add("--dataset-config-file", default="", help="config file of the data set")
    add("--trainer", default="", help="method: SoftCPT, CoOp, ZeroshotCLIP, ...")
    add("--backbone", default="", help="name or file of the CLIP")
    add("--head", default="", help="name of the head, for Dassl trainers that have one")
    add("--eval-only", action="store_true", help="evaluate the run in --model-dir without training")
    add("--model-dir", default="", help="run folder to load for --eval-only")
    add("--load-epoch", type=int, help="epoch to load (default: the best on the validation set, else the last)")
    add("--test-again", action="store_true", help="test a finished run again, which is otherwise left as it is")
    add("--data-changed", action="store_true", help="go on although the images have changed since: see the docs")
    add("--no-train", action="store_true", help="build the trainer, but do not train")
    add("opts", nargs="*", help="KEY VALUE pairs of the config")
    return parser


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """The flags of a call, with KEY VALUE pairs of the config in `opts` and the whole call in `command`."""
    argv = sys.argv[1:] if argv is None else argv
    # argparse takes a negative number for a flag unless it starts with a space.
    args = parser().parse_intermixed_args([re.sub(r"^(?=-[\d.])", " ", word) for word in argv])
    args.opts = [word.strip() for word in args.opts]
    args.command = command_line(argv)
    return args


def default_cfg() -> CfgNode:
    """The defaults of Dassl and of this project."""
    cfg = get_cfg_default()
    for package in (datasets, trainers):
        package.extend_cfg(cfg)
    return cfg


def cfg_of_files(args: argparse.Namespace) -> tuple[CfgNode, set[str], CfgNode]:
    """The config of the files of a call, the keys in them, and the defaults. Raises ValueError as `setup_cfg` does."""
    cfg, keys = default_cfg(), set()
    for path in filter(None, (args.dataset_config_file, args.config_file)):
        keys |= merge_file(cfg, path)
    return cfg, keys, default_cfg()


def setup_cfg(
    args: argparse.Namespace, of_files: tuple[CfgNode, set[str], CfgNode] | None = None, loaded: str | Path = ""
) -> CfgNode:
    """The frozen config of a run. Raises ValueError for an unknown key or an illegal value.

    `of_files` is from `cfg_of_files`, for many calls with the same files; `loaded` is the folder of a finished run that
    predicts or is exported.
    """
    cfg, in_files, defaults = of_files or cfg_of_files(args)
    cfg = cfg.clone()
    flags = {
        "DATASET.ROOT": args.root,
        "OUTPUT_DIR": args.output_dir,
        "RESUME": args.resume,
        "SEED": args.seed if args.seed != -1 else None,
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
        loaded = args.model_dir
        with_config_of(cfg, Path(loaded), {*in_files, *given[::2], *args.opts[::2]}, defaults)
    check_values(cfg, defaults, saved_values(Path(loaded)) if loaded else {})
    if cfg.DATALOADER.NUM_WORKERS < 0:
        cfg.DATALOADER.NUM_WORKERS = distributed.cores_per_process()
    cfg.freeze()
    return cfg


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)  # the shell's status for Ctrl-C, without a traceback
