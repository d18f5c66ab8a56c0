"""A function in two processes of one group, as torchrun makes them."""

import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

PATIENCE = 60  # seconds


def _run(function: Callable[[], Any], folder: Path, rank: int) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    torch.save(function(), folder / f"{rank}.pt")
    dist.destroy_process_group()


def on_two_ranks(function: Callable[[], Any], folder: Path) -> list[Any]:
    """What a function of no arguments returns in each of two forks of this process, which meet in `folder`."""
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_run, args=(function, folder, rank), daemon=True) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(PATIENCE)
        if process.exitcode is None:
            process.kill()
    assert [process.exitcode for process in processes] == [0, 0]
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]
