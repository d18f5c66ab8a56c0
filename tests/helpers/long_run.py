"""Check that a long training does not grow in memory, descriptors or threads, with the tiny CLIP of the tests.

    python tests/helpers/long_run.py SoftCPT --epochs 200 [KEY VALUE ...]

Prints, as JSON, resident memory, open descriptors and threads of the process after epochs 20, 60, ... and the last. A
method without epochs is fitted and tested as many times instead. Needs Linux, for the figures in /proc.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import re
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests/helpers"), str(ROOT)]

import scripts.lib.command  # noqa: E402, F401  first: the imports below take seconds

import compat.provide  # noqa: E402, F401  before dassl

# isort: split
import torch  # noqa: E402
import toy  # noqa: E402
from dassl.engine import build_trainer  # noqa: E402

from trainers.engine.memory import PROCESS  # noqa: E402

FIRST, EVERY = 20, 40  # epochs


def usage() -> dict[str, int]:
    """Resident bytes, open descriptors and threads of this process."""
    status = (PROCESS / "status").read_text()
    found = {name: int(re.search(rf"^{name}:\s*(\d+)", status, re.M).group(1)) for name in ("VmRSS", "Threads")}
    return {
        "resident_bytes": 1024 * found["VmRSS"],
        "descriptors": len(os.listdir(PROCESS / "fd")),
        "threads": found["Threads"],
    }


def measure(method: str, epochs: int, folder: Path, *opts: object) -> list[dict[str, int]]:
    """The usage after each epoch to print, on generated images in `folder`."""
    rows: list[dict[str, int]] = []
    pairs = ("OPTIM.MAX_EPOCH", epochs, "TRAIN.CHECKPOINT_FREQ", 10, *opts)
    trainer = build_trainer(toy.config(toy.draw(folder / "data"), folder / "out/run", method, *pairs))

    def note(epoch: int) -> None:
        if epoch == epochs or epoch >= FIRST and (epoch - FIRST) % EVERY == 0:
            rows.append({"epoch": epoch, **usage()})

    if trainer.learns_by_gradient:
        after_epoch = trainer.after_epoch
        trainer.after_epoch = lambda: (after_epoch(), note(trainer.epoch + 1))
        trainer.train()
    else:
        for epoch in range(1, epochs + 1):
            trainer.train() if trainer.uses_shots else trainer.test()
            note(epoch)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("method")
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("opts", nargs="*", help="KEY VALUE pairs of the config")
    args = parser.parse_intermixed_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        rows = measure(args.method, args.epochs, Path(folder), *args.opts)
    print(*map(json.dumps, rows), sep="\n")


if __name__ == "__main__":
    main()
