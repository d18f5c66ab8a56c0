"""An epoch of SoftCPT at Plant-6 size, 16 shots, from JPEG files of 500 x 375 pixels: with and without cached views,
against the plain path. Also what decoding and augmenting an image takes.

    python scripts/bench/train_epoch.py [--steps 57] [--plain-steps 3] [--prec fp32] [--json]
"""

from __future__ import annotations

import contextlib
import io
import tempfile
import time
from pathlib import Path

import _common
import _trainer
from _common import in_own_process


def measure(kind: str, case: str, backbone: str, prec: str, views: int, steps: int) -> dict:
    """Seconds of `steps` training steps after a first one, of filling the cache, and of reading an image."""
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        root = _trainer.draw_images(Path(folder), 64)
        opts = "DATASET.NUM_SHOTS", 16, "FEATURES.TRAIN_VIEWS", views
        trainer = _trainer.build(kind, "SoftCPT", case, backbone, prec, root, *opts)
        dataset = trainer.train_loader_x.dataset
        start = time.perf_counter()
        for i in range(32):
            dataset[i]
        read = (time.perf_counter() - start) / 32
        start = time.perf_counter()
        trainer.before_train()
        fill = time.perf_counter() - start
        trainer.epoch, trainer.num_batches = 0, 10**9
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


def main() -> None:
    parser = _common.parser(__doc__)
    parser.add_argument("--case", default="plant6")
    parser.add_argument("--prec", default="fp32")
    parser.add_argument("--steps", type=int, default=57)
    parser.add_argument("--plain-steps", type=int, default=3)
    args = parser.parse_args()
    rows, plain = [], None
    for kind, views, prec, steps in (
        ("plain", 0, "fp32", args.plain_steps),
        ("shared", 0, args.prec, args.steps),
        ("shared", 1, args.prec, args.steps),
    ):
        got = in_own_process(measure, kind, args.case, args.backbone, prec, views, steps, threads=args.threads)
        plain = plain or got["seconds"]
        rows.append(
            {
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
        )
    _common.show(rows, args.json)


if __name__ == "__main__":
    main()
