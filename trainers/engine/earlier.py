"""What earlier calls of train.py left, compared with a call before it writes anything: a run in its output folder, the
run that it resumes, and the run that it evaluates."""

import argparse
import contextlib
import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from dassl.data.datasets import build_dataset
from dassl.engine import TRAINER_REGISTRY
from dassl.utils import set_random_seed
from yacs.config import CfgNode

from datasets.all_images import train_on_all
from datasets.multitask import images_by_task, tasks_of, write_shots, write_split_used
from datasets.tables import TABLE_FILE
from softcpt.evaluation.classes import check_same_classes, write_classes
from softcpt.evaluation.data import SHOTS_FILE, Stats, Tasks, data_in, tasks_now, write_data
from softcpt.evaluation.data_changes import differences, in_words, listed, trained_and_tested
from softcpt.evaluation.records import FILE_NAME as RESULTS
from softcpt.evaluation.records import NOT_TESTED, record_in
from softcpt.files import CHECKPOINT, FAILURE_FILE, remove_run, write_atomically
from softcpt.tasks import Task

from .all_images import trains_on_all
from .same_config import check_same_config, digest, registered, saved_values

logger = logging.getLogger(__name__)

SPLIT_FILE = "split.csv"  # of users' own folders
GO_ON, ANEW, DONE = "go on", "anew", "done"  # what a call does in its output folder


class Now(NamedTuple):
    """The tasks and images of a config's data set."""

    tasks: tuple[Task, ...]
    images: Tasks


def read_now(cfg: CfgNode, stats: Stats | None = None) -> Now:
    """The data set of a config, as the run would build it. Raises what the data set raises."""
    if cfg.SEED >= 0:
        set_random_seed(cfg.SEED)  # other projects' data sets draw from global generators
    with quiet():
        dataset = build_dataset(cfg)
    if trains_on_all(cfg):
        train_on_all(dataset)
    return Now(tasks_of(dataset), tasks_now(images_by_task(dataset, cfg.DATASET.ROOT), stats=stats))


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep what is printed or logged from the user, who reads it when the run is built."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with contextlib.redirect_stdout(None):
            yield
    finally:
        logging.disable(before)


def parts_used(cfg: CfgNode, evaluates: bool) -> tuple[str, ...]:
    """The parts of the data on which a run depends; an evaluation, and a method without training images, only on what
    it tests."""
    if uses_shots(cfg) and not evaluates:
        return "train", "val", "test"
    return ("val", "test") if cfg.TEST.SPLIT == "val" else ("test",)


def uses_shots(cfg: CfgNode) -> bool:
    return getattr(registered(TRAINER_REGISTRY, cfg.TRAINER.NAME), "uses_shots", True)


# -- what a call does ------------------------------------------------------------------------------------------------


def plan(
    args: argparse.Namespace,
    cfg: CfgNode,
    defaults: Mapping[str, Any],
    read: Callable[[CfgNode], Now] = read_now,
    quick: bool = False,
) -> str:
    """What a call of train.py does in its output folder: GO_ON (start or resume, or test again), ANEW (remove the
    earlier run, then start), or DONE. Nothing is written.

    Args:
        args: eval_only, tested (the run that is evaluated) and load_epoch, test_again and data_changed.
        defaults: of all keys, for what a run's version did not have.
        read: of the data set.
        quick: a run whose config has the same digest is not compared key by key.

    Raises ValueError, with what differs and how to go on, if the runs are not of this config and these data; for
    another config it is an OtherConfigError.
    """
    folder = Path(cfg.OUTPUT_DIR)
    if args.eval_only and trains_on_all(cfg):
        raise ValueError("--eval-only: DATASET.TRAIN_ON_ALL leaves no images to test on; it must be False")
    finished = (folder / RESULTS).is_file()
    started = finished or (folder / CHECKPOINT).is_file()
    record = data_in(folder) if started else {}
    if started and not (quick and record.get("settings") == digest(cfg, defaults)):
        check_same_config(cfg, folder, defaults)
    if cfg.RESUME:
        check_same_config(cfg, Path(cfg.RESUME), defaults)
    if not (started or args.tested or cfg.RESUME):
        return GO_ON
    now = read(cfg)
    if args.tested and uses_shots(cfg):
        check_evaluated(Path(args.tested), cfg, now)
    if cfg.RESUME:
        check_resumed(Path(cfg.RESUME), cfg, now)
    if not started:
        return GO_ON
    other = evaluates_other(folder, record, args.tested, args.load_epoch) if finished else ""
    if other and not (args.test_again or (args.data_changed and args.tested)):
        raise ValueError(other)
    again = args.test_again or other
    return compared_with(folder, record, cfg, now, args) or (DONE if finished and not again else GO_ON)


