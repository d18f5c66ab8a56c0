"""The config of a run: what counts when it is resumed, what an evaluation takes from it, and what a call forgets."""

import json
import shutil

import pytest
import toy
import yaml
from dassl.engine import TrainerX

import train

OPTS = ("DATASET.NUM_SHOTS", 2, "OPTIM.MAX_EPOCH", 1)


def values_in(run):
    return json.loads((run / "results.json").read_text())["tasks"]


def words_for(root, out, method, *opts, without=()):
    """The arguments of toy.py without some of their pairs."""
    words = toy.arguments(root, out, method, *opts)
    for key in without:
        i = words.index(key)
        del words[i : i + 2]
    return words


def change_config(run, **sections):
    """Set {SECTION: {KEY: value}} in the saved config of a run; None removes."""
    path = run / "config.yaml"
    saved = yaml.safe_load(path.read_text())
    for section, own in sections.items():
        for key, value in own.items():
            saved[section].pop(key, None)
            saved[section].update({} if value is None else {key: value})
    path.write_text(yaml.safe_dump(saved))
    (run / "data.json").unlink()  # it has a digest of the config


# -- which keys count --------------------------------------------------------------------------------------------------


@pytest.fixture
def copy_of(finished_run, toy_root, tmp_path):
    """A function of a method: a copy of its finished run, to be tested again, and the arguments that made it."""

    def copy(method, *opts):
        shutil.copytree(finished_run(method, *opts), tmp_path / "run")
        pairs = ("OPTIM.MAX_EPOCH", 1, "DATASET.NUM_SHOTS", 2, "TRAINER.PLOT.THRESH", 0.0, *opts)
        return tmp_path / "run", [*toy.arguments(toy_root, tmp_path / "run", method, *pairs)]

    return copy


def test_other_trainers_do_not_count(copy_of):
    run, words = copy_of("CoOp")
    change_config(run, TRAINER={"TASKRES": None, "PLOT": {"N": 7}, "MINE": {"A": 1}}, OPTIM={"MAX_STEPS": None})
    assert train.main([*words, "TRAINER.KGCOOP.W", "9.0"]) == 0


@pytest.mark.parametrize(
    "method, pairs",
    [
        ("CoOp", ["OPTIM.ADAM_BETA1", "0.8", "OPTIM.GAMMA", "0.3", "OPTIM.WARMUP_MIN_LR", "0.1"]),
        ("ProtoNet", ["OPTIM.LR", "0.8", "DATALOADER.TRAIN_X.BATCH_SIZE", "3"]),
        ("ZeroshotCLIP", ["OPTIM.NAME", "adam", "DATASET.NUM_SHOTS", "7"]),
        ("CLIPLoRA", ["OPTIM.WARMUP_EPOCH", "-1", "OPTIM.LR_SCHEDULER", "single_step"]),
    ],
)
def test_keys_that_the_method_does_not_read_do_not_count(copy_of, method, pairs, capsys):
    _, words = copy_of(method)
    assert train.main([*words, *pairs]) == 0
    assert "done before" in capsys.readouterr().out


@pytest.mark.parametrize(
    "method, pair",
    [
        ("CoOp", ("OPTIM.LR", "0.8")),
        ("CoOp", ("OPTIM.MOMENTUM", "0.8")),
        ("CoOp", ("TRAINER.COOP.N_CTX", "3")),
        ("ProtoNet", ("DATASET.NUM_SHOTS", "1")),
        ("ZeroshotCLIP", ("INPUT.RESIZE", "squash")),
    ],
)
def test_keys_that_the_method_reads_count(copy_of, method, pair, capsys):
    _, words = copy_of(method)
    assert train.main([*words, *pair]) == 2
    assert f"Differing: {pair[0]} (" in capsys.readouterr().err


def test_key_that_an_older_version_lacks_had_its_default(copy_of, capsys):
    run, words = copy_of("CoOp")
    change_config(run, TRAINER={"TEXT_CHUNK": None}, FEATURES={"TRAIN_VIEWS": None})
    assert train.main(words) == 0
    capsys.readouterr()
    assert train.main([*words, "FEATURES.TRAIN_VIEWS", "2"]) == 2
    assert "Differing: FEATURES.TRAIN_VIEWS (0 there, 2 here)\n" in capsys.readouterr().err


