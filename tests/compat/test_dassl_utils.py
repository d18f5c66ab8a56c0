"""Registries, files, logs, the accuracy and the evaluator."""

import collections
import os
import sys

import pytest
import torch
from dassl.config import get_cfg_default
from dassl.data.datasets import build_dataset
from dassl.engine import build_trainer
from dassl.evaluation import build_evaluator
from dassl.metrics import compute_accuracy
from dassl.utils import (
    Registry,
    check_availability,
    collect_env_info,
    listdir_nohidden,
    read_image,
    read_json,
    setup_logger,
    write_json,
)
from yacs.config import CfgNode

from trainers.engine.config import default_cfg
from trainers.engine.same_config import check_same_config


def test_registry_registers_once_and_suggests_the_nearest():
    registry = Registry("ANIMAL")

    @registry.register()
    class Cat:
        pass

    registry.register(Registry)
    assert registry.get("Cat") is Cat and registry.registered_names() == ["Cat", "Registry"]
    with pytest.raises(KeyError, match="already registered in the ANIMAL"):
        registry.register(Cat)
    registry.register(Cat, force=True)
    with pytest.raises(KeyError, match="ANIMAL registry.*nearest: .*Cat"):
        registry.get("Cart")


@pytest.mark.parametrize(
    "key, value, nearest, build",
    [
        ("TRAINER.NAME", "Toi", "Toy", build_trainer),
        ("DATASET.NAME", "ToyImage", "ToyImages", build_dataset),
        ("TEST.EVALUATOR", "Clasification", "Classification", build_evaluator),
    ],
)
def test_unknown_name_suggests_the_nearest(cfg, key, value, nearest, build):
    cfg.merge_from_list([key, value])
    with pytest.raises(ValueError, match=f"{key}.*'{value}'.*nearest: .*'{nearest}'"):
        build(cfg)
    with pytest.raises(ValueError, match="nothing is registered"):
        check_availability(value, [], key=key)


def test_unread_dassl_keys_are_ignored_with_a_warning(caplog):
    cfg = get_cfg_default()
    cfg.merge_from_other_cfg(CfgNode({"OPTIM": {"STAGED_LR": True, "LR": 1.0}, "TRAINER": {"MCD": {"N_STEP_F": 4}}}))
    cfg.merge_from_list(["DATALOADER.K_TRANSFORMS", 2])
    assert cfg.OPTIM.LR == 1.0 and "STAGED_LR" not in cfg.OPTIM and list(cfg.TRAINER) == ["NAME"]
    for key in ("OPTIM.STAGED_LR", "TRAINER.MCD", "DATALOADER.K_TRANSFORMS"):
        assert f"(ignoring): {key}" in caplog.text


def test_config_with_an_old_key_can_be_resumed(tmp_path):
    cfg = default_cfg()
    (tmp_path / "prompt_learner").mkdir()
    (tmp_path / "prompt_learner/checkpoint").touch()
    (tmp_path / "config.yaml").write_text(cfg.dump() + "VERSION: 1\n")
    check_same_config(cfg, tmp_path, {})
    cfg.OPTIM.LR = 1.0
    with pytest.raises(ValueError, match=r"Differing: OPTIM.LR \(0.0003 there, 1.0 here\)$"):
        check_same_config(cfg, tmp_path, {})


def test_files(tmp_path):
    write_json({"a": [1]}, str(tmp_path / "new" / "x.json"))
    with pytest.raises(TypeError, match="not JSON serializable"):
        write_json({"a": print}, str(tmp_path / "new" / "x.json"))
    assert listdir_nohidden(str(tmp_path / "new")) == os.listdir(tmp_path / "new") == ["x.json"]
    assert read_json(str(tmp_path / "new" / "x.json")) == {"a": [1]}
    (tmp_path / ".hidden").touch()
    (tmp_path / "b").touch()
    assert listdir_nohidden(str(tmp_path), sort=True) == ["b", "new"]
    with pytest.raises(ValueError, match="b is not a JSON file"):
        read_json(str(tmp_path / "b"))
    with pytest.raises(OSError, match=r"Cannot decode the image file .*b"):
        read_image(str(tmp_path / "b"))
    with pytest.raises(FileNotFoundError, match="c.png"):
        read_image(str(tmp_path / "c.png"))
    assert "PyTorch" in collect_env_info()


def test_output_is_logged_and_old_logs_are_kept(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdout", sys.stdout)
    setup_logger(str(tmp_path))
    print("first")
    setup_logger(str(tmp_path))
    print("second")
    sys.stdout.close()
    logs = sorted(tmp_path.iterdir())
    assert [log.read_text() for log in logs] == ["first\n", "second\n"] and logs[0].name == "log.txt"
    assert capsys.readouterr().out == "first\nsecond\n"


def test_compute_accuracy_matches_a_loop():
    torch.manual_seed(0)
    output, target = torch.randn(20, 5), torch.randint(0, 5, (20,))
    (value,) = compute_accuracy(output, target)
    hits = sum(max(range(5), key=row.__getitem__) == label for row, label in zip(output.tolist(), target.tolist()))
    assert value.shape == (1,) and value.item() == pytest.approx(100 * hits / 20)


def test_evaluator_matches_counts_by_hand(capsys):
    cfg = get_cfg_default()
    evaluator = build_evaluator(cfg, lab2cname={0: "a", 1: "b", 2: "c", 3: "d"})
    truth, prediction = [0, 0, 0, 1, 1, 3], [0, 0, 1, 1, 2, 3]
    evaluator.process(torch.eye(4)[[2]], torch.tensor([0]))
    evaluator.reset()
    for start in (0, 4):
        part = slice(start, start + 4)
        evaluator.process(torch.eye(4)[prediction[part]], torch.tensor(truth[part]))
    results = evaluator.evaluate()

    pairs = collections.Counter(zip(truth, prediction))
    f1 = []
    for c in (0, 1, 3):
        hits, wrong = pairs[c, c], sum(n for (t, p), n in pairs.items() if (t == c) != (p == c))
        f1.append(2 * hits / (2 * hits + wrong))
    assert next(iter(results)) == "accuracy" and results["accuracy"] == pytest.approx(100 * 4 / 6)
    assert results["error_rate"] == pytest.approx(100 * 2 / 6)
    assert results["macro_f1"] == pytest.approx(100 * sum(f1) / 3)
    printed = capsys.readouterr().out
    assert "=> result\n* total: 6\n* correct: 4\n* accuracy: 66.67%\n* error: 33.33%\n" in printed
