"""Whether finished runs are those of some calls of train.py: many at once, for sweeps and scripts."""

import argparse
from collections.abc import Callable, Sequence
from typing import Any

from yacs.config import CfgNode

from datasets.base import reading_once
from softcpt.evaluation.data import Stats

from .earlier import Now, plan, read_now
from .settings import flatten


class NoDataError(Exception):
    """The data of a run are not there, so that they cannot be compared."""


class FinishedRuns:
    """Compares finished runs with the calls that would make them. Each pair of config files is read once, and each data
    set once for each of its settings.

    Args:
        parse: arguments of train.py to a namespace.
        base: that namespace to the config of its files, and what `setup` needs beside it.
        setup: namespace and `base` to the config of the call.
        defaults: of all keys.

    Attributes:
        no_data: why data could not be compared, a line for each data set.
    """

    def __init__(
        self,
        parse: Callable[[Sequence[str]], argparse.Namespace],
        base: Callable[[argparse.Namespace], Any],
        setup: Callable[[argparse.Namespace, Any], CfgNode],
        defaults: CfgNode,
    ) -> None:
        self.parse, self.base, self.setup, self.defaults = parse, base, setup, defaults
        self.no_data: dict[str, None] = {}
        self._bases: dict[tuple[str, str], Any] = {}
        self._data: dict[str, Now | str] = {}
        self._stats, self._lists = Stats(), {}

    def config(self, arguments: Sequence[str]) -> tuple[argparse.Namespace, CfgNode]:
        """The namespace and the config of a call. Raises ValueError and OSError as train.py does."""
        args = self.parse(arguments)
        files = args.dataset_config_file, args.config_file
        if files not in self._bases:
            self._bases[files] = self.base(args)
        return args, self.setup(args, self._bases[files])

    def difference(self, arguments: Sequence[str]) -> str:
        """What distinguishes the finished run in a call's output folder from what the call would make; "" if it is the
        same, or if the data are not there."""
        try:
            plan(*self.config(arguments), self.defaults, self._read)
        except NoDataError as error:
            self.no_data[str(error)] = None
        except (ValueError, OSError) as error:
            return str(error)
        return ""

    def _read(self, cfg: CfgNode) -> Now:
        key = repr((cfg.SEED, sorted(flatten(cfg.DATASET).items())))
        if key not in self._data:
            try:
                with reading_once(self._lists):
                    self._data[key] = read_now(cfg, self._stats)
            except FileNotFoundError as error:
                self._data[key] = str(error).splitlines()[0]
        found = self._data[key]
        if isinstance(found, str):
            raise NoDataError(found)
        return found
