"""Sweeps: what a yaml means, training once per task, the report, and one sweep from start to end."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
import sweep
import torch
import yaml
from dassl.engine import TRAINER_REGISTRY
from PIL import Image

import train
from evaluation.records import read_records, write_record
from experiments.reports import HALVES_FILES, REPORT_FILES, write_report
from experiments.reports.paper import paper_names, paper_table
from experiments.reports.runs import named_records
from experiments.reports.tables import results_frame, sections, summarise
from experiments.sweeps import (
    Method,
    leaving_out,
    on_backbone,
    on_benchmark,
    plan,
    read_defaults,
    read_sweep,
    task_folders,
    without_config,
)
from experiments.sweeps.calls import merge_folder, read_only, select, state_of, status_report, steps_of
from scripts.lib import tasks
from storage import locked

ROOT = train.PROJECT_ROOT


SWEEPS = sorted((ROOT / "configs/sweeps").glob("*.yaml"))
COSTS = ("peak_memory_bytes", "commit", "command")  # the commit may change while a test runs
TABLE1 = ROOT / "configs/sweeps/table1.yaml"


def record(trainer, variant, shots, seed, value, dataset="General10", **changes):
    return {
        "schema": 1,
        "trainer": trainer,
        "variant": variant,
        "dataset": dataset,
        "shots": shots,
        "seed": seed,
        "backbone": "RN50",
        "split": "test",
        "metric": value,
        "tasks": [{"name": "pets", "metric": "accuracy", "value": value, "n": 10}],
        "n_params": 8192 if shots else 0,
        "train_seconds": 30.0 if shots else None,
        "test_seconds": 2.0,
        "peak_memory_bytes": 1000,
        "epochs": 50,
        "commit": "abc",
        "versions": {"torch": "2.4"},
        **changes,
    }


# -- the yaml --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
@pytest.mark.parametrize("benchmark", ["demo", "general10"])
def test_every_run_of_a_sweep_has_a_config_that_train_accepts_and_a_folder_of_its_own(path, benchmark, monkeypatch):
    monkeypatch.chdir(ROOT)
    config = "tiny.yaml" if benchmark == "demo" else "rn50.yaml"  # MaPLe and PromptSRC, which need a ViT, have none
    methods = [m for m in read_sweep(path) if (ROOT / "configs/trainers" / m.trainer / config).is_file()]
    jobs = plan(read_sweep(path), benchmark, [1, 16], [1, 2])
    for job in jobs[:: 4 if len(jobs) < 20 else 7]:
        cfg = train.setup_cfg(train.parse_args(job.arguments("data", "out")))
        assert cfg.OUTPUT_DIR == str(job.folder("out")) and cfg.DATASET.NUM_SHOTS == job.shots
    assert len({job.folder("out") for job in jobs}) == len(jobs)
    assert len(jobs) == sum(4 if method.shots else 1 for method in methods), "per shots and seed, or one run"


def test_a_method_without_the_config_of_a_sweep_is_left_out():
    methods = read_sweep(TABLE1)
    vits = ["tiny_vit", "vit_b16", "vit_b32"]
    expected = {"MaPLe": vits, "PromptSRC": [*vits[:2], "vit_b16_ep50", *vits[2:]]}
    assert without_config(methods, "tiny") == expected
    assert without_config(methods, "vit_b16") == {}
    assert {job.method.label for job in plan(methods, "rs8", [4], [1], "vit_b16")} == {m.label for m in methods}
    with pytest.raises(ValueError, match="no method of the sweep has a config 'rn51'; one of rn101, rn50"):
        without_config(methods, "rn51")
    with pytest.raises(ValueError, match="^a: no trainer CoOb; one of .*CoOp"):
        without_config([Method("a", "CoOb")], "tiny")


def test_the_papers_table_is_complete_and_in_its_order():
    labels = [method.label for method in read_sweep(TABLE1)]
    paper = pd.read_csv(ROOT / "configs/sweeps/paper_table.csv")
    for _, rows in paper.groupby("benchmark"):
        assert list(rows["method"]) == labels[: len(rows)]
    plot = {job.benchmark: job for name in ("general10", "rs8") for job in plan(read_sweep(TABLE1), name, [1], [1])
            if job.method.label == "PLOT"}  # fmt: skip
    assert {name: job.method.settings["TRAINER.PLOT.N"] for name, job in plot.items()} == {"general10": 2, "rs8": 4}


def test_long_runs_come_first():
    methods = [Method("a", "CoOp", separate=True), Method("b", "CoOp"), Method("c", "ZeroshotCLIP", shots=False)]
    order = [(job.shots, job.method.label, job.seed) for job in plan(methods, "demo", [1, 16, -1], [1, 2])]
    assert order[:5] == [(-1, "b", 1), (-1, "b", 2), (-1, "a", 1), (-1, "a", 2), (16, "b", 1)]
    assert order[-1] == (0, "c", 1)


@pytest.mark.parametrize(
    "content, message",
    [
        ("methods: [", "not a YAML file"),
        ("- a", "expected the key 'methods' with a list"),
        ("methods: []", "expected the key 'methods' with a list"),
        ("methods: [{label: a, trainer: CoOp, variants: b}]", r"methods\[0\]: unknown key 'variants'.*mean variant\?"),
        ("methods: [{label: a, trainer: CoOp, separate: 1}]", "separate must be a bool, found 1"),
        ("methods: [{label: a}]", r"methods\[0\]: missing trainer"),
        ("methods: [{label: a, trainer: CoOp, benchmarks: {rs8: {sots: 1}}}]", "on rs8: unknown key 'sots'"),
        ("methods: [{label: a, trainer: CoOp}, {label: a, trainer: PLOT}]", "two methods have the same label: a"),
        ("methods: [{label: a, trainer: CoOp}, {label: b, trainer: CoOp}]", "two methods have the same runs"),
        (
            "methods: [{label: a, trainer: CoOp, new: class}]",
            "new is 'class', use one of classes, tasks",
        ),
        ("methods: [{label: a, trainer: CoOp, steps: 50}]", "steps must be a bool, found 50"),
        ("methods: [{label: a, trainer: CoOp, without: air}]", "unknown key 'without'"),
        (
            "methods: [{label: a, trainer: CoOp, leave_out: true, separate: true}]",
            "leave_out and separate do not go together",
        ),
        (
            "methods: [{label: a, trainer: CoOp, leave_out: true, opts: {DATASET.TASKS: base}}]",
            "leave_out and DATASET.TASKS do not go together",
        ),
        ("methods: [{label: a, trainer: CoOp}]\nshot: [1]", "unknown key 'shot'.*did you mean shots"),
        (
            "methods: [{label: a, trainer: CoOp, new: tasks}, {label: b, trainer: CoOp, separate: true, new: tasks}]",
            "two methods have the same runs on halves of the tasks",
        ),
    ],
)
def test_a_wrong_sweep_is_one_error_that_names_the_file(tmp_path, content, message):
    (tmp_path / "s.yaml").write_text(content)
    with pytest.raises(ValueError, match=f"(?s)s.yaml.*{message}"):
        read_sweep(tmp_path / "s.yaml")
    with pytest.raises(FileNotFoundError, match="t.yaml; in .*: s.yaml"):
        read_sweep(tmp_path / "t.yaml")


def test_a_task_left_out_makes_a_method_and_a_run_folder_of_its_own():
    methods = [Method("joint", "SoftCPT", variant="NATA"), Method("soft", "SoftCPT", variant="NATA", leave_out=True)]
    found = leaving_out(methods, ["sea animals", "air", "cars"])
    assert [method.label for method in found] == [
        "joint",
        "soft without sea animals",
        "soft without air",
        "soft without cars",
    ]
    assert [method.settings.get("DATASET.TASKS") for method in found] == [
        None,
        "air,cars",
        "sea animals,cars",
        "sea animals,air",
    ]
    jobs = plan(found, "demo", [4], [1])
    assert [job.folder("out").parts[-2] for job in jobs] == [
        "NATA",
        "NATA_without-sea-animals",
        "NATA_without-air",
        "NATA_without-cars",
    ]
    assert "air,cars" in jobs[1].arguments("data", "out")
    with pytest.raises(ValueError, match="soft: leave_out needs two tasks or more, found 1"):
        leaving_out(methods, ["air"])


def test_a_sweep_says_what_it_runs_unless_told_otherwise(tmp_path):
    path, methods = tmp_path / "s.yaml", "methods: [{label: a, trainer: CoOp}]\n"
    path.write_text(methods + "benchmarks: [demo, rs8]\nshots: [1, 2]\n")
    assert read_defaults(path) == {"benchmarks": ["demo", "rs8"], "shots": [1, 2]}
    path.write_text(methods)
    assert read_defaults(path) == {}
    for wrong, found in (("shots: 4", "4"), ("shots: []", r"\[\]"), ("seeds: [true]", r"\[True\]")):
        path.write_text(methods + wrong)
        with pytest.raises(ValueError, match=f"s.yaml: {wrong.split(':')[0]} must be a list of int, found {found}"):
            read_defaults(path)


# -- equal steps, and halves -------------------------------------------------------------------------------------------


def test_a_budget_of_steps_is_given_to_every_run_that_makes_steps():
    methods = [
        Method("joint", "CoOp"),
        Method("alone", "CoOp", variant="shared", separate=True),
        Method("fixed", "CoOp", variant="shared", opts={"OPTIM.MAX_STEPS": 5}),
        Method("fitted", "ProtoNet", steps=False),
        Method("zero", "ZeroshotCLIP", shots=False),
    ]
    jobs = plan(methods, "demo", [1, 4], [1], steps={1: 50, 4: 350})
    folders = {(job.method.label, job.shots): str(job.folder("out")).split("/", 3)[-1] for job in jobs}
    assert folders == {
        ("joint", 1): "tiny_1shots/MAX_STEPS-50/seed1",
        ("joint", 4): "tiny_4shots/MAX_STEPS-350/seed1",
        ("alone", 1): "tiny_1shots/separate-shared_MAX_STEPS-50/seed1",
        ("alone", 4): "tiny_4shots/separate-shared_MAX_STEPS-350/seed1",
        ("fixed", 1): "tiny_1shots/shared_MAX_STEPS-5/seed1",
        ("fixed", 4): "tiny_4shots/shared_MAX_STEPS-5/seed1",
        ("fitted", 1): "tiny_1shots/default/seed1",
        ("fitted", 4): "tiny_4shots/default/seed1",
        ("zero", 0): "tiny_0shots/default/seed1",
    }
    pairs = {job.method.label: job.arguments("data", "out", "air", "air")[-2:] for job in jobs if job.shots == 4}
    assert pairs["alone"] == pairs["joint"] == ["OPTIM.MAX_STEPS", "350"], (
        "the run of a task has as many as a joint one"
    )


def test_another_backbone_is_set_for_every_method_and_named_in_its_folder():
    own = {"opts": {"OPTIM.LR": 0.1}}
    methods = [Method("a", "CoOp", opts={"OPTIM.LR": 0.2}, benchmarks={"demo": own}), Method("b", "TaskRes")]
    methods = on_backbone(on_benchmark(methods, "demo"), "open_clip:ViT-B-16/openai")
    first, second = plan(methods, "demo", [4], [1])
    assert "/LR-0.1_NAME-open-clip-ViT-B-16-openai/seed1" in str(first.folder("out"))
    for job in (first, second):
        arguments = job.arguments("data", "out")
        assert arguments[arguments.index("MODEL.BACKBONE.NAME") + 1] == "open_clip:ViT-B-16/openai"
    assert on_backbone(methods, "") == methods


def test_the_sweeps_say_which_methods_make_no_steps():
    for path in SWEEPS:
        for method in read_sweep(path):
            learns = TRAINER_REGISTRY.get(method.trainer).learns_by_gradient
            assert learns == (method.steps and method.shots), f"{path.stem}: {method.label}"


@pytest.mark.parametrize(
    "flags, message",
    [
        ("--steps 0", "--steps is 0; a number of steps is at least 1"),
        ("--steps 5 6", "--steps has 2 numbers; give one, or one for each of --shots"),
        ("--steps many", "invalid int value: 'many'"),
        ("--halves images", "invalid choice: 'images'"),
        ("--halves tasks --paper", "no numbers of --halves"),
    ],
)
def test_wrong_flags_of_a_sweep_are_one_error(capsys, flags, message):
    with pytest.raises(SystemExit, match="2"):
        sweep.parse_args(["s.yaml", "--benchmark", "demo", *flags.split()])
    assert message in capsys.readouterr().err


def test_reports_of_other_budgets_and_halves_have_folders_of_their_own():
    def folder(*flags):
        return sweep.parse_args(["s.yaml", "--benchmark", "demo", "--out", "/o", *flags]).to.as_posix()

    assert folder() == "/o/demo/s" and folder("--steps", "7") == "/o/demo/s-steps"
    assert folder("--halves", "tasks", "--steps", "7") == "/o/demo/s-steps-tasks"
    given = sweep.parse_args("s.yaml --benchmark demo --shots 1 16 --steps 3 4".split())
    assert given.steps == {1: 3, 16: 4} and sweep.parse_args("s.yaml --benchmark demo".split()).steps == {}


def test_the_new_half_is_evaluated_after_the_base_half_is_trained():
    methods = [
        Method("a", "CoOp", separate=True, new="tasks"),
        Method("b", "TaskRes"),
        Method("c", "SoftCPT", new="classes"),
    ]
    jobs = plan(methods, "demo", [1], [1], halves="classes")
    assert [(job.method.label, job.half) for job in jobs] == [
        ("c", "base-classes"),
        ("a", "base-classes"),
        ("c", "new-classes"),
        ("a", "new-classes"),
    ]
    assert jobs[3].method.separate and jobs[3].trained == jobs[1] and jobs[1].trained == jobs[1]
    base, new = plan(methods, "demo", [1], [1], halves="tasks")
    assert not base.method.separate and (base.half, new.half) == ("base-tasks", "new-tasks")


def test_records_of_a_sweep_are_those_of_its_budget_and_halves(tmp_path):
    methods = [
        Method("a", "CoOp", variant="shared", new="tasks"),
        Method("z", "ZeroshotCLIP", shots=False, new="tasks"),
    ]
    kinds = {"epochs": {}, "steps": {"steps": {1: 50, 16: 9}}, "tasks": {"halves": "tasks"}}
    for i, kind in enumerate(kinds.values()):
        for job in plan(methods, "demo", [1, 4, 16], [1], **kind):
            job.folder(tmp_path).mkdir(parents=True, exist_ok=True)
            own = record(job.method.trainer, job.method.run_label, job.shots, 1, 50.0 + i, split=f"test{job.half}")
            write_record(job.folder(tmp_path) / "results.json", own)
    records = read_records(tmp_path)
    found = {name: named_records(records, methods, **kind) for name, kind in kinds.items()}
    shots = {name: sorted((run["method"], run["shots"]) for run in runs) for name, runs in found.items()}
    assert shots["epochs"] == [("a", 1), ("a", 4), ("a", 16), ("z", 0)]
    assert shots["steps"] == [("a", 1), ("a", 16), ("z", 0)]
    assert all("MAX_STEPS" in run["variant"] for run in found["steps"] if run["method"] == "a")
    assert shots["tasks"] == sorted(2 * [("a", 1), ("a", 4), ("a", 16), ("z", 0)])


# -- once per task ---------------------------------------------------------------------------------------------------


def test_tasks_have_folders_of_their_own():
    assert task_folders(["Pet breeds", "cars, 2013!", "猫", "pet-breeds", "?"]) == {
        "Pet breeds": "pet-breeds",
        "cars, 2013!": "cars-2013",
        "猫": "猫",
        "pet-breeds": "pet-breeds-2",
        "?": "task",
    }


def test_the_tasks_of_a_benchmark_are_known_without_its_data(capsys):
    assert tasks.main(["plant6"]) == 0
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert len(lines) == 6 and all(folder == name.replace(" ", "-").lower() for folder, name in lines)
    assert tasks.main(["plant7"]) == 1 and "plant6" in capsys.readouterr().err


def test_merging_writes_the_tasks_in_the_benchmarks_order(tmp_path):
    names = ["sea", "air"]
    for name, value in zip(reversed(names), (40.0, 60.0)):
        folder = tmp_path / "run/tasks" / name
        folder.mkdir(parents=True)
        part = [{"name": name, "metric": "accuracy", "value": value, "n": 3}]
        own = record("CoOp", "separate", 1, 1, value, tasks=part, split=f"test-{name}-tasks")
        write_record(folder / "results.json", own)
        if name == "air":
            with pytest.raises(FileNotFoundError):
                merge_folder(tmp_path / "run", names)
    merge_folder(tmp_path / "run", names)
    (merged,) = read_records(tmp_path)  # those of single tasks are not runs to report
    assert [task["name"] for task in merged["tasks"]] == names
    assert (merged["metric"], merged["split"], merged["n_params"]) == (50.0, "test", 2 * 8192)


def test_a_merged_run_is_printed_by_task_and_with_its_mean():
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


def test_only_takes_the_runs_that_have_all_of_these_values(tmp_path):
    def chosen(*texts):
        return [str(step) for step in select(steps_for(tmp_path), read_only(texts))]

    assert len(chosen()) == 4 + 8
    assert chosen("method=joint,shots=4") == chosen("method=SoftCPT", "shots=4")  # by its label or its trainer
    assert chosen("method=joint,shots=4,seed=2") == ["joint, 4 shots, seed 2"]
    assert chosen("shots=1,seed=1,task=air") == ["alone, 1 shots, seed 1, task air"]
    assert chosen("task=sea animals,shots=1") == chosen("task=sea-animals,shots=1")
    assert len(chosen("shots=1,shots=4")) == 12, "either of two values of a key"


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
def test_only_names_what_is_legal(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        select(steps_for(tmp_path), read_only([text]))


def test_how_a_run_stands_is_read_from_its_folder(tmp_path):
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
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line[:2] == "| "]
    assert rows[0] == ["method", "done", "running", "queued", "cut off", "failed", "to do"]
    assert sorted(rows[1:]) == [
        ["all", "2", "1", "1", "1", "1", "6"],
        ["alone", "2", "", "", "", "", "6"],
        ["joint", "", "1", "1", "1", "1", ""],
    ]
    assert "joint, 1 shots, seed 2: exit status 1: error: no images" in text and "SLURM job 12_3" in text


def test_a_request_to_terminate_interrupts_a_sweep_in_the_background():
    ignored = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a shell starts what it puts there
    try:
        with pytest.raises(KeyboardInterrupt), sweep.terminable():
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(1)
    finally:
        signal.signal(signal.SIGINT, ignored)


# -- the report ------------------------------------------------------------------------------------------------------


def write_runs(out, methods):
    for job in plan(methods, "general10", [1, 16], [1, 2], "vit_b16"):
        folder = job.folder(out)
        folder.mkdir(parents=True)
        own = record(job.method.trainer, job.method.run_label, job.shots, job.seed, 50.0 + job.seed)
        write_record(folder / "results.json", own)


def test_the_report_of_a_sweep_has_its_methods_labels_and_order(tmp_path):
    methods = read_sweep(TABLE1)
    write_runs(tmp_path, methods)
    wanted = [methods[0], methods[12], methods[3]]  # zero-shot, SoftCPT-NATA, CoOp-CA
    text = write_report(tmp_path, tmp_path / "report", wanted)
    first = text[text.index("| method") :].split("\n\n")[0].splitlines()[2:]
    assert [line.split("|")[1].strip() for line in first] == ["ZS-CLIP", "SoftCPT-NATA", "CoOp-CA"]
    assert {run["method"] for run in named_records(read_records(tmp_path), methods)} == {m.label for m in methods}
    with pytest.raises(ValueError, match="no finished run of this sweep"):
        write_report(tmp_path, tmp_path, [Method("x", "MaPLe")])


def test_the_papers_numbers_stand_beside_the_measured_of_the_same_method_whatever_its_label():
    runs = [{**record("CoOp", "separate-shared", 16, seed, 50.0 + seed), "method": "my CoOp"} for seed in (1, 2, 3)]
    runs += [record("ZeroshotCLIP", "", 0, 1, 58.0), {**record("MaPLe", "", 3, 1, 60.0), "method": "SoftCPT-NATA"}]
    runs += [{**run, "shots": 1} for run in runs[:3]]
    runs += [record("SoftCPT", "NATA_TASK_FEATURES-learned_MAX_STEPS-50", 16, 1, 70.0)]
    names = paper_names(runs, "General10")
    assert names == {
        "my CoOp": "CoOp-CA",
        "ZeroshotCLIP": "ZS-CLIP",
        "SoftCPT NATA_TASK_FEATURES-learned_MAX_STEPS-50": "SoftCPT*",
    }
    four = [record("PLOT", "separate-4-prompts", 1, 1, 5.0)]
    assert paper_names(four, "General10") == {} and set(paper_names(four, "RS8").values()) == {"PLOT"}
    paper = pd.read_csv(ROOT / "configs/sweeps/paper_table.csv")
    section = sections(summarise(results_frame(runs)))[0][1]
    table = paper_table(section, paper[paper["benchmark"] == "General10"], names)
    rows = {row["method"]: row for row in table.to_dict("records")}
    assert rows["my CoOp"]["16 shots"] == "52.0 ± 1.0 (n=3)" and rows["my CoOp"]["16 shots, paper"] == "74.0 ± 0.2"
    assert rows["my CoOp"]["zero-shot, paper"] == "–" and rows["my CoOp"]["parameters, paper"] == "81,920"
    assert rows["my CoOp"]["training, paper"] == "49.5 min"
    assert rows["ZeroshotCLIP"]["zero-shot, paper"] == "58.3" and rows["ZeroshotCLIP"]["16 shots, paper"] == "–"
    assert rows["SoftCPT-NATA"]["16 shots, paper"] == "–", "a label alone is no method"


# -- a sweep ---------------------------------------------------------------------------------------------------------


def draw_tasks(root, classes=("one", "two")):
    rng = np.random.default_rng(0)
    for task in ("warm things", "cold things"):
        for name in classes:
            folder = root / task / name
            folder.mkdir(parents=True)
            for i in range(6):
                Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(folder / f"{i}.png")


def without_costs(path):
    run = json.loads(path.read_text())
    return {key: value for key, value in run.items() if "seconds" not in key and key not in COSTS}


def prompts(folder):
    (path,) = (folder / "prompt_learner").glob("model.pth.tar-*")
    return torch.load(path, weights_only=True)["state_dict"]


def test_a_sweep_at_equal_steps_on_halves_of_the_classes_from_start_to_end(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    draw_tasks(tmp_path / "data", ("a", "b", "c", "d"))
    methods = [
        {"label": "zero", "trainer": "ZeroshotCLIP", "shots": False, "new": "tasks"},
        {"label": "alone", "trainer": "CoOp", "variant": "shared", "separate": True, "new": "classes"},
        {"label": "rows", "trainer": "TaskRes"},
        {"label": "soft", "trainer": "SoftCPT", "new": "tasks"},
        {"label": "wrong", "trainer": "CoOp", "variant": "wrong", "opts": {"OPTIM.LR": "fast"}, "new": "classes"},
    ]
    (tmp_path / "s.yaml").write_text(yaml.safe_dump({"methods": methods}))
    flags = "--config tiny --data data --out out --shots 1 --seeds 1 --jobs 1 --steps 3 --halves classes".split()
    command = [sys.executable, str(ROOT / "scripts/sweep.py"), "s.yaml", "--benchmark", "folder", *flags]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    assert "rows is left out: it does not serve new classes" in done.stderr
    assert "2 of 10 runs failed:\n  wrong, 1 shots, seed 1, base-classes: exit status 2" in done.stderr
    assert "wrong, 1 shots, seed 1, new-classes: it was not trained" in done.stderr
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in done.stdout.splitlines() if line[:2] == "| "]
    assert rows[0] == ["method", "base", "new", "H", "parameters", "steps", "training", "memory"]
    assert [row[0] for row in rows[1:4]] == ["zero", "alone", "soft"]
    assert [row[5] for row in rows[1:4]] == ["–", "6", "3"], "of a run on each of two tasks, and of a joint one"
    assert all(row[7].endswith(" GB") for row in rows[1:4])

    found = {(run["trainer"], run["split"]): run for run in read_records(tmp_path / "out/folder")}
    assert len(found) == 6
    for trainer, steps in (("CoOp", 6), ("SoftCPT", 3)):
        base, new = (found[trainer, f"test-{half}-classes"] for half in ("base", "new"))
        assert base["steps"] == new["steps"] == steps and base["epochs"] == new["epochs"] == 3
        assert base["train_seconds"] > 0 and new["train_seconds"] is None and "MAX_STEPS-3" in base["variant"]
    assert {path.name for path in (tmp_path / "out/folder/s-steps-classes").iterdir()} == set(HALVES_FILES)
    again = subprocess.run([*command, "--dry-run"], cwd=tmp_path, capture_output=True, text=True)
    assert again.stdout.count("train.py") == again.stdout.count("LR fast") == 2


def test_a_sweep_from_start_to_end_makes_the_runs_that_train_makes(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    draw_tasks(tmp_path / "data")
    short = {"OPTIM.MAX_EPOCH": 2}
    methods = [
        {"label": "zero", "trainer": "ZeroshotCLIP", "shots": False},
        {"label": "alone", "trainer": "CoOp", "variant": "shared", "separate": True, "opts": short},
        {"label": "soft", "trainer": "SoftCPT", "opts": short},
        {"label": "wrong", "trainer": "CoOp", "variant": "wrong", "opts": {"OPTIM.LR": "fast"}},
    ]
    (tmp_path / "s.yaml").write_text(yaml.safe_dump({"methods": methods}))
    arguments = "s.yaml --benchmark folder --config tiny --data data --out out --shots 1 --seeds 1 --jobs 1".split()
    command = [sys.executable, str(ROOT / "scripts/sweep.py"), *arguments]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    assert "1 of 5 runs failed:\n  wrong, 1 shots, seed 1: exit status 2" in done.stderr
    assert "error: OPTIM.LR: 'fast' does not fit" in done.stderr
    assert [line.split("|")[1].strip() for line in done.stdout.splitlines() if line.startswith("| ")][1:4] == [
        "zero",
        "alone",
        "soft",
    ]
    out = tmp_path / "out/folder"
    assert {path.name for path in (out / "s").iterdir()} == set(REPORT_FILES)
    merged = without_costs(out / "CoOp/tiny_1shots/separate-shared_MAX_EPOCH-2/seed1/results.json")
    parts = [without_costs(path) for path in sorted(out.glob("CoOp/**/tasks/*/results.json"))]
    assert [task["name"] for task in merged["tasks"]] == ["cold things", "warm things"]
    assert merged["tasks"] == [part["tasks"][0] for part in parts]
    assert merged["n_params"] == sum(part["n_params"] for part in parts)

    jobs = plan(read_sweep(tmp_path / "s.yaml"), "folder", [1], [1], "tiny")
    job = next(job for job in jobs if job.method.label == "soft")
    monkeypatch.chdir(ROOT)  # paths in the configs are relative to it
    assert train.main(job.arguments(str(tmp_path / "data"), str(tmp_path / "here"))) == 0
    there, here = (job.folder(tmp_path / name) for name in ("out", "here"))
    assert without_costs(there / "results.json") == without_costs(here / "results.json")
    assert (there / "shots.json").read_text() == (here / "shots.json").read_text()
    assert all(torch.equal(value, prompts(here)[key]) for key, value in prompts(there).items())

    summary = done.stderr.split("1 of 5 runs failed:")[1]
    assert "exit status 2: error: OPTIM.LR: 'fast' does not fit" in summary, "what went wrong stands there"
    assert [path.parent.parent.name for path in out.rglob("failure.txt")] == ["wrong_LR-fast"]
    assert not list(out.rglob("seed1.*")) and not list(out.rglob("running.json"))

    again = subprocess.run([*command, "--dry-run"], cwd=tmp_path, capture_output=True, text=True)
    assert again.returncode == 0 and again.stdout.count("train.py") == 1 and "wrong" in again.stdout
    (out / "SoftCPT/tiny_4shots/MAX_EPOCH-2/seed1").mkdir(parents=True)
    write_record(
        out / "SoftCPT/tiny_4shots/MAX_EPOCH-2/seed1/results.json", record("SoftCPT", "MAX_EPOCH-2", 4, 1, 9.0)
    )
    only = subprocess.run([*command, "--only", "method=soft"], cwd=tmp_path, capture_output=True, text=True)
    assert only.returncode == 0, only.stderr
    assert "| soft" in only.stdout and "| alone" not in only.stdout and "4 shots" not in only.stdout
    status = subprocess.run([*command, "--status"], cwd=tmp_path, capture_output=True, text=True)
    assert "wrong, 1 shots, seed 1: exit status 2: error: OPTIM.LR" in status.stdout
