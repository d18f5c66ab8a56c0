"""train.py over the toy tasks in a process of its own; writes the losses of all steps as JSON to $LOSSES.

With $COPIES each process also writes the parameters that it has in the end, to $COPIES<rank>."""

import json
import os
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).resolve().parents[2])]

import compat  # noqa: E402

compat.ensure_dassl()

import torch  # noqa: E402
import toy  # noqa: E402, F401

import train  # noqa: E402
from trainers.base import PromptTrainer  # noqa: E402

torch.set_num_threads(1)
losses, forward_backward = [], PromptTrainer.forward_backward
rank, trainers = os.environ.get("RANK", "0"), []


def recorded(self, batch):
    logs = forward_backward(self, batch)
    losses.append(logs["loss"])
    trainers[:] = [self]
    return logs


PromptTrainer.forward_backward = recorded
status = train.main(sys.argv[1:])
if os.environ.get("COPIES"):
    torch.save(trainers[0].prompts.state_dict(), os.environ["COPIES"] + rank)
if rank == "0" and "LOSSES" in os.environ:
    Path(os.environ["LOSSES"]).write_text(json.dumps(losses))
sys.exit(status)
