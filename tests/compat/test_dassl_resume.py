"""Killed runs of a toy method resume exactly to the bit, or raise a clear error."""

import os

import pytest
import torch
from dassl_toy import EPOCHS, Killed, Toy, build, weights


def run_killed_then_resumed(cfg, kill_epoch, monkeypatch):
    """Train until the second batch of `kill_epoch`, then again in the same folder with another seed."""
    with monkeypatch.context() as patch:
        patch.setattr(Toy, "kill_epoch", kill_epoch)
        with pytest.raises(Killed):
            build(cfg).train()
    resumed = build(cfg, seed=99)
    resumed.train()
    return resumed


@pytest.mark.parametrize(
    ("kill_epoch", "keys"),
    [
        (1, ["DATALOADER.NUM_WORKERS", 2, "OPTIM.MAX_EPOCH", 2, "TEST.NO_TEST", True]),
        (1, []),  # in the first epoch after the warm-up
        (3, ["OPTIM.NAME", "adam"]),
        (2, ["DATALOADER.TRAIN_X.SAMPLER", "RandomDomainSampler"]),
        (2, ["TEST.FINAL_MODEL", "best_val", "OPTIM.LR_SCHEDULER", "single_step", "OPTIM.STEPSIZE", (1,)]),
        (2, ["TEST.FINAL_MODEL", "best_val", "TRAIN.CHECKPOINT_FREQ", 0]),  # resumes from the best model
    ],
)
def test_resumed_run_is_bitwise_identical(cfg, tmp_path, monkeypatch, kill_epoch, keys):
    cfg.merge_from_list(keys)
    whole = build(cfg)
    whole.train()
    cfg.OUTPUT_DIR = str(tmp_path / "killed")
    resumed = run_killed_then_resumed(cfg, kill_epoch, monkeypatch)
    assert 0 < resumed.start_epoch <= kill_epoch
    assert resumed.rates == whole.rates[resumed.start_epoch :]
    assert torch.equal(weights(resumed), weights(whole))
    assert resumed.best_result == whole.best_result
    assert resumed.scaler.state_dict() == whole.scaler.state_dict()


def test_run_killed_in_its_first_epoch_starts_over(cfg, monkeypatch, capsys):
    resumed = run_killed_then_resumed(cfg, 0, monkeypatch)
    assert resumed.start_epoch == 0 and len(resumed.rates) == EPOCHS
    assert "No checkpoint found, train from scratch" in capsys.readouterr().out


def test_resuming_from_a_lost_file_is_an_error(cfg):
    build(cfg).train()
    os.remove(os.path.join(cfg.OUTPUT_DIR, "toy", "model.pth.tar-4"))
    with pytest.raises(FileNotFoundError, match="model.pth.tar-4"):
        build(cfg).train()


def test_two_models_resume_from_their_last_common_epoch(cfg, monkeypatch):
    monkeypatch.setattr(Toy, "names", ("toy", "other"))
    whole = build(cfg)
    whole.train()
    for name in ("model.pth.tar-4", "checkpoint"):  # killed after the first model's checkpoint of epoch 4
        os.remove(os.path.join(cfg.OUTPUT_DIR, "other", name))
    with open(os.path.join(cfg.OUTPUT_DIR, "other", "checkpoint"), "w") as file:
        file.write("model.pth.tar-3\n")
    resumed = build(cfg, seed=9)
    resumed.train()
    assert resumed.start_epoch == 3 and torch.equal(weights(resumed), weights(whole))


def test_run_resumes_from_another_folder(cfg, tmp_path):
    cfg.OPTIM.MAX_EPOCH = 2
    build(cfg).train()
    cfg.OPTIM.MAX_EPOCH, cfg.RESUME, cfg.OUTPUT_DIR = 3, cfg.OUTPUT_DIR, str(tmp_path / "longer")
    trainer = build(cfg)
    trainer.train()
    assert trainer.start_epoch == 2 and os.path.isfile(tmp_path / "longer" / "toy" / "model.pth.tar-3")
