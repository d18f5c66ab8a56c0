"""scripts/base2new.sh with a stand-in for train.py, its runs over the toy tasks, and its tables."""

import re
import shutil

import pytest
import toy
from records import record as record_of
from sweep_calls import folder_of, settings_of, sweeps_calls

import train
from softcpt.evaluation.records import read_records
from softcpt.reports.base_to_new import base_to_new, base_to_new_report
from softcpt.reports.tables import AVERAGE
from softcpt.sweeps import read_sweep

ROOT = train.PROJECT_ROOT


def record(half, values, trainer="CoOp", seed=1, shots=4, halves="classes", n=10):
    """A record with a value per task."""
    tasks = [{"name": name, "metric": "accuracy", "value": value, "n": n} for name, value in values.items()]
    base = half == "base"
    costs = {"train_seconds": 1.0 if base else None, "peak_memory_bytes": 10**9 + 10**7 * seed, "n_params": 1}
    costs["steps"] = 50 if base else None
    changes = {"split": f"test-{half}-{halves}", "backbone": "RN50", "tasks": tasks, **costs}
    return {**record_of(trainer, "", shots, seed, **changes), "path": f"{trainer}-{half}-{seed}"}


RECORDS = [
    record("base", {"pets": 80.0, "cars": 60.0}, seed=1),
    record("new", {"pets": 40.0, "cars": 60.0}, seed=1),
    record("base", {"pets": 90.0, "cars": 70.0}, seed=2),
    record("new", {"pets": 60.0, "cars": 30.0}, seed=2, n=9),
    record("base", {"pets": 50.0, "cars": 50.0}, trainer="ZeroshotCLIP", shots=0),
    record("new", {"pets": 0.0, "cars": 0.0}, trainer="ZeroshotCLIP", shots=0),
]


# -- tables ------------------------------------------------------------------------------------------------------------


def test_h_is_the_harmonic_mean():
    frame = base_to_new(RECORDS).set_index(["method", "seed", "task"])
    for key, base, new in [
        (("CoOp", 1, "pets"), 80, 40),
        (("CoOp", 2, "cars"), 70, 30),
        (("CoOp", 1, AVERAGE), 70, 50),
        (("CoOp", 2, AVERAGE), 80, 45),
    ]:
        row = frame.loc[key]
        assert (row["base"], row["new"]) == (base, new)
        assert row["H"] == pytest.approx(2 / (1 / base + 1 / new))
    assert frame.loc[("ZeroshotCLIP", 1, "pets"), "H"] == 0  # base 50, new 0
    assert len(frame) == 9


def test_report_has_mean_and_deviation_beside_zero_shot():
    report = base_to_new_report(RECORDS, shots=4)
    lines = {line.split("|")[1].strip(): [c.strip() for c in line.split("|")[2:-1]] for line in report.splitlines()
             if line.startswith("|")}  # fmt: skip
    assert "## Demo, RN50, test set: base and new classes" in report and "over 2 seeds" in report
    assert lines["CoOp"][:3] == ["75.0 ± 7.1", "47.5 ± 3.5", "58.0 ± 0.5"]  # H: 58.33 and 57.6
    assert lines["CoOp"][3:] == ["1", "50", "1.0 s", "1.02 GB"]
    assert lines["ZeroshotCLIP"][:3] == ["50.0", "0.0", "0.0"]  # there is only one run
    assert "runs on the base half" in report and "Measured on: cpu." in report
    headings = [line for line in report.splitlines() if line.startswith("### ")]
    assert headings[1:] == ["### Base classes of each task", "### New classes of each task", "### H of each task"]
    assert report.index("| ZeroshotCLIP") < report.index("| CoOp ")
    more = base_to_new_report([*RECORDS, record("base", {"pets": 1.0, "cars": 1.0}, shots=1)])
    assert "| CoOp, 1 shot " in more and "| CoOp, 4 shots" in more and "| ZeroshotCLIP " in more


