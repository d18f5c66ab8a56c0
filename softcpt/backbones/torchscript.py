"""TorchScript archives, the format of OpenAI's files, read as data: PyTorch runs code of an archive while it loads it.

An archive is a zip with `data.pkl`, the pickled modules, with `data/`, the storages of their tensors, and with `code/`,
which says what is a parameter or buffer of each class. Of the pickle's operations only those are legal that make plain
values and tensors, and none of its names is looked up in a module.
"""

import io
import pickle
import pickletools
import re
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

MARKER = "/constants.pkl"  # by this name PyTorch, too, knows an archive from a saved state dict
MOST_TEXT = 64 << 20  # bytes of code, or of a pickle without its storages
MOST_PARTS, DEEPEST = 100_000, 64  # modules and tensors; modules in each other
DTYPES = {
    "Float": torch.float32,
    "Half": torch.float16,
    "BFloat16": torch.bfloat16,
    "Double": torch.float64,
    "Long": torch.int64,
    "Int": torch.int32,
    "Short": torch.int16,
    "Char": torch.int8,
    "Byte": torch.uint8,
    "Bool": torch.bool,
}
PLAIN = ("torch._utils._rebuild_parameter", "torch.jit._pickle.")  # around a value, of which they say no more
OPERATIONS = (
    "PROTO", "STOP", "MARK", "GLOBAL", "NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1",
    "BINFLOAT", "BINUNICODE", "SHORT_BINSTRING", "BINPUT", "LONG_BINPUT", "BINGET", "LONG_BINGET", "EMPTY_TUPLE",
    "EMPTY_LIST", "EMPTY_DICT", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "APPEND", "SETITEM", "APPENDS", "SETITEMS",
    "NEWOBJ", "BUILD", "BINPERSID", "REDUCE",
)  # fmt: skip


class Thing:
    """An object of a class in an archive: the class's name, and the object's attributes."""

    kind: str
    state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


