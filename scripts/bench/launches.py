"""Count the operations of a training step that launch a kernel on a GPU: forward, backward and optimiser, on cached
features where a method can. They do not depend on the machine, so a CPU counts them, on the path that a GPU takes.

    python scripts/bench/launches.py [--methods SoftCPT,CoOp] [--case plant6] [--prec fp32] [--most 0] [--json]

Left out are views, allocations and reads by the host. `--most N` also prints the N most frequent operations of each
method.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from scripts.lib.bench import harness, trainers

import torch
from dassl.engine import TRAINER_REGISTRY
from torch.utils._python_dispatch import TorchDispatchMode

from softcpt.backbones import layers
from softcpt.prompts import encoder

NO_KERNEL = ("aten::empty", "aten::new_empty", "aten::_local_scalar_dense", "aten::lift_fresh", "aten::_unsafe_view")


class Launches(TorchDispatchMode):
    """Counts operations by name, without those that return a view or only allocate."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        schema = func._schema
        views = any(value.alias_info and not value.alias_info.is_write for value in schema.returns)
        if not views and not schema.name.startswith(NO_KERNEL):
            self.counts[schema.name.removeprefix("aten::")] += 1
        return func(*args, **(kwargs or {}))


def measure(method: str, case: str, backbone: str, prec: str, batch: int) -> dict:
    """Operations of the second step of a method, by name."""
    encoder.on_cpu = layers.on_cpu = lambda value: False
    with trainers.built("shared", method, case, backbone, prec) as trainer:
        torch.manual_seed(0)
        image = torch.randn(batch, 3, *trainer.clip.preprocessing.size)
        if not trainer.tunes_images:
            image = trainer.image_features(image)
        label = torch.randint(len(trainer.class_task), (batch,))
        data = {"img": image, "label": label, "domain": torch.zeros(batch, dtype=torch.long)}
        trainer.set_model_mode("train")
        trainer.forward_backward(data)
        with Launches() as found:
            trainer.forward_backward(data)
        return {"launches": found.counts}


def rows_of(args):
    learning = [n for n in TRAINER_REGISTRY.registered_names() if TRAINER_REGISTRY.get(n).learns_by_gradient]
    for method in args.methods.split(",") if args.methods else learning:
        counts = harness.in_own_process(measure, method, args.case, args.backbone, args.prec, args.batch)["launches"]
        for name, count in counts.most_common(args.most):
            print(f"{method:12} {count:6} {name}")
        yield {"method": method, "case": args.case, "prec": args.prec, "launches": counts.total()}


if __name__ == "__main__":
    own = ("--methods", "", "default: all that learn"), ("--case", "plant6"), ("--prec", "fp32"), ("--batch", 32)
    harness.main(__doc__, rows_of, *own, ("--most", 0, "operations of a method to print"))
