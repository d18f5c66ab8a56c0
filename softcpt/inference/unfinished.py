"""Predictions that are kept while they are made, so that a call that was stopped is continued by the same call.

They lie in a hidden file beside the table that they are for: a line that says what they are of, then a line for each
picture. A killed process loses at most the last line, a power failure a few seconds.
"""

import hashlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

from .predictions import Prediction

SYNCED_EVERY = 5  # seconds
UNKNOWN = -1.0  # in place of the probability of a class that was not kept


def picture_list(paths: Sequence[Path]) -> str:
    """A digest of the pictures: their paths, sizes and times of change; of one that is not there, its path."""
    digest = hashlib.blake2b(digest_size=16)
    for path in paths:
        try:
            found = path.stat()
            facts = [str(path), found.st_size, found.st_mtime_ns]
        except OSError:
            facts = [str(path)]
        digest.update(json.dumps(facts).encode())
    return digest.hexdigest()


class Unfinished:
    """The predictions of a call, for `target`.

    Args:
        of: what they are of, by its name in words; plain values. Predictions of anything else are not continued.
        classes: R.
        top: the number of classes that are kept of each picture.
    """

    def __init__(self, target: Path, of: Mapping[str, Any], classes: int, top: int) -> None:
        self.path = target.with_name(f".{target.name}.softcpt-unfinished")
        self.of, self.classes, self.top = json.loads(json.dumps(dict(of))), classes, top
        self.reason = ""  # why the file that was there is not continued
        self.synced = time.monotonic()

    def start(self, paths: Sequence[Path], batch_size: int) -> list[Prediction]:
        """Open the file for adding; returns the predictions of the first of `paths` that are there already, in whole
        batches, so that the others are made in the same batches as without a stop.

        Raises OSError if another call writes it at this moment.
        """
        self.file = self._held()
        lines = self._lines()
        made = []
        for path, line in zip(paths, lines[1:]):
            try:
                made.append(self._prediction(path, json.loads(line)))
            except (ValueError, TypeError, KeyError, IndexError, AttributeError, RuntimeError):
                break
        made = made if len(made) == len(paths) else made[: len(made) // batch_size * batch_size]
        kept = [json.dumps(self.of).encode(), *lines[1 : len(made) + 1]]
        self.file.truncate(0)
        self.file.write(b"".join(line + b"\n" for line in kept))
        self.file.flush()
        return made

    def add(self, prediction: Prediction) -> None:
        scores = {name: self._kept(p, len(prediction.scores)) for name, p in prediction.scores.items()}
        self.file.write(json.dumps({"error": prediction.error, "scores": scores}).encode() + b"\n")
        self.file.flush()
        if time.monotonic() - self.synced > SYNCED_EVERY:
            os.fsync(self.file.fileno())
            self.synced = time.monotonic()

    def remove(self) -> None:
        """Call it once the predictions are written."""
        self.file.close()
        self.path.unlink(missing_ok=True)

    def _held(self) -> BinaryIO:
        """The file, open for adding and locked until this process ends."""
        file = open(self.path, "ab")
        try:
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.close()
            raise OSError(
                f"{self.path}: another call makes predictions for this file; wait, or name another"
            ) from error
        except OSError:
            pass  # a file system without locks
        return file

    def _lines(self) -> list[bytes]:
        """The complete lines of a file of the same; none if it is of something else."""
        try:
            lines = self.path.read_bytes().split(b"\n")[:-1]
            of = json.loads(lines[0])
        except (OSError, ValueError, IndexError, RecursionError):
            return []
        if of != self.of:
            other = [key for key in self.of if not isinstance(of, dict) or of.get(key) != self.of[key]]
            self.reason = ", ".join(other) or "what they are of"
            return []
        return lines

    def _kept(self, p: Tensor, sources: int) -> list[list[float]]:
        values, columns = p.topk(len(p) if sources > 1 else min(self.top, len(p)))
        return [columns.tolist(), values.tolist()]

    def _prediction(self, path: Path, facts: Mapping[str, Any]) -> Prediction:
        scores = {}
        for name, (columns, values) in facts["scores"].items():
            scores[name] = torch.full((self.classes,), UNKNOWN)
            scores[name][torch.tensor(columns)] = torch.tensor(values)
        if not scores and not facts["error"]:
            raise ValueError("neither scores nor an error")
        return Prediction(path, scores, facts["error"])
