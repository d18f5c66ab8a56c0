"""Training in several processes: each rank takes its share of a batch's images and of the class prompts.

Class features are gathered with their gradients, and the gradients of the prompts are summed, so that a step equals
that of one process on the whole batch. In one process every function here is the identity.
"""

import os
from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.utils.data import BatchSampler, DataLoader, Sampler, Subset

from softcpt.files import start_method
from softcpt.files.texts import counted

MOST_WORKERS = 8  # each keeps batches of images in shared memory, of which a container often has 64 MB


def check_launch() -> None:
    """Raise ValueError, naming the variable, unless the environment describes one process or one of torchrun's."""
    count, own = launched("WORLD_SIZE", 1), launched("RANK", 0)
    if count < 1 or not 0 <= own < count:
        raise ValueError(
            f"the environment has RANK {own} and WORLD_SIZE {count}: start several processes with torchrun, or unset "
            "both"
        )
    needed = ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT") if count > 1 else ()
    missing = [name for name in needed if not os.environ.get(name)]
    if missing:
        raise ValueError(
            f"the environment has WORLD_SIZE {count} but no {missing[0]}: start several processes with torchrun, or "
            "unset WORLD_SIZE"
        )
    for name in ("LOCAL_RANK", "LOCAL_WORLD_SIZE"):
        launched(name, 0)


def launched(name: str, default: int) -> int:
    """The number in one of torchrun's variables. Raises ValueError, naming it, for other text."""
    text = os.environ.get(name, "").strip() or str(default)
    if not (text.isdecimal() and text.isascii() and len(text) < 10):
        raise ValueError(f"the environment has {name} {text!r}, which is not a number; torchrun sets it, or unset it")
    return int(text)


def launched_rank() -> int:
    """The number that this process will have after `start`."""
    return launched("RANK", 0)


def start(use_cuda: bool) -> None:
    """Join the group that torchrun's environment describes, if any; the backend is nccl with GPUs and gloo without."""
    if launched("WORLD_SIZE", 1) > 1 and not dist.is_initialized():
        cuda = use_cuda and torch.cuda.is_available()
        if cuda:
            torch.cuda.set_device(launched("LOCAL_RANK", 0))
        dist.init_process_group("nccl" if cuda else "gloo")


def stop() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()


def rank() -> int:
    """The number of this process in its group, 0 for the first and for a process without a group."""
    return dist.get_rank() if dist.is_initialized() else 0


def world() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def cores_per_process() -> int:
    """The number of CPU cores of this machine, divided by that of its processes."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // max(1, launched("LOCAL_WORLD_SIZE", 1)))


def reading_processes(workers: int) -> int:
    """DATALOADER.NUM_WORKERS, of which -1 is one per core of this process, `MOST_WORKERS` at most."""
    return min(MOST_WORKERS, cores_per_process()) if workers < 0 else workers


def shard(count: int) -> slice:
    """This rank's part of `count` things: contiguous, and the sizes of the ranks' parts differ by at most one."""
    return slice(count * rank() // world(), count * (rank() + 1) // world())


class GatherRows(torch.autograd.Function):
    """(count, ...) from each rank's `local` (n, ...), its `shard(count)`; gradients flow back to all ranks."""

    @staticmethod
    def forward(ctx, local: Tensor, count: int) -> Tensor:
        ctx.count = count
        # Shares differ in size. A sum of zero-filled parts gathers them in one call, which every backend has.
        whole = local.new_zeros(count, *local.shape[1:])
        whole[shard(count)] = local
        dist.all_reduce(whole)
        return whole

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:
        grad = grad.contiguous().clone()
        dist.all_reduce(grad)
        return grad[shard(ctx.count)], None


def gather_labels(label: Tensor) -> Tensor:
    """(B',) the labels of all ranks' batches, in the order of the ranks."""
    return gather_parts([label]).to(label.device)


