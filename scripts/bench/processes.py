"""Time a training step of SoftCPT at the size of General-10 in several processes of one thread, against one process.

python scripts/bench/processes.py [--processes 2] [--case general10] [--json]
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from scripts.lib.bench import harness, trainers  # first: they provide Dassl

import torch

from softcpt import distributed


def measure(case: str, backbone: str, prec: str, batch: int, repeats: int) -> None:
    """In each of torchrun's processes: rank 0 prints the seconds of a step and its loss."""
    torch.set_num_threads(1)
    distributed.start(use_cuda=True)
    with trainers.built("shared", "SoftCPT", case, backbone, prec) as trainer:
        torch.manual_seed(0)
        size, n = trainer.clip.preprocessing.size, len(trainer.class_task)
        image, label = torch.randn(batch, 3, *size), torch.arange(batch) * n // batch  # every task occurs
        part = distributed.shard(batch)
        data = {"img": image[part], "label": label[part], "domain": trainer.class_task.cpu()[label[part]]}
        trainer.set_model_mode("train")
        loss = trainer.forward_backward(data)["loss"]
        seconds = harness.best_of(lambda: trainer.forward_backward(data), repeats)
    if distributed.rank() == 0:
        print("RESULT " + json.dumps({"seconds": seconds, "loss": loss}))
    distributed.stop()


def launch(processes: int, args) -> dict:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}", __file__]
    command += f"--case {args.case} --backbone {args.backbone} --prec {args.prec}".split()
    command += f"--batch {args.batch} --repeats {args.repeats}".split()
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    if not lines:
        raise SystemExit(done.stderr)
    return json.loads(lines[0].removeprefix("RESULT "))


def rows_of(args):
    one, several = launch(1, args), launch(args.processes, args)
    yield {
        "case": args.case,
        "batch": args.batch,
        "prec": args.prec,
        "processes": args.processes,
        "seconds_of_one": one["seconds"],
        "seconds": several["seconds"],
        "ratio": one["seconds"] / several["seconds"],
        "loss_difference": abs(several["loss"] / one["loss"] - 1),
    }


if __name__ == "__main__":
    own = ("--processes", 2), ("--case", "general10"), ("--prec", "fp32"), ("--batch", 32)
    if os.environ.get("LOCAL_RANK"):  # started by torchrun
        args = harness.parser(__doc__, *own).parse_args()
        measure(args.case, args.backbone, args.prec, args.batch, args.repeats)
    else:
        harness.main(__doc__, rows_of, *own)
