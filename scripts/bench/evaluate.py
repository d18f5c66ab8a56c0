"""Seconds a test image: the first evaluation (which fills the cache of image features) and the second, against the
plain path (class features again for every batch of 100 images, no cache) and against the image tower alone.

    python scripts/bench/evaluate.py [--case plant6] [--images 464] [--json]
"""

from __future__ import annotations

import contextlib
import io
import tempfile
import time
from pathlib import Path

import _common
import _trainer
import torch
from _common import BENCHMARKS, in_own_process


def measure(kind: str, case: str, backbone: str, prec: str, images: int) -> dict:
    """Seconds of two evaluations of `images` test images, and of decoding them and running the image tower alone."""
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        root = _trainer.draw_images(Path(folder), 64)
        trainer = _trainer.build(kind, "SoftCPT", case, backbone, prec, root)
        wrapped = trainer.test_loader
        loader = wrapped if kind == "plain" else wrapped.loader
        items = loader.dataset.data_source
        items[:] = (items * (images // len(items) + 1))[:images]
        if kind == "plain":
            trainer.model_inference = lambda image: _plain_inference(trainer, image)
        tower = timed(lambda: [trainer._encode_batch(batch["img"]) for batch in loader])
        return {"tower": tower, "first": timed(trainer.test), "second": timed(trainer.test)}


@torch.no_grad()
def _plain_inference(trainer, image):
    with trainer.autocast():
        return trainer.logits(trainer.image_features(image), trainer.text_features())


def timed(run) -> float:
    start = time.perf_counter()
    run()
    _common.synchronise()
    return time.perf_counter() - start


def main() -> None:
    parser = _common.parser(__doc__)
    parser.add_argument("--case", default="plant6", choices=BENCHMARKS)
    parser.add_argument("--prec", default="fp32")
    parser.add_argument("--images", type=int, default=464)
    args = parser.parse_args()
    common = args.case, args.backbone, args.prec, args.images
    plain = in_own_process(measure, "plain", *common, threads=args.threads)
    ours = in_own_process(measure, "shared", *common, threads=args.threads)
    n = args.images
    row = {
        "case": args.case,
        "images": n,
        "plain_seconds": plain["second"] / n,
        "tower_seconds": ours["tower"] / n,
        "first_seconds": ours["first"] / n,
        "second_seconds": ours["second"] / n,
        "first_over_tower": ours["first"] / ours["tower"],
        "ratio_first": plain["second"] / ours["first"],
        "ratio_second": plain["second"] / ours["second"],
    }
    _common.show([row], args.json)


if __name__ == "__main__":
    main()