def test_steps_per_shot_are_the_steps_of_the_run(toy_root, tmp_path, capsys):
    words = toy.arguments(toy_root, tmp_path, "CLIPLoRA", "DATASET.NUM_SHOTS", 2, "TRAINER.CLIPLORA.STEPS_PER_SHOT", 2)
    assert train.main(words) == 0 and values_in(tmp_path)
    assert yaml.safe_load((tmp_path / "config.yaml").read_text())["OPTIM"]["MAX_STEPS"] == 4
    assert train.main(words) == 0 and "done before" in capsys.readouterr().out


# -- evaluating a run --------------------------------------------------------------------------------------------------


@pytest.fixture
def front(toy_root, tmp_path):
    """A run of CoOp with the class name in front of the context."""
    run = tmp_path / "front"
    position = ("TRAINER.COOP.CLASS_TOKEN_POSITION", "front", "TRAINER.COOP.N_CTX", 5, "TRAINER.COOP.TSC", True)
    toy.finish(toy.arguments(toy_root, run, "CoOp", *OPTS, *position))
    return run


def test_evaluation_uses_the_runs_own_config(toy_root, tmp_path, front):
    load = ["--eval-only", "--model-dir", str(front)]
    assert train.main([*load, *toy.arguments(toy_root, tmp_path / "same", "CoOp")]) == 0
    assert values_in(tmp_path / "same") == values_in(front)
    assert train.main([*load, "--root", str(toy_root), "--output-dir", str(tmp_path / "alone")]) == 0
    assert values_in(tmp_path / "alone") == values_in(front)
    saved = yaml.safe_load((tmp_path / "alone/config.yaml").read_text())
    assert saved["TRAINER"]["COOP"]["N_CTX"] == 5 and saved["SEED"] == 1 and saved["DATASET"]["NUM_SHOTS"] == 2
    pairs = ["DATALOADER.TEST.BATCH_SIZE", "3", "OPTIM.LR", "0.7", "DATASET.TASKS", "texture recognition"]
    assert train.main([*load, *toy.arguments(toy_root, tmp_path / "part", "CoOp", *pairs)]) == 1  # a context per task
    half = ("DATASET.SUBSAMPLE_CLASSES", "new", "DATALOADER.TEST.BATCH_SIZE", "3", "OPTIM.LR", "0.7")
    assert train.main([*load, *toy.arguments(toy_root, tmp_path / "half", "CoOp", *half)]) == 0


@pytest.mark.parametrize(
    "pair, there",
    [
        (("TRAINER.COOP.CLASS_TOKEN_POSITION", "end"), "'front'"),
        (("TRAINER.COOP.N_CTX", "16"), "5"),
        (("TRAINER.COOP.PREC", "bf16"), "'fp32'"),
        (("MODEL.BACKBONE.NAME", "RN50"), "'/"),
        (("INPUT.RESIZE", "squash"), "'shortest'"),
        (("TRAINER.NAME", "SoftCPT"), "'CoOp'"),
    ],
)
def test_config_that_contradicts_the_evaluated_run_is_refused(toy_root, tmp_path, front, capsys, pair, there):
    words = toy.arguments(toy_root, tmp_path / "new/test", "CoOp", *pair)
    capsys.readouterr()
    assert train.main(["--eval-only", "--model-dir", str(front), *words]) == 2
    error = capsys.readouterr().err
    key, value = pair
    assert f"--model-dir: {front} is tested with its own config" in error and error.count("\n") == 1
    assert f"{key} ({there}" in error and f"there, {value if value.isdigit() else repr(value)} here)" in error
    assert not (tmp_path / "new").exists()


def test_run_without_a_config_is_tested_with_the_given_one(toy_root, tmp_path, front):
    """Such as a checkpoint of CoOp."""
    for name in ("config.yaml", "data.json", "shots.json", "classes.json", "prompt_learner/classes.json"):
        (front / name).unlink()
    own = ("TRAINER.COOP.CLASS_TOKEN_POSITION", "front", "TRAINER.COOP.N_CTX", 5, "TRAINER.COOP.TSC", True)
    words = toy.arguments(toy_root, tmp_path / "test", "CoOp", *OPTS, *own)
    assert train.main(["--eval-only", "--model-dir", str(front), *words]) == 0
    assert values_in(tmp_path / "test") == values_in(front)


# -- --resume ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def half_done(toy_root, tmp_path, monkeypatch):
    """A run of CoOp that was interrupted after the first of two epochs."""
    words = toy.arguments(toy_root, tmp_path / "half", "CoOp", *OPTS[:2], "TRAIN.CHECKPOINT_FREQ", 1)
    run_epoch = TrainerX.run_epoch

    def killed(self):
        if self.epoch == 1:
            raise KeyboardInterrupt
        run_epoch(self)

    with monkeypatch.context() as patch, toy.as_a_process(), pytest.raises(KeyboardInterrupt):
        patch.setattr(TrainerX, "run_epoch", killed)
        train.main(words)
    return tmp_path / "half"


