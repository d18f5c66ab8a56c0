"""Train or evaluate a method on a data set: CoOp's entry point.

    python train.py --root data --trainer SoftCPT --dataset-config-file configs/datasets/demo.yaml \
        --config-file configs/trainers/SoftCPT/tiny.yaml --output-dir output/run DATASET.NUM_SHOTS 16

Later settings win: Dassl's defaults, the data set's file, the method's file, the flags, trailing KEY VALUE pairs.
The run folder holds config.yaml, log.txt, shots.json, the checkpoint and, written last, results.json.
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import logging
import os
import sys
import warnings
from pathlib import Path

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
from datasets.multitask import write_shots  # noqa: E402
from evaluation.lock import locked  # noqa: E402
from evaluation.provenance import git_commit, software_versions  # noqa: E402
from evaluation.records import record_in, run_record, write_record  # noqa: E402
from files import remove_run  # noqa: E402
from trainers.modules import distributed, preprocessing  # noqa: E402
from trainers.modules.memory import device_name  # noqa: E402

PROJECT_ROOT = Path(__file__).resolve().parent
FILLED_KEYS = {f"INPUT.{key}" for key in ("SIZE", *preprocessing.KEYS)}  # left empty, they take the model's values
# A run may be continued elsewhere: these keys do not change what it computes.
FREE_KEYS = {"DATASET.ROOT", "OUTPUT_DIR", "RESUME", "USE_CUDA", "VERBOSE", "DATALOADER.NUM_WORKERS", "FEATURES.DIR"}


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
    add("opts", nargs=argparse.REMAINDER, help="KEY VALUE pairs of the config")
    return parser.parse_args(argv)


def setup_cfg(args: argparse.Namespace) -> CfgNode:
    """The frozen config of a run; raises ValueError on an unknown key or a value of the wrong type."""
    cfg = get_cfg_default()
    for package in (datasets, evaluation, trainers):
        package.extend_cfg(cfg)
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
    if cfg.DATALOADER.NUM_WORKERS < 0:
        cfg.DATALOADER.NUM_WORKERS = distributed.cores_per_process()
    cfg.freeze()
    return cfg


def merge_file(cfg: CfgNode, path: str) -> None:
    if not Path(path).is_file():
        near = sorted(p.stem for p in Path(path).parent.glob("*.yaml")) or ["no such folder"]
        raise FileNotFoundError(f"no config file {path}; in {Path(path).parent}: {', '.join(near)}")
    try:
        cfg.merge_from_file(path)
    except KeyError as error:
        raise ValueError(f"{path}: {unknown_key(cfg, str(error.args[0]).rsplit(' ', 1)[-1])}") from error
    except (ValueError, AssertionError, yaml.YAMLError) as error:
        raise ValueError(f"{path}: {error}") from error


def merge_list(cfg: CfgNode, opts: list) -> None:
    if len(opts) % 2:
        raise ValueError(f"trailing options come in pairs KEY VALUE, got {len(opts)}: {' '.join(map(str, opts))}")
    for key, value in zip(opts[::2], opts[1::2]):
        try:
            cfg.merge_from_list([key, value])
        except (AssertionError, AttributeError, KeyError) as error:
            raise ValueError(unknown_key(cfg, key)) from error
        except ValueError as error:
            raise ValueError(f"{key}: {value!r} does not fit: {error}") from error


def unknown_key(cfg: CfgNode, key: str) -> str:
    near = difflib.get_close_matches(key, flatten(cfg), n=1, cutoff=0.5)
    return f"unknown config key {key}" + (f"; did you mean {near[0]}?" if near else "")


def flatten(node: dict, prefix: str = "") -> dict[str, object]:
    """{"A.B": value} of a nested config."""
    flat = {}
    for key, value in node.items():
        flat.update(flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value})
    return flat


def check_same_config(cfg: CfgNode, folder: Path) -> None:
    """Raise ValueError where a run folder with a checkpoint was made with another config: it must not be resumed."""
    saved = folder / "config.yaml"
    if not saved.is_file() or not (folder / "prompt_learner" / "checkpoint").is_file():
        return
    old, new = flatten(yaml.safe_load(saved.read_text())), flatten(yaml.safe_load(cfg.dump()))
    differing = [key for key in sorted(old.keys() | new.keys()) if old.get(key) != new.get(key)]
    differing = [key for key in differing if new.get(key) or key not in FILLED_KEYS]
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
    if torch.cuda.is_available() and cfg.USE_CUDA:
        torch.backends.cudnn.benchmark = True
    print(cfg)
    print(collect_env_info())
    logging.getLogger(__name__).info("Dassl: %s", DASSL)

    trainer = build_trainer(cfg)
    if distributed.rank() == 0:
        (folder / "config.yaml").write_text(trainer.cfg.dump())
        write_shots(trainer.dm.dataset, folder / "shots.json", cfg.DATASET.ROOT)
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
        # Where a finished run is called once more, it keeps its time.
        write_record(folder / "results.json", record_of(trainer, cfg, record_in(folder).get("train_seconds")))


def record_of(trainer: trainers.PromptTrainer, cfg: CfgNode, train_seconds: float | None = None) -> dict:
    """The record of a run whose test has ended; `train_seconds` stands where its trainer does not know the time."""
    return run_record(
        trainer=cfg.TRAINER.NAME,
        variant=cfg.TRAINER.LABEL or trainer.variant,
        dataset=cfg.DATASET.NAME,
        shots=cfg.DATASET.NUM_SHOTS if trainer.uses_shots else 0,
        seed=cfg.SEED,
        backbone=cfg.MODEL.BACKBONE.NAME,
        split=split_of(cfg),
        tasks=trainer.evaluator.task_results,
        n_params=trainer.n_params,
        train_seconds=train_seconds if trainer.train_seconds is None else trainer.train_seconds,
        test_seconds=trainer.test_seconds,
        peak_memory_bytes=trainer.memory.peak_bytes(),
        device=device_name(trainer.device),
        epochs=trainer.epochs_done,
        steps=trainer.steps_done,
        commit=git_commit(),
        versions=software_versions(),
    )


def split_of(cfg: CfgNode) -> str:
    """The part of the data set that was evaluated: "test", or "test-base-classes", "test-new-tasks" and the like."""
    parts = [cfg.TEST.SPLIT]
    parts += [f"{cfg.DATASET.SUBSAMPLE_CLASSES}-classes"] if cfg.DATASET.SUBSAMPLE_CLASSES != "all" else []
    parts += [f"{cfg.DATASET.TASKS}-tasks"] if cfg.DATASET.TASKS != "all" else []
    return "-".join(parts)


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    try:
        cfg = setup_cfg(args)
        folder = Path(cfg.OUTPUT_DIR)
        check_same_config(cfg, folder)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    distributed.start(cfg.USE_CUDA)
    first = distributed.rank() == 0
    new_folders = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        with locked(folder) if first else contextlib.nullcontext():
            status = logged_run(args, cfg)
        if status and first and new_folders and not (folder / "prompt_learner" / "checkpoint").is_file():
            remove_run(folder, new_folders)
        return status
    except OSError as error:  # of the folder: it cannot be made, or another process holds it
        print(f"error: {error}", file=sys.stderr)
        return 2
    finally:
        distributed.stop()


def logged_run(args: argparse.Namespace, cfg: CfgNode) -> int:
    """`run` with its output in log.txt; its exit status, where an error is one line."""
    first = distributed.rank() == 0
    if first:
        setup_logger(cfg.OUTPUT_DIR)
        logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout, force=True)
    else:
        sys.stdout = open(os.devnull, "w")
    try:
        run(args, cfg)
    except (ValueError, OSError, FloatingPointError) as error:
        # An error of a loader's worker process arrives with the worker's traceback, the message in its last line.
        message = str(error).strip().splitlines()[-1] if str(error).startswith("Caught ") else error
        print(f"error: {message}" if first else f"process {distributed.rank()}: {message}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
