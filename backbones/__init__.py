"""CLIPs of all families as one: `load_clip`, the `CLIP` that it returns, a `Tuning` of its towers.

Imports nothing else of this project.
"""

from .layers import UNTUNED, Tuning
from .load import load_clip
from .model import CLIP

__all__ = ["UNTUNED", "CLIP", "Tuning", "load_clip"]
