"""The calls of a sweep: once per task, --only, and the state of each run."""

import os

import pytest
from records import run_of, table_rows

import train
from scripts.lib.methods import result_lines
from scripts.lib.queries import benchmark_tasks
from softcpt.evaluation.records import merge_tasks, read_records, write_record
from softcpt.files import locked
from softcpt.sweeps import Method, jobs, plan, task_folders
from softcpt.sweeps.calls import merge_folder, read_only, select, state_of, status_report, steps_of
from softcpt.sweeps.methods import leaving_out
from trainers.engine.run_files import split_of

# -- once per task ---------------------------------------------------------------------------------------------------


def test_tasks_have_their_own_folders():
    assert task_folders(["Pet breeds", "cars, 2013!", "猫", "pet-breeds", "?"]) == {
        "Pet breeds": "pet-breeds",
        "cars, 2013!": "cars-2013",
        "猫": "猫",
        "pet-breeds": "pet-breeds-2",
        "?": "task",
    }


def test_tasks_of_a_benchmark_are_listed_without_data():
    folders = task_folders(benchmark_tasks("plant6"))
    assert len(folders) == 6 and all(folder == name.replace(" ", "-").lower() for name, folder in folders.items())
    with pytest.raises(FileNotFoundError, match="plant6"):
        benchmark_tasks("plant7")


@pytest.fixture
def listed(tmp_path, monkeypatch):
    """A data set file that selects three of Plant-6's tasks."""
    names = ["KaggleFlower", "PlantVillage", "FruitVegetable"]
    monkeypatch.setattr(jobs, "DATASETS", tmp_path)
    (tmp_path / "some.yaml").write_text(f"DATASET:\n  NAME: Plant6\n  TASKS: {names}\n")


def test_tasks_that_the_data_sets_file_lists_are_those_of_separate_and_leave_out_rows(listed, tmp_path):
    names = ["fruit and vegetable recognition", "garden flower recognition", "plant leaf disease recognition"]
    assert benchmark_tasks("some") == names
    left_out = leaving_out([Method("soft", "SoftCPT", leave_out=True)], names)
    assert [method.settings["DATASET.TASKS"] for method in left_out] == [
        ",".join(name for name in names if name != out) for out in names
    ]
    for name, folder in task_folders(names).items():
        part = tmp_path / "run/tasks" / folder
        part.mkdir(parents=True)
        own = [{"name": name, "metric": "accuracy", "value": 50.0, "n": 3}]
        write_record(part / "results.json", run_of("CoOp", "", 1, 1, 50.0, tasks=own, split=f"test-{name}-tasks"))
    selected = "KaggleFlower,PlantVillage,FruitVegetable"
    assert jobs.selected_tasks("some") == selected
    merged = merge_folder(tmp_path / "run", names, selected)
    assert merged["split"] == f"test-{selected}-tasks", "as a run on these tasks at once"


@pytest.mark.parametrize("name, value", [("base", "base,"), ("cars, 2013", r"cars\, 2013")])
def test_task_with_a_comma_or_the_name_of_a_half_is_trained_alone(tmp_path, monkeypatch, name, value):
    (job,) = plan([Method("a", "CoOp", separate=True)], "folder", [1], [1], "tiny")
    monkeypatch.chdir(train.PROJECT_ROOT)
    cfg = train.setup_cfg(train.parse_args(job.arguments("data", "out", name, "folder")))
    assert cfg.DATASET.TASKS == value and split_of(cfg) == f"test-{value}-tasks"
    part = run_of("CoOp", "", 1, 1, 50.0, split=f"test-{value}-tasks")
    assert merge_tasks([{**part, "tasks": [{**part["tasks"][0], "name": name}]}])["split"] == "test"


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
    lines = result_lines({"tasks": own, "metric": 50.02}).splitlines()
    assert [line.split("  ", 1)[0] for line in lines] == ["sea animals", "air", "cars", "mean over 2 tasks"]
    assert [line[19:].strip() for line in lines] == ["40.0 % mean per class", "–", "60.0 % accuracy", "50.0 %"]


# -- what is asked for, and how it stands ----------------------------------------------------------------------------


def steps_for(tmp_path):
    methods = [Method("joint", "SoftCPT"), Method("alone", "CoOp", separate=True)]
    planned = plan(methods, "demo", [1, 4], [1, 2])
    return [step for job in planned for step in steps_of(job, "data", str(tmp_path), lambda _: ["sea animals", "air"])]


def test_only_selects_matching_runs(tmp_path):
    def chosen(*texts):
        return [str(step) for step in select(steps_for(tmp_path), read_only(texts))]

    assert len(chosen()) == 4 + 8
    assert chosen("method=joint,shots=4") == chosen("method=SoftCPT", "shots=4")  # by its label or its trainer
    assert chosen("method=joint,shots=4,seed=2") == ["joint, 4 shots, seed 2"]
    assert chosen("shots=1,seed=1,task=air") == ["alone, 1 shot, seed 1, task air"]
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
    running, failed, cut, queued = (steps[f"joint, {a}, seed {b}"] for a in ("1 shot", "4 shots") for b in (1, 2))
    done, redone = (steps[f"alone, 1 shot, seed {seed}, task air"] for seed in (1, 2))
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
    assert "joint, 1 shot, seed 2: exit status 1: error: no images" in text and "SLURM job 12_3" in text
