"""Tensorboard event files that appear with the first scalar and are optional."""

import logging

logger = logging.getLogger(__name__)


class LazyWriter:
    """Writes scalars below `log_dir`; does nothing when the package tensorboard is missing.

    Importing tensorboard takes a second, and runs that only evaluate never need it.
    """

    def __init__(self, log_dir: str) -> None:
        self.log_dir = log_dir
        self._writer = None
        self._missing = False

    def add_scalar(self, tag: str, scalar_value: float, global_step: int | None = None) -> None:
        if self._writer is None and not self._missing:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                logger.info("The package tensorboard is missing: no event files are written")
                self._missing = True
            else:
                self._writer = SummaryWriter(log_dir=self.log_dir)
        if self._writer is not None:
            self._writer.add_scalar(tag, scalar_value, global_step)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._writer = None
