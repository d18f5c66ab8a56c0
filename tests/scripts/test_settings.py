"""Settings: numbers as numbers, pairs and flags in any order, and keys that a method does not read."""

import pytest
import toy
import yaml

import train
from trainers.engine.config import default_cfg
from trainers.engine.settings import flatten, unread_keys


def cfg_of(*arguments):
    return train.setup_cfg(train.parse_args([str(argument) for argument in arguments]))


@pytest.mark.parametrize(
    "text, value", [("1", 1.0), ("1e-3", 0.001), ("2E2", 200.0), ("+.5", 0.5), ("3.", 3.0), ("-1", -1.0)]
)
def test_float_keys_take_any_number(tmp_path, text, value):
    mean, scale = "TRAINER.PROMPTSRC.GPA_MEAN", "TRAINER.TIPADAPTER.SEARCH_SCALE"
    own = f"  PROMPTSRC:\n    GPA_MEAN: {text}\n  TIPADAPTER:\n    SEARCH_SCALE: [{text}, 1]\n"
    (tmp_path / "a.yaml").write_text(f"TRAINER:\n{own}")
    for arguments in ([mean, text, scale, f"({text}, 1)"], ["--config-file", tmp_path / "a.yaml"]):
        cfg = cfg_of(*arguments).TRAINER
        assert cfg.PROMPTSRC.GPA_MEAN == value and type(cfg.PROMPTSRC.GPA_MEAN) is float
        assert list(cfg.TIPADAPTER.SEARCH_SCALE) == [value, 1.0]


@pytest.mark.parametrize("key, value", [("OPTIM.LR", "fast"), ("OPTIM.LR", "True"), ("OPTIM.MAX_EPOCH", "1.5")])
def test_wrong_type_is_refused(tmp_path, key, value):
    section, name = key.split(".")
    (tmp_path / "a.yaml").write_text(f"{section}:\n  {name}: {value}\n")
    with pytest.raises(ValueError, match=rf"{key}: '{value}' does not fit"):
        cfg_of(key, value)
    with pytest.raises(ValueError, match=rf"a\.yaml: .*{key}"):
        cfg_of("--config-file", tmp_path / "a.yaml")


@pytest.mark.parametrize(
    "written, value",
    [
        ("[air, 'cars, 2013']", r"air,cars\, 2013"),
        ("[base]", "base,"),
        ("air", "air"),
        ("'2024'", "2024"),
        ("base", "base"),
    ],
)
def test_tasks_are_texts_or_a_list_in_a_file(tmp_path, written, value):
    (tmp_path / "a.yaml").write_text(f"DATASET:\n  TASKS: {written}\n")
    cfg = cfg_of("--dataset-config-file", tmp_path / "a.yaml")
    assert cfg.DATASET.TASKS == cfg_of("DATASET.TASKS", value).DATASET.TASKS == value
    (tmp_path / "b.yaml").write_text(cfg.dump())  # as the run's config.yaml
    assert cfg_of("--config-file", tmp_path / "b.yaml").DATASET.TASKS == value
    (tmp_path / "a.yaml").write_text("DATASET:\n  TASKS: [yes]\n")
    with pytest.raises(ValueError, match=r"a\.yaml: DATASET.TASKS: \[True\] is no list of names; put each name in"):
        cfg_of("--dataset-config-file", tmp_path / "a.yaml")


@pytest.mark.parametrize("value", ["-1", "-1e-5", "-.5", "(-1,)"])
def test_flags_and_pairs_come_in_any_order(value):
    key = {"-1": "DATASET.NUM_SHOTS", "(-1,)": "OPTIM.STEPSIZE"}.get(value, "TRAINER.PROMPTSRC.GPA_MEAN")
    pairs = [key, value, "DATASET.NAME", "Demo"]
    orders = (
        ["--eval-only", "--seed", "3", *pairs],
        [*pairs[:2], "--eval-only", *pairs[2:], "--seed", "3"],
        [*pairs, "--seed", "3", "--eval-only"],
    )
    parsed = [train.parse_args(order) for order in orders]
    assert all(args.opts == pairs and args.eval_only and args.seed == 3 for args in parsed)
    assert len({train.setup_cfg(args).dump() for args in parsed}) == 1


def test_unknown_flag_after_the_pairs_is_named(capsys):
    with pytest.raises(SystemExit) as stop:
        train.parse_args(["DATASET.NUM_SHOTS", "4", "--evaluate-only"])
    assert stop.value.code == 2 and "--evaluate-only" in capsys.readouterr().err


def test_unread_keys_are_named(toy_root, tmp_path):
    (tmp_path / "mine.yaml").write_text(
        "TRAINER:\n  TASKRES:\n    ALPHA: 1\n    PREC: amp\n  COOP:\n    N_CTX: 4\nOPTIM:\n  MAX_EPOCH: 1\n"
    )
    arguments = toy.arguments(toy_root, tmp_path / "run", "CoOp")
    assert train.main(["--config-file", str(tmp_path / "mine.yaml"), *arguments]) == 0
    log = (tmp_path / "run/log.txt").read_text()
    assert log.count("Warning: TRAINER.TASKRES.ALPHA is set, but CoOp does not read it") == 1
    assert log.count("does not read it") == 1
    saved = tmp_path / "run/config.yaml"
    assert set(yaml.safe_load(saved.read_text())["TRAINER"]) > {"TASKRES", "COOP"}  # all methods' keys, not set by hand
    cfg = cfg_of("--config-file", saved)
    assert unread_keys(cfg, flatten(default_cfg())) == ["TRAINER.TASKRES.ALPHA"]


@pytest.mark.parametrize("place", ["a file", "below a file", "/proc"])
def test_unusable_output_folder_is_a_one_line_error(toy_root, tmp_path, capsys, place):
    (tmp_path / "file").write_text("mine")
    out = {"a file": tmp_path / "file", "below a file": tmp_path / "file/run", "/proc": "/proc/no/run"}[place]
    assert train.main(toy.arguments(toy_root, out, "CoOp")) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: --output-dir: cannot create the folder {out} (") and error.count("\n") == 1
    assert (tmp_path / "file").read_text() == "mine" and len(list(tmp_path.iterdir())) == 1


def test_data_root_that_is_a_file_is_an_error(tmp_path, capsys):
    (tmp_path / "data.zip").write_text("")
    for dataset in ("ToyTasks", "ToySingle", "FolderTasks"):
        arguments = toy.arguments(tmp_path / "data.zip", tmp_path / "run", "CoOp", dataset=dataset)
        assert train.main(arguments) == 1
        assert f"DATASET.ROOT: {tmp_path / 'data.zip'} is a file" in capsys.readouterr().err
