"""The calls of a sweep: once per task, --only, and the state of each run."""

import os

import pytest
from records import run_of, table_rows

from evaluation.records import read_records, write_record
from experiments.sweeps import Method, plan, task_folders
from experiments.sweeps.calls import merge_folder, read_only, select, state_of, status_report, steps_of
from scripts.lib import tasks
from storage import locked

# -- once per task ---------------------------------------------------------------------------------------------------


def test_tasks_have_their_own_folders():
    assert task_folders(["Pet breeds", "cars, 2013!", "猫", "pet-breeds", "?"]) == {
        "Pet breeds": "pet-breeds",
        "cars, 2013!": "cars-2013",
        "猫": "猫",
        "pet-breeds": "pet-breeds-2",
        "?": "task",
    }


def test_tasks_of_a_benchmark_are_listed_without_data(capsys):
    assert tasks.main(["plant6"]) == 0
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert len(lines) == 6 and all(folder == name.replace(" ", "-").lower() for folder, name in lines)
    assert tasks.main(["plant7"]) == 1 and "plant6" in capsys.readouterr().err


def test_merging_keeps_the_benchmarks_order(tmp_path):
    names = ["sea", "air"]
    for name, value in zip(reversed(names), (40.0, 60.0)):
        folder = tmp_path / "run/tasks" / name
        folder.mkdir(parents=True)
        part = [{"name": name, "metric": "accuracy", "value": value, "n": 3}]
        own = run_of("CoOp", "separate", 1, 1, value, tasks=part, split=f"test-{name}-tasks")
        write_record(folder / "results.json", own)
        if name == "air":
            with pytest.raises(FileNotFoundError):
                merge_folder(tmp_path / "run", names)
    merge_folder(tmp_path / "run", names)
    (merged,) = read_records(tmp_path)  # records of single tasks are not reported
    assert [task["name"] for task in merged["tasks"]] == names
    assert (merged["metric"], merged["split"], merged["n_params"]) == (50.0, "test", 2 * 8192)


def test_merged_run_is_printed_per_task_with_its_mean():
    parts = [("sea animals", "mean_per_class", 40.0), ("air", "accuracy", None), ("cars", "accuracy", 60.04)]
    own = [{"name": name, "metric": metric, "value": value, "n": 3} for name, metric, value in parts]
    lines = tasks.result_lines({"tasks": own, "metric": 50.02}).splitlines()
    assert [line.split("  ", 1)[0] for line in lines] == ["sea animals", "air", "cars", "mean over 3 tasks"]
    assert [line[19:].strip() for line in lines] == ["40.0 % mean per class", "–", "60.0 % accuracy", "50.0 %"]


# -- what is asked for, and how it stands ----------------------------------------------------------------------------


def steps_for(tmp_path):
    methods = [Method("joint", "SoftCPT"), Method("alone", "CoOp", separate=True)]
    jobs = plan(methods, "demo", [1, 4], [1, 2])
    return [step for job in jobs for step in steps_of(job, "data", str(tmp_path), ["sea animals", "air"])]


def test_only_selects_matching_runs(tmp_path):
    def chosen(*texts):
        return [str(step) for step in select(steps_for(tmp_path), read_only(texts))]

    assert len(chosen()) == 4 + 8
    assert chosen("method=joint,shots=4") == chosen("method=SoftCPT", "shots=4")  # by its label or its trainer
    assert chosen("method=joint,shots=4,seed=2") == ["joint, 4 shots, seed 2"]
    assert chosen("shots=1,seed=1,task=air") == ["alone, 1 shots, seed 1, task air"]
    assert chosen("task=sea animals,shots=1") == chosen("task=sea-animals,shots=1")
    assert len(chosen("shots=1,shots=4")) == 12, "two values of a key mean either"


@pytest.mark.parametrize(
    "text, message",
    [
        ("shot=4", "use KEY=VALUE.*keys benchmark, method, shots, seed, half, task; did you mean shots"),
        ("method", "use KEY=VALUE"),
        ("method=joined", "--only method=joined: one of .*alone.*; did you mean joint"),
        ("shots=16", "--only shots=16: one of 1, 4$"),
        ("half=new-classes", "one of nothing in this sweep"),
        ("method=joint,task=air", "no run of this sweep has all of these"),
    ],
)
def test_invalid_only_lists_the_choices(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        select(steps_for(tmp_path), read_only([text]))


def test_state_of_a_run_is_read_from_its_folder(tmp_path):
    steps = {str(step): step for step in steps_for(tmp_path)}
    running, failed, cut, queued = (steps[f"joint, {a} shots, seed {b}"] for a in (1, 4) for b in (1, 2))
    done, redone = (steps[f"alone, 1 shots, seed {seed}, task air"] for seed in (1, 2))
    for step in (failed, cut, done, redone):
        step.folder.mkdir(parents=True)
        (step.folder / "config.yaml").touch()
    (failed.folder / "failure.txt").write_text("exit status 1\nsome\nerror: no images\n\n")
    (redone.folder / "failure.txt").write_text("exit status 1\n")
    for step in (done, redone):
        (step.folder / "results.json").touch()
    queued.note_job("12_3")
    cut.note_job("11_0")  # which has ended
    queue = {"12_3": "PENDING"}
    with locked(running.folder):
        assert state_of(running)[0] == "running" and f"process {os.getpid()} on " in state_of(running)[1]
        text = status_report(list(steps.values()), queue)
    assert state_of(failed) == ("failed", "exit status 1: error: no images")
    assert [state_of(step, queue)[0] for step in (cut, queued, done, redone)] == ["cut off", "queued", "done", "done"]
    rows = table_rows(text)
    assert rows[0] == ["method", "done", "running", "queued", "cut off", "failed", "to do"]
    assert sorted(rows[1:]) == [
        ["all", "2", "1", "1", "1", "1", "6"],
        ["alone", "2", "", "", "", "", "6"],
        ["joint", "", "1", "1", "1", "1", ""],
    ]
    assert "joint, 1 shots, seed 2: exit status 1: error: no images" in text and "SLURM job 12_3" in text
