"""Time a whole training step of each method, with the image tower: ours against the plain path (77 tokens, every class
of every task encoded), which is always in fp32.

    python scripts/bench/train_step.py [--methods SoftCPT,CoOp] [--case plant6] [--prec fp32] [--views] [--json]
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from scripts.lib.bench import harness, trainers  # first: they provide Dassl

import torch


def measure(kind: str, method: str, case: str, backbone: str, prec: str, batch: int, views: bool, repeats: int) -> dict:
    """Seconds of a step on random images, or with `views` on features as the cache holds them."""
    with trainers.built(kind, method, case, backbone, prec) as trainer:
        torch.manual_seed(0)
        image = torch.randn(batch, 3, *trainer.clip.preprocessing.size)
        if views and kind == "shared":
            image = trainer.image_features(image.to(trainer.device))
        label = torch.randint(len(trainer.class_task), (batch,))
        data = {"img": image, "label": label, "domain": torch.zeros(batch, dtype=torch.long)}
        trainer.set_model_mode("train")
        return {"seconds": harness.best_of(lambda: trainer.forward_backward(data), repeats)}


def rows_of(args):
    def run(kind: str, method: str, prec: str, repeats: int) -> dict:
        common = method, args.case, args.backbone, prec, args.batch, args.views
        return harness.in_own_process(measure, kind, *common, repeats, threads=args.threads)

    for method in args.methods.split(","):
        ours = run("shared", method, args.prec, args.repeats)
        plain = None if args.no_plain else run("plain", method, "fp32", 1)
        row = {"method": method, "case": args.case, "batch": args.batch, "prec": args.prec, "views": args.views}
        yield {**row, **harness.versus(plain, ours)}


if __name__ == "__main__":
    own = ("--methods", "SoftCPT,CoOp,CoCoOp,KgCoOp,ProGrad,PLOT"), ("--case", "plant6"), ("--prec", "fp32")
    views = "--views", False, "run ours on cached features, as with FEATURES.TRAIN_VIEWS"
    no_plain = "--no-plain", False, "skip the plain path, if it does not fit in memory"
    harness.main(__doc__, rows_of, *own, ("--batch", 32), views, no_plain)
