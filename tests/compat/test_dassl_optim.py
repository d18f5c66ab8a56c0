"""Learning rates against closed forms, and optimisers by name."""

import math

import pytest
import torch
from dassl.config import get_cfg_default
from dassl.optim import build_lr_scheduler, build_optimizer
from torch import nn

LR = 0.002
EPOCHS = 50


def optim_cfg(**keys):
    cfg = get_cfg_default().OPTIM
    cfg.NAME, cfg.LR, cfg.MAX_EPOCH = "sgd", LR, EPOCHS
    for key, value in keys.items():
        cfg[key] = value
    return cfg


def rates(cfg, epochs=EPOCHS):
    optimizer = build_optimizer(nn.Linear(2, 2), cfg)
    scheduler = build_lr_scheduler(optimizer, cfg)
    sequence = []
    for _ in range(epochs):
        sequence.append(optimizer.param_groups[0]["lr"])
        assert scheduler.get_last_lr() == [sequence[-1]]
        optimizer.step()
        scheduler.step()
    return sequence


def cosine(epoch):
    return LR * (1 + math.cos(math.pi * epoch / EPOCHS)) / 2


def single_step(epoch, step=20, gamma=0.1):
    return LR * gamma ** (epoch // step)


SCHEDULES = {"cosine": (cosine, {}), "single_step": (single_step, {"STEPSIZE": (20,)})}


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedulers_follow_their_closed_forms(name):
    closed_form, keys = SCHEDULES[name]
    assert rates(optim_cfg(LR_SCHEDULER=name, **keys)) == pytest.approx([closed_form(e) for e in range(EPOCHS)])


def test_single_step_of_minus_one_never_comes():
    assert rates(optim_cfg(LR_SCHEDULER="single_step", STEPSIZE=(-1,))) == [LR] * EPOCHS


@pytest.mark.parametrize("warmup", [1, 3])
@pytest.mark.parametrize("kind", ["constant", "linear"])
@pytest.mark.parametrize("name", SCHEDULES)
def test_schedule_starts_after_the_warmup(name, kind, warmup):
    closed_form, keys = SCHEDULES[name]
    cfg = optim_cfg(LR_SCHEDULER=name, WARMUP_EPOCH=warmup, WARMUP_TYPE=kind, **keys)
    line = [1e-5] + [1e-5 if kind == "constant" else LR * epoch / warmup for epoch in range(1, warmup)]
    expected = line + [closed_form(epoch - warmup) for epoch in range(warmup, EPOCHS)]
    assert rates(cfg) == pytest.approx(expected)


def test_linear_warmup_starts_at_its_minimum():
    cfg = optim_cfg(LR_SCHEDULER="cosine", WARMUP_EPOCH=4, WARMUP_TYPE="linear", WARMUP_MIN_LR=3e-4)
    assert rates(cfg, 5) == pytest.approx([3e-4, LR / 4, LR / 2, 3 * LR / 4, LR])


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("stop", [0, 1, 2, 3, 30])
def test_restored_schedule_drives_the_live_optimiser(name, stop):
    keys = {"LR_SCHEDULER": name, "WARMUP_EPOCH": 2, "WARMUP_TYPE": "constant", **SCHEDULES[name][1]}
    cfg = optim_cfg(**keys)
    optimizer = build_optimizer(nn.Linear(2, 2), cfg)
    scheduler = build_lr_scheduler(optimizer, cfg)
    for _ in range(stop):
        optimizer.step()
        scheduler.step()
    live = build_optimizer(nn.Linear(2, 2), cfg)
    restored = build_lr_scheduler(live, cfg)
    restored.load_state_dict(scheduler.state_dict())
    live.load_state_dict(optimizer.state_dict())
    sequence = []
    for _ in range(EPOCHS - stop):
        sequence.append(live.param_groups[0]["lr"])
        live.step()
        restored.step()
    assert sequence == rates(cfg)[stop:]


EXPECTED = {
    "sgd": (torch.optim.SGD, {"momentum": 0.9, "weight_decay": 5e-4}),
    "adam": (torch.optim.Adam, {"amsgrad": False, "betas": (0.9, 0.999)}),
    "adamw": (torch.optim.AdamW, {"weight_decay": 5e-4}),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_optimisers_by_name(name):
    kind, settings = EXPECTED[name]
    optimizer = build_optimizer(nn.Linear(2, 2), optim_cfg(NAME=name))
    assert type(optimizer) is kind
    group = optimizer.param_groups[0]
    assert group["lr"] == LR and {key: group[key] for key in settings} == settings


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"NAME": "sdg"}, "OPTIM.NAME.*'sdg'.*nearest: 'sgd'"),
        ({"LR_SCHEDULER": "cosin"}, "OPTIM.LR_SCHEDULER.*'cosin'.*nearest: 'cosine'"),
        ({"WARMUP_EPOCH": 1, "WARMUP_TYPE": "const"}, "OPTIM.WARMUP_TYPE.*'const'.*nearest: 'constant'"),
    ],
)
def test_unknown_name_suggests_the_nearest(keys, message):
    cfg = optim_cfg(**keys)
    with pytest.raises(ValueError, match=message):
        build_lr_scheduler(build_optimizer(nn.Linear(2, 2), cfg), cfg)
