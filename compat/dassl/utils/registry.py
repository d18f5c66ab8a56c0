"""Registries, which find classes by name."""

import difflib
import logging
from collections.abc import Collection
from functools import partial
from typing import Any

from yacs.config import CfgNode

logger = logging.getLogger(__name__)


class Registry:
    """Classes or functions by name, registered by `@REGISTRY.register()` or `REGISTRY.register(obj)`."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._objects: dict[str, Any] = {}

    def register(self, obj: Any = None, force: bool = False) -> Any:
        """Register `obj` by its `__name__` and return it; without `obj`, return a decorator that does so.

        Raises KeyError when the name is taken, unless `force`.
        """
        if obj is None:
            return partial(self.register, force=force)
        taken = self._objects.get(obj.__name__)
        if taken is not None and not force:
            owner = getattr(taken, "__module__", "?")
            raise KeyError(f'"{obj.__name__}" is already registered in the {self._name} registry (by {owner})')
        self._objects[obj.__name__] = obj
        return obj

    def get(self, name: str) -> Any:
        """The object of that name. Raises KeyError, with the legal names and the nearest one, if there is none."""
        if name not in self._objects:
            raise KeyError(f'"{name}" is not in the {self._name} registry; {_choices(name, self._objects)}')
        return self._objects[name]

    def registered_names(self) -> list[str]:
        """All names, in the order of registration."""
        return list(self._objects)

    def build(self, key: str, cfg: CfgNode, **kwargs: Any) -> Any:
        """Call the object whose name is the value of a config key, such as "DATASET.NAME", with `cfg` and `kwargs`.

        Raises ValueError, naming the key, when the name is unknown.
        """
        node, _, leaf = key.partition(".")
        name = cfg[node][leaf]
        check_availability(name, self._objects, key=key)
        if cfg.VERBOSE:
            logger.info("Loading %s: %s", self._name.lower(), name)
        return self._objects[name](cfg, **kwargs)


def check_availability(requested: str, available: Collection[str], key: str) -> None:
    """Raise ValueError unless `requested`, the value of the config key `key`, is one of `available`."""
    if requested not in available:
        raise ValueError(f"{key}: unknown name {requested!r}; {_choices(requested, available)}")


def _choices(requested: str, available: Collection[str]) -> str:
    """The end of an error message about a wrong name: the legal names and the nearest one."""
    names = list(available)
    if not names:
        return "nothing is registered: import the module that registers it first"
    nearest = max(names, key=lambda name: difflib.SequenceMatcher(None, str(requested), name).ratio())
    return f"choose from {names} (nearest: {nearest!r})"
