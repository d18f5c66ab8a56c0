"""CLIPs of all families as one: `load_clip`, the `CLIP` that it returns, a `Tuning` of its towers,
and the `Head` that makes logits of their features.

Imports nothing else of this project.
"""

from .heads import Head
from .layers import UNTUNED, Tuning
from .load import load_clip
from .model import CLIP

__all__ = ["UNTUNED", "CLIP", "Head", "Tuning", "load_clip"]
