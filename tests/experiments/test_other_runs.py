"""Done means the same data and the same config: for scripts, and for sweeps."""

import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import toy
import yaml
from dassl.data.datasets import build_dataset

import softcpt.evaluation.data
import train
from datasets.base import reading_once
from datasets.multitask import images_by_task
from scripts.lib import methods
from scripts.lib.queries import other_runs
from scripts.lib.sweep_arguments import parse_args
from scripts.lib.sweep_runs import Sweep
from scripts.lib.train_run import TrainRun
from softcpt.sweeps.calls import state_of, status_report
from softcpt.sweeps.jobs import benchmark_folder, benchmark_of
from softcpt.sweeps.methods import pair_label
from trainers.engine import config

METHODS = [
    {"label": "zero", "trainer": "ZeroshotCLIP", "shots": False},
    {"label": "means", "trainer": "ProtoNet"},
    {"label": "alone", "trainer": "ProtoNet", "variant": "alone", "separate": True},
]
IMAGE = "data/warm things/one/4.png"  # a test image


@pytest.fixture
def sweep(tmp_path, monkeypatch):
    """A function of further flags: the sweep of METHODS on two tasks of drawn pictures, planned in this process."""
    toy.draw_folders(tmp_path / "data")
    (tmp_path / "s.yaml").write_text(yaml.safe_dump({"methods": METHODS}))
    monkeypatch.chdir(train.PROJECT_ROOT)

    def plan(*flags):
        places = ["--data", str(tmp_path / "data"), "--out", str(tmp_path / "out")]
        words = "--benchmark folder --config tiny --shots 1 --seeds 1".split()
        return Sweep(parse_args([str(tmp_path / "s.yaml"), *words, *places, *flags]), lambda f, *args: f(*args))

    return plan


def run_all(sweep):
    for step in sweep.steps:
        toy.finish(step.arguments)
    sweep.merge_all()


def test_finished_runs_are_done_only_on_their_data(sweep, tmp_path, capsys):
    run_all(sweep())
    again = sweep()
    assert [str(step) for step in again.steps] == [
        "means, 1 shot, seed 1",
        "alone, 1 shot, seed 1",
        "zero",
    ]
    assert all(step.done for step in again.steps) and not again.to_do() and not again.refused()
    (tmp_path / IMAGE).unlink()
    changed = sweep()
    assert not any(step.done for step in changed.steps) and not changed.to_do()
    assert [line.partition(": ")[0] for line in changed.refused()] == [str(step) for step in again.steps]
    assert all("is a run on other data" in line and "'warm things'" in line for line in changed.refused())
    assert state_of(changed.steps[0])[0] == "failed" and "other data" in status_report(changed.steps)
    shutil.rmtree(tmp_path / "data")
    capsys.readouterr()
    assert not sweep().refused() and "so only their configs are compared" in capsys.readouterr().err


def test_finished_runs_are_done_only_with_their_config(sweep, tmp_path):
    run_all(sweep("--only", "method=means"))
    own = {**METHODS[1], "settings": {"INPUT.RESIZE": "squash"}}
    (tmp_path / "s.yaml").write_text(yaml.safe_dump({"methods": [own]}))
    (line,) = sweep().refused()
    assert "another config" in line and "INPUT.RESIZE" in line and "'squash' here" in line


def test_merged_run_follows_its_tasks(sweep, tmp_path):
    run_all(sweep("--only", "method=alone"))
    shutil.copytree(tmp_path / "data/warm things", tmp_path / "data/new things")
    (line,) = sweep("--only", "method=alone").refused()
    assert "was merged from other tasks. It has: 'cold things', 'warm things'. Now: 'cold things', 'new things'" in line
    shutil.rmtree(tmp_path / "data/new things")
    again = sweep("--only", "method=alone")
    record = again.steps[0].folder / "results.json"
    toy.finish([*again.steps[0].parts(["warm things"])[0].arguments, "--test-again"])
    before = record.stat().st_mtime_ns
    newer = sweep("--only", "method=alone")
    assert [step.task for step in newer.steps] == ["cold things", "warm things"]  # a task's record is newer
    newer.merge_all()
    assert record.stat().st_mtime_ns > before and not sweep().steps[1].task


def test_run_that_another_process_finished_is_compared(sweep, tmp_path, capsys):
    step = sweep("--only", "method=zero").steps[0]
    toy.finish(step.arguments)
    assert TrainRun(step.arguments, step.folder)() == 0
    (tmp_path / IMAGE).unlink()
    assert TrainRun(step.arguments, step.folder)() == 1
    assert "is a run on other data" in capsys.readouterr().err


def test_script_is_done_only_with_runs_of_its_data(sweep, tmp_path, capsys, monkeypatch):
    variables = {"DATA": tmp_path / "data", "OUT": tmp_path / "out", "SEEDS": "1 2", "SEPARATE": "1"}
    for name, value in variables.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setattr(methods, "train", lambda words: (toy.finish(words), 0)[1])
    call = ["protonet", "folder", "1", "tiny"]
    assert methods.main(call) == 0
    printed = capsys.readouterr().out
    assert printed.count("merged ") == 2 and printed.count("mean over 2 tasks") == 2
    monkeypatch.setattr(methods, "train", None)  # nothing is to be made
    assert methods.main(call) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.rsplit("/", 1)[1].split()[0] for line in lines] == ["seed1", "seed2"] and "(" in lines[0]
    (tmp_path / IMAGE).unlink()
    assert methods.main(call) == 2
    out, error = capsys.readouterr()
    assert not out and error.count("error: ") == 2 and "'warm things'" in error
    assert error.endswith("Here OUT=FOLDER chooses the --output-dir; a flag named above is added to this command\n")


