"""scripts/compare_upstream.py: what it records of a run, and when it calls two runs equal."""

import json
import os
import subprocess
from dataclasses import replace

import compare_upstream
import pytest
import toy
from compare_upstream import Comparison, Seen, Side
from warm_python import python

import train

TOY_TRAIN = f"""
import sys

sys.path[:0] = [{str(train.PROJECT_ROOT)!r}, {str(train.PROJECT_ROOT / "tests/helpers")!r}]
import compat

compat.ensure_dassl()
import toy

import train

sys.exit(train.main())
"""


def test_losses_result_and_logits_are_recorded(toy_root, tmp_path):
    (tmp_path / "train_toy.py").write_text(TOY_TRAIN)
    arguments = toy.arguments(
        toy_root, tmp_path / "run", "CoOp", "DATASET.NUM_SHOTS", 1, "TEST.FINAL_MODEL", "best_val"
    )
    command = [compare_upstream.__file__, "--record", tmp_path / "seen.json", tmp_path / "train_toy.py", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(train.PROJECT_ROOT / "compat"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(list(map(str, [python(), *command])), capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    seen = Seen(**json.loads((tmp_path / "seen.json").read_text()))
    record = json.loads((tmp_path / "run/results.json").read_text())
    assert len(seen.losses) == record["steps"] == 2 and len(set(seen.losses)) == 2
    values = [task["value"] for task in record["tasks"]]
    assert seen.result == pytest.approx(sum(values) / 3)
    # Of the last test, not of the validations before it.
    assert [len(row) for row in seen.logits] == [10] * sum(task["n"] for task in record["tasks"])


class Told(Comparison):
    """A comparison of given runs."""

    def run(self, side, name, *flags):
        return self.runs[name]


@pytest.mark.parametrize(
    "name, other, agree",
    [
        (None, {}, True),
        ("there", {"losses": [1.0, 2.00009]}, True),
        ("there", {"losses": [1.0, 2.0002]}, False),
        ("there", {"losses": [1.0]}, False),
        ("here-there", {"logits": [[0.0, 0.00009]]}, True),
        ("here-there", {"logits": [[0.0, 0.0002]]}, False),
        ("there-here", {"logits": [[float("nan"), 0.0]]}, False),
        ("there-there", {"result": 50.000001}, False),
    ],
)
def test_losses_and_logits_must_agree_to_1e_4(tmp_path, capsys, name, other, agree):
    sides = (Side(name, tmp_path / "train.py", tmp_path) for name in ("this project", "upstream"))
    comparison = Told(tmp_path / "new", *sides, ["OPTIM.MAX_EPOCH", "2"])
    seen = Seen(losses=[1.0, 2.0], result=50.0, logits=[[0.0, 0.0]])
    names = ("here", "there", "here-here", "here-there", "there-here", "there-there")
    comparison.runs = {run: replace(seen, **other) if run == name else seen for run in names}
    assert comparison.compare() is agree
    assert capsys.readouterr().out.count("| 50.0") == 6
