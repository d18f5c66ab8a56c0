"""Count the kernels that one training step of each method launches: forward, backward and optimiser.

    python scripts/bench/launches.py [--methods SoftCPT,CoOp] [--case plant6] [--operations] [--json]

A step runs on the CPU by the operations of a GPU (`layers.on_accelerator`), in fp32, on cached image features where the
method takes them. A tower has the layers of ViT-B/16, but is narrow: counts do not depend on widths. An operation
counts unless its result is a view of its argument, or memory that nothing has filled. The optimiser updates all
parameters at once, as it does on a GPU.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from scripts.lib.bench import harness, trainers  # first: they provide Dassl

import torch
from dassl.engine import TRAINER_REGISTRY
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from softcpt.backbones import layers

NARROW = dict(harness.VIT_B, transformer_width=64, transformer_heads=1, embed_dim=64, vision_width=64)
PARTS = ("forward", "backward", "optimiser")


class Launches(TorchDispatchMode):
    """Counts operations by (part, name)."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[tuple[str, str]] = Counter()
        self.part = "forward"

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        if not name.startswith(("empty", "new_empty")) and not is_view(func, (args, kwargs), out):
            self.counts[self.part, name] += 1
        return out


def is_view(func: torch._ops.OpOverload, arguments: object, out: object) -> bool:
    """Whether an operation changes nothing, and returns no memory but that of its arguments: a view, or no tensor."""
    given = {leaf.untyped_storage()._cdata for leaf in tree_leaves(arguments) if isinstance(leaf, Tensor)}
    made = [leaf.untyped_storage()._cdata for leaf in tree_leaves(out) if isinstance(leaf, Tensor)]
    return not func._schema.is_mutable and given.issuperset(made)


def measure(method: str, case: str, batch: int) -> Counter[tuple[str, str]]:
    """The counts of a step that is not the first."""
    harness.BACKBONES["narrow"] = dict(NARROW, vision_patch_size=16)
    trainers.CONFIGS["narrow"] = "vit_b16"
    layers.on_accelerator = lambda x: True
    launches = Launches()
    with trainers.built("shared", method, case, "narrow", "fp32") as trainer:
        torch.manual_seed(0)
        image = torch.randn(batch, 3, *trainer.clip.preprocessing.size)
        image = image if trainer.tunes_images else trainer.encode_batch(image)
        data = {"img": image, "label": torch.arange(batch) * len(trainer.class_task) // batch}
        data["domain"] = torch.zeros(batch, dtype=torch.long)
        for group in trainer.optim.param_groups:
            group["foreach"] = True
        trainer.set_model_mode("train")
        trainer.forward_backward(data)
        in_part(trainer, launches, "backward", "optimiser")
        in_part(trainer, launches, "step_optimiser", "forward", before="optimiser")
        with launches:
            trainer.forward_backward(data)
    return launches.counts


def in_part(trainer: object, launches: Launches, name: str, after: str, before: str = "backward") -> None:
    """Count a method's calls as the part `before`, and what follows as `after`."""
    function = getattr(trainer, name)

    def counted(*args: object) -> None:
        launches.part = before
        function(*args)
        launches.part = after

    setattr(trainer, name, counted)


def rows_of(args) -> Iterator[dict]:
    for method in args.methods.split(",") if args.methods else methods():
        counts = measure(method, args.case, args.batch)
        parts = {part: sum(n for (of, _), n in counts.items() if of == part) for part in PARTS}
        yield {"method": method, **parts, "launches": sum(parts.values())}
        if args.operations:
            for (part, name), n in counts.most_common():
                yield {"method": f"{method}: {name}", part: n}


def methods() -> list[str]:
    """Those that train by gradients."""
    classes = map(TRAINER_REGISTRY.get, TRAINER_REGISTRY.registered_names())
    return [each.__name__ for each in classes if each.__module__.startswith("trainers.") and each.learns_by_gradient]


if __name__ == "__main__":
    operations = "--operations", False, "print the counts of each operation, too"
    harness.main(__doc__, rows_of, ("--methods", ""), ("--case", "plant6"), ("--batch", 32), operations)
