"""SoftCPT in this CoOp checkout: several tasks at once, over CoOp's own data-set classes and splits.

    python train_softcpt.py --root DATA --seed 1 --trainer SoftCPT --output-dir output/run \
        --dataset-config-file softcpt/configs/datasets/general10.yaml \
        --config-file softcpt/configs/trainers/SoftCPT/rn50.yaml DATASET.NUM_SHOTS 16

The flags, and the order in which settings override each other, are CoOp's; CoOp's own config files of data sets work,
too. The packages `datasets` and `trainers` of softcpt/ have the same names as CoOp's; only this script imports them.
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
    """Import the checkout's `datasets`, for their entries in Dassl's registry, and free the name for the plug-in's."""
    first_on_path(ROOT)
    for module in pkgutil.iter_modules([str(ROOT / "datasets")]):
        try:
            importlib.import_module(f"datasets.{module.name}")
        except ImportError as error:
            print(f"warning: datasets/{module.name}.py is left out: {error}", file=sys.stderr)
    for name in [name for name in sys.modules if name.split(".")[0] == "datasets"]:
        del sys.modules[name]


@contextlib.contextmanager
def keeping_what_is_there(registry: Any) -> Iterator[None]:
    """Keep registered classes: a new one of the same name only adds the task's name, template and metric to it."""
    keys, register = ("task_name", "template", "metric"), registry.register
    # Noted before any class gets one, since others may inherit from it.
    declared = {name: [key for key in keys if hasattr(registry.get(name), key)] for name in registry.registered_names()}

    def register_new(obj: Any = None, force: bool = False) -> Any:
        if obj is None:
            return lambda decorated: register_new(decorated) or decorated
        if obj.__name__ not in declared:
            return register(obj, force=force)
        for key in keys:
            if hasattr(obj, key) and key not in declared[obj.__name__]:
                setattr(registry.get(obj.__name__), key, getattr(obj, key))

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
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)  # the shell's status for Ctrl-C, without a traceback
