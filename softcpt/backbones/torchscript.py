"""TorchScript archives, the format of OpenAI's files, read as data: PyTorch runs code of an archive while it loads it.

An archive is a zip with `data.pkl`, the pickled modules, with `data/`, the storages of their tensors, and with `code/`,
which says what is a parameter or buffer of each class. Of the pickle's operations only those are known that make plain
values and tensors, so none of its names is looked up or called.
"""

import pickletools
import re
import zipfile
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Name:
    """A class or function that a pickle names."""

    text: str


@dataclass(eq=False)
class Thing:
    """An object of a class in an archive: the class's name, and the object's attributes."""

    kind: str
    state: Any = None


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
            self.root = self._read_pickle(self._text("data.pkl"))
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

    # -- the pickle ----------------------------------------------------------------------------------------------------

    def _read_pickle(self, content: bytes) -> Any:
        """The value of a pickle."""
        try:
            return self._unpickled(content)
        except ValueError:
            raise
        except Exception as error:  # of operations in another order, or on other values
            raise ValueError(f"its pickle is damaged ({type(error).__name__}: {error!s:.200})") from error

    def _unpickled(self, content: bytes) -> Any:
        stack: list[Any] = []
        marks: list[int] = []
        memo: dict[int, Any] = {}

        def since_mark() -> list[Any]:
            start = marks.pop()
            items = stack[start:]
            del stack[start:]
            return items

        for opcode, value, _ in pickletools.genops(content):
            match opcode.name:
                case "PROTO":
                    pass
                case "STOP":
                    return stack.pop()
                case "MARK":
                    marks.append(len(stack))
                case "GLOBAL":
                    stack.append(Name(value.replace(" ", ".")))
                case "NONE" | "NEWTRUE" | "NEWFALSE":
                    stack.append({"NONE": None, "NEWTRUE": True, "NEWFALSE": False}[opcode.name])
                case "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINFLOAT" | "BINUNICODE" | "SHORT_BINSTRING":
                    stack.append(value)
                case "BINPUT" | "LONG_BINPUT":
                    memo[value] = stack[-1]
                case "BINGET" | "LONG_BINGET":
                    stack.append(memo[value])
                case "EMPTY_TUPLE" | "EMPTY_LIST" | "EMPTY_DICT":
                    stack.append({"EMPTY_TUPLE": (), "EMPTY_LIST": [], "EMPTY_DICT": {}}[opcode.name])
                case "TUPLE":
                    stack.append(tuple(since_mark()))
                case "TUPLE1" | "TUPLE2" | "TUPLE3":
                    marks.append(len(stack) - int(opcode.name[-1]))
                    stack.append(tuple(since_mark()))
                case "APPEND" | "SETITEM":
                    marks.append(len(stack) - (1 if opcode.name == "APPEND" else 2))
                    _fill(stack[marks[-1] - 1], since_mark())
                case "APPENDS" | "SETITEMS":
                    items = since_mark()
                    _fill(stack[-1], items)
                case "NEWOBJ":
                    stack.pop()
                    stack.append(Thing(stack.pop().text))
                case "BUILD":
                    state = stack.pop()
                    stack[-1].state = state
                case "BINPERSID":
                    stack.append(self._storage(*stack.pop()))
                case "REDUCE":
                    arguments = stack.pop()
                    stack.append(_called(stack.pop().text, arguments))
                case other:
                    raise ValueError(f"its pickle has the operation {other}")
        raise ValueError("its pickle has no end")

    def _storage(self, word: str, kind: Name, key: str, place: str, count: int) -> Tensor:
        """The values of a storage, all in one row."""
        dtype = DTYPES.get(kind.text.removeprefix("torch.").removesuffix("Storage"))
        info = self.entries.get(f"{self.prefix}/data/{key}")
        if dtype is None or info is None or info.compress_type or info.file_size != count * dtype.itemsize:
            raise ValueError(f"it does not hold the {count} values {key!r:.40} of {kind.text:.40}")
        if key not in self.storages:
            content = bytearray(self.file.read(info))
            self.storages[key] = torch.frombuffer(content, dtype=torch.uint8) if content else torch.empty(0).byte()
        return self.storages[key].view(dtype)


def _fill(container: Any, items: list[Any]) -> None:
    if isinstance(container, dict):
        container.update(zip(items[::2], items[1::2], strict=True))
    else:
        container.extend(items)


def _called(name: str, arguments: tuple) -> Any:
    """The value of a call in a pickle."""
    if name == "torch._utils._rebuild_tensor_v2":
        storage, offset, size, stride, *_ = arguments
        return storage.as_strided(size, stride, offset)
    if name == "collections.OrderedDict":
        return {}
    if name.startswith(PLAIN):
        return arguments[0]
    raise ValueError(f"it calls {name:.80}, which makes neither a tensor nor a plain value")
