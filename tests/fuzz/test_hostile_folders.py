"""Folders of models, exports with their CLIP, run folders and own folders, with a hostile file: the right value, or one
error that names the file or folder. A report is always written, with the other runs in it."""

import time

import pytest
from fuzz.folder_readers import READERS
from fuzz.hostile import CASES, SEED, fuzz

REPORT = 20  # times slower than the others: it draws pictures


@pytest.mark.parametrize("cases", [20, pytest.param(CASES, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", READERS)
def test_hostile_folder_is_read_correctly_or_refused(name, cases, tmp_path):
    reader = READERS[name](tmp_path)
    start = time.perf_counter()
    found = fuzz(reader, -(-cases // REPORT) if name.startswith("report") else cases, tmp_path)
    seconds = time.perf_counter() - start
    total = sum(found.values())
    print(f"\n| {name} | {total:,} | {found['read']:,} | {found['refused']:,} | {seconds:.1f} | seed {SEED} |", end="")
