"""train.py over the toy tasks as torchrun starts it: each process writes its parameters in the end to $COPIES<rank>."""

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
trainers, forward_backward = [], PromptTrainer.forward_backward


def remembered(self, batch):
    trainers[:] = [self]
    return forward_backward(self, batch)


PromptTrainer.forward_backward = remembered
status = train.main(sys.argv[1:])
torch.save(trainers[0].learned.state_dict(), os.environ["COPIES"] + os.environ["RANK"])
sys.exit(status)