@pytest.mark.parametrize(
    "pair",
    [
        ("OPTIM.MAX_EPOCH", "9"),
        ("OPTIM.LR", "0.5"),
        ("DATASET.NUM_SHOTS", "1"),
        ("MODEL.BACKBONE.NAME", "RN50"),
        ("SEED", "4"),
    ],
)
def test_resume_into_another_folder_compares_the_config(toy_root, tmp_path, half_done, capsys, pair):
    words = words_for(toy_root, tmp_path / "other", "CoOp", *OPTS[:2], *pair, without=["--seed"] * (pair[0] == "SEED"))
    words += [] if pair[0] == "SEED" else ["SEED", "1"]
    capsys.readouterr()
    assert train.main(["--resume", str(half_done), *words]) == 2
    assert f"{half_done} holds a run with another config" in (error := capsys.readouterr().err) and pair[0] in error
    assert not (tmp_path / "other").exists()


def test_resume_into_another_folder_ends_as_in_place(toy_root, tmp_path, half_done):
    words = toy.arguments(toy_root, tmp_path / "other", "CoOp", *OPTS[:2])
    assert train.main(["--resume", str(half_done), *words]) == 0
    assert train.main(toy.arguments(toy_root, half_done, "CoOp", *OPTS[:2])) == 0
    assert values_in(tmp_path / "other") == values_in(half_done)


def test_resume_of_a_run_on_other_images_is_refused(toy_root, tmp_path, half_done, capsys):
    shutil.copytree(toy_root, tmp_path / "data")
    for path in (tmp_path / "data").glob("toy/texture/images/train-*"):
        path.write_bytes(path.read_bytes() + b"0")
    words = toy.arguments(tmp_path / "data", tmp_path / "other", "CoOp", *OPTS[:2])
    assert train.main(["--resume", str(half_done), *words]) == 1
    error = capsys.readouterr().err
    assert (
        f"--resume: {half_done} is a run on other data: task 'texture recognition', training images: of another"
        in error
    )
    assert not (tmp_path / "other").exists()


# -- what cannot start -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "flag, folder, message",
    [
        ("--resume", "nowhere", "--resume (RESUME): no folder nowhere"),
        ("--resume", ".", "--resume (RESUME): . holds no checkpoint"),
        ("--model-dir", "nowhere", "--model-dir: no folder nowhere"),
        ("--model-dir", "run/config.yaml", "--model-dir: run/config.yaml is a file; name the run folder"),
        ("--model-dir", "run/prompt_learner", "is the folder of a run's checkpoints; name the run, run"),
        ("--model-dir", "once", "is a run that was trained once per task; name one of once/tasks/a"),
    ],
)
def test_folder_that_is_no_run_is_named_at_once(toy_root, tmp_path, capsys, monkeypatch, flag, folder, message):
    monkeypatch.chdir(tmp_path)
    for name in ("run/config.yaml", "run/prompt_learner/checkpoint", "once/tasks/a/config.yaml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    words = [flag, folder, *(["--eval-only"] if flag == "--model-dir" else []), *toy.arguments(toy_root, "new", "CoOp")]
    assert train.main(words) == 2
    out, error = capsys.readouterr()
    assert message in error and error.count("\n") == 1 and not out and not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "without, message",
    [
        ("--trainer", "TRAINER.NAME is empty: --trainer names a method; known are CLIPLoRA, CoCoOp, CoOp"),
        ("DATASET.NAME", "DATASET.NAME is empty: --dataset-config-file names a data set, such as"),
        ("MODEL.BACKBONE.NAME", "MODEL.BACKBONE.NAME is empty: --config-file names a method's settings, such as"),
    ],
)
def test_what_a_call_forgets_is_named(toy_root, tmp_path, capsys, without, message):
    assert train.main(words_for(toy_root, tmp_path / "run", "CoOp", without=[without])) == 2
    out, error = capsys.readouterr()
    assert error.startswith(f"error: {message}") and error.count("\n") == 1 and not out


def test_run_that_cannot_start_prints_no_config(toy_root, tmp_path, capsys):
    assert train.main(toy.arguments(toy_root, tmp_path / "run", "CoOp", "DATASET.TASKS", "birds")) == 1
    out, error = capsys.readouterr()
    assert "no task 'birds'" in error and "DATALOADER" not in out and len(out.splitlines()) < 5
