"""Every reader gives the right value or one error that names the file, whatever the file holds.

A table of the outcomes: bash scripts/test.sh tests/fuzz -m slow -s
"""

import time

import pytest
from hostile import fuzz
from readers import readers

NAMES = (
    "split JSON",
    "tasks.csv",
    "tasks.yaml",
    "config yaml",
    "classes.json",
    "results.json",
    "predictions.csv.gz",
    "checkpoint, damaged",
    "checkpoint, resumed",
    "checkpoint, loaded",
    "CLIP .pt",
    "CLIP .pt, other weights",
    "CLIP .npz",
    "CLIP .safetensors",
    "export, damaged",
    "export, other contents",
    "feature cache",
    "archive .zip",
    "archive .tar.gz",
    "archive .tar",
)


def check(name, cases, folder):
    reader = readers(folder)[name]
    start = time.perf_counter()
    found = fuzz(reader, cases, folder)
    seconds = time.perf_counter() - start
    print(f"\n| {name} | {sum(found.values()):,} | {found['read']:,} | {found['refused']:,} | {seconds:.1f} |", end="")


@pytest.mark.parametrize("name", NAMES)
def test_a_hostile_file_is_read_as_it_is_or_refused_by_name(name, tmp_path):
    check(name, 100, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_so_are_2000_hostile_files(name, tmp_path):
    check(name, 2000, tmp_path)
