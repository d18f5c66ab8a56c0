"""A second device in CPU memory: what a GPU asks of the placement of tensors, on a machine that has none.

PyTorch lets Python provide one more type of device. Here it is "second". Its tensors wrap CPU tensors, so its values
are a CPU's to the bit. It refuses what a GPU refuses: operations on tensors of two devices, NumPy arrays of its
tensors, random generators of the CPU. It records where the host waits for it: reads of values, and copies to it.

    with second_device.used():             # trainers and classifiers are on it
        train.main([...])

What it cannot show: kernels that only one device has, numbers of CUDA's kernels, gradient scaling, several GPUs, NCCL,
pinned memory, memory, speed.
"""

from __future__ import annotations

import contextlib
import functools
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import second_autocast
import torch
from torch.utils._pytree import tree_map

ROOT = Path(__file__).resolve().parents[2]
AVAILABLE = tuple(map(int, torch.__version__.split(".")[:2])) >= (2, 8)
NEEDS = pytest.mark.skipif(not AVAILABLE, reason="Python can provide a device from PyTorch 2.8 on")
NAME = "second"

# Operations after which CUDA's kernels wait until the host knows a value or a size.
READS = {
    f"aten::{name}"
    for name in (
        "_local_scalar_dense", "is_nonzero", "equal", "nonzero", "masked_select", "_unique2", "unique_dim",
        "unique_consecutive", "bincount", "_linalg_check_errors",
    )
}  # fmt: skip
COPIES = {"aten::_to_copy", "aten::copy_", "aten::_copy_from"}
INDEXED = {f"aten::{name}" for name in ("index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index")}
# Beside pointwise operations: those that take numbers as CPU tensors without dimensions.
TAKES_NUMBERS = {"aten::fill_", "aten::masked_fill", "aten::masked_fill_", "aten::index_fill", "aten::index_fill_"}
class Wait(NamedTuple):
    """The host waited for the device: `kind` is "read" or "copy" (to the device)."""

    kind: str
    operation: str
    place: str  # file:line in this project, "" below no file of it


_recorders: list[list[Wait]] = []


@contextlib.contextmanager
def waits() -> Iterator[list[Wait]]:
    """A list to which every wait within this context is added."""
    found: list[Wait] = []
    _recorders.append(found)
    try:
        yield found
    finally:
        _recorders.remove(found)


def _note(kind: str, operation: str) -> None:
    if _recorders:
        wait = Wait(kind, operation.removeprefix("aten::"), _place())
        for recorder in _recorders:
            recorder.append(wait)


@functools.cache
def _own(file: str) -> str:
    """The path of a file of this project below its root, "" for others."""
    path = Path(file)
    inside = path.is_absolute() and path.is_relative_to(ROOT) and "site-packages" not in path.parts
    return path.relative_to(ROOT).as_posix() if inside and path != Path(__file__).resolve() else ""


def _place() -> str:
    frame = sys._getframe(1)
    while frame is not None:
        own = _own(frame.f_code.co_filename)
        if own:
            return f"{own}:{frame.f_lineno}"
        frame = frame.f_back
    return ""


class Second(torch.Tensor):
    """A tensor on the device; `raw` has its values."""

    raw: torch.Tensor

    @staticmethod
    def __new__(cls, raw: torch.Tensor) -> Second:
        layout = {"strides": raw.stride(), "storage_offset": raw.storage_offset(), "dtype": raw.dtype}
        tensor = torch.Tensor._make_wrapper_subclass(cls, raw.size(), device=DEVICE, **layout)
        tensor.raw = raw
        return tensor

    def __init__(self, raw: torch.Tensor) -> None:
        pass

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return run(func, args, kwargs or {})

    # What PyTorch does in C++, without an operation.

    def tolist(self) -> Any:
        _note("read", "tolist")
        return self.raw.tolist()

    def numpy(self, *, force: bool = False) -> Any:
        if not force:
            raise TypeError(f"can't convert {self.device} device type tensor to numpy. Use Tensor.cpu() first.")
        return self.cpu().numpy()

    def __repr__(self, **kwargs: Any) -> str:
        _note("read", "repr")
        return repr(self.raw).replace("tensor(", f"{NAME}(", 1)

    def __format__(self, spec: str) -> str:
        return format(self.item() if self.dim() == 0 else repr(self), spec)

    def __reduce_ex__(self, protocol: int) -> Any:
        """Saved as a tensor of the CPU. A GPU's would be loaded to the GPU if the reader named no other device."""
        _note("read", "save")
        return self.raw.detach().clone().__reduce_ex__(protocol)

    @property
    def data(self) -> torch.Tensor:
        return torch.Tensor.data.__get__(self)

    @data.setter
    def data(self, value: torch.Tensor) -> None:
        torch.Tensor.data.__set__(self, value)
        self.raw = value.raw


def is_second(value: Any) -> bool:
    return isinstance(value, Second) or (isinstance(value, torch.device) and value.type == NAME)


