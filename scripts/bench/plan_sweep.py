"""Time the planning of a sweep of many runs, and reading their state.

python scripts/bench/plan_sweep.py [--runs 10000] [--json]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from scripts.lib.bench import harness
from scripts.lib.bench.harness import seconds_of

from scripts.lib.sweep_arguments import parse_args
from scripts.lib.sweep_runs import Sweep
from softcpt.sweeps.calls import status_report


def rows_of(args):
    with tempfile.TemporaryDirectory() as out:
        seeds = [str(seed) for seed in range(1, args.runs // 12 + 2)]  # three methods that learn, times four shots
        words = [args.sweep, "--out", out, *"--benchmark demo --shots 1 2 4 8 --seeds".split(), *seeds]
        given, sweep = parse_args(words), []
        planning = seconds_of(lambda: sweep.append(Sweep(given, lambda *_: [])))
        steps = sweep[0].steps
        for step in steps[::2]:  # half of them done
            step.folder.mkdir(parents=True)
            (step.folder / "results.json").touch()
        yield {
            "runs": len(steps),
            "planning_s": planning,
            "to_do_s": seconds_of(sweep[0].to_do),
            "arguments_s": seconds_of(lambda: [step.arguments for step in steps]),
            "status_s": seconds_of(lambda: status_report(steps)),
        }


if __name__ == "__main__":
    sweep = "--sweep", str(harness.ROOT / "configs/sweeps/demo.yaml")
    harness.main(__doc__, rows_of, ("--runs", 10_000, "at least so many runs"), sweep)
