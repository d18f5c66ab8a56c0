"""State dicts within the files that people have: in an entry of a checkpoint, under prefixes, pickled with a model."""

import pickle
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

WRAPPERS = ("state_dict", "model_state_dict", "model")  # entries that hold a state dict
PREFIXES = ("module.", "_orig_mod.", "model.", "clip.", "clip_model.")  # of DataParallel, torch.compile and wrappers


def load_plain(path: Path) -> Any:
    """What PyTorch saved in a file, without running code in it.

    Raises ValueError for a file with pickled objects, as a whole model is: it names their class and how to convert it.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL ([\w.]+)", str(error))
        if not found:
            raise
        raise ValueError(
            f"it holds pickled objects ({found[1]}), as a whole model that was saved is, and reading those would run "
            f'code of the file. If you trust it, write its weights alone: python -c "import torch; x = torch.load('
            f"'{path}', weights_only=False); torch.save(x['state_dict'] if isinstance(x, dict) else x.state_dict(), "
            f"'weights.pt')\""
        ) from error


def plain_state_dict(saved: Any, prefixes: Sequence[str] = PREFIXES) -> dict[str, Tensor]:
    """The state dict in what a file holds: itself or the one entry of WRAPPERS that is one, without those of `prefixes`
    that all of its names have.

    Raises ValueError if there is none, or several, of which any may be meant.
    """
    if not isinstance(saved, dict):
        raise ValueError(f"it holds a {type(saved).__name__}, not a state dict")
    inner = [key for key in WRAPPERS if isinstance(saved.get(key), dict) and _any_tensor(saved[key].values())]
    if len(inner) > 1:
        raise ValueError(f"it holds several state dicts: {', '.join(inner)}; save the one that you want alone")
    inner = inner or [key for key in WRAPPERS[:1] if isinstance(saved.get(key), dict)]
    if inner and (inner[0] == WRAPPERS[0] or not _any_tensor(saved.values())):
        saved = saved[inner[0]]
    while common := [p for p in prefixes if saved and all(isinstance(key, str) and key.startswith(p) for key in saved)]:
        saved = {key.removeprefix(common[0]): value for key, value in saved.items()}
    return saved


def first_words(state: Iterable[str]) -> str:
    """What the names of a state dict begin with, for messages: "visual. (12), head. (2)"."""
    counts = Counter(f"{key.split('.')[0]}." if "." in key else key for key in map(str, state))
    more = f" and {len(counts) - 5:,} more" if len(counts) > 5 else ""
    return ", ".join(f"{word:.60} ({n:,})" for word, n in counts.most_common(5)) + more


def _any_tensor(values: Iterable[Any]) -> bool:
    return any(isinstance(value, Tensor) for value in values)
