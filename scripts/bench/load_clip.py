"""Load a CLIP in several runs at a time: each reads the file of weights, or all map the copy that the first one made
(FEATURES.DIR). Memory is that of all runs together, with shared pages counted once.

    python scripts/bench/load_clip.py [--backbone ViT-L/14] [--runs 2] [--precs fp32,bf16] [--json]
"""

from __future__ import annotations

import multiprocessing
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from scripts.lib.bench import harness
from scripts.lib.bench.harness import DTYPES

import torch
from safetensors.torch import save_file

from softcpt.backbones import load_clip


def write_weights(backbone: str, path: Path) -> None:
    state = {key: value.half().contiguous() for key, value in harness.package_clip(backbone).state_dict().items()}
    save_file(state, path, metadata={"activation": "quickgelu"})


@torch.no_grad()
def load(weights: Path, prec: str, shared: Path | None, ready, measured, results) -> None:
    """In the process of a run: load, touch every weight as a training step does, wait for the others, measure."""
    before, models = proportional_bytes(), []
    half = None if prec == "fp32" else DTYPES[prec]
    seconds = harness.seconds_of(lambda: models.append(load_clip(str(weights), half, shared)))
    total = sum(float(value.sum()) for value in models[0].state_dict().values() if value.is_floating_point())
    ready.wait()
    bytes_held = proportional_bytes() - before
    measured.wait()
    results.put((seconds, bytes_held, total))


def proportional_bytes() -> int:
    """Memory of this process, of which a page that n processes share is an n-th (Linux)."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return 1024 * sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def several(runs: int, weights: Path, prec: str, shared: Path | None) -> dict:
    """Seconds of the slowest run, and the bytes that all hold."""
    context = multiprocessing.get_context("spawn")
    ready, measured, results = context.Barrier(runs), context.Barrier(runs), context.Queue()
    arguments = weights, prec, shared, ready, measured, results
    processes = [context.Process(target=load, args=arguments) for _ in range(runs)]
    for process in processes:
        process.start()
    found = [results.get() for _ in processes]
    for process in processes:
        process.join()
    seconds, held, totals = zip(*found)
    if len(set(totals)) > 1:
        raise SystemExit("the runs have different weights")
    return {"seconds": max(seconds), "peak_bytes": sum(held), "total": totals[0]}


def rows_of(args):
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder, "weights.safetensors")
        write_weights(args.backbone, weights)
        for prec in args.precs.split(","):
            plain = several(args.runs, weights, prec, None)
            several(1, weights, prec, Path(folder, prec))  # the first run makes the copy
            ours = several(args.runs, weights, prec, Path(folder, prec))
            row = {"backbone": args.backbone, "runs": args.runs, "prec": prec, **harness.versus(plain, ours)}
            yield {**row, "same_weights": plain["total"] == ours["total"]}


if __name__ == "__main__":
    harness.main(__doc__, rows_of, ("--precs", "fp32,bf16"), ("--runs", 2, "runs at a time"))
