"""Hostile files: mutations of valid ones, and the legal outcomes of reading them."""

import contextlib
import copy
import json
import os
import re
import resource
import signal
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
from hypothesis import HealthCheck, given, seed, settings

SEED = int(os.environ.get("FUZZ_SEED", 0))  # other files for another seed
CASES = int(os.environ.get("FUZZ_CASES", 2000))  # of each kind, with -m slow
SECONDS, BYTES = 30, 2 << 30
DEEP = "[" * 100_000 + "]" * 100_000
ODD = (
    None, True, -1, 0, 1.5, 10**9, 10**400, 1e308, float("nan"), float("inf"), "", "\0", "../x.png", "/etc/passwd",
    "\ud800", "9" * 5000, "x" * 100_000, "-" * 9000 + "1", [], {}, [[]], {"": []}, "@deep", "@raw0", "@raw1",
)  # fmt: skip


class TooLong(BaseException):
    """Raised for a hang; no reader may catch it."""


@dataclass(frozen=True)
class Reader:
    """A reader and its files.

    Attributes:
        file: name of the file.
        read: of a path, the value; prepared so that values compare with ==.
        right: of the file's content, the value that a naive reading gives; may raise anything for what is no such file.
        files: strategy of contents.
        place: what a message may name in place of the file: the folder of a model.
    """

    file: str
    read: Callable[[Path], Any]
    right: Callable[[bytes], Any]
    files: st.SearchStrategy[bytes]
    place: str = ""


def fuzz(reader: Reader, cases: int, folder: Path) -> Counter:
    """Read `cases` hostile files; how many were read and how many refused. Any other outcome fails the test."""
    outcomes: Counter = Counter()

    @seed(SEED)
    @settings(max_examples=cases, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(reader.files)
    def case(content):
        outcomes[outcome(reader, folder / reader.file, content)] += 1

    case()
    return outcomes


def outcome(reader: Reader, path: Path, content: bytes) -> str:
    """ "read" or "refused"; raises AssertionError, or what the reader raised, for anything else."""
    path.write_bytes(content)
    try:
        with limited():
            value = reader.read(path)
    except (ValueError, OSError) as error:
        message = str(error)
        assert any(name and name in message for name in (str(path), path.name, reader.place)), (
            f"the message names no file: {error!r}"
        )
        assert len(message) < len(content) + 5000, f"a message of {len(message):,} characters"
        return "refused"
    expected = reader.right(content)
    assert value == expected, f"read {value!r:.500}, not {expected!r:.500}"
    return "read"


@contextlib.contextmanager
def limited():
    """Allow at most 30 s of work, ten times as long for it on a busy machine, and 2 GB more than are in use."""

    def stop(*_):
        raise TooLong(f"more than {SECONDS} s")

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    previous = {kind: signal.signal(kind, stop) for kind in (signal.SIGPROF, signal.SIGALRM)}
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + BYTES, before[1]))
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    signal.setitimer(signal.ITIMER_REAL, 10 * SECONDS)
    try:
        yield
    finally:
        for timer in (signal.ITIMER_PROF, signal.ITIMER_REAL):
            signal.setitimer(timer, 0)
        for kind, handler in previous.items():
            signal.signal(kind, handler)
        resource.setrlimit(resource.RLIMIT_AS, before)


# -- mutations -------------------------------------------------------------------------------------------------------


@st.composite
def damaged(draw: Any, valid: bytes) -> bytes:
    """A valid file with some of its bytes flipped, cut out, repeated or cut off; or any bytes."""
    content = bytearray(valid)
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, max(0, len(content) - 1)))
        kind = draw(st.sampled_from(("flip", "flip", "flip", "cut off", "cut out", "repeat", "insert", "any")))
        length = draw(st.integers(1, 64))
        if kind == "flip" and content:
            content[place] ^= 1 << draw(st.integers(0, 7))
        elif kind == "cut off":
            del content[place:]
        elif kind == "cut out":
            del content[place : place + length]
        elif kind == "repeat":
            content[place:place] = content[place : place + length]
        elif kind == "insert":
            content[place:place] = draw(st.binary(max_size=16))
        elif kind == "any":
            content = bytearray(draw(st.binary(max_size=200)))
    return bytes(content)


def places(value: Any, above: tuple = ()) -> list[tuple]:
    """The paths of all parts of a nested value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [above, *(path for key, item in items for path in places(item, (*above, key)))]


@st.composite
def edited(draw: Any, valid: Any) -> Any:
    """A nested value with parts of another type, huge, missing, repeated or under another key."""
    value = {"": json.loads(json.dumps(valid))}
    for _ in range(draw(st.sampled_from((1, 1, 1, 2, 3)))):
        path = draw(st.sampled_from([path for path in places(value) if path]))
        parent = value
        for key in path[:-1]:
            parent = parent[key]
        kind = draw(st.sampled_from(("odd", "odd", "odd", "any", "delete", "repeat", "rename")))
        if kind == "odd":
            parent[path[-1]] = copy.deepcopy(draw(st.sampled_from(ODD)))
        elif kind == "any":
            parent[path[-1]] = draw(st.one_of(st.integers(), st.floats(), st.text(max_size=20), st.booleans()))
        elif kind == "delete" and len(path) > 1:
            del parent[path[-1]]
        elif kind == "repeat" and len(path) > 1:
            twin = json.loads(json.dumps(parent[path[-1]]))
            parent.insert(path[-1], twin) if isinstance(parent, list) else parent.update({f"@twin{path[-1]}": twin})
        elif kind == "rename" and isinstance(parent, dict) and len(path) > 1:
            parent[draw(st.sampled_from(("", "x", "schema", "train", "../y")))] = parent.pop(path[-1])
    return value.get("")


def json_text(value: Any) -> bytes:
    """JSON of an edited value, also of what Python's own writer would not write."""
    text = json.dumps(value).replace('"@deep"', DEEP).replace('"@twin', '"').replace('"@raw0"', "-Infinity")
    return text.replace('"@raw1"', "9" * 5000).encode()


def json_files(valid: Any) -> st.SearchStrategy[bytes]:
    return st.one_of(edited(valid).map(json_text), edited(valid).map(json_text), damaged(json.dumps(valid).encode()))


RAW = (
    "!!int ''", "!!bool x", "!!python/object/apply:os.system [date]", "2001-13-45", "&a [*a]", "!!binary é",
    "{<<: [1, 2]}", "? [a]", "!!set {a, b}", "1:2:3", "0x" + "f" * 5000, "*nowhere", "!!timestamp x",
    "{<<: &b {<<: *b}}",
)  # fmt: skip


@st.composite
def yaml_files(draw: Any, valid: Any) -> bytes:
    """YAML in flow style, with tags, references and merges."""
    if draw(st.integers(0, 3)) == 0:
        return draw(damaged(json.dumps(valid).encode()))
    text = json_text(draw(edited(valid))).decode().replace(DEEP, "[" * 600 + "]" * 600)  # PyYAML is slow with more
    for _ in range(draw(st.integers(0, 2))):
        scalars = list(re.finditer(r'"[^"\\]*"|\b\d+\b', text[:5000]))
        if scalars:
            found = draw(st.sampled_from(scalars))
            text = f"{text[: found.start()]}{draw(st.sampled_from(RAW))}{text[found.end() :]}"
    return text.encode()
