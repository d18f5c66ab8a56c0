"""Image features of a batch in a frozen image tower: ours against the `clip` package's own in fp32. With bf16 the tower
is stored and run in bf16, as with PREC bf16.

    python scripts/bench/image_tower.py [--backbone ViT-L/14] [--batch 32] [--precs fp32,bf16] [--json]
"""

from __future__ import annotations

import _common
import torch
from _common import DEVICE, DTYPES, best_of, in_own_process, relative


@torch.no_grad()
def measure(kind: str, backbone: str, prec: str, batch: int, repeats: int) -> dict:
    """Seconds of a batch of random images, and its features for comparison."""
    package, dtype = _common.package_clip(backbone), DTYPES[prec]
    image = torch.randn(batch, 3, 224, 224, generator=torch.Generator().manual_seed(0)).to(DEVICE)
    if kind == "plain":
        tower = package.visual.to(DEVICE)
        del package
    else:
        model = _common.clip_of(package, None if prec == "fp32" else dtype)
        del package
        tower = model.visual.to(DEVICE)
        del model

    def encode() -> torch.Tensor:
        with torch.autocast(DEVICE, dtype, enabled=prec != "fp32"):
            return tower(image)

    return {"seconds": best_of(encode, repeats), "features": encode().float().cpu().numpy()}


def main() -> None:
    parser = _common.parser(__doc__)
    parser.add_argument("--precs", default="fp32,bf16")
    parser.add_argument("--batch", type=int, default=32)
    args = parser.parse_args()
    tail = args.batch, args.repeats
    plain = in_own_process(measure, "plain", args.backbone, "fp32", *tail, threads=args.threads)
    rows = []
    for prec in args.precs.split(","):
        ours = in_own_process(measure, "ours", args.backbone, prec, *tail, threads=args.threads)
        rows.append(
            {
                "backbone": args.backbone,
                "batch": args.batch,
                "prec": prec,
                "plain_seconds_per_image": plain["seconds"] / args.batch,
                "seconds_per_image": ours["seconds"] / args.batch,
                "ratio": plain["seconds"] / ours["seconds"],
                "plain_peak_bytes": plain["peak_bytes"],
                "peak_bytes": ours["peak_bytes"],
                "max_rel_diff": relative(ours["features"], plain["features"]),
            }
        )
    _common.show(rows, args.json)


if __name__ == "__main__":
    main()
