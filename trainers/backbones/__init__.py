"""CLIPs of all families as one: `load_clip` and the `CLIP` that it returns. Imports nothing else of this project."""

from .load import load_clip
from .model import CLIP

__all__ = ["CLIP", "load_clip"]
