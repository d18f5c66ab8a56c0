"""SoftCPT in this CoOp checkout: several tasks at once, over CoOp's own data-set classes and splits.

    python train_softcpt.py --root DATA --seed 1 --trainer SoftCPT --output-dir output/run \
        --dataset-config-file softcpt/configs/datasets/general10.yaml \
        --config-file softcpt/configs/trainers/SoftCPT/rn50.yaml DATASET.NUM_SHOTS 16

The flags and the order of merges are CoOp's, and so may be the files of data sets. The plug-in is in softcpt/, whose
packages `datasets` and `trainers` have the names of CoOp's: they are found first here, and nowhere else.
"""

from __future__ import annotations

import contextlib
import importlib
import pkgutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent
PLUGIN = ROOT / "softcpt"


def first_on_path(folder: Path) -> None:
    sys.path[:] = [str(folder), *(path for path in sys.path if path != str(folder))]
    importlib.invalidate_caches()


def register_checkouts_datasets() -> None:
    """Import all of the checkout's `datasets`, for their entries in Dassl's registry, and leave the name free again."""
    first_on_path(ROOT)
    for module in pkgutil.iter_modules([str(ROOT / "datasets")]):
        try:
            importlib.import_module(f"datasets.{module.name}")
        except ImportError as error:
            print(f"warning: datasets/{module.name}.py is left out: {error}", file=sys.stderr)
    for name in [name for name in sys.modules if name == "datasets" or name.startswith("datasets.")]:
        del sys.modules[name]


@contextlib.contextmanager
def keeping_what_is_there(registry: Any) -> Iterator[None]:
    """Leave out what would take a registered name: it only lends its task's name, template and metric."""
    register, taken = registry.register, set(registry.registered_names())

    def register_new(obj: Any = None, force: bool = False) -> Any:
        if obj is None:
            return lambda decorated: register_new(decorated) or decorated
        if obj.__name__ not in taken:
            register(obj, force=force)
            return None
        theirs = registry.get(obj.__name__)
        for key in ("task_name", "template", "metric"):
            if hasattr(obj, key) and not hasattr(theirs, key):
                setattr(theirs, key, getattr(obj, key))
        return None

    registry.register = register_new
    try:
        yield
    finally:
        del registry.register


def main() -> int:
    first_on_path(PLUGIN)
    import compat

    compat.ensure_dassl()
    from dassl.data.datasets import DATASET_REGISTRY

    register_checkouts_datasets()
    first_on_path(PLUGIN)
    with keeping_what_is_there(DATASET_REGISTRY):
        import datasets  # noqa: F401
    import train

    return train.main()


if __name__ == "__main__":
    sys.exit(main())
