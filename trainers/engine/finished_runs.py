"""Whether finished runs are those of some calls of train.py: many at once, for sweeps and scripts."""

import argparse
from collections.abc import Callable, Sequence

from yacs.config import CfgNode

from datasets.base import reading_once
from softcpt.evaluation.data import Stats

from .config import ConfigFiles, read_files
from .earlier import Now, plan, read_now
from .settings import flatten


class NoDataError(Exception):
    """The data of a run are not there, so that they cannot be compared."""


class FinishedRuns:
    """Compares finished runs with the calls that would make them. Each pair of config files is read once, and each data
    set once for each of its settings.

    Args:
        parse: arguments of train.py to a namespace.
        setup: the namespace and its config files to the config of the call.

    Attributes:
        no_data: why data could not be compared, a line for each data set.
    """

    def __init__(
        self,
        parse: Callable[[Sequence[str]], argparse.Namespace],
        setup: Callable[[argparse.Namespace, ConfigFiles], CfgNode],
    ) -> None:
        self.parse, self.setup = parse, setup
        self.no_data: dict[str, None] = {}
        self._files: dict[tuple[str, ...], ConfigFiles] = {}
        self._data: dict[str, Now | str] = {}
        self._stats = Stats()
        self._lists: dict = {}

    def config(self, arguments: Sequence[str]) -> CfgNode:
        """The config of a call. Raises ValueError and OSError as train.py does."""
        return self._config(self.parse(arguments))

    def _config(self, args: argparse.Namespace) -> CfgNode:
        if args.files not in self._files:
            self._files[args.files] = read_files(*args.files)
        return self.setup(args, self._files[args.files])

    def difference(self, arguments: Sequence[str]) -> str:
        """What distinguishes the finished run in a call's output folder from what the call would make; "" if it is the
        same, or if the data are not there."""
        args = self.parse(arguments)
        try:
            cfg = self._config(args)
            plan(args, cfg, self._files[args.files].defaults, self._read, quick=True)
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
