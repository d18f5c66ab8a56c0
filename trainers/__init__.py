"""The methods, one per file, over `base.py`; `parts` holds the mathematics of single ones. Importing this package
registers each method in Dassl's TRAINER_REGISTRY, so a new method is a new file and nothing else.
"""

import importlib
import pkgutil

import compat.provide  # noqa: F401  so that Dassl is found without train.py, too

from .base import PromptTrainer  # noqa: F401
from .engine import evaluator  # noqa: F401  registers it

for _module in sorted(module.name for module in pkgutil.iter_modules(__path__)):
    importlib.import_module(f"{__name__}.{_module}")