def gather_parts(parts: list[Tensor]) -> Tensor:
    """All ranks' lists of tensors (n, ...), of any lengths, concatenated in the order of the ranks."""
    if world() == 1:
        return torch.cat(parts)
    lists: list = [None] * world()
    dist.all_gather_object(lists, [part.cpu() for part in parts])
    return torch.cat([part for parts in lists for part in parts])


def from_first_rank(value: Any) -> Any:
    """The tensor, or None, of rank 0; for what is drawn at random."""
    if world() == 1:
        return value
    values: list[Any] = [None if value is None else value.cpu()]
    dist.broadcast_object_list(values)
    return values[0] if value is None else values[0].to(value.device)


def copy_from_first_rank(module: nn.Module) -> None:
    """Set a module's parameters and buffers to those of rank 0."""
    with torch.no_grad():
        for value in module.state_dict().values():
            value.copy_(from_first_rank(value))


def sum_over_ranks(value: Tensor) -> Tensor:
    if world() > 1:
        value = value.detach().clone()
        dist.all_reduce(value)
    return value


def sum_gradients(module: nn.Module) -> None:
    """Replace the gradients of a module's parameters by their sums over the ranks."""
    if world() > 1:
        for parameter in module.parameters():
            if parameter.requires_grad:
                if parameter.grad is None:  # no class of this rank's share uses it
                    parameter.grad = torch.zeros_like(parameter)
                dist.all_reduce(parameter.grad)


class ShardedBatches(BatchSampler):
    """This rank's share of each global batch, in the order that rank 0 draws.

    Raises ValueError if a global batch has fewer images than there are ranks.
    """

    def __init__(self, sampler: Sampler, batch_size: int, drop_last: bool) -> None:
        super().__init__(sampler, batch_size, drop_last)
        smallest = batch_size if drop_last or len(sampler) % batch_size == 0 else len(sampler) % batch_size
        if smallest < world():
            raise ValueError(
                f"DATALOADER.TRAIN_X.BATCH_SIZE: a batch of {counted(smallest, 'image')} (of {len(sampler)}) cannot be "
                f"shared by {world()} processes; start at most {smallest}"
            )

    def __iter__(self) -> Iterator[list[int]]:
        order = from_first_rank(torch.tensor(list(self.sampler))).tolist()
        for batch in BatchSampler(order, self.batch_size, self.drop_last):
            yield batch[shard(len(batch))]


def sharded(loader: DataLoader) -> DataLoader:
    """A training loader with the same global batches, of which each rank reads its share."""
    if world() == 1:
        return loader
    batches = ShardedBatches(loader.sampler, loader.batch_size, loader.drop_last)
    return DataLoader(
        loader.dataset,
        batch_sampler=batches,
        num_workers=loader.num_workers,
        pin_memory=loader.pin_memory,
        multiprocessing_context=loader.multiprocessing_context,
        persistent_workers=loader.persistent_workers,
        generator=loader.generator,
    )


def part_of(loader: DataLoader) -> DataLoader:
    """This rank's part of a sequential evaluation loader."""
    loader.multiprocessing_context = start_method(loader.num_workers)
    if world() == 1:
        return loader
    part = shard(len(loader.dataset))
    images = Subset(loader.dataset, range(part.start, part.stop))
    return DataLoader(
        images,
        batch_size=loader.batch_size,
        num_workers=loader.num_workers,
        multiprocessing_context=loader.multiprocessing_context,
    )


def share_of_batch(count: int) -> float:
    """`count` over its sum over the ranks."""
    return 1.0 if world() == 1 else count / sum_over_ranks(_on_backend(torch.tensor(float(count)))).item()


def weighted_sums(values: dict[str, float], weight: float) -> dict[str, float]:
    """The sums over the ranks of each rank's values times its weight."""
    if world() == 1:
        return values
    sums = sum_over_ranks(_on_backend(torch.tensor(list(values.values()), dtype=torch.float64) * weight))
    return dict(zip(values, sums.tolist()))


def barrier() -> None:
    """Wait for all ranks."""
    if world() > 1:
        dist.barrier()


def _on_backend(value: Tensor) -> Tensor:
    return value.cuda() if dist.get_backend() == "nccl" else value
