"""CLIPs of all families behind one interface: `load_clip` returns a `CLIP`, whose towers take a `Tuning`; a `Head`
turns their features into logits.

Of this project it imports `softcpt.files` and `softcpt.packages` alone.
"""

from .find import published, why_not_here
from .heads import Head
from .layers import UNTUNED, Tuning
from .load import load_clip
from .model import CLIP

__all__ = ["UNTUNED", "CLIP", "Head", "Tuning", "load_clip", "published", "why_not_here"]