def compared_with(folder: Path, record: Mapping, cfg: CfgNode, now: Now, args: argparse.Namespace) -> str:
    """ "" if the run in a folder, whose data.json is `record`, has the classes and images of now. Otherwise, with
    --data-changed, what a call does.

    Raises ValueError without that flag. The flag never leads to a test on images that the checkpoint was trained on: it
    is kept only if its training and validation images are those of now.
    """
    try:
        check_same_classes(folder, now.tasks)  # of the same data set, tasks and halves, as its config is the same
    except ValueError:
        if not args.data_changed:
            raise
        return GO_ON if args.eval_only else ANEW
    found = differences(folder, record, now.images, parts_used(cfg, args.eval_only))
    if not found:
        return ""
    keeps = args.eval_only or {part for _, part in found} == {"test"}
    if args.data_changed:
        return GO_ON if keeps else ANEW
    way = "which tests it again on the images of now" if keeps else "which trains it anew on the images of now"
    if all("other times" in text for text in found.values()):
        way += "; copies keep their times with cp -p, rsync -a or tar"
    raise ValueError(
        f"{folder} is a run on other data: {in_words(record, found, cfg.DATASET.ROOT)}. Choose another --output-dir, "
        f"or add --data-changed, {way}"
    )


def check_evaluated(run: Path, cfg: CfgNode, now: Now) -> None:
    """Raise ValueError if a run to be evaluated has other classes, or has learned from images that it would be tested
    on."""
    check_same_classes(run, now.tasks, cfg.DATASET)
    tested = "val" if cfg.TEST.SPLIT == "val" and any(own["val"].names for own in now.images.values()) else "test"
    seen = trained_and_tested(run, now.images, tested, cfg.DATASET.ROOT)
    if not seen:
        return
    way = "The data have been divided anew since. Restore them, or train on them as they are now"
    if (run / SPLIT_FILE).is_file():
        way += f"; its {SPLIT_FILE}, as {TABLE_FILE} in the root, divides them as then"
    if saved_values(run).get("DATASET.TRAIN_ON_ALL"):
        way = "It was trained on all images; test it on other images"
    what = f"was trained or validated on {len(seen)} of the images to be tested: {listed(seen)}"
    raise ValueError(f"--eval-only: {run} {what}. {way}")


def check_resumed(run: Path, cfg: CfgNode, now: Now) -> None:
    """Raise ValueError if a run to be resumed in another folder has other classes or images."""
    check_same_classes(run, now.tasks, cfg.DATASET)
    record = data_in(run)
    found = differences(run, record, now.images, parts_used(cfg, False))
    if found:
        raise ValueError(
            f"--resume: {run} is a run on other data: {in_words(record, found, cfg.DATASET.ROOT)}. "
            "Restore the data, or train without --resume"
        )


def evaluates_other(folder: Path, record: Mapping, evaluated: str, epoch: int | None) -> str:
    """How a finished run has tested another run, or epoch, than `evaluated`, and the ways on; "" if it has not. An
    empty `evaluated` stands for the run itself."""
    if evaluated and Path(evaluated).resolve() == folder.resolve():
        return ""
    there = record.get("evaluates")
    loaded = record_in(folder)["loaded_from"] if there is None else ""
    if there is None and bool(loaded) == bool(evaluated) or there == identity(evaluated, epoch):
        return ""
    what = "of another run, training or epoch" if evaluated else f"of another run ({loaded or 'an evaluation'})"
    return f"{folder} holds results {what}; choose another --output-dir, or add --test-again"


def identity(run: str, epoch: int | None) -> str:
    """What identifies the prompts of a run: its data, its config and the epoch; "" for no run."""
    if not run:
        return ""
    record = data_in(run)
    text = json.dumps([record.get("settings"), record.get("tasks"), epoch])
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


# -- what it says and writes -----------------------------------------------------------------------------------------


def done_before(folder: str | Path) -> str:
    """One line: a run is finished, and its result."""
    record = record_in(folder)
    if record.get("split") == NOT_TESTED:
        return f"done before: {folder} (trained on all images, not tested)"
    return f"done before: {folder}" + (f" ({record['metric']:.1f} %, the mean over its tasks)" if record else "")


def how_to_resume(folder: Path, command: str) -> str:
    """Where an interrupted run continues, and with which command."""
    last = folder / CHECKPOINT
    start = f"goes on from {last.read_text().strip()}" if last.is_file() else "starts anew: there is no checkpoint yet"
    return f"The same command {start}\n    {command}"


def remove_earlier(folder: Path) -> None:
    """Remove a run whose data have changed, its results first: a folder with results is a finished run. Raises OSError
    if its checkpoint stays, with which the new one would go on."""
    (folder / RESULTS).unlink(missing_ok=True)
    remove_run(folder)
    if (folder / CHECKPOINT).exists():
        raise OSError(f"{folder / CHECKPOINT} cannot be removed")


def write_inputs(
    folder: Path, trainer: Any, cfg: CfgNode, defaults: Mapping[str, Any], args: argparse.Namespace
) -> None:
    """Record what a run starts from: its config, images and classes. `cfg` is as it was given; the trainer's own is
    completed by the model."""
    dataset, evaluates = trainer.dm.dataset, identity(args.tested, args.load_epoch)
    write_atomically(folder / "config.yaml", trainer.cfg.dump())
    write_shots(dataset, folder / SHOTS_FILE, cfg.DATASET.ROOT)
    images = tasks_now(images_by_task(dataset, cfg.DATASET.ROOT), parts_used(cfg, args.eval_only))
    write_data(folder, cfg.DATASET.ROOT, images, digest(cfg, defaults), evaluates)
    write_classes(folder / "classes.json", trainer.tasks)
    (folder / FAILURE_FILE).unlink(missing_ok=True)  # of an earlier attempt
    write_split_used(dataset, folder / SPLIT_FILE)
