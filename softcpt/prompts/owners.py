"""Which classes or tasks a learned tensor's rows belong to."""

import hashlib
import re
from collections.abc import Sequence

import torch
from torch import Tensor, nn

OWNERS = re.compile(r"(^|\.)owners$")


def register_owners(module: nn.Module, names: Sequence[str]) -> None:
    """Give a module a buffer with a digest of the classes or tasks that its rows belong to.

    Without it, rows learned for some classes would silently load for as many other classes.
    """
    module.register_buffer("owners", digest_of_names(names))


def digest_of_names(names: Sequence[str]) -> Tensor:
    """(16,) bytes, a digest of a list of names."""
    digest = hashlib.blake2b("\n".join(names).encode(), digest_size=16).digest()
    return torch.tensor(list(digest), dtype=torch.uint8)
