"""Time a frozen image tower, per image: ours against the `clip` package's in fp32.

With bf16 our tower is stored and run in bf16, as with PREC amp. With --autocast it is compared with ours in fp32, whose
weights autocast converts in every pass.

    python scripts/bench/image_tower.py [--backbone ViT-L/14] [--batch 32] [--precs fp32,bf16] [--autocast] [--json]
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from scripts.lib.bench import harness
from scripts.lib.bench.harness import DEVICE, DTYPES, in_own_process

import torch


@torch.no_grad()
def measure(kind: str, backbone: str, prec: str, batch: int, repeats: int) -> dict:
    """Seconds per image of a random batch, and the features for comparison."""
    package, dtype = harness.package_clip(backbone), DTYPES[prec]
    image = torch.randn(batch, 3, 224, 224, generator=torch.Generator().manual_seed(0)).to(DEVICE)
    stored = None if prec == "fp32" or kind == "autocast" else dtype
    model = package if kind == "plain" else harness.clip_of(package, stored)
    tower = model.visual.to(DEVICE)
    del package, model  # their other weights would count as peak memory

    def encode() -> torch.Tensor:
        with torch.autocast(DEVICE, dtype, enabled=prec != "fp32"):
            return tower(image)

    return {"seconds": harness.best_of(encode, repeats) / batch, "features": encode().float().cpu().numpy()}


def rows_of(args):
    tail = args.batch, args.repeats
    plain = (
        None if args.autocast else in_own_process(measure, "plain", args.backbone, "fp32", *tail, threads=args.threads)
    )
    for prec in args.precs.split(","):
        if args.autocast:
            plain = in_own_process(measure, "autocast", args.backbone, prec, *tail, threads=args.threads)
        ours = in_own_process(measure, "ours", args.backbone, prec, *tail, threads=args.threads)
        row = {"backbone": args.backbone, "batch": args.batch, "prec": prec, **harness.versus(plain, ours)}
        yield {**row, "max_rel_diff": harness.relative(ours["features"], plain["features"])}


if __name__ == "__main__":
    autocast = "--autocast", False, "compare with our tower in fp32, under autocast"
    harness.main(__doc__, rows_of, ("--precs", "fp32,bf16"), ("--batch", 32), autocast)
