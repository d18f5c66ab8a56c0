"""Copies to a device do not make the host wait where they need not."""

import pytest
import second_device
import torch

from softcpt.backbones.precision import to_device


@second_device.NEEDS
def test_values_arrive_on_the_device():
    there = to_device(torch.arange(3), second_device.DEVICE)
    assert there.device == second_device.DEVICE and there.tolist() == [0, 1, 2]
    assert to_device(there, second_device.DEVICE) is there


@pytest.mark.parametrize("device, calls", [("cuda", ["pin_memory", "to(non_blocking=True)"]), ("cpu", ["to()"])])
def test_memory_is_pinned_for_cuda_alone(monkeypatch, device, calls):
    made = []

    def to(self, device, **kwargs):
        made.append(f"to({', '.join(f'{key}={value}' for key, value in kwargs.items())})")

    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: made.append("pin_memory") or self)
    monkeypatch.setattr(torch.Tensor, "to", to)
    to_device(torch.zeros(2), torch.device(device))
    assert made == calls
