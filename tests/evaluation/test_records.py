"""Records of runs: their keys, merging, and reading files."""

import json
import subprocess

import pytest
from records import RUNS, record, write_runs

from softcpt.evaluation.provenance import git_commit, software_versions
from softcpt.evaluation.records import merge_tasks, read_records, write_record


def test_record_has_the_keys_of_schema_1():
    run = record(values=(40.0, None, 65.0), n=(30, 0, 20))
    assert run["metric"] == 52.5
    keys = "schema trainer variant dataset shots seed backbone split metric tasks n_params train_seconds test_seconds"
    keys += " peak_memory_bytes precision device epochs steps commit versions command chosen_on loaded_from"
    assert list(run) == keys.split()
    assert run["schema"] == 1
    with pytest.raises(ValueError, match="'shots' is '16'"):
        record(shots="16")
    with pytest.raises(ValueError, match="result of any task"):
        record(values=(None,), n=(0,))


@pytest.mark.parametrize("key, value", [("val", "high"), ("val_n", 2.5), ("val_zero_shot", None)])
def test_metric_on_validation_shots_is_a_number(key, value):
    tasks = [{"name": "air", "metric": "accuracy", "value": 1.0, "n": 10, key: value}]
    with pytest.raises(ValueError, match=rf"tasks\[0\]: '{key}' is"):
        record(tasks=tasks)


def tasks_record(name, value, **changes):
    split = f"test-{name}-tasks"
    task = {"name": name, "metric": "accuracy", "value": value, "n": 10}
    return record(variant="separate", tasks=[task], **{"split": split, **changes})


def test_single_task_records_merge():
    parts = [
        tasks_record("air", 40.0, train_seconds=1.5, test_seconds=1.0, peak_memory_bytes=7, n_params=2),
        tasks_record("sea", 70.0, train_seconds=2.0, test_seconds=0.5, peak_memory_bytes=9, n_params=3),
    ]
    merged = merge_tasks(parts)
    assert merged["tasks"] == [parts[0]["tasks"][0], parts[1]["tasks"][0]]
    assert (merged["metric"], merged["split"], merged["variant"]) == (55.0, "test", "separate")
    assert (merged["n_params"], merged["train_seconds"], merged["test_seconds"]) == (5, 3.5, 1.5)
    assert merged["peak_memory_bytes"] == 9 and merged["commit"] == "abc" and merged["versions"] == {"torch": "2.4"}
    assert merge_tasks([parts[0], {**parts[1], "train_seconds": None, "commit": "def"}])["train_seconds"] is None
    assert merge_tasks([parts[0], {**parts[1], "commit": "def"}])["commit"] == "abc, def"


def test_only_tasks_with_equal_epochs_or_steps_merge():
    parts = [tasks_record("air", 40.0, epochs=50, steps=150), tasks_record("sea", 70.0, epochs=50, steps=200)]
    merged = merge_tasks(parts)
    assert (merged["epochs"], merged["steps"], merged["device"]) == (50, 350, "cpu")
    at_steps = [{**part, "epochs": epochs, "steps": 90} for part, epochs in zip(parts, (30, 23))]
    merged = merge_tasks(at_steps)
    assert (merged["epochs"], merged["steps"]) == (30, 180)
    with pytest.raises(ValueError, match="differ in epochs: 30, 23"):
        merge_tasks([at_steps[0], {**at_steps[1], "steps": 91}])
    older = [{key: value for key, value in part.items() if key not in ("steps", "device")} for part in parts]
    merged = merge_tasks(older)
    assert (merged["epochs"], merged["steps"], merged["device"]) == (50, None, "")


def test_records_of_different_runs_do_not_merge():
    with pytest.raises(ValueError, match="no records"):
        merge_tasks([])
    with pytest.raises(ValueError, match="differ in seed: 1, 2"):
        merge_tasks([tasks_record("air", 40.0), tasks_record("sea", 40.0, seed=2)])
    with pytest.raises(ValueError, match="differ in split: test, val"):
        merge_tasks([tasks_record("air", 40.0), tasks_record("sea", 40.0, split="val-sea-tasks")])
    with pytest.raises(ValueError, match="record 1 of 2 to merge: not the record of a run"):
        merge_tasks([tasks_record("air", 40.0), {}])


def test_records_are_read_sorted_by_path(tmp_path):
    write_runs(tmp_path)
    records = read_records(tmp_path)
    assert [run.pop("path") for run in records] == sorted(map(str, tmp_path.rglob("results.json")))
    assert len(records) == len(RUNS) and all(run in records for run in RUNS)
    assert not list(tmp_path.rglob("*.tmp"))


def test_older_record_has_unknown_steps_and_device(tmp_path):
    older = {key: value for key, value in RUNS[1].items() if key not in ("steps", "device")}
    (tmp_path / "results.json").write_text(json.dumps(older))
    (found,) = read_records(tmp_path)
    assert (found["steps"], found["device"], found["epochs"]) == (None, "", 50)


def test_nan_leaves_no_record(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_record(tmp_path / "results.json", record(train_seconds=float("nan")))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not a JSON file"),
        ("[1]", "no key 'schema'"),
        ('{"accuracy": 3}', "no key 'schema'"),
        ('{"schema": 2}', "schema is 2"),
        ('{"schema": 1, "trainer": "CoOp"}', "missing keys: variant, dataset, shots"),
        (json.dumps({**RUNS[0], "seed": "1"}), "'seed' is '1'"),
        (json.dumps({**RUNS[0], "tasks": []}), "'tasks' is empty"),
        (json.dumps({**RUNS[0], "tasks": [{"name": "x"}]}), r"tasks\[0\]: missing keys: metric, value, n"),
    ],
)
def test_invalid_record_is_an_error(tmp_path, content, message):
    (tmp_path / "results.json").write_text(content)
    with pytest.raises(ValueError, match=rf"{tmp_path}/results\.json.*{message}"):
        read_records(tmp_path)


def test_versions_and_git_commit(tmp_path):
    versions = software_versions()
    assert set(versions) == {"python", "torch", "torchvision", "clip", "dassl", "softcpt"}
    assert versions["torch"]
    assert git_commit(tmp_path) == ""
    commit = "git -c user.name=x -c user.email=x@x commit -qm a"
    subprocess.run(f"git init -q . && touch a && git add a && {commit}", shell=True, cwd=tmp_path, check=True)
    clean = git_commit(tmp_path)
    assert len(clean) == 40
    (tmp_path / "a").write_text("changed")
    assert git_commit(tmp_path) == clean + "+dirty"
