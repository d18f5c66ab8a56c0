"""The time to plan a sweep of many runs, and to read how they stand.

python scripts/bench/plan_sweep.py [--runs 10000] [--json]
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import _common

from experiments.sweeps.arguments import parse_args
from experiments.sweeps.calls import status_report
from experiments.sweeps.sweep import Sweep


def seconds_of(function) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def main() -> None:
    parser = _common.parser(__doc__)
    parser.add_argument("--runs", type=int, default=10_000, help="at least so many")
    parser.add_argument("--sweep", default=str(Path(__file__).parents[2] / "configs/sweeps/demo.yaml"))
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as out:
        seeds = [str(seed) for seed in range(1, args.runs // 12 + 2)]  # three methods that learn, times four shots
        given = parse_args(
            [args.sweep, "--benchmark", "demo", "--out", out, "--shots", *"1 2 4 8".split(), "--seeds", *seeds]
        )
        sweep: list[Sweep] = []
        planning = seconds_of(lambda: sweep.append(Sweep(given, lambda *_: [])))
        steps = sweep[0].steps
        for step in steps[::2]:  # half of them done
            step.folder.mkdir(parents=True)
            (step.folder / "results.json").touch()
        row = {
            "runs": len(steps),
            "planning_s": planning,
            "to_do_s": seconds_of(sweep[0].to_do),
            "arguments_s": seconds_of(lambda: [step.arguments for step in steps]),
            "status_s": seconds_of(lambda: status_report(steps)),
        }
    _common.show([row], args.json)


if __name__ == "__main__":
    main()
