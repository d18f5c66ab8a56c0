"""Writing the files of a tested run: its predictions, then its record."""

import unicodedata
from pathlib import Path
from typing import Any

from yacs.config import CfgNode

from softcpt.evaluation.predictions import PREDICTIONS_FILE, prediction_rows, write_predictions
from softcpt.evaluation.provenance import git_commit, software_versions
from softcpt.evaluation.records import FILE_NAME, NOT_TESTED, record_in, run_record, write_record

from .choosing import chosen_on


def write_results(folder: Path, trainer: Any, cfg: CfgNode, device: str, command: str, loaded_from: str) -> None:
    """Write predictions.csv.gz, unless TEST.PREDICTIONS is False, and last results.json, after a test of `trainer`.

    `device`, `command` and `loaded_from` are values of the record, see `records.KEYS`.
    """
    data, found = trainer.dm.dataset, trainer.evaluator.predictions
    if found is not None:
        items = data.val if cfg.TEST.SPLIT == "val" and data.val else data.test
        columns = [column.tolist() for column in found]
        rows = prediction_rows(items, trainer.tasks, *columns, cfg.DATASET.ROOT or getattr(data, "root", ""))
        write_predictions(folder / PREDICTIONS_FILE, rows)
    # A finished run that is called again keeps its time.
    seconds = record_in(folder).get("train_seconds") if trainer.train_seconds is None else trainer.train_seconds
    validation: list[dict[str, Any]] = trainer.tester.validation or [{} for _ in trainer.tasks]
    record = run_record(
        trainer=cfg.TRAINER.NAME,
        variant=cfg.TRAINER.LABEL or trainer.variant,
        dataset=cfg.DATASET.NAME,
        shots=cfg.DATASET.NUM_SHOTS if trainer.uses_shots else 0,
        seed=cfg.SEED,
        backbone=cfg.MODEL.BACKBONE.NAME,
        split=split_of(cfg),
        tasks=[{**task, **more} for task, more in zip(trainer.evaluator.task_results, validation)],
        n_params=trainer.n_params,
        train_seconds=seconds,
        test_seconds=trainer.test_seconds,
        peak_memory_bytes=trainer.memory.peak_bytes(),
        precision=trainer.precision.name,
        device=device,
        epochs=trainer.epochs_done,
        steps=trainer.steps_done,
        commit=git_commit(),
        versions=software_versions(),
        command=command,
        chosen_on=record_in(loaded_from).get("chosen_on") if loaded_from else chosen_on(trainer),
        loaded_from=loaded_from,
    )
    write_record(folder / FILE_NAME, record)


def split_of(cfg: CfgNode) -> str:
    """The evaluated part of the data set: "test", "test-base-classes", "test-new-tasks" and the like, or NOT_TESTED."""
    if cfg.DATASET.get("TRAIN_ON_ALL", False):
        return NOT_TESTED
    parts = [cfg.TEST.SPLIT]
    parts += [f"{cfg.DATASET.SUBSAMPLE_CLASSES}-classes"] if cfg.DATASET.SUBSAMPLE_CLASSES != "all" else []
    parts += [f"{cfg.DATASET.TASKS}-tasks"] if cfg.DATASET.TASKS != "all" else []
    return unicodedata.normalize("NFC", "-".join(parts))
