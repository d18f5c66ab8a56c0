"""Every reader gives the right value or one error that names the file, whatever the file holds.

A table of the outcomes: bash scripts/test.sh tests/fuzz -m slow -s
"""

import time

import pytest
from fuzz.hostile import CASES, SEED, fuzz
from fuzz.readers import NAMES, readers


@pytest.mark.parametrize("cases", [100, pytest.param(CASES, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", NAMES)
def test_hostile_file_is_read_correctly_or_refused(name, cases, tmp_path):
    reader = readers(tmp_path)[name]
    start = time.perf_counter()
    found = fuzz(reader, cases, tmp_path)
    seconds = time.perf_counter() - start
    total = sum(found.values())
    print(f"\n| {name} | {total:,} | {found['read']:,} | {found['refused']:,} | {seconds:.1f} | seed {SEED} |", end="")
