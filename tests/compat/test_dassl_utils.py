"""Registries, logs, meters, metrics and the evaluator."""

import collections
import os
import sys

import pytest
import torch
from dassl.config import clean_cfg, get_cfg_default
from dassl.evaluation import build_evaluator
from dassl.metrics import compute_accuracy, compute_distance_matrix
from dassl.modeling import HEAD_REGISTRY, build_head
from dassl.utils import (
    AverageMeter,
    MetricMeter,
    Registry,
    check_availability,
    collect_env_info,
    count_num_param,
    init_network_weights,
    listdir_nohidden,
    open_all_layers,
    open_specified_layers,
    read_image,
    read_json,
    setup_logger,
    write_json,
)
from torch import nn


def test_a_registry_registers_once_and_names_the_nearest():
    registry = Registry("ANIMAL")

    @registry.register()
    class Cat:
        pass

    registry.register(Registry)
    assert registry.get("Cat") is Cat and registry.registered_names() == ["Cat", "Registry"] and "Cat" in registry
    with pytest.raises(KeyError, match="already registered in the ANIMAL"):
        registry.register(Cat)
    registry.register(Cat, force=True)
    with pytest.raises(KeyError, match="ANIMAL registry.*nearest: .*Cat"):
        registry.get("Cart")


def test_check_availability():
    check_availability("a", ["a"])
    with pytest.raises(ValueError, match="TRAINER.NAME.*'CoOpp'.*nearest: 'CoOp'"):
        check_availability("CoOpp", ["CoOp", "SoftCPT"], key="TRAINER.NAME")
    with pytest.raises(ValueError, match="nothing is registered"):
        check_availability("resnet50", [], key="MODEL.BACKBONE.NAME")


def test_clean_cfg_keeps_only_one_trainer_and_copies_are_independent():
    cfg = get_cfg_default()
    cfg.OPTIM.LR = 7.0
    clean_cfg(cfg, "Mcd")
    assert set(cfg.TRAINER) == {"NAME", "MCD"}
    assert get_cfg_default().OPTIM.LR == 0.0003 and "DAEL" in get_cfg_default().TRAINER


def test_freezing_and_counting():
    model = nn.ModuleDict({"body": nn.Linear(3, 4), "head": nn.Linear(4, 2)})
    open_specified_layers(model, "head")
    assert [p.requires_grad for p in model.parameters()] == [False, False, True, True]
    assert not model["body"].training and model["head"].training
    open_all_layers(model)
    assert all(p.requires_grad for p in model.parameters())
    assert count_num_param(model) == 26 == count_num_param(params=model.parameters())
    with pytest.raises(ValueError, match="'hed'.*nearest: 'head'"):
        open_specified_layers(model, ["hed"])


@pytest.mark.parametrize("kind", ["normal", "xavier", "kaiming", "orthogonal"])
def test_initialisers_reset_biases_and_norms(kind):
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
    nn.init.constant_(model[1].weight, 3.0)
    init_network_weights(model, init_type=kind)
    assert model[0].bias.eq(0).all() and model[1].weight.eq(1).all() and model[0].weight.std() > 0


def test_an_mlp_head_by_name():
    assert "mlp" in HEAD_REGISTRY
    head = build_head("mlp", in_features=3, hidden_layers=[5, 2], dropout=0.5)
    assert head(torch.ones(4, 3)).shape == (4, 2) and head.out_features == 2


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


def test_what_is_printed_is_also_logged_and_an_old_log_is_kept(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdout", sys.stdout)
    setup_logger(str(tmp_path))
    print("first")
    setup_logger(str(tmp_path))
    print("second")
    sys.stdout.close()
    logs = sorted(tmp_path.iterdir())
    assert [log.read_text() for log in logs] == ["first\n", "second\n"] and logs[0].name == "log.txt"
    assert capsys.readouterr().out == "first\nsecond\n"


def test_meters():
    meter = AverageMeter()
    meter.update(1.0, n=3)
    meter.update(torch.tensor(5.0))
    assert (meter.val, meter.avg, meter.sum, meter.count) == (5.0, 2.0, 8.0, 4)
    meters = MetricMeter()
    meters.update({"loss": 1, "acc": torch.tensor(50.0)})
    meters.update({"loss": 2})
    meters.update(None)
    assert str(meters) == "loss 2.0000 (1.5000) acc 50.0000 (50.0000)"
    with pytest.raises(TypeError, match="dict"):
        meters.update(1.0)


def test_accuracy_and_distances_against_loops():
    torch.manual_seed(0)
    output, target = torch.randn(20, 5), torch.randint(0, 5, (20,))
    for k, value in zip((1, 3), compute_accuracy(output, target, topk=(1, 3))):
        ranked = [sorted(range(5), key=lambda c: -row[c])[:k] for row in output.tolist()]
        hits = sum(label in best for label, best in zip(target.tolist(), ranked))
        assert value.shape == (1,) and value.item() == pytest.approx(100 * hits / 20)
    a, b = torch.randn(3, 4), torch.randn(2, 4)
    euclidean, cosine = compute_distance_matrix(a, b), compute_distance_matrix(a, b, "cosine")
    for i in range(3):
        for j in range(2):
            assert euclidean[i, j].item() == pytest.approx(sum((a[i] - b[j]).pow(2).tolist()), rel=1e-4)
            similarity = torch.cosine_similarity(a[i], b[j], dim=0).item()
            assert cosine[i, j].item() == pytest.approx(1 - similarity, abs=1e-6)
    with pytest.raises(ValueError, match="'cosin'"):
        compute_distance_matrix(a, b, "cosin")


def test_the_evaluator_against_counts_and_its_printed_block(tmp_path, capsys):
    cfg = get_cfg_default()
    cfg.TEST.PER_CLASS_RESULT, cfg.TEST.COMPUTE_CMAT, cfg.OUTPUT_DIR = True, True, str(tmp_path)
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
    assert results["perclass_accuracy"] == pytest.approx(100 * (2 / 3 + 1 / 2 + 1) / 3)
    printed = capsys.readouterr().out
    assert "=> result\n* total: 6\n* correct: 4\n* accuracy: 66.67%\n* error: 33.33%\n" in printed
    assert "* class: 1 (b)\ttotal: 2\tcorrect: 1\tacc: 50.00%" in printed
    matrix = torch.load(tmp_path / "cmat.pt", weights_only=True)
    assert matrix[0].tolist() == pytest.approx([2 / 3, 1 / 3, 0, 0]) and matrix.shape == (4, 4)


def test_an_unknown_evaluator_is_an_error_with_the_key():
    cfg = get_cfg_default()
    cfg.TEST.EVALUATOR = "Clasification"
    with pytest.raises(ValueError, match="TEST.EVALUATOR.*nearest: 'Classification'"):
        build_evaluator(cfg)
