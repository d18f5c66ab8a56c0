"""Values that the host knows are not read back from the device, and the host does not wait for copies to it."""

import host_waits
import second_device
import torch

from softcpt.placement import distinct, on_host, to_device

DEVICE = second_device.DEVICE if second_device.AVAILABLE else None


def reads(function):
    with host_waits.recorded() as waits:
        value = function()
    return value.tolist(), len(waits)


@second_device.NEEDS
def test_what_was_copied_is_known_until_it_changes():
    there = to_device(torch.arange(3), DEVICE)
    assert there.device == DEVICE and to_device(there, DEVICE) is there
    assert reads(lambda: on_host(there)) == ([0, 1, 2], 0)
    there[0] = 7
    assert reads(lambda: on_host(there)) == ([7, 1, 2], 1)


@second_device.NEEDS
def test_what_is_computed_there_is_read_once():
    there = to_device(torch.arange(3), DEVICE) * 2
    assert reads(lambda: on_host(there)) == ([0, 2, 4], 1)
    assert reads(lambda: on_host(there)) == ([0, 2, 4], 0)


@second_device.NEEDS
def test_tensors_of_the_inference_mode_are_read():
    with torch.inference_mode():
        assert on_host(to_device(torch.arange(3), DEVICE)).tolist() == [0, 1, 2]


@second_device.NEEDS
def test_distinct_numbers_are_found_on_the_host():
    there = to_device(torch.tensor([5, 2, 5]), DEVICE)
    with host_waits.recorded() as waits:
        numbers, index = distinct(there, DEVICE)
    assert not waits and numbers.device == index.device == DEVICE
    assert on_host(numbers).tolist() == [2, 5] and on_host(index).tolist() == [1, 0, 1]


def test_a_tensor_of_the_cpu_stays_what_it_is():
    here = torch.arange(3)
    assert to_device(here, torch.device("cpu")) is here and on_host(here) is here


def test_memory_is_pinned_for_cuda(monkeypatch):
    made = []

    def to(self, device, non_blocking):
        made.append(f"to {device.type}, non_blocking={non_blocking}")
        return self

    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: made.append("pin") or self)
    monkeypatch.setattr(torch.Tensor, "to", to)
    to_device(torch.zeros(2), torch.device("cuda"))
    assert made == ["pin", "to cuda, non_blocking=True"]
