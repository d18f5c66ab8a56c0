"""SoftCPT's library: CLIPs, prompts, image features, records of runs, sweeps, reports and exported classifiers.

    from softcpt import load_classifier

    classifier = load_classifier("model.safetensors")

Imports no trainer, data set or script of this project.
"""

import warnings
from typing import Any

__all__ = ["load_classifier"]

warnings.filterwarnings("ignore", message="pkg_resources is deprecated")  # in the clip package


def __getattr__(name: str) -> Any:
    """Import what is public when it is first used: PyTorch takes seconds."""
    if name in __all__:
        from softcpt import inference

        return getattr(inference, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
