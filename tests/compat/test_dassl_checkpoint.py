"""Checkpoint files: atomic, safe to load, and errors that name file, key and shapes."""

import os
import resource

import numpy as np
import pytest
import second_device
import torch
from dassl.config import get_cfg_default
from dassl.optim import build_lr_scheduler, build_optimizer
from dassl.utils import (
    load_checkpoint,
    load_pretrained_weights,
    resume_from_checkpoint,
    save_checkpoint,
)
from torch import nn


def checkpoint_state(model, epoch=3, **extra):
    return {"state_dict": model.state_dict(), "epoch": epoch, "optimizer": None, "scheduler": None, **extra}


def test_checkpoint_holds_plain_values(tmp_path):
    model = nn.DataParallel(nn.Linear(2, 3))
    save_checkpoint(checkpoint_state(model, val_result=np.float64(1.5)), str(tmp_path))
    assert set(os.listdir(tmp_path)) == {"model.pth.tar-3", "checkpoint"}  # and no temporary file
    assert (tmp_path / "checkpoint").read_text() == "model.pth.tar-3\n"
    saved = torch.load(tmp_path / "model.pth.tar-3", weights_only=True)
    assert set(saved["state_dict"]) == {"weight", "bias"} and type(saved["val_result"]) is float
    other = nn.Linear(2, 3)
    assert resume_from_checkpoint(str(tmp_path), other) == 3
    assert torch.equal(other.weight, model.module.weight)


def test_checkpoint_refuses_objects(tmp_path):
    model = nn.Linear(2, 3)
    save_checkpoint(checkpoint_state(model), str(tmp_path))
    with pytest.raises(TypeError, match=r"checkpoint\['scheduler'\]\['function'\]"):
        save_checkpoint({**checkpoint_state(model), "scheduler": {"function": print}}, str(tmp_path))
    assert set(os.listdir(tmp_path)) == {"model.pth.tar-3", "checkpoint"}


def test_full_disk_error_keeps_the_last_checkpoint(tmp_path):
    save_checkpoint(checkpoint_state(nn.Linear(2, 3)), str(tmp_path))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(OSError, match=r"tar-4 cannot be written \([\d,]+ bytes\): File too large"):
            save_checkpoint(checkpoint_state(nn.Linear(200, 300), epoch=4), str(tmp_path))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert set(os.listdir(tmp_path)) == {"model.pth.tar-3", "checkpoint"}
    assert load_checkpoint(str(tmp_path / "model.pth.tar-3"))["epoch"] == 3


def test_mismatched_checkpoints_are_errors(tmp_path):
    save_checkpoint(checkpoint_state(nn.Linear(2, 3)), str(tmp_path))
    path = str(tmp_path / "model.pth.tar-3")
    with pytest.raises(ValueError, match=r'tar-3": "weight" has shape \(3, 2\) in the file and \(3, 5\)'):
        resume_from_checkpoint(str(tmp_path), nn.Linear(5, 3))
    with pytest.raises(ValueError, match="tar-3.*another method.*missing keys.*'0.bias'"):
        resume_from_checkpoint(str(tmp_path), nn.Sequential(nn.Linear(2, 3)))
    with pytest.raises(FileNotFoundError, match="tar-9"):
        load_checkpoint(path[:-1] + "9")
    with open(path, "r+b") as file:
        file.truncate(300)
    with pytest.raises(ValueError, match="Cannot read the checkpoint.*tar-3"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    "key, value, message",
    [("NAME", "sgd", "another optimiser than SGD"), ("WARMUP_EPOCH", 1, "OPTIM.WARMUP_EPOCH")],
)
def test_another_optimiser_or_warmup_is_refused(tmp_path, key, value, message):
    model, optim_cfg = nn.Linear(2, 3), get_cfg_default().OPTIM
    optimizer = build_optimizer(model, optim_cfg)
    state = {"optimizer": optimizer.state_dict(), "scheduler": build_lr_scheduler(optimizer, optim_cfg).state_dict()}
    save_checkpoint({**checkpoint_state(model), **state}, str(tmp_path))
    optim_cfg[key] = value
    live = build_optimizer(model, optim_cfg)
    with pytest.raises(ValueError, match=f"tar-3.*{message}"):
        resume_from_checkpoint(str(tmp_path), model, live, build_lr_scheduler(live, optim_cfg))


def test_view_is_saved_without_its_base(tmp_path):
    save_checkpoint({"state_dict": {"context": torch.zeros(1000, 1000)[:2]}, "epoch": 1}, str(tmp_path))
    assert os.path.getsize(tmp_path / "model.pth.tar-1") < 20_000


