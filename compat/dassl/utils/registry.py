"""Registries: names to classes or functions."""

from collections.abc import Callable
from typing import Any

from .tools import describe_choices

__all__ = ["Registry"]


class Registry:
    """A mapping from names to objects, filled by a decorator: `@REGISTRY.register()` or `REGISTRY.register(obj)`."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._obj_map: dict[str, Any] = {}

    def register(self, obj: Any = None, force: bool = False) -> Callable | None:
        """Register `obj` under its `__name__`; without `obj`, return a decorator that does.

        Raises KeyError when the name is taken, unless `force`.
        """
        if obj is not None:
            self._add(obj, force)
            return None

        def decorate(decorated: Any) -> Any:
            self._add(decorated, force)
            return decorated

        return decorate

    def _add(self, obj: Any, force: bool) -> None:
        name = obj.__name__
        if name in self._obj_map and not force:
            taken = getattr(self._obj_map[name], "__module__", "?")
            raise KeyError(f'"{name}" is already registered in the {self._name} registry (by {taken})')
        self._obj_map[name] = obj

    def get(self, name: str) -> Any:
        """The object registered as `name`; KeyError with the legal names and the nearest one otherwise."""
        if name not in self._obj_map:
            raise KeyError(f'"{name}" is not in the {self._name} registry; {describe_choices(name, self._obj_map)}')
        return self._obj_map[name]

    def registered_names(self) -> list[str]:
        """All names, in the order of registration."""
        return list(self._obj_map)

    def __contains__(self, name: str) -> bool:
        return name in self._obj_map