def test_halves_of_tasks_have_only_an_average_h():
    records = [
        record("base", {"pets": 80.0, "cars": 60.0}, halves="tasks"),
        record("new", {"aircraft": 30.0}, halves="tasks"),
        *RECORDS,
    ]
    frame = base_to_new(records, "tasks").set_index("task")
    assert frame.loc[AVERAGE, "H"] == pytest.approx(42) and frame["H"].count() == 1 and len(frame) == 4
    report = base_to_new_report(records, "tasks")
    assert "### Base tasks" in report and "### New tasks" in report and "### H" not in report
    assert report.index("| pets") < report.index("### New tasks") < report.index("| aircraft")


def test_missing_half_leaves_a_gap():
    whole = {**record("base", {"pets": 1.0}), "split": "test"}
    frame = base_to_new([RECORDS[0], whole])
    assert len(frame) == 3 and frame["new"].isna().all() and frame["H"].isna().all()
    assert "| CoOp" in base_to_new_report([RECORDS[0], whole])
    row = next(line for line in base_to_new_report([RECORDS[1]]).splitlines() if line.startswith("| CoOp"))
    assert [cell.strip() for cell in row.split("|")[-5:-1]] == ["–"] * 4, "only the run on the base half has costs"
    for records in ([whole], []):
        with pytest.raises(ValueError, match="no run on base or new classes with 4 shots"):
            base_to_new_report(records, shots=4)
    with pytest.raises(ValueError, match="use one of classes, tasks"):
        base_to_new(RECORDS, "images")


# -- the script --------------------------------------------------------------------------------------------------------


def test_new_half_is_only_evaluated(call):
    status, calls, _ = call("scripts/base2new.sh", "softcpt", "demo", "4", SEEDS="7")
    assert status == 0 and len(calls) == 5
    out = call.folder / "results/demo"
    base, new = out / "SoftCPT/tiny_4shots/NATA/base-classes/seed7", out / "SoftCPT/tiny_4shots/NATA/new-classes/seed7"
    assert f"--output-dir {out}/ZeroshotCLIP/tiny_0shots/default/base-classes/seed1 DATASET" in calls[0]
    assert f"--output-dir {base} DATASET" in calls[1] and "SUBSAMPLE_CLASSES base" in calls[1]
    assert "new-classes" in calls[2] and "--eval-only" not in calls[2] and "SUBSAMPLE_CLASSES new" in calls[2]
    assert f"--output-dir {new} --eval-only --model-dir {base} DATASET" in calls[3]
    assert "SUBSAMPLE_CLASSES new" in calls[3] and calls[4] == f"base2new.py {out} --halves classes --shots 4"
    status, calls, output = call("scripts/base2new.sh", "softcpt", "demo", "4", SEEDS="7")
    assert status == 0 and len(calls) == 1 and len(call.compared) == 4 and output.count("done before") == 4


def test_halves_of_tasks_with_trailing_pairs_and_a_cfg(call):
    command = ("scripts/base2new.sh", "coop", "demo", "1", "tiny", "OPTIM.LR", "0.1", "INPUT.SIZE", "(64, 64)")
    status, calls, _ = call(*command, SEEDS="1", TASKS="1")
    assert status == 0 and "DATASET.TASKS base" in calls[1] and "/shared_OPTIM.LR-0.1_INPUT.SIZE" in calls[1]
    assert "OPTIM.LR" not in calls[0] and calls[0].endswith("INPUT.SIZE (64, 64)")
    assert "/base-tasks/seed1" in calls[3].split("--model-dir")[1] and calls[4].endswith("--halves tasks --shots 1")


