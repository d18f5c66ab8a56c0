"""Train SoftCPT at the sizes of the paper's benchmarks, and project the time of a whole run: features of the augmented
views, read from JPEG files of 500 x 375 pixels, then an epoch after a first one, with all that a run does in it.

    python scripts/bench/end_to_end.py [--cases plant6,rs8,fashion20,general10] [--prec amp] [--shots 16] [--json]
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from scripts.lib.bench import harness, trainers


def measure(case: str, backbone: str, prec: str, shots: int, views: int) -> dict:
    """Seconds of filling the cache, of an epoch, of the class features of the test, and of a whole run."""
    workers = 0 if harness.DEVICE == "cpu" else -1
    opts = "DATASET.NUM_SHOTS", shots, "FEATURES.TRAIN_VIEWS", views, "DATALOADER.NUM_WORKERS", workers
    with trainers.built("shared", "SoftCPT", case, backbone, prec, *opts, images=64) as trainer:
        fill = harness.seconds_of(trainer.before_train)

        def epoch() -> None:
            trainer.before_epoch()
            trainer.run_epoch()

        epoch()
        trainer.epoch = 1
        seconds, steps = harness.seconds_of(epoch), len(trainer.train_loader_x)
        return {
            "images": len(trainer.dm.dataset.train_x),
            "steps": steps * trainer.max_epoch,
            "fill_seconds": fill,
            "step_seconds": seconds / steps,
            "run_minutes": (fill + seconds * trainer.max_epoch) / 60,
        }


def rows_of(args):
    for case in args.cases.split(","):
        common = args.backbone, args.prec, args.shots, args.views
        got = harness.in_own_process(measure, case, *common, threads=args.threads)
        row = {"case": case, "classes": sum(harness.BENCHMARKS[case]), "backbone": args.backbone, "prec": args.prec}
        yield {**row, "shots": args.shots, "views": args.views, **got}


if __name__ == "__main__":
    own = ("--cases", "plant6,rs8,fashion20,general10"), ("--prec", "amp"), ("--shots", 16)
    harness.main(__doc__, rows_of, *own, ("--views", 1, "FEATURES.TRAIN_VIEWS"))
