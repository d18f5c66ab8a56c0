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
from collections.abc import Mapping
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent))  # python -P leaves the script's folder out
    from softcpt.files.console import set_up

    set_up()  # first: Ctrl-C during the slow imports below prints one line

import compat.provide  # noqa: F401  before dassl

from dassl.utils import setup_logger
from yacs.config import CfgNode

from softcpt import distributed
from softcpt.evaluation.provenance import command_line
from softcpt.files import CHECKPOINT, FAILURE_FILE, locked, make_run_folder, remove_empty, remove_run
from softcpt.files.console import print_any_text
from softcpt.files.messages import out_of_memory
from softcpt.files.texts import PlainFormatter, plain
from trainers.engine import earlier
from trainers.engine.calls import check_complete, check_run_folder
from trainers.engine.config import ConfigFiles, build_cfg, read_files
from trainers.engine.earlier_precision import to_go_on
from trainers.engine.errors import message_of
from trainers.engine.run import run
from trainers.engine.same_config import OtherConfigError
from trainers.engine.settings import pairs

logger = logging.getLogger(__name__)

PROJECT_ROOT = Path(__file__).resolve().parent


def main(argv: list[str] | None = None) -> int:
    """Parse the command line and run. Returns the exit status: 0, 1 if the run fails, 2 if it cannot start."""
    print_any_text()
    try:
        distributed.check_launch()
        args = parse_args(argv)
        if args.tested:
            check_run_folder("--model-dir", args.tested)
        files = read_files(*args.files)
        cfg = setup_cfg(args, files)
        check_complete(cfg)
        distributed.start(cfg.USE_CUDA)
    except (ValueError, OSError) as error:
        return could_not_start(error)
    try:
        return locked_run(args, cfg, files.defaults)
    except OSError as error:  # the folder cannot be made, or another process holds it
        return could_not_start(error)
    except distributed.OtherRankError:
        return 2
    finally:
        distributed.stop()


def could_not_start(error: Exception) -> int:
    print(f"error: {plain(error, keep=chr(10))}", file=sys.stderr)
    return 2


def locked_run(args: argparse.Namespace, cfg: CfgNode, defaults: Mapping[str, Any]) -> int:
    """Call `logged_run` while the first process makes and holds the run folder. A failed run with nothing to resume is
    removed, and so are folders that would be left empty."""
    folder, new_folders = Path(cfg.OUTPUT_DIR), list[Path]()
    try:
        with contextlib.ExitStack() as held:
            with distributed.together():
                if distributed.rank() == 0:
                    new_folders += make_run_folder(folder)
                    held.enter_context(locked(folder))
            status = logged_run(args, cfg, defaults)
        kept = [path for path in (folder / CHECKPOINT, folder / FAILURE_FILE) if path.is_file()]
        if status and new_folders and not kept:
            remove_run(folder)
        return status
    finally:
        remove_empty(new_folders)


def logged_run(args: argparse.Namespace, cfg: CfgNode, defaults: Mapping[str, Any]) -> int:
    """Call `run` with its output in log.txt. Returns the exit status; an expected error is printed as one line."""
    first = distributed.rank() == 0
    try:
        todo = earlier.plan(args, cfg, defaults)
        if todo == earlier.DONE:
            if first:
                print(f"{earlier.done_before(cfg.OUTPUT_DIR)}; --test-again tests it again")
            return 0
        precision = "" if todo == earlier.ANEW or args.eval_only else to_go_on(cfg)
        distributed.barrier()  # the other processes have read what the first one may remove
        if first:
            if todo == earlier.ANEW:
                earlier.remove_earlier(Path(cfg.OUTPUT_DIR))
            setup_logger(cfg.OUTPUT_DIR)
            logging.basicConfig(level=logging.INFO, stream=sys.stdout, force=True)
            logging.root.handlers[0].setFormatter(PlainFormatter("%(message)s"))
        else:
            sys.stdout = open(os.devnull, "w")
        run(args, cfg, defaults, precision)
    except KeyboardInterrupt:
        if first:
            logger.warning("Interrupted. %s", earlier.how_to_resume(Path(cfg.OUTPUT_DIR), args.command))
        raise
    except OtherConfigError as error:
        return could_not_start(error)
    except distributed.OtherRankError:
        return 1
    except (ValueError, OSError, FloatingPointError, RuntimeError, MemoryError) as error:
        message = message_of(error, cfg)
        if not message:
            raise
        if first and out_of_memory(error):
            logger.error("%s: %s", type(error).__name__, error)  # how much was asked for, and what holds the rest
        message = plain(message, keep="\n")
        alone = first or isinstance(error, FloatingPointError)  # which the other processes leave to this one
        print(f"error: {message}" if alone else f"process {distributed.rank()}: {message}", file=sys.stderr)
        return 1
    return 0


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
    """The flags of a call, with KEY VALUE pairs of the config in `opts`, its config files in `files`, the run that it
    evaluates in `tested`, and the whole call in `command`."""
    argv = sys.argv[1:] if argv is None else argv
    # argparse takes a negative number for a flag unless it starts with a space.
    args = parser().parse_intermixed_args([re.sub(r"^(?=-[\d.])", " ", word) for word in argv])
    args.opts = [word.strip() for word in args.opts]
    args.files = args.dataset_config_file, args.config_file
    args.tested = args.model_dir if args.eval_only else ""
    args.command = command_line(argv)
    return args


def setup_cfg(args: argparse.Namespace, files: ConfigFiles | None = None) -> CfgNode:
    """The frozen config of a call, whose `files` may be read already. Raises ValueError as `build_cfg` does."""
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
    given = {key: value for key, value in flags.items() if value not in ("", None)}
    return build_cfg(files or read_files(*args.files), given | pairs(args.opts), tested=args.tested)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)  # the shell's status for Ctrl-C, without a traceback
