"""Values that the host and a device both need, without one waiting for the other."""

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

# {tensor on a device: (its values on the CPU, its version)}. Labels and tasks are known before they are copied.
_known = WeakTensorKeyDictionary()


def on_cpu(value: Tensor) -> bool:
    """Whether a tensor takes the path that suits a CPU, where the two differ."""
    return value.device.type == "cpu"


def to_device(value: Tensor, device: torch.device) -> Tensor:
    """A tensor on a device. The host does not wait for the copy, which a GPU makes from pinned memory; `on_host` then
    gives the values without reading them back."""
    if value.device == device:
        return value
    pinned = value.pin_memory() if device.type == "cuda" and on_cpu(value) else value
    copy = pinned.to(device, non_blocking=True)
    if on_cpu(value) and copy is not value and not copy.is_inference():  # those have no version
        _known[copy] = value, copy._version
    return copy


def on_host(value: Tensor) -> Tensor:
    """A tensor on the CPU: what `to_device` copied. Any other is read from the device once, as long as it is not
    changed there."""
    if on_cpu(value):
        return value
    if value.is_inference():
        return value.cpu()
    source, version = _known.get(value, (None, None))
    if source is None or version != value._version:
        source = value.cpu()
        _known[value] = source, value._version
    return source


def distinct(value: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
    """On a device, the sorted distinct numbers of a tensor, and the index among them of each; found on the host."""
    numbers, index = on_host(value).unique(return_inverse=True)
    return to_device(numbers, device), to_device(index, device)
