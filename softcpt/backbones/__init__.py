"""CLIPs of all families behind one interface: `load_clip` returns a `CLIP`, whose towers take a `Tuning`; a `Head`
turns their features into logits.

Imports nothing else of this project.
"""

from .find import published, why_not_here
from .heads import Head
from .layers import UNTUNED, Tuning
from .load import load_clip
from .model import CLIP

__all__ = ["UNTUNED", "CLIP", "Head", "Tuning", "load_clip", "published", "why_not_here"]