@pytest.mark.parametrize(
    "arguments, variables, message",
    [
        (["taskres"], {}, "taskres learns parameters of their own for each class, .* new classes; SoftCPT NATA"),
        (["linear_probe"], {}, "linear_probe learns parameters of their own for each class"),
        (["coop"], {"VARIANT": "per-class"}, "coop with VARIANT per-class learns"),
        (["softcpt"], {"VARIANT": "CSTA"}, "softcpt with VARIANT CSTA learns"),
        (["softcpt"], {"VARIANT": "NATS", "TASKS": "1"}, "NATS learns parameters of their own for each task"),
        (["coop"], {"VARIANT": "per-task", "TASKS": "1"}, "for each task, which do not serve new tasks"),
        (["softcpt", "tiny", "TRAINER.SOFTCPT.TASK_FEATURES", "learned"], {"TASKS": "1"}, "TASK_FEATURES learned"),
        (["kgcoop", "tiny", "TRAINER.KGCOOP.CSC", "True"], {}, "kgcoop with CSC True"),
        (["softcpt"], {"TASKS": "1", "SEPARATE": "1"}, "SEPARATE=1 trains on each task alone"),
        (["copo"], {}, "no method copo; one of .*cocoop .*zeroshot"),
    ],
)
def test_method_that_cannot_serve_new_classes_is_refused(call, arguments, variables, message):
    method, *rest = arguments
    status, calls, output = call("scripts/base2new.sh", method, "demo", "4", *rest, **variables)
    assert status == 2 and not calls and re.search(message, output)


def test_usage_is_printed(call):
    status, calls, output = call("scripts/base2new.sh", "softcpt", "demo")
    assert status == 2 and not calls and "METHOD DATASET SHOTS" in output and "maple" in output


def toy_call(line, root):
    """The arguments of a recorded call of train.py, with the settings of the toy tasks."""
    words = line.split()[1:]
    for flag in ("--config-file", "--dataset-config-file"):
        del words[words.index(flag) : words.index(flag) + 2]
    words[words.index("--root") + 1] = str(root)
    pairs = words.index("DATASET.NUM_SHOTS")
    settings = toy.arguments(root, "", words[words.index("--trainer") + 1], "OPTIM.MAX_EPOCH", 1)
    return [*words[:pairs], *settings[settings.index("DATASET.NAME") :], *words[pairs:]]


@pytest.mark.parametrize("halves", ["tasks", "classes"])
def test_softcpt_makes_a_base_to_new_report(call, toy_root, halves):
    _, calls, _ = call("scripts/base2new.sh", "softcpt", "demo", "2", SEEDS="1", TASKS=str(int(halves == "tasks")))
    shutil.rmtree(call.folder / "results")
    for line in calls[:-1]:
        assert train.main(toy_call(line, toy_root)) == 0
    records = read_records(call.folder / "results/demo")
    assert sorted(r["split"] for r in records) == [f"test-base-{halves}"] * 2 + [f"test-new-{halves}"] * 2
    report = base_to_new_report(records, halves, shots=2)
    assert f"## ToyTasks, tiny_vit, test set: base and new {halves}" in report
    new = report[report.index(f"### New {halves}") :]
    assert "aircraft model recognition" in new and "ZeroshotCLIP" in new and "SoftCPT NATA" in new
    assert len(records[0]["tasks"]) == (3 if halves == "classes" else 2)


@pytest.mark.parametrize("halves", ["classes", "tasks"])
@pytest.mark.parametrize("method", read_sweep(ROOT / "configs/sweeps/table1.yaml"), ids=lambda method: method.label)
def test_script_and_sweep_make_the_same_calls(call, method, halves):
    trailing, variables = settings_of(method)
    variables |= {"SEPARATE": "1"} if method.separate and halves == "classes" else {}
    variables |= {"TASKS": "1"} if halves == "tasks" else {}
    command = [folder_of(method), "demo", "4", *trailing]
    status, calls, output = call("scripts/base2new.sh", *command, SEEDS="1", **variables)
    wanted = sweeps_calls(method, call.folder / "results", halves)
    if method.label == "CoOp-CA" and halves == "tasks":  # on several tasks it is CoOp-MT
        assert status == 0 and not wanted
    elif method.trainer != "ZeroshotCLIP":  # whose settings the script does not pass
        assert (status == 0) == bool(wanted), output
        assert [line for line in calls if f"--trainer {method.trainer} " in line] == wanted
