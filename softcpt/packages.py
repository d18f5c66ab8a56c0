"""Packages that only some features need: each is in a file requirements-GROUP.txt and in the extra softcpt[GROUP]."""

import sys
import warnings
from types import ModuleType


def installed(module: str) -> bool:
    try:
        return bool(__import__(module))
    except ImportError:
        return False


def optional(module: str, group: str, need: str) -> ModuleType:
    """A module of an optional package. Raises ValueError, which says what needs it and how to install it, without it.

    Args:
        group: the extra that has the package.
        need: what needs which package, in words.
    """
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="pkg_resources is deprecated")  # in the clip package
            __import__(module)
        return sys.modules[module]
    except ImportError as error:
        raise ValueError(
            f"{need} ({error}): pip install -r requirements-{group}.txt, or the extra softcpt[{group}]"
        ) from error
