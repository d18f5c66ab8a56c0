"""A progress bar on a terminal, in place of Dassl's training lines, which still go to the log file."""

import re
import shutil
import sys
from collections.abc import Mapping
from typing import Any

from tqdm import tqdm

FORMAT = "{desc}:{percentage:3.0f}% |{bar:8}| {n_fmt}/{total_fmt} [{remaining} left, {rate_fmt}{postfix}]"
TRAINING_LINE = re.compile(r"epoch \[\d+/\d+\]")  # as Dassl begins it, the project's and upstream's


class AboveTheBar:
    """Replaces the terminal: prints whole lines above a bar, without Dassl's training lines."""

    def __init__(self, terminal: Any) -> None:
        self.terminal, self._rest = terminal, ""

    def write(self, text: str) -> int:
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            if not TRAINING_LINE.match(line):
                tqdm.write(line, file=self.terminal)
        return len(text)

    def close(self) -> None:
        """Print an unfinished line."""
        if self._rest:
            self.write("\n")

    def __getattr__(self, name: str) -> Any:
        return getattr(self.terminal, name)  # flush, isatty, encoding, fileno, ...


class TrainingBar:
    """Epoch, loss, accuracy, learning rate, steps per second and time left of a run.

    Dassl's `Logger`, which train.py makes `sys.stdout`, writes to a terminal and to a file; the bar replaces only its
    terminal. Without a terminal or that logger there is no bar, and nothing changes.

    Args:
        total, done: steps of the run, and those made before it was resumed.
        epochs: of the run.
    """

    def __init__(self, total: int, done: int, epochs: int) -> None:
        self.epochs, self.bar = epochs, None
        logger: Any = sys.stdout  # Dassl's logger, which writes to its `console`
        self.logger = logger
        terminal = getattr(self.logger, "console", None)
        if terminal is not None and terminal.isatty() and total > done:
            width = shutil.get_terminal_size().columns  # unlike tqdm's, never 0
            self.bar = tqdm(
                total=total, initial=done, unit="step", file=terminal, ncols=width, bar_format=FORMAT, miniters=1
            )
            self.logger.console = AboveTheBar(terminal)

    def update(self, epoch: int, values: Mapping[str, float], rate: float) -> None:
        """A step of epoch `epoch`, counted from 0, with its logged values and learning rate."""
        if self.bar is not None:
            self.bar.set_description_str(f"epoch {epoch + 1}/{self.epochs}", refresh=False)
            shown = {name: f"{value:.3g}" for name, value in values.items()}
            self.bar.set_postfix({**shown, "lr": f"{rate:.0e}"}, refresh=False)
            self.bar.update()

    def close(self) -> None:
        """Give the terminal back; a second call does nothing."""
        if self.bar is not None:
            self.logger.console.close()
            self.logger.console = self.logger.console.terminal
            self.bar.close()
            self.bar = None