class Harmful:
    def __reduce__(self):
        return os.mkdir, ("harmed",)


def test_loading_executes_no_code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": {}, "epoch": 1, "scheduler": Harmful()}, "bad.pth")
    with pytest.raises(ValueError, match="bad.pth.*more than tensors and plain values"):
        load_checkpoint("bad.pth")
    assert not os.path.exists("harmed")


@pytest.mark.parametrize("pickled", [None, torch.optim.lr_scheduler.CosineAnnealingLR])
def test_checkpoint_of_a_gpu_is_read_without_one(tmp_path, monkeypatch, pickled):
    """Upstream Dassl saves tensors as those of the GPU, and a pickled scheduler beside them."""
    state = {**checkpoint_state(nn.Linear(2, 3)), "scheduler": pickled}
    with monkeypatch.context() as patch:
        patch.setattr(torch.serialization, "location_tag", lambda storage: "cuda:0")
        torch.save(state, tmp_path / "model.pth.tar-3")
    with pytest.raises(RuntimeError, match="on a CUDA device"):
        torch.load(tmp_path / "model.pth.tar-3", weights_only=False)
    saved = load_checkpoint(str(tmp_path / "model.pth.tar-3"))
    assert torch.equal(saved["state_dict"]["weight"], state["state_dict"]["weight"])
    assert (saved["epoch"], saved["scheduler"]) == (3, None)


@second_device.NEEDS
def test_tensors_are_saved_as_those_of_the_cpu(tmp_path, monkeypatch):
    model = nn.Linear(2, 3).to(second_device.DEVICE)
    seen = []
    monkeypatch.setattr(torch, "save", lambda state, file: seen.append(state))
    save_checkpoint(checkpoint_state(model), str(tmp_path))
    assert {value.device.type for value in seen[0]["state_dict"].values()} == {"cpu"}


@pytest.mark.parametrize("scheduler", ["cosine", "single_step"])
def test_upstream_checkpoint_with_a_pickled_scheduler_resumes(tmp_path, scheduler):
    optim_cfg = get_cfg_default().OPTIM
    optim_cfg.NAME, optim_cfg.LR_SCHEDULER, optim_cfg.STEPSIZE = "sgd", scheduler, (3,)
    optim_cfg.WARMUP_EPOCH, optim_cfg.WARMUP_TYPE = 2, "constant"

    def build():
        model = nn.Linear(2, 1)
        optimizer = build_optimizer(model, optim_cfg)
        return model, optimizer, build_lr_scheduler(optimizer, optim_cfg)

    model, optimizer, schedule = build()
    for _ in range(5):
        model(torch.ones(1, 2)).sum().backward()
        optimizer.step()
        schedule.step()
    pickled = {key: value for key, value in vars(schedule).items() if key != "optimizer"}  # upstream's state_dict()
    state = {**checkpoint_state(model, 5), "optimizer": optimizer.state_dict(), "scheduler": pickled}
    torch.save(state, tmp_path / "model.pth.tar-5")
    (tmp_path / "checkpoint").write_text("model.pth.tar-5\n")

    other, live, resumed = build()
    assert resume_from_checkpoint(str(tmp_path), other, live, resumed) == 5
    assert torch.equal(other.weight, model.weight)
    for _ in range(4):
        assert live.param_groups[0]["lr"] == pytest.approx(optimizer.param_groups[0]["lr"])
        for step in (optimizer.step, schedule.step, live.step, resumed.step):
            step()


def test_partial_loading_skips_mismatched_weights(tmp_path, caplog):
    saved, model = nn.ModuleDict({"a": nn.Linear(2, 2), "b": nn.Linear(2, 2)}), nn.ModuleDict({"a": nn.Linear(2, 2)})
    model["b"] = nn.Linear(5, 5)
    torch.save({"state_dict": saved.state_dict()}, tmp_path / "weights.pth")
    load_pretrained_weights(model, str(tmp_path / "weights.pth"))
    assert torch.equal(model["a"].weight, saved["a"].weight)
    load_pretrained_weights(nn.Conv2d(1, 1, 1), str(tmp_path / "weights.pth"))
    assert "No weight of" in caplog.text


def test_torchscript_program_is_refused(tmp_path):
    """PyTorch before 2.6 hands it to its loader of programs, also with weights_only."""
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), tmp_path / "model.pth.tar-1")
    with pytest.raises(ValueError, match="model.pth.tar-1.*it holds a TorchScript program"):
        load_checkpoint(str(tmp_path / "model.pth.tar-1"))
