"""While readers of files are driven with hostile input, Python reports no program, no unpickled object and no code from
the folder of the files (its audit events)."""

import subprocess
import sys

import pytest
from fuzz.folder_readers import READERS
from fuzz.readers import NAMES

import train

DRIVE = """
import os, sys
from pathlib import Path
root, folder, names = sys.argv[1], Path(sys.argv[2]), sys.argv[3:]
sys.path[:0] = [root, f"{root}/tests", f"{root}/tests/helpers"]
import train
from fuzz.folder_readers import READERS
from fuzz.hostile import fuzz
from fuzz.readers import readers

FORBIDDEN = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "pickle.find_class")
events = []

def hook(event, args):
    if event in FORBIDDEN:
        events.append((event, str(args)[:200]))
    elif event in ("import", "compile", "exec"):
        where = getattr(args[0], "co_filename", "") if event == "exec" else str(args[1])
        if str(folder) in str(where):
            events.append((event, str(where)[:200]))

known = {**readers(folder), **{name: READERS[name](folder) for name in names if name in READERS}}
for name in names:
    fuzz(known[name], 1, folder)  # what is imported late is imported now
sys.addaudithook(hook)
for name in names:
    fuzz(known[name], 10, folder)
assert not events, events
import pickle
pickle.loads(pickle.dumps(Path))
assert events, "the hook sees nothing"
print("quiet")
"""


FOLDERS = [name for name in READERS if not name.startswith("report")]


@pytest.mark.parametrize("part", range(2))
def test_hostile_files_start_no_program_and_no_code(part, tmp_path):
    command = [sys.executable, "-c", DRIVE, str(train.PROJECT_ROOT), str(tmp_path), *[*NAMES, *FOLDERS][part::2]]
    done = subprocess.run(command, capture_output=True, text=True, cwd=train.PROJECT_ROOT)
    assert done.stdout.strip().endswith("quiet"), done.stderr[-3000:]
