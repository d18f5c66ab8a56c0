"""Every reader gives the right value or one error that names the file, whatever the file holds.

A table of the outcomes: bash scripts/test.sh tests/fuzz -m slow -s
"""

import time

import pytest
from fuzz.hostile import fuzz
from fuzz.readers import NAMES, readers


def check(name, cases, folder):
    reader = readers(folder)[name]
    start = time.perf_counter()
    found = fuzz(reader, cases, folder)
    seconds = time.perf_counter() - start
    print(f"\n| {name} | {sum(found.values()):,} | {found['read']:,} | {found['refused']:,} | {seconds:.1f} |", end="")


@pytest.mark.parametrize("name", NAMES)
def test_hostile_file_is_read_correctly_or_refused(name, tmp_path):
    check(name, 100, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_so_are_2000_hostile_files(name, tmp_path):
    check(name, 2000, tmp_path)
