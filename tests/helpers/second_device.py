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
from collections.abc import Iterator
from typing import Any

import host_waits
import pytest
import second_autocast
import torch

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
        host_waits.note("read", "tolist")
        return self.raw.tolist()

    def numpy(self, *, force: bool = False) -> Any:
        if not force:
            raise TypeError(f"can't convert {self.device} device type tensor to numpy. Use Tensor.cpu() first.")
        return self.cpu().numpy()

    def __repr__(self, **kwargs: Any) -> str:
        host_waits.note("read", "repr")
        return repr(self.raw).replace("tensor(", f"{NAME}(", 1)

    def __format__(self, spec: str) -> str:
        return format(self.item() if self.dim() == 0 else repr(self), spec)

    def __reduce_ex__(self, protocol: int) -> Any:
        """Saved as a tensor of the CPU. A GPU's would be loaded to the GPU if the reader named no other device."""
        host_waits.note("read", "save")
        return self.raw.detach().clone().__reduce_ex__(protocol)

    @property
    def data(self) -> torch.Tensor:
        return torch.Tensor.data.__get__(self)

    @data.setter
    def data(self, value: torch.Tensor) -> None:
        torch.Tensor.data.__set__(self, value)
        self.raw = value.raw


class _Facts:
    """What matters here of an operation."""

    def __init__(self, func: Any) -> None:
        schema = func._schema
        self.name = schema.name
        self.reads, self.copies, self.indexed = (self.name in names for names in (READS, COPIES, INDEXED))
        self.takes_numbers = torch.Tag.pointwise in func.tags or self.name in TAKES_NUMBERS or self.indexed
        changed = [(i, a.name) for i, a in enumerate(schema.arguments) if a.alias_info and a.alias_info.is_write]
        self.written = changed if schema.is_mutable else []
        self.returned = [bool(r.alias_info and r.alias_info.is_write) for r in schema.returns]


_facts = functools.cache(_Facts)


def run(func: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
    """An operation on wrapped tensors, by the CPU's kernel on what they wrap."""
    facts = _facts(func)
    target = None if kwargs.get("device") is None else torch.device(kwargs["device"]).type
    leaves = list(_leaves((args, tuple(kwargs.values()))))
    _check_placement(facts, args, leaves)
    _note_waits(facts, args, kwargs, target)
    out = func(*_unwrapped(args), **{key: _unwrapped(value) for key, value in kwargs.items()})
    if target is None or target == NAME:
        out = _wrapped(out)
    if not facts.written:
        return out
    written = [args[i] if i < len(args) else kwargs.get(name) for i, name in facts.written]
    for tensor in written:
        if isinstance(tensor, Second) and tensor.shape != tensor.raw.shape:  # an `out` that was empty
            tensor.data = Second(tensor.raw)
    kept, made = iter(written), out if isinstance(out, tuple) else (out,)
    results = tuple(next(kept) if same else value for same, value in zip(facts.returned, made))
    return results[0] if len(results) == 1 else results or None


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, (list, tuple)):
        for part in value:
            yield from _leaves(part)
    else:
        yield value


def _unwrapped(value: Any) -> Any:
    if isinstance(value, Second):
        return value.raw
    if isinstance(value, (list, tuple)):
        return type(value)(map(_unwrapped, value))
    return torch.device("cpu") if isinstance(value, torch.device) and value.type == NAME else value


def _wrapped(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return type(value)(map(_wrapped, value))
    return Second(value) if type(value) is torch.Tensor else value


def _check_placement(facts: _Facts, args: tuple, leaves: list[Any]) -> None:
    """Raise RuntimeError for what a GPU refuses. As on a GPU, numbers may be CPU tensors without dimensions where an
    operation works on each element, and so may indices of a tensor on the device."""
    generators = [value for value in leaves if isinstance(value, torch.Generator)]
    if generators:
        found = generators[0].device.type
        raise RuntimeError(f"Expected a '{NAME}' device type for generator but found '{found}'")
    if facts.copies:
        return
    values = [args[0], *args[2:3]] if facts.indexed else leaves
    first = 0 if facts.written or facts.indexed else -1  # what is written or indexed is no number
    for i, value in enumerate(values):
        if isinstance(value, torch.Tensor) and not isinstance(value, Second):
            if value.dim() or not facts.takes_numbers or i == first:
                raise RuntimeError(
                    f"Expected all tensors to be on the same device, but found at least two devices, cpu and {NAME}:0 "
                    f"({facts.name}, a tensor of shape {tuple(value.shape)} on the CPU)"
                )


def _note_waits(facts: _Facts, args: tuple, kwargs: dict[str, Any], target: str | None) -> None:
    if not host_waits.recorders:
        return
    if facts.copies:
        source = args[1] if facts.name == "aten::copy_" else args[0]
        onto = target or (NAME if isinstance(args[0], Second) else "cpu")
        free = kwargs.get("non_blocking") or facts.name == "aten::copy_" and args[2:] == (True,)
        waits = onto != NAME or not free  # a copy to it may be made while the host goes on, a read may not
        if isinstance(source, Second) != (onto == NAME) and waits:
            host_waits.note("copy" if onto == NAME else "read", facts.name)
    elif facts.reads or (facts.name == "aten::repeat_interleave" and kwargs.get("output_size") is None):
        host_waits.note("read", facts.name)
    elif facts.indexed:
        indices = [index for index in args[1] if isinstance(index, torch.Tensor)]
        fills = len(args) > 2 and args[2].numel() == 1  # by a mask: its size does not matter
        if any(index.dtype in (torch.bool, torch.uint8) for index in indices) and not fills:
            host_waits.note("read", f"{facts.name} by a mask")
        for _ in [index for index in indices if not isinstance(index, Second)]:
            host_waits.note("copy", f"{facts.name} by indices on the CPU")


class _Module:
    """What stands in for `torch.cuda`."""

    def is_available(self) -> bool:
        return False  # to PyTorch's own choices, such as nn.DataParallel's, in all tests of this process

    def is_initialized(self) -> bool:
        return True

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
    if isinstance(source, Second) or not non_blocking:
        host_waits.note("read" if isinstance(source, Second) else "copy", "copy")
    _unwrapped(target).copy_(_unwrapped(source))
    return target


@contextlib.contextmanager
def used() -> Iterator[torch.device]:
    """Within this context trainers and classifiers are on the device, as they would be on a GPU."""
    from softcpt.backbones.precision import Precision

    with pytest.MonkeyPatch.context() as patch:
        chosen = staticmethod(lambda gpu=True: DEVICE if gpu else torch.device("cpu"))
        patch.setattr(Precision, "default_device", chosen)
        yield DEVICE


def _register() -> None:
    """Make the device known when this module is imported: the first backward pass of a process counts the devices."""
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
