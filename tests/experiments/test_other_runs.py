"""Done means the same data and the same config: for scripts, and for sweeps."""

import io
import shutil
import types
from collections import Counter
from pathlib import Path

import pytest
import toy
import yaml
from dassl.data.datasets import build_dataset

import softcpt.evaluation.data
import train
from datasets.base import reading_once
from datasets.multitask import images_by_task
from scripts.lib import done
from scripts.lib.sweep_runs import Sweep
from scripts.lib.train_run import Call, TrainRun, other_runs
from softcpt.sweeps.arguments import parse_args
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
    toy.finish([*Call(again.steps[0].arguments, True).on_task("warm things", "warm-things"), "--test-again"])
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


def test_script_compares_all_its_seeds_at_once(sweep, tmp_path, capsys, monkeypatch):
    steps = sweep("--only", "method=means").steps + sweep("--only", "method=zero").steps
    for step in steps:
        toy.finish(step.arguments)
    words = [word for step in steps for word in (str(len(step.arguments)), *step.arguments)]

    def status():
        text = "".join(f"{word}\0" for word in words).encode()
        monkeypatch.setattr("sys.stdin", types.SimpleNamespace(buffer=io.BytesIO(text)))
        return done.main([])

    assert status() == 0
    (tmp_path / IMAGE).unlink()
    capsys.readouterr()
    assert status() == 2 and capsys.readouterr().err.count("error: ") == 2


def test_script_stops_at_a_run_of_other_data(call):
    for seed in (1, 2):
        folder = call.folder / f"results/demo/CoOp/tiny_1shots/shared/seed{seed}"
        folder.mkdir(parents=True)
        (folder / "results.json").touch()
    status, calls, output = call("scripts/coop/main.sh", "demo", "1", SEEDS="1 2 3", OTHER="2")
    assert status == 2 and not calls and "done before" not in output
    words = (call.folder / "calls.finished").read_text().split("\0")[:-1]
    assert [call.arguments for call in done.read_calls("\0".join([*words, ""]), False)] == [
        words[1 : int(words[0]) + 1],
        words[int(words[0]) + 2 :],
    ]
    assert words[1] == "--root" and words[int(words[0])] == "shared"


@pytest.mark.parametrize("separate", ["0", "1"])
@pytest.mark.parametrize("flag", ["--data-changed", "--test-again"])
def test_script_hands_flags_for_finished_runs_to_train(call, flag, separate):
    plain = call("scripts/coop/main.sh", "demo", "1", SEEDS="1 2", SEPARATE=separate)[1]
    for words in ((flag, "demo", "1"), ("demo", "1", flag), ("demo", "1", "tiny", flag, "OPTIM.LR", "0.1")):
        pair = "OPTIM.LR" in words
        status, calls, output = call("scripts/coop/main.sh", *words, SEEDS="1 2", SEPARATE=separate, OTHER="2")
        assert status == 0 and "done before" not in output and len(calls) == len(plain)
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


@pytest.mark.parametrize("value", VALUES)
def test_scripts_name_settings_as_sweeps_do(call, value):
    for key in ("OPTIM.LR", "TRAINER.COOP.CTX_INIT", "TRAINER.COCOOP.CTX_INIT"):
        _, calls, _ = call("scripts/coop/main.sh", "demo", "1", key, value, SEEDS="1")
        assert f"tiny_1shots/shared_{pair_label('CoOp', key, value)}/seed1 " in calls[0]


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
        (call.folder / "calls").unlink()
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
        folders = [step.folder.with_name(f"seed{i}") for i in range(1, count + 1)]
        for folder in folders[1:]:
            shutil.copytree(step.folder, folder)
        read.clear()
        words = [[str(folder) if word == str(step.folder) else word for word in step.arguments] for folder in folders]
        assert not other_runs([Call(own) for own in words])
        assert read == {"data.json": count, "folder.yaml": 1, "tiny.yaml": 1}
    assert train.parser.cache_info().misses == 1
