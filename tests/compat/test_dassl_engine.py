"""The trainer's loop on a toy method: verbs, log lines, checkpoints, deployment."""

import os
import re
import sys

import pytest
import torch
from dassl.engine.trainer_base import TrainerBase
from dassl.evaluation import EVALUATOR_REGISTRY, EvaluatorBase
from dassl_toy import EPOCHS, build, weights
from torch import nn


def test_verbs_log_lines_and_files_of_a_run(cfg, capsys):
    trainer = build(cfg)
    trainer.train()
    assert trainer.verbs == ["before_epoch", "after_epoch"] * EPOCHS
    printed = capsys.readouterr().out
    line = (
        r"epoch \[2/4\] batch \[3/3\] time \d+\.\d{3} \(\d+\.\d{3}\) data \d+\.\d{3} \(\d+\.\d{3}\) "
        r"loss \d+\.\d{4} \(\d+\.\d{4}\) acc \d+\.\d{4} \(\d+\.\d{4}\) lr \d\.\d{4}e-\d\d eta \d+:\d\d:\d\d"
    )
    assert re.search(line, printed)
    order = ["Finish training", "Deploy the last-epoch model", "Evaluate on the *test* set", "=> result"]
    positions = [printed.index(text) for text in (*order, "* accuracy: ", "Elapsed: 0:")]
    assert positions == sorted(positions)
    folder = os.path.join(cfg.OUTPUT_DIR, "toy")
    names = {f"model.pth.tar-{epoch}" for epoch in range(1, EPOCHS + 1)}
    assert set(os.listdir(folder)) == names | {"checkpoint"}
    saved = torch.load(os.path.join(folder, "model.pth.tar-4"), weights_only=True)
    assert saved["epoch"] == 4 and {"state_dict", "optimizer", "scheduler", "val_result", "trainer"} <= set(saved)
    assert os.listdir(os.path.join(cfg.OUTPUT_DIR, "tensorboard"))


def test_last_epoch_is_saved_by_default_and_loads_without_a_val_result(cfg, capsys):
    cfg.TRAIN.CHECKPOINT_FREQ = 0
    trained = build(cfg)
    trained.train()
    assert set(os.listdir(os.path.join(cfg.OUTPUT_DIR, "toy"))) == {"model.pth.tar-4", "checkpoint"}
    loaded = build(cfg, seed=2)
    loaded.load_model(cfg.OUTPUT_DIR, epoch=EPOCHS)
    assert torch.equal(weights(trained), weights(loaded)) and loaded.test() == trained.test()
    assert "(epoch=4, val_result=none)" in capsys.readouterr().out
    loaded.load_model("")
    with pytest.raises(FileNotFoundError, match=r"model-best.pth.tar.*there: \['model.pth.tar-4'\]"):
        loaded.load_model(cfg.OUTPUT_DIR)


@EVALUATOR_REGISTRY.register()
class Scripted(EvaluatorBase):
    """Returns given results instead of measuring."""

    results: tuple[float, ...] = ()

    def __init__(self, cfg, **kwargs):
        super().__init__(cfg)
        self.left = list(self.results)

    def reset(self):
        pass

    def process(self, mo, gt):
        pass

    def evaluate(self):
        return {"accuracy": self.left.pop(0) if self.left else 0.0}


def test_best_validation_model_is_deployed(cfg, monkeypatch, capsys):
    monkeypatch.setattr(Scripted, "results", (10.0, 30.0, 20.0, 30.0))
    cfg.TEST.EVALUATOR, cfg.TEST.FINAL_MODEL = "Scripted", "best_val"
    trainer = build(cfg)
    trainer.train()
    printed = capsys.readouterr().out
    assert printed.count("Evaluate on the *val* set") == EPOCHS and printed.count("Evaluate on the *test* set") == 1
    assert "Deploy the model with the best val performance" in printed and "(epoch=2, val_result=30.0)" in printed
    second = torch.load(os.path.join(cfg.OUTPUT_DIR, "toy", "model.pth.tar-2"), weights_only=True)["state_dict"]
    assert torch.equal(trainer.model[2].weight, second["2.weight"])


def test_training_works_without_tensorboard(cfg, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    caplog.set_level("INFO")
    build(cfg).train()
    assert "tensorboard is missing" in caplog.text and not os.path.exists(os.path.join(cfg.OUTPUT_DIR, "tensorboard"))


def test_update_steps_the_registered_models():
    trainer = TrainerBase()
    models = {name: nn.Linear(1, 1, bias=False) for name in "ab"}
    for name, model in models.items():
        trainer.register_model(name, model, torch.optim.SGD(model.parameters(), lr=1.0) if name == "a" else None)
    before = {name: model.weight.item() for name, model in models.items()}
    loss = sum(model(torch.ones(1, 1)).sum() for model in models.values())
    trainer.model_backward_and_update(loss)
    assert models["a"].weight.item() == pytest.approx(before["a"] - 1) and models["b"].weight.item() == before["b"]
    with pytest.raises(FloatingPointError, match="infinite or NaN"):
        trainer.model_backward_and_update(loss * float("nan"))
    trainer.set_model_mode("eval")
    assert trainer.get_model_names() == ["a", "b"] and not models["a"].training and not models["b"].training
    with pytest.raises(ValueError, match="already registered"):
        trainer.register_model("a", models["a"])
    with pytest.raises(ValueError, match="'evl'"):
        trainer.set_model_mode("evl")
