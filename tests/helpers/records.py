"""Records of runs for tests of tables and reports, and what finished runs leave on disk."""

from __future__ import annotations

import json

import torch

from softcpt.evaluation.records import run_record, write_record
from softcpt.reports.tables import results_frame, sections, summarise

COSTS = ("peak_memory_bytes", "commit", "command")  # the commit may change while a test runs


def record(trainer="SoftCPT", variant="NATA", shots=1, seed=1, values=(40.0, 60.0), n=(30, 1200), **changes):
    """The record of a run over two or three tasks."""
    names = ("shape", "number of objects", "day")
    metrics = ("accuracy", "mean_per_class", "accuracy")
    fields = {
        "trainer": trainer,
        "variant": variant,
        "dataset": "Demo",
        "shots": shots,
        "seed": seed,
        "backbone": "models/tiny_clip.npz",
        "split": "test",
        "tasks": [dict(zip(("name", "metric", "value", "n"), task)) for task in zip(names, metrics, values, n)],
        "n_params": 1234 if shots else 0,
        "train_seconds": 90.0 if shots else 0.0,
        "test_seconds": 2.0,
        "peak_memory_bytes": 10**9,
        "device": "cpu",
        "epochs": 50,
        "steps": 1500,
        "commit": "abc",
        "versions": {"torch": "2.4"},
    }
    return run_record(**{**fields, **changes})


def run_of(trainer, variant, shots, seed, value, dataset="General10", **changes):
    """The record of a run over one task of a benchmark."""
    tasks = [{"name": "pets", "metric": "accuracy", "value": value, "n": 10}]
    fields = {"dataset": dataset, "backbone": "RN50", "tasks": tasks, "n_params": 8192 if shots else 0}
    fields |= {"train_seconds": 30.0 if shots else None, "peak_memory_bytes": 1000}
    return record(trainer, variant, shots, seed, **{**fields, **changes})


RUNS = (
    record("ZeroshotCLIP", "", 0, 1, (35.0, 45.0), steps=0, peak_memory_bytes=8 * 10**8),
    record("CoOp", "", 1, 1, (40.0, 50.0), peak_memory_bytes=12 * 10**8, steps=50),
    record("CoOp", "", 1, 2, (44.0, 54.0), steps=50),
    record("CoOp", "", 1, 3, (42.0, 58.0), steps=50),
    record("SoftCPT", "NATA", 16, 1, (50.0, 70.0)),
    record("SoftCPT", "NATA", 16, 2, (53.0, 71.0)),
    record("SoftCPT", "NATA", 1, 1, (41.0, 51.0)),
    record("SoftCPT", "NATA", 1, 2, (43.0, 55.0)),
    record("SoftCPT", "NATA", 1, 3, (42.0, 53.0)),
)


def of_tasks(values, seed=1, variant="NATA", **changes):
    """The record of a run of SoftCPT, by the values of its tasks."""
    tasks = [{"name": name, "metric": "accuracy", "value": value, "n": 10} for name, value in values.items()]
    return record(variant=variant, shots=4, seed=seed, tasks=tasks, **changes)


# Runs on three tasks, and on two of them.
LEFT_OUT = [
    of_tasks({"a": 50.0, "b": 60.0, "c": 70.0}, 1),
    of_tasks({"a": 54.0, "b": 64.0, "c": 70.0}, 2),
    of_tasks({"b": 58.0, "c": 71.0}, 1, "NATA_without-a", split="test-b,c-tasks"),
    of_tasks({"b": 60.0, "c": 72.0}, 2, "NATA_without-a", split="test-b,c-tasks"),
    of_tasks({"a": 40.0, "c": 70.0}, 1, "NATA_without-b", split="test-a,c-tasks"),
    of_tasks({"a": 40.0, "b": 70.0}, 3, "NATA_without-c", split="test-a,b-tasks"),  # no run on all tasks of this seed
]


def write_runs(folder, runs=RUNS):
    """A folder for each run, with its results.json."""
    for i, run in enumerate(runs):
        path = folder / run["dataset"] / run["trainer"] / f"run{i}"
        path.mkdir(parents=True)
        write_record(path / "results.json", run)


def section_of(runs):
    """The rows of a report's first section."""
    return sections(summarise(results_frame(runs)))[0][1]


def prompts(folder):
    """The parameters in the one checkpoint of a run folder."""
    (path,) = (folder / "prompt_learner").glob("model.pth.tar-*")
    return torch.load(path, weights_only=True)["state_dict"]


def without_costs(path):
    """A results.json without times, memory, commit and command."""
    run = json.loads(path.read_text())
    return {key: value for key, value in run.items() if "seconds" not in key and key not in COSTS}


def table_rows(text):
    """The cells of each line of a Markdown table."""
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line[:2] == "| "]
