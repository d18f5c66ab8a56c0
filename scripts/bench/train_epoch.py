"""Time an epoch of SoftCPT at the size of Plant-6 with 16 shots, from JPEG files of 500 x 375 pixels, with and without
cached views, against the plain path; also decoding and augmenting an image.

    python scripts/bench/train_epoch.py [--steps 57] [--plain-steps 3] [--prec fp32] [--json]
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from scripts.lib.bench import harness, trainers


def measure(kind: str, case: str, backbone: str, prec: str, views: int, steps: int) -> dict:
    """Seconds of `steps` training steps after a first one, of filling the cache, and of reading an image."""
    opts = "DATASET.NUM_SHOTS", 16, "FEATURES.TRAIN_VIEWS", views
    with trainers.built(kind, "SoftCPT", case, backbone, prec, *opts, images=64) as trainer:
        dataset = trainer.train_loader_x.dataset
        read = harness.seconds_of(lambda: [dataset[i] for i in range(32)]) / 32
        fill = harness.seconds_of(trainer.before_train)
        trainer.before_epoch()
        trainer.set_model_mode("train")
        for step, batch in enumerate(trainer.train_loader_x):
            if step == 1:
                start = time.perf_counter()
            trainer.batch_idx = step
            trainer.forward_backward(batch)
            if step == steps:
                break
        return {"seconds": (time.perf_counter() - start) / step, "fill": fill, "read": read}


def rows_of(args):
    plain, ours = None, ("shared", args.prec, args.steps)
    for kind, prec, steps, views in (("plain", "fp32", args.plain_steps, 0), (*ours, 0), (*ours, 1)):
        common = args.case, args.backbone, prec, views, steps
        got = harness.in_own_process(measure, kind, *common, threads=args.threads)
        plain = plain or got["seconds"]
        yield {
            "path": kind,
            "views": views,
            "prec": prec,
            "step_seconds": got["seconds"],
            "epoch_seconds": 58 * got["seconds"],
            "ratio": plain / got["seconds"],
            "fill_seconds_per_view": got["fill"] / views if views else None,
            "read_seconds_per_image": got["read"],
            "peak_bytes": got["peak_bytes"],
        }


if __name__ == "__main__":
    own = ("--case", "plant6"), ("--prec", "fp32"), ("--steps", 57), ("--plain-steps", 3)
    harness.main(__doc__, rows_of, *own)
