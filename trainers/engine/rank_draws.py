"""Random draws of several processes: equal while a run is built, apart in its steps, where each rank draws dropout for
its own images. In one process nothing here changes a draw."""

import logging
from typing import Any

import torch
from dassl.utils import set_random_seed
from torch import Tensor

from softcpt import distributed
from softcpt.files.texts import counted

logger = logging.getLogger(__name__)


def seed_run(seed: int) -> None:
    """Seed all generators; for a negative seed, in several processes, with a number that the first one draws."""
    if seed < 0 and distributed.world() > 1:
        seed = int(distributed.from_first_rank(torch.randint(2**31, ())))
    if seed >= 0:
        set_random_seed(seed)


def states_of_ranks() -> dict[str, Tensor] | None:
    """The states of PyTorch's generators of all ranks, {"torch": (ranks, n)} and with GPUs "cuda", each rank's of its
    own; None in one process. All ranks call it at once."""
    if distributed.world() == 1:
        return None
    own = {"torch": torch.get_rng_state()}
    if torch.cuda.is_initialized():
        own["cuda"] = torch.cuda.get_rng_state()
    return {name: distributed.gather_parts([state[None]]) for name, state in own.items()}


def draw_apart(saved: Any, resumed: bool) -> None:
    """Before the first step: give each rank its own state.

    Args:
        saved: the `states_of_ranks` of the checkpoint that is resumed. Of another number of ranks, or None, they are
            drawn: the first rank keeps its own state, as in one process.
        resumed: whether there is such a checkpoint.
    """
    rank, world = distributed.rank(), distributed.world()
    then = len(saved["torch"]) if isinstance(saved, dict) and isinstance(saved.get("torch"), Tensor) else 1
    if world > 1 and then == world:
        torch.set_rng_state(saved["torch"][rank].clone())
        if "cuda" in saved and torch.cuda.is_initialized():
            torch.cuda.set_rng_state(saved["cuda"][rank].clone())
        return
    if resumed and then != world and rank == 0:
        text = "Warning: the checkpoint has the random states of %s, and this run has %s: what its steps draw, such as "
        names = (counted(number, "process") for number in (then, world))
        logger.warning(text + "dropout, is not what the uninterrupted run draws", *names)
    if rank > 0:
        torch.manual_seed(int(torch.randint(2**62, ())) + rank)  # all ranks have one state here