def is_archive(path: Path) -> bool:
    """Whether a file is a TorchScript archive."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as file:
        return any(name.endswith(MARKER) for name in file.namelist())


class Archive:
    """A TorchScript archive.

    Raises ValueError for one that holds more than modules and tensors, or is damaged.
    """

    def __init__(self, path: Path) -> None:
        with zipfile.ZipFile(path) as file:
            self.entries = {info.filename: info for info in file.infolist()}
            self.prefix = next(name for name in self.entries if name.endswith(MARKER)).removesuffix(MARKER)
            self.file = file
            self.storages: dict[str, Tensor] = {}
            self.root = self._unpickled(self._text("data.pkl"))
            self.code = {
                name.removeprefix(f"{self.prefix}/code/"): self._text(name.removeprefix(f"{self.prefix}/")).decode()
                for name in self.entries
                if name.startswith(f"{self.prefix}/code/") and name.endswith(".py")
            }
        self.class_text = cache(self._class_text)

    def state_dict(self) -> dict[str, Tensor]:
        """Parameters and buffers by their names."""
        found: dict[str, Tensor] = {}
        waiting, parts = [("", self.root)], 0
        while waiting:
            prefix, module = waiting.pop()
            for name, value in self._attributes(module).items():
                parts += 1
                if parts > MOST_PARTS or prefix.count(".") > DEEPEST:
                    raise ValueError(f"it has more than {MOST_PARTS:,} parts, or more than {DEEPEST} in each other")
                if isinstance(value, Thing) and self.class_text(value.kind):
                    waiting.append((f"{prefix}{name}.", value))
                elif isinstance(value, Tensor) and name in self._tensors_of(module.kind):
                    found[prefix + name] = value
        return found

    def code_of(self, path: str) -> str:
        """The code of the module at a path, "a.b.c". Raises ValueError if there is none."""
        module = self.root
        for name in path.split("."):
            module = self._attributes(module).get(name)
        self._attributes(module)
        return self.class_text(module.kind)

    def _attributes(self, module: Any) -> dict[str, Any]:
        if not isinstance(module, Thing) or not isinstance(module.state, dict):
            kind = module.kind if isinstance(module, Thing) else type(module).__name__
            raise ValueError(f"{kind:.80} in it is no plain module: it would have to run code to load")
        return module.state

    def _class_text(self, kind: str) -> str:
        """The code of a module's class; "" for another class."""
        place, _, name = kind.rpartition(".")
        text = self.code.get(f"{place.replace('.', '/')}.py", "")
        found = re.search(rf"^class {re.escape(name)}\(Module\):\n(?:[ \t].*\n|\n)*", text, re.M)
        return found[0] if found else ""

    def _tensors_of(self, kind: str) -> set[str]:
        """The names of a class's parameters and buffers."""
        lines = re.findall(r"^  __(?:parameters|buffers)__ = \[(.*)\]$", self.class_text(kind), re.M)
        return set(re.findall(r'"([^"]*)"', "".join(lines)))

    def _text(self, name: str) -> bytes:
        info = self.entries.get(f"{self.prefix}/{name}")
        if info is None or info.file_size > MOST_TEXT:
            raise ValueError(f"it has no {name}" if info is None else f"{name} in it has {info.file_size:,} bytes")
        return self.file.read(info)

    def _unpickled(self, content: bytes) -> Any:
        """The value of a pickle."""
        try:
            for operation, _, _ in pickletools.genops(content):
                if operation.name not in OPERATIONS:
                    raise ValueError(f"its pickle has the operation {operation.name}")
            return Reader(content, self._storage).load()
        except ValueError:
            raise
        except Exception as error:  # of operations in another order, or on other values
            raise ValueError(f"its pickle is damaged ({type(error).__name__}: {error!s:.200})") from error

    def _storage(self, word: str, kind: str, key: str, place: str, count: int) -> Tensor:
        """The values of a storage, all in one row."""
        dtype = DTYPES.get(kind.removeprefix("torch.").removesuffix("Storage"))
        info = self.entries.get(f"{self.prefix}/data/{key}")
        if dtype is None or info is None or info.compress_type or info.file_size != count * dtype.itemsize:
            raise ValueError(f"it does not hold the {count} values {key!r:.40} of {kind:.40}")
        if key not in self.storages:
            content = bytearray(self.file.read(info))
            self.storages[key] = torch.frombuffer(content, dtype=torch.uint8) if content else torch.empty(0).byte()
        return self.storages[key].view(dtype)


class Reader(pickle._Unpickler):
    """Reads a pickle in Python, whose memory grows with the pickle alone. Its names stand for what is known here."""

    stack: list[Any]

    def __init__(self, content: bytes, storage: Callable[..., Tensor]) -> None:
        super().__init__(io.BytesIO(content), encoding="latin1")
        self.storage = storage

    def find_class(self, module: str, name: str) -> Any:
        name = f"{module}.{name}"
        if name == "torch._utils._rebuild_tensor_v2":
            return lambda storage, offset, size, stride, *rest: storage.as_strided(size, stride, offset)
        if name == "collections.OrderedDict":
            return dict
        if name.startswith(PLAIN):
            return lambda value, *rest: value
        if name.startswith("__torch__."):
            return type("Thing", (Thing,), {"kind": name})
        if name.endswith("Storage"):
            return name
        raise ValueError(f"it calls {name:.80}, which makes neither a tensor nor a plain value")

    def load_build(self) -> None:
        if not isinstance(self.stack[-2], Thing):
            raise ValueError("its pickle gives a state to what is no module")
        super().load_build()  # type: ignore[misc]

    dispatch = {**pickle._Unpickler.dispatch, pickle.BUILD[0]: load_build}  # type: ignore[dict-item]

    def persistent_load(self, place: Any) -> Tensor:
        return self.storage(*place)
