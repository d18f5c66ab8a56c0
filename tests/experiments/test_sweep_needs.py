"""What a sweep lacks is named before its first run, and --dry ends with totals."""

import json

import pytest
import sweep
import toy
import yaml
from records import run_of

import train
from scripts.lib import methods
from scripts.lib.queries import backbones_of, missing
from softcpt.evaluation.records import write_record
from softcpt.executors import arrays_of
from softcpt.executors.slurm import MOST_IN_ARRAY
from softcpt.sweeps import Method, jobs, plan
from softcpt.sweeps.calls import steps_of
from softcpt.sweeps.totals import totals

ROOT = train.PROJECT_ROOT


@pytest.fixture
def at_home(monkeypatch):
    monkeypatch.chdir(ROOT)  # where `missing`, which has a process of its own in a sweep, goes


def test_each_missing_data_set_is_named_with_its_command_and_each_file_of_weights(tmp_path, at_home):
    (tmp_path / "oxford_pets").mkdir()
    lines = missing(["oxford_pets", "fgvc", "folder"], str(tmp_path), ["RN50", "nowhere/x.pt", str(toy.GOLDEN)])
    get = f"Get it: python scripts/data.py download {{}} --root {tmp_path}"
    pets = f"OxfordPets: in {tmp_path}/oxford_pets there is no split file, and of the raw files no "
    assert lines[0].startswith(pets) and lines[0].endswith(get.format("OxfordPets"))
    food = f"Food101: no folder {tmp_path}/food-101 (DATASET.ROOT is {tmp_path}). {get.format('Food101')}"
    assert food in lines and len([line for line in lines if line.startswith("OxfordPets")]) == 1, (
        "once, not per benchmark"
    )
    assert sum("data.py download" in line for line in lines) == 5
    assert lines[-2].startswith("MODEL.BACKBONE.NAME: no file nowhere/x.pt") and str(toy.GOLDEN) in lines[-1]
    assert not [line for line in lines if "RN50" in line], "a published name is downloaded by the run"


def test_only_the_selected_tasks_are_needed(tmp_path, monkeypatch, at_home):
    monkeypatch.setattr(jobs, "DATASETS", tmp_path)
    (tmp_path / "some.yaml").write_text("DATASET: {NAME: FGVC, TASKS: [Food101]}")
    assert [line.split(":")[0] for line in missing(["some"], str(tmp_path), [])] == ["Food101"]


def test_backbones_come_from_settings_or_the_config():
    own = {"MODEL.BACKBONE.NAME": "ViT-B/16"}
    methods = [Method("a", "CoOp"), Method("b", "CoOp", opts=own), Method("c", "SoftCPT", settings=own)]
    assert backbones_of(plan(methods, "rs8", [1], [1, 2])) == ["RN50", "ViT-B/16"]


def test_sweep_fails_once_before_its_first_run(tmp_path, capsys):
    rows = [{"label": name, "trainer": "CoOp", "variant": name} for name in ("one", "two")]
    (tmp_path / "s.yaml").write_text(yaml.safe_dump({"methods": rows}))
    arguments = [str(tmp_path / "s.yaml"), *"--benchmark demo oxford_pets --config tiny --shots 1 --seeds 1".split()]
    arguments += ["--data", str(tmp_path / "data"), "--out", str(tmp_path / "out")]
    assert sweep.main(arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith(
        "error: no run was started, because data or weights are missing:\n  DemoShape: DATASET.ROOT: no folder"
    )
    assert error.count("OxfordPets: DATASET.ROOT: no folder") == 1 and not (tmp_path / "out").exists()
    assert sweep.main([*arguments, "--dry"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("python train.py ") for line in lines) == 4
    assert lines[4] == "# 4 runs, 0 done, 4 to start" and lines[5].startswith(
        "# missing: DemoShape: DATASET.ROOT: no folder"
    )
    assert lines[-1] == "# time left: no finished run to estimate from"


def test_methods_script_names_what_is_missing(tmp_path, capsys, monkeypatch, at_home):
    monkeypatch.setenv("DATA", str(tmp_path))
    monkeypatch.setenv("OUT", str(tmp_path / "out"))
    assert methods.main(["coop", "oxford_pets", "1", "MODEL.BACKBONE.NAME", "x.pt"]) == 1
    error = capsys.readouterr().err
    assert "OxfordPets: no folder" in error and "MODEL.BACKBONE.NAME: no file x.pt" in error
    assert not (tmp_path / "out").exists()


def planned(tmp_path):
    methods = [Method("joint", "CoOp"), Method("alone", "CoOp", variant="shared", separate=True)]
    jobs = plan(methods, "demo", [1, 4], [1, 2])
    return [step for job in jobs for step in steps_of(job, "data", str(tmp_path), lambda _: "ab")]


def test_time_left_is_estimated_from_finished_runs_of_the_same_kind(tmp_path):
    steps = planned(tmp_path)
    assert len(steps) == 12
    left = [step for step in steps if str(step) != "joint, 4 shots, seed 1"]
    for step in set(steps) - set(left):
        step.folder.mkdir(parents=True)
        own = run_of("CoOp", "", 4, 1, 50.0, train_seconds=300.0, test_seconds=20.0)
        write_record(step.folder / "results.json", own)
    assert totals(steps, left, []) == [
        "12 runs, 1 done, 11 to start",
        "time left: about 5.3 min of training and testing, one run after the other, for 1 run; no finished run to "
        "estimate from for the other 10",
    ]
    part = next(step for step in left if str(step) == "alone, 1 shot, seed 1, task a")
    part.folder.mkdir(parents=True)
    write_record(part.folder / "results.json", run_of("CoOp", "", 1, 1, 50.0, train_seconds=None, test_seconds=10.0))
    left.remove(part)
    assert "about 5.8 min" in totals(steps, left, [])[1], "320 s and three tasks of 10 s"
    (part.folder / "results.json").write_text(json.dumps({"schema": 7}))
    assert "about 5.3 min" in totals(steps, left, [])[1], "a record that cannot be read is no estimate"
    assert totals(left[:1], [], []) == ["1 run, 0 done, 0 to start, 1 left to others or not asked for"]


def test_job_arrays_are_shown_with_their_options():
    assert arrays_of(3, {"time": 60, "gpus": 1}, 2) == ["a job array of 3, 2 at a time: time 60, gpus 1"]
    sizes = [int(line.split(",")[0].rsplit(" ", 1)[1]) for line in arrays_of(2 * MOST_IN_ARRAY + 5, {})]
    assert sizes == [MOST_IN_ARRAY, MOST_IN_ARRAY, 5] and arrays_of(0, {}) == []
