"""The legal values of the config keys: every key has a rule, and an illegal value is one error before all else."""

import math

import pytest
import toy
import yaml
from dassl.engine import TRAINER_REGISTRY
from methods import CLASSES, METHODS

import train
from trainers.base import PromptTrainer
from trainers.engine.checks import SWITCH, TEMPLATE, Range, check_value, rule_of
from trainers.engine.config import build_cfg, default_cfg, read_files
from trainers.engine.legal import REGISTRIES, RULES
from trainers.engine.settings import flatten

CONFIGS = train.PROJECT_ROOT / "configs"


def cfg_of(*arguments):
    return train.setup_cfg(train.parse_args([str(argument) for argument in arguments]))


def test_every_key_has_a_rule_that_its_default_satisfies():
    keys, elsewhere = flatten(default_cfg()), {*REGISTRIES, "DATASET.NUM_SHOTS"}
    of_methods = {f"TRAINER.{name.upper()}.{key}" for name in METHODS for key in ("PREC", *CLASSES[name].defaults)}
    assert set(RULES) | elsewhere | of_methods <= set(keys)
    rules = {key: rule_of(key, RULES, keys[key]) for key in keys.keys() - of_methods - elsewhere}
    for name in METHODS:
        defaults, legal = CLASSES[name].defaults, CLASSES[name].legal
        assert set(legal) <= set(defaults), name
        rules |= {f"TRAINER.{name.upper()}.{key}": rule_of(key, legal, value) for key, value in defaults.items()}
    assert sorted(key for key, rule in rules.items() if rule is None) == []
    for key, rule in rules.items():
        check_value(key, keys[key], keys[key], rule)


