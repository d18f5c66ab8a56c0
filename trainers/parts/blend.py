"""SoftCPT's BLEND: a mix of generated and hand-made class features, by each task's trust in the generated ones."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from softcpt.distributed import sum_over_ranks
from softcpt.prompts.owners import digest_of_names

from ..engine.losses import within_task

TRUSTS = torch.linspace(1, 0, 9)  # the choices; on a tie the first is taken
MOST_TASKS = 256


class Trust(nn.Module):
    """The trust in a task's generated features, in [0, 1], by the task's name; 0 for an unknown name.

    The shapes do not depend on the number of tasks, so that a checkpoint also loads for new ones.
    """

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("digest", torch.zeros(MOST_TASKS, 16, dtype=torch.uint8))
        self.register_buffer("value", torch.zeros(MOST_TASKS))

    def set(self, names: Sequence[str], value: Tensor) -> None:
        """Set the trusts of the tasks `names` to `value` (T,), and all others to 0."""
        if len(names) > MOST_TASKS:
            raise ValueError(f"TRAINER.SOFTCPT.BLEND: True serves {MOST_TASKS} tasks at most, not {len(names)}")
        self.digest.zero_()
        self.value.zero_()
        self.digest[: len(names)] = digests(names).to(self.digest.device)
        self.value[: len(names)] = value

    def forward(self, names: Sequence[str]) -> Tensor:
        """The trusts (T,) of the tasks `names`."""
        same = digests(names).to(self.digest.device).unsqueeze(1) == self.digest  # (T, MOST_TASKS, 16)
        return same.all(2).float() @ self.value


def digests(names: Sequence[str]) -> Tensor:
    """(T, 16) bytes, a digest of each name."""
    return torch.stack([digest_of_names([name]) for name in names])


def blend(generated: Tensor, zero_shot: Tensor, trust: Tensor | float) -> Tensor:
    """trust x generated + (1 - trust) x hand-made features, both (R, E) and normalised first; trust (R, 1) or one."""
    return trust * F.normalize(generated.float(), dim=-1) + (1 - trust) * F.normalize(zero_shot.float(), dim=-1)


def best_trusts(trainer: Any, generated: Tensor, zero_shot: Tensor) -> Tensor:
    """(T,) of TRUSTS those with the lowest cross-entropy on each task's validation shots; 1 without them."""
    losses = torch.zeros(len(TRUSTS), len(trainer.tasks), device=trainer.device)
    for batch in trainer.val_loader or ():
        x, label = trainer.image_features(batch["img"].to(trainer.device)), batch["label"].to(trainer.device)
        for i, trust in enumerate(TRUSTS.tolist()):
            losses[i] += task_losses(trainer.logits(x, blend(generated, zero_shot, trust)), label, trainer.class_task)
    return TRUSTS.to(trainer.device)[sum_over_ranks(losses).argmin(0)]


def task_losses(logits: Tensor, label: Tensor, class_task: Tensor) -> Tensor:
    """(T,) the sum over each task's samples of their cross-entropies within the task; logits (B, C), label (B,)."""
    losses = F.cross_entropy(within_task(logits, label, class_task), label, reduction="none")
    return losses.new_zeros(int(class_task[-1]) + 1).index_add(0, class_task[label], losses)
