"""A whole training step of each method, image tower included: ours against the plain path (77 tokens, every class of
every task encoded), both in fp32 unless said otherwise.

    python scripts/bench/train_step.py [--methods SoftCPT,CoOp] [--case plant6] [--prec fp32] [--views] [--json]
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import _common
import _trainer
import torch
from _common import BENCHMARKS, best_of, in_own_process


def measure(kind: str, method: str, case: str, backbone: str, prec: str, batch: int, views: bool, repeats: int) -> dict:
    """Seconds of a step on random images, or with `views` on features as the cache holds them."""
    with tempfile.TemporaryDirectory() as folder:
        root = _trainer.draw_images(Path(folder), 4)
        trainer = _trainer.build(kind, method, case, backbone, prec, root)
        torch.manual_seed(0)
        image = torch.randn(batch, 3, *trainer.clip.preprocessing.size)
        if views and kind == "shared":
            image = trainer.image_features(image.to(trainer.device))
        n = len(trainer.class_task)
        data = {"img": image, "label": torch.randint(n, (batch,)), "domain": torch.zeros(batch, dtype=torch.long)}
        trainer.set_model_mode("train")
        trainer.epoch, trainer.batch_idx, trainer.num_batches = 0, 0, 10**9
        return {"seconds": best_of(lambda: trainer.forward_backward(data), repeats)}


def main() -> None:
    parser = _common.parser(__doc__)
    parser.add_argument("--methods", default="SoftCPT,CoOp,CoCoOp,KgCoOp,ProGrad,PLOT")
    parser.add_argument("--case", default="plant6", choices=BENCHMARKS)
    parser.add_argument("--prec", default="fp32")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--views", action="store_true", help="ours: on cached features, as with FEATURES.TRAIN_VIEWS")
    parser.add_argument("--no-plain", action="store_true", help="where the plain path does not fit in memory")
    args = parser.parse_args()
    rows = []
    for method in args.methods.split(","):
        common = method, args.case, args.backbone
        tail = args.batch, args.views, args.repeats
        ours = in_own_process(measure, "shared", *common, args.prec, *tail, threads=args.threads)
        plain = None
        if not args.no_plain:
            plain = in_own_process(measure, "plain", *common, "fp32", *tail[:2], 1, threads=args.threads)
        rows.append(
            {
                "method": method,
                "case": args.case,
                "batch": args.batch,
                "prec": args.prec,
                "views": args.views,
                "plain_seconds": plain and plain["seconds"],
                "seconds": ours["seconds"],
                "ratio": plain and plain["seconds"] / ours["seconds"],
                "plain_peak_bytes": plain and plain["peak_bytes"],
                "peak_bytes": ours["peak_bytes"],
            }
        )
    _common.show(rows, args.json)


if __name__ == "__main__":
    main()
