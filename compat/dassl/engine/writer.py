"""Tensorboard's event files, which are optional."""

import contextlib
import logging
import threading
from collections.abc import Callable

logger = logging.getLogger(__name__)


class LazyWriter:
    """Writes scalars below `log_dir`; does nothing if tensorboard is not installed.

    It imports tensorboard at the first scalar, because that takes a second, which runs that only evaluate need not
    spend. If the files cannot be written, as on a full disk, the curves end with a warning.
    """

    def __init__(self, log_dir: str) -> None:
        self.log_dir = log_dir
        self._writer = None
        self._off = False

    def add_scalar(self, tag: str, scalar_value: float, global_step: int | None = None) -> None:
        if self._off:
            return
        try:
            if self._writer is None:
                from torch.utils.tensorboard import SummaryWriter

                threading.excepthook = _without_writers(threading.excepthook)
                self._writer = SummaryWriter(log_dir=self.log_dir)
            self._writer.add_scalar(tag, scalar_value, global_step)
        except ImportError:
            logger.info("The package tensorboard is missing: no event files are written")
            self._off = True
        except OSError as error:
            logger.warning("%s cannot be written, the curves end here: %s", self.log_dir, error.strerror or error)
            self._off, self._writer = True, None

    def close(self) -> None:
        if self._writer is not None:
            with contextlib.suppress(OSError):
                self._writer.close()
        self._writer = None


def _without_writers(hook: Callable) -> Callable:
    """`hook`, for errors in threads, but silent about those of tensorboard's, which the writer's next call raises."""

    def quiet(args: threading.ExceptHookArgs) -> None:
        if not (issubclass(args.exc_type, OSError) and type(args.thread).__name__ == "_AsyncWriterThread"):
            hook(args)

    return quiet