def test_script_stops_at_a_run_of_other_data(call):
    folders = [call.folder / f"results/demo/CoOp/tiny_1shots/shared/seed{seed}" for seed in (1, 2)]
    for folder in folders:
        call.finish(folder)
    call.other = "is a run on other data"
    status, calls, output = call("scripts/coop/main.sh", "demo", "1", SEEDS="1 2 3")
    assert status == 2 and not calls and "done before" not in output
    assert [step.folder for step in call.compared] == folders and output.count("error: is a run on other data") == 2


@pytest.mark.parametrize("separate", ["0", "1"])
@pytest.mark.parametrize("flag", ["--data-changed", "--test-again"])
def test_script_hands_flags_for_finished_runs_to_train(call, flag, separate):
    plain = call("scripts/coop/main.sh", "demo", "1", SEEDS="1 2", SEPARATE=separate)[1]
    call.other = "is a run on other data"
    for words in ((flag, "demo", "1"), ("demo", "1", flag), ("demo", "1", "tiny", flag, "OPTIM.LR", "0.1")):
        pair = "OPTIM.LR" in words
        status, calls, output = call("scripts/coop/main.sh", *words, SEEDS="1 2", SEPARATE=separate)
        assert status == 0 and "done before" not in output and len(calls) == len(plain) and not call.compared
        assert all(flag in line.split() for line in calls if "train.py" in line)
        assert pair or [line.replace(f" {flag}", "") for line in calls] == plain
    assert all(flag in line for line in call("scripts/base2new.sh", "coop", "demo", "1", flag)[1] if "train.py" in line)


def test_data_sets_that_are_read_once_draw_the_same_shots(toy_root, tmp_path):
    def drawn(seed, half):
        pairs = ("DATASET.NUM_SHOTS", 2, "SEED", seed, "DATASET.SUBSAMPLE_CLASSES", half)
        return images_by_task(build_dataset(toy.config(toy_root, tmp_path, "CoOp", *pairs)))

    settings = [(seed, half) for seed in (1, 2) for half in ("all", "new")]
    expected = [drawn(*own) for own in settings]
    with reading_once(kept := {}):
        assert [drawn(*own) for own in settings] == expected != expected[::-1]
    assert len(kept) == 3


# -- names of folders ------------------------------------------------------------------------------------------------

VALUES = [
    "a photo of a?",
    "a photo of a!",
    "größer",
    "kleiner",
    "猫",
    "犬",
    "(1,)",
    "x" * 41,
    "x" * 42,
    "0.1",
    "a--b c",
    "",
]


def test_no_two_settings_share_a_folder():
    keys = ["TRAIN_X.BATCH_SIZE", "DATALOADER.TRAIN_X.BATCH_SIZE", "DATALOADER.TEST.BATCH_SIZE", "TRAINER.COOP.N_CTX"]
    names = [pair_label("CoOp", key, value) for key in keys for value in VALUES]
    assert len(set(names)) == len(names) and max(map(len, names)) < 100
    assert pair_label("CoOp", "OPTIM.LR", "0.01") == "OPTIM.LR-0.01"
    assert pair_label("SoftCPT", "TRAINER.SOFTCPT.N_CTX", "4") == "N_CTX-4"


@pytest.mark.parametrize("name", ["birds", "my birds (2)", "vögel"])
def test_results_on_own_pictures_are_named_by_their_root(call, tmp_path, name):
    for parent in ("a", "b"):
        (call.folder / parent / name).mkdir(parents=True)
        _, calls, _ = call("scripts/coop/main.sh", "folder", "1", SEEDS="1", DATA=f"{parent}/{name}/")
        place = benchmark_folder("folder", str(call.folder / parent / name))
        assert f"--output-dir {call.folder}/results/{place}/CoOp/" in calls[0] and benchmark_of(place) == "folder"
        assert (
            parse_args(["s.yaml", "--benchmark", "folder", "--data", str(call.folder / parent / name)]).runs.name
            == place
        )
    places = {benchmark_folder("folder", str(call.folder / parent / name)) for parent in ("a", "b")}
    assert len(places) == 2 and benchmark_folder("demo", str(tmp_path)) == "demo"


def test_files_are_read_once_however_many_runs_are_compared(sweep, tmp_path, monkeypatch):
    run_all(sweep())
    read = Counter()

    def counting(module, name):
        inner = getattr(module, name)

        def counted(*args, **kwargs):
            read[Path(str(args[0] if name == "read_schema" else args[-1])).name] += 1
            return inner(*args, **kwargs)

        monkeypatch.setattr(module, name, counted)

    counting(softcpt.evaluation.data, "read_schema")
    counting(config, "merge_file")
    (step,) = [step for step in sweep().steps if step.job.method.label == "means"]
    train.parser.cache_clear()
    for count in (1, 3):
        steps = [step, *(replace(step, out=f"{step.out}{i}") for i in range(1, count))]
        for own in steps[1:]:
            shutil.copytree(step.out, own.out)
        read.clear()
        assert not other_runs(steps)
        assert read == {"data.json": count, "folder.yaml": 1, "tiny.yaml": 1}
    assert train.parser.cache_info().misses == 1