@pytest.mark.parametrize(
    "key, value, message",
    [
        ("TEST.FINAL_MODEL", "best", r"'best' is not legal; one of last_step, best_val \(did you mean 'best_val'\?\)"),
        ("TEST.SPLIT", "train", "'train' is not legal; one of test, val"),
        ("OPTIM.NAME", "AdamW", r"'AdamW' is not legal; one of sgd, adam, adamw \(did you mean 'adamw'\?\)"),
        ("OPTIM.NAME", "SGD", r".*\(did you mean 'sgd'\?\)"),
        ("OPTIM.LR", -1, "-1.0 is not above 0"),
        ("OPTIM.LR", 0, "0.0 is not above 0"),
        ("OPTIM.LR", math.nan, "nan is not a finite number, above 0"),
        ("OPTIM.LR", math.inf, "inf is not a finite number, above 0"),
        ("OPTIM.LR", None, "LR has no value"),
        ("OPTIM.MAX_EPOCH", 0, "0 is not at least 1"),
        ("OPTIM.MAX_EPOCH", -1, "-1 is not at least 1"),
        ("OPTIM.MAX_EPOCH", 10**40, ".* is not a whole number, at least 1 and at most 1,000,000,000"),
        ("OPTIM.MAX_STEPS", -1, r"-1 is not at least 0 and at most 1,000,000,000 \(0: OPTIM.MAX_EPOCH epochs\)"),
        ("OPTIM.WARMUP_EPOCH", 3, "3 is more than the 2 epochs of the run"),
        ("OPTIM.WARMUP_EPOCH", -2, "-2 is not at least -1"),
        ("OPTIM.WARMUP_TYPE", "cosine", "'cosine' is not legal; one of linear, constant"),
        ("OPTIM.WARMUP_CONS_LR", -1e-5, "-1e-05 is not at least 0"),
        ("OPTIM.WEIGHT_DECAY", -1e-5, "-1e-05 is not at least 0"),
        ("OPTIM.MOMENTUM", 1.0, r"1.0 is not in \[0, 1\)"),
        ("OPTIM.ADAM_BETA2", 1.0, r"1.0 is not in \[0, 1\)"),
        ("OPTIM.GAMMA", 0.0, r"0.0 is not in \(0, 1\]"),
        ("OPTIM.STEPSIZE", [], r"\(\) is not a list of epochs"),
        ("OPTIM.STEPSIZE", ["a"], "'a'.* is not a list of epochs"),
        ("OPTIM.SGD_NESTEROV", True, "True needs OPTIM.MOMENTUM above 0 and OPTIM.SGD_DAMPNING 0"),
        ("OPTIM.STAGED_LR", True, "True, but nothing here reads this key"),
        ("OPTIM.WARMUP_RECOUNT", False, "False, but nothing here reads this key"),
        ("DATALOADER.K_TRANSFORMS", 2, "2, but nothing here reads this key"),
        (
            "DATALOADER.NUM_WORKERS",
            10**6,
            r"1000000 is not at least -1 and at most 256 \(-1: one per processor, 8 at most\)",
        ),
        ("DATALOADER.NUM_WORKERS", -3, "-3 is not at least -1"),
        ("DATALOADER.TRAIN_X.BATCH_SIZE", 0, "0 is not at least 1"),
        ("DATALOADER.TEST.BATCH_SIZE", -1, "-1 is not at least 1"),
        ("DATALOADER.TEST.SAMPLER", "RandomSampler", "'RandomSampler' is not legal; one of SequentialSampler"),
        ("DATASET.NUM_SHOTS", 0, r"0 is not -1 \(all images\) or at least 1"),
        ("DATASET.NUM_SHOTS", -5, r"-5 is not -1 \(all images\) or at least 1"),
        ("DATASET.NAME", "ToyTask", r".*\(did you mean 'ToyTasks'\?\)"),
        ("DATASET.SUBSAMPLE_CLASSES", "old", "'old' is not legal; one of all, base, new"),
        ("DATASET.SOURCE_DOMAINS", [1], r".* is not a list of names"),
        ("INPUT.RRCROP_SCALE", [0.6], r".*0.6.* is not two shares of the area"),
        ("INPUT.RRCROP_SCALE", [0, 0, 0], "is not two shares of the area"),
        ("INPUT.RRCROP_SCALE", [0.9, 0.5], "is not two shares of the area"),
        ("INPUT.TRANSFORMS", ["normalise"], "is not a list among random_resized_crop"),
        ("INPUT.INTERPOLATION", "cubic", r".*\(did you mean 'bicubic'\?\)"),
        ("INPUT.PIXEL_STD", [0, 0, 0], "is not three numbers above 0, or empty"),
        ("INPUT.SIZE", [32], "is not a height and a width in pixels"),
        ("INPUT.NO_TRANSFORM", True, "True is not possible: the methods take tensors"),
        ("TRAIN.PRINT_FREQ", 0, "0 is not at least 1"),
        ("TRAIN.CHECKPOINT_FREQ", -2, "-2 is not at least -1"),
        ("TRAIN.KEEP_CHECKPOINTS", -1, r"-1 is not at least 0 and at most 1,000,000,000 \(0: all of them\)"),
        ("FEATURES.TRAIN_VIEWS", -1, "-1 is not at least 0"),
        ("TRAINER.TEXT_CHUNK", 0, "0 is not at least 1"),
        ("TRAINER.COOP.N_CTX", 0, "0 is not at least 1 and at most 512"),
        ("TRAINER.COOP.N_CTX", -1, "-1 is not at least 1"),
        ("TRAINER.COOP.CTX_INIT", "a\0b", r"'a\\x00b' is not text"),
        ("TRAINER.CLIPLORA.STEPS_PER_SHOT", -1, "-1 is not at least 0"),
        ("TRAINER.PROLIP.EPS", math.inf, "inf is not a finite number, above 0"),
        ("TRAINER.TIPADAPTERF.EPS", math.nan, "nan is not a finite number, above 0"),
        ("SEED", -4, "-4 is not at least -1"),
        ("SEED", 2**32, "4294967296 is not at least -1"),
    ],
)
def test_illegal_value_is_one_error_before_anything_is_read(tmp_path, capsys, key, value, message):
    config = {}
    node = config
    for part in key.split(".")[:-1]:
        node = node.setdefault(part, {})
    node[key.split(".")[-1]] = value
    (tmp_path / "odd.yaml").write_text(yaml.safe_dump(config))
    parts = key.split(".")
    method = next((n for n in METHODS if len(parts) > 2 and n.upper() == parts[1]), "CoOp")
    # No such data set is on disk, and none is looked for.
    more = {"OPTIM.MAX_EPOCH": 2, "OPTIM.NAME": "sgd", "OPTIM.MOMENTUM": 0.0, "DATASET.NUM_SHOTS": 4}
    pairs = [item for pair in more.items() if pair[0] != key for item in pair]
    arguments = ["--trainer", method, "--output-dir", tmp_path / "run", "--config-file", tmp_path / "odd.yaml", *pairs]
    assert train.main([str(word) for word in arguments]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and not (tmp_path / "run").exists()
    with pytest.raises(ValueError, match=message):
        cfg_of(*arguments)
    assert key.split(".")[-1] in error


@pytest.mark.parametrize(
    "pairs",
    [
        ("OPTIM.WARMUP_EPOCH", -1),
        ("OPTIM.WARMUP_EPOCH", 10),
        ("OPTIM.STEPSIZE", (-1,)),
        ("DATALOADER.NUM_WORKERS", -1),
        ("TRAIN.CHECKPOINT_FREQ", 0),
        ("DATASET.NUM_SHOTS", -1),
        ("SEED", -1),
        ("OPTIM.SGD_NESTEROV", True),
        ("INPUT.SIZE", (224, 224), "INPUT.PIXEL_MEAN", [0, 0.5, 1]),
    ],
)
def test_dassls_conventions_are_legal(pairs):
    cfg_of("--trainer", "CoOp", *pairs)


@pytest.mark.parametrize("seed", [-5, 2**32])
def test_seed_of_the_flag_is_checked(seed):
    with pytest.raises(ValueError, match=f"SEED: {seed} is not at least -1"):
        cfg_of("--seed", seed)


def test_config_of_dassl_itself_is_accepted(tmp_path):
    """As upstream saves it: ignored keys, with the values that do what they say."""
    text = "OPTIM:\n  STAGED_LR: false\n  WARMUP_RECOUNT: true\nDATALOADER:\n  K_TRANSFORMS: 1\n  RETURN_IMG0: false\n"
    (tmp_path / "dassl.yaml").write_text(text)
    cfg_of("--trainer", "CoOp", "--config-file", tmp_path / "dassl.yaml")


@pytest.mark.parametrize("name", METHODS)
def test_methods_number_of_shots(name):
    """A method without shots takes any number, which its scripts write as 0; others -1 or at least 1."""
    cfg_of("--trainer", name, "DATASET.NUM_SHOTS", -1)
    if CLASSES[name].uses_shots:
        with pytest.raises(ValueError, match="DATASET.NUM_SHOTS: 0 is not -1"):
            cfg_of("--trainer", name, "DATASET.NUM_SHOTS", 0)
    else:
        assert cfg_of("--trainer", name, "DATASET.NUM_SHOTS", 0).DATASET.NUM_SHOTS == 0


def test_all_configs_are_legal():
    """Each file of configs/, alone or as a sweep's trainer would be given it."""
    paths = sorted(path for path in CONFIGS.rglob("*.yaml") if not {"sweeps", "recipes.yaml"} & {*path.parts})
    assert len(paths) > 150
    for path in paths:
        method = path.parent.name if path.parent.parent.name == "trainers" else "SoftCPT"
        flag = "--dataset-config-file" if path.parent.name == "datasets" else "--config-file"
        cfg_of("--trainer", method, flag, path, "DATASET.NUM_SHOTS", 4)


class Unruly(PromptTrainer):
    defaults = {"HARD": 1, "LIST": [], "NOTHING": None, "NODE": {"A": 1}}


def test_method_without_rules_has_only_the_types_of_its_defaults(monkeypatch):
    monkeypatch.setitem(TRAINER_REGISTRY._objects, "Unruly", Unruly)
    cfg_of("--trainer", "Unruly", "TRAINER.UNRULY.HARD", -7, "TRAINER.UNRULY.NODE.A", 3)
    with pytest.raises(ValueError, match="TRAINER.UNRULY.PREC: 'fp8' is not legal"):
        cfg_of("--trainer", "Unruly", "TRAINER.UNRULY.PREC", "fp8")
    with pytest.raises(ValueError, match=r"TRAINER.UNRULY.LIST: .* is not a list, each text or a number"):
        cfg_of("--trainer", "Unruly", "TRAINER.UNRULY.LIST", "[None]")


def test_switches_and_templates_have_rules_by_themselves():
    assert rule_of("A", {}, True) is SWITCH and rule_of("A.TEMPLATE", {}, "") is TEMPLATE
    assert rule_of("A", {}, 1) is None and isinstance(rule_of("A", {"A": TEMPLATE}, 1), Range)


def test_warm_up_longer_than_the_steps_is_an_error(toy_root, tmp_path, capsys):
    opts = ("OPTIM.MAX_STEPS", 4, "OPTIM.WARMUP_EPOCH", 2)  # of 5 batches an epoch
    assert train.main(toy.arguments(toy_root, tmp_path / "run", "CoOp", *opts)) == 1
    error = capsys.readouterr().err
    assert "OPTIM.WARMUP_EPOCH: 2 is more than the 1 epochs of the run (OPTIM.MAX_STEPS 4)" in error


def test_values_of_a_finished_run_that_older_versions_took_do_not_stop_its_predictions(tmp_path):
    values = {"OPTIM.MAX_EPOCH": 0, "OPTIM.WARMUP_EPOCH": 5, "TRAIN.PRINT_FREQ": 0, "DATASET.NUM_SHOTS": -5}
    values |= {"TEST.FINAL_MODEL": "best", "INPUT.RRCROP_SCALE": [0.6], "TRAINER.NAME": "CoOp"}
    saved = {}
    for key, value in values.items():
        section, name = key.split(".")
        saved.setdefault(section, {})[name] = value
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(saved), encoding="utf-8")
    arguments = ["--config-file", str(path)]
    loaded = flatten(build_cfg(read_files(path), {}, loaded=tmp_path))
    assert {
        key: list(loaded[key]) if isinstance(value, list) else loaded[key] for key, value in values.items()
    } == values
    evaluation = cfg_of("--eval-only", "--model-dir", tmp_path)
    assert (evaluation.OPTIM.MAX_EPOCH, evaluation.DATASET.NUM_SHOTS) == (0, -5)
    for key, value in (("TRAIN.PRINT_FREQ", "-3"), ("TRAINER.COOP.N_CTX", "-1")):  # of the call itself
        with pytest.raises(ValueError, match=key):
            build_cfg(read_files(path), {key: value}, loaded=tmp_path)
    with pytest.raises(ValueError, match="is not"):
        cfg_of(*arguments)  # a new run