def run(func: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
    """An operation on wrapped tensors, by the CPU's kernel on what they wrap."""
    name, schema = func._schema.name, func._schema
    target = None if kwargs.get("device") is None else torch.device(kwargs["device"]).type
    flat = list(_leaves((*args, *kwargs.values())))
    _check_placement(func, name, args, flat)
    _note_waits(name, args, kwargs, flat, target)
    here = target == NAME or (target is None and any(map(is_second, flat)))
    out = func(*tree_map(_unwrapped, args), **tree_map(_unwrapped, kwargs))
    wrapped = tree_map(_wrapped, out) if here else out
    if not schema.is_mutable:
        return wrapped
    given = {a.name: value for a, value in zip(schema.arguments, args)} | kwargs
    named = [a.name for a in schema.arguments if a.alias_info and a.alias_info.is_write]
    written = [given[name] for name in named if name in given]
    for value in written:
        if isinstance(value, Second) and value.size() != value.raw.size():  # an `out` that was empty
            value.data = Second(value.raw)
    kept = iter(written)
    values = wrapped if isinstance(wrapped, tuple) else (wrapped,)
    results = [
        next(kept) if r.alias_info and r.alias_info.is_write else value for r, value in zip(schema.returns, values)
    ]
    return results[0] if len(results) == 1 else tuple(results)


def _leaves(values: Any) -> Iterator[Any]:
    for value in values:
        if isinstance(value, (list, tuple)):
            yield from _leaves(value)
        else:
            yield value


def _unwrapped(value: Any) -> Any:
    if isinstance(value, Second):
        return value.raw
    return torch.device("cpu") if is_second(value) else value


def _wrapped(value: Any) -> Any:
    return Second(value) if type(value) is torch.Tensor else value


def _check_placement(func: Any, name: str, args: tuple, flat: list[Any]) -> None:
    """Raise RuntimeError for what a GPU refuses. As on a GPU, numbers may be tensors without dimensions of the CPU
    where an operation works on each element, and so may indices of a tensor on the device."""
    for value in flat:
        if isinstance(value, torch.Generator):
            raise RuntimeError(f"Expected a '{NAME}' device type for generator but found '{value.device.type}'")
    ours = [value for value in flat if isinstance(value, Second)]
    if not ours or name in COPIES:
        return
    writes = func._schema.is_mutable and isinstance(args[0], torch.Tensor) if args else False
    if name in INDEXED:
        flat = [args[0], *args[2:3]]
    number = torch.Tag.pointwise in func.tags or name in TAKES_NUMBERS or name in INDEXED
    for i, value in enumerate(flat):
        foreign = isinstance(value, torch.Tensor) and not isinstance(value, Second)
        if foreign and (value.dim() or not number or (i == 0 and (writes or name in INDEXED))):
            raise RuntimeError(
                f"Expected all tensors to be on the same device, but found at least two devices, cpu and {NAME}:0 "
                f"({name}, a tensor of shape {tuple(value.shape)} on the CPU)"
            )


def _note_waits(name: str, args: tuple, kwargs: dict[str, Any], flat: list[Any], target: str | None) -> None:
    ours = any(isinstance(value, Second) for value in flat)
    if name in COPIES:
        to = target or ("second" if isinstance(args[0], Second) else "cpu")
        source = args[1] if name == "aten::copy_" else args[0]
        if not isinstance(source, Second) and to == NAME:
            _note("copy", name)
        elif isinstance(source, Second) and to != NAME:
            _note("read", name)
    elif ours and (name in READS or (name == "aten::repeat_interleave" and kwargs.get("output_size") is None)):
        _note("read", name)
    elif ours and name in INDEXED:
        indices = [index for index in args[1] if isinstance(index, torch.Tensor)]
        fills = len(args) > 2 and args[2].numel() == 1  # a masked fill, whose size does not matter
        if any(index.dtype in (torch.bool, torch.uint8) for index in indices) and not fills:
            _note("read", f"{name} by a mask")
        for index in indices:
            if not isinstance(index, Second):
                _note("copy", f"{name} by indices on the CPU")


class _Module:
    """What stands in for `torch.cuda`."""

    def is_available(self) -> bool:
        return True

    is_initialized = is_available

    def current_device(self) -> int:
        return 0

    def device_count(self) -> int:
        return 1

    def _is_in_bad_fork(self) -> bool:
        return False

    def manual_seed_all(self, seed: int) -> None:
        """Its random numbers are the CPU's."""

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.float16, torch.bfloat16]


_kept: list[Any] = []  # a library that nothing refers to is unloaded

# What C++ calls below Python, for instance to make a tensor of a list.


def _empty_strided(size, stride, *, dtype=None, layout=None, device=None, pin_memory=None):
    return Second(torch.empty_strided(size, stride, dtype=dtype))


def _empty(size, *, dtype=None, layout=None, device=None, pin_memory=None, memory_format=None):
    return Second(torch.empty(size, dtype=dtype))


def _copy_from(source, target, non_blocking=False):
    _note("read" if isinstance(source, Second) else "copy", "copy")
    _unwrapped(target).copy_(_unwrapped(source))
    return target


@contextlib.contextmanager
def used() -> Iterator[torch.device]:
    """Within this context every trainer is on the device. (Classifiers are told theirs.)"""
    from trainers import PromptTrainer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PromptTrainer, "device", property(lambda self: DEVICE, lambda self, chosen: None), raising=False)
        yield DEVICE


def _register() -> None:
    """Make the device known, when this module is imported: PyTorch counts devices in a process's first backward pass."""
    from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

    _setup_privateuseone_for_python_backend(NAME, backend_module=_Module())
    library = torch.library.Library("aten", "IMPL")
    library.impl("empty_strided", _empty_strided, "PrivateUse1")
    library.impl("empty.memory_format", _empty, "PrivateUse1")
    library.impl("_copy_from", _copy_from, "PrivateUse1")
    _kept.append(library)
    _kept.extend(second_autocast.rules(NAME))


if AVAILABLE:
    _register()
    DEVICE = torch.device(NAME, 0)
