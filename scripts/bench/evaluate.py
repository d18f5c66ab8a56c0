"""Time the first evaluation, which fills the cache of image features, and the second, per test image: against the plain
path (class features again for every batch of 100 images, no cache) and against the image tower alone. Then the reading
of a cache's file, against the digest of its values that earlier versions computed in place of a checksum.

    python scripts/bench/evaluate.py [--case plant6] [--images 464] [--json]
"""

from __future__ import annotations

import hashlib
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from scripts.lib.bench import harness, trainers  # first: they provide Dassl

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from softcpt.images.feature_cache import FeatureCache, bytes_of


def measure(kind: str, case: str, backbone: str, prec: str, images: int) -> dict:
    """Seconds of two evaluations of `images` test images, and of decoding them and running the image tower alone."""
    with trainers.built(kind, "SoftCPT", case, backbone, prec, images=64) as trainer:
        loader = trainer.test_loader if kind == "plain" else trainer.test_loader.loader
        items = loader.dataset.data_source
        items[:] = (items * (images // len(items) + 1))[:images]
        if kind == "plain":
            trainer.class_features = lambda: None
            trainer.class_logits = lambda x, *_, **__: trainer.logits(x, trainer.text_features())
        tower = harness.seconds_of(lambda: [trainer.encode_batch(batch["img"]) for batch in loader])
        return {"tower": tower, "first": harness.seconds_of(trainer.test), "second": harness.seconds_of(trainer.test)}


def reading(megabytes: int) -> dict[str, float]:
    """Seconds for the file of a cache as it is written now, and with the digest of an earlier version."""
    features, seconds = torch.randn(megabytes << 8, 1024), {}  # fp32: 4 KiB a row
    with tempfile.TemporaryDirectory() as folder:
        cache = FeatureCache(folder)
        cache.get({}, features.shape, lambda: features)
        (path,) = Path(folder).iterdir()
        for name in ("read_seconds", "read_before_seconds"):
            cache.seconds = 0.0
            seconds[name] = harness.best_of(lambda: cache.get({}, features.shape, lambda: features), 3)
            if cache.seconds:
                raise SystemExit("the cache's file was not read but made anew")
            payload = hashlib.blake2b(bytes_of(features), digest_size=16).hexdigest()
            with safe_open(path, "pt") as file:
                facts = {"digest": file.metadata()["digest"], "payload": payload}
            save_file({"features": features}, path, facts)
    return seconds


def rows_of(args):
    common, n = (args.case, args.backbone, args.prec, args.images), args.images
    plain = harness.in_own_process(measure, "plain", *common, threads=args.threads)
    ours = harness.in_own_process(measure, "shared", *common, threads=args.threads)
    read = harness.in_own_process(reading, args.megabytes, threads=args.threads)
    yield {
        "case": args.case,
        "images": n,
        "plain_seconds": plain["second"] / n,
        "tower_seconds": ours["tower"] / n,
        "first_seconds": ours["first"] / n,
        "second_seconds": ours["second"] / n,
        "first_over_tower": ours["first"] / ours["tower"],
        "ratio_first": plain["second"] / ours["first"],
        "ratio_second": plain["second"] / ours["second"],
        "megabytes": args.megabytes,
        "read_seconds": read["read_seconds"],
        "read_before_seconds": read["read_before_seconds"],
        "ratio_read": read["read_before_seconds"] / read["read_seconds"],
    }


if __name__ == "__main__":
    own = ("--images", 464, "test images"), ("--megabytes", 1024, "of cached features")
    harness.main(__doc__, rows_of, ("--case", "plant6"), ("--prec", "fp32"), *own)
