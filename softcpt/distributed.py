"""Training in several processes: each rank takes its share of a batch's images and of the class prompts.

Class features are gathered with their gradients, and the gradients of the prompts are summed, so that a step equals
that of one process on the whole batch. In one process every function here is the identity.
"""

import contextlib
import math
import os
from collections.abc import Iterator

import torch
import torch.distributed as dist
from torch import Tensor, nn

MEETING = ("MASTER_ADDR", "MASTER_PORT")  # torchrun's variables of where the processes meet
PIECE = 1 << 26  # bytes that are sent at a time, so that nccl needs no more of a GPU for features that stay on the CPU
MOST_WORKERS = 8  # each keeps batches of images in shared memory, of which a container often has 64 MB


class OtherRankError(RuntimeError):
    """Another process of this run has failed, and says why."""


def check_launch() -> None:
    """Raise ValueError, naming the variable, unless the environment describes one process or one of torchrun's."""
    count, own = launched("WORLD_SIZE", 1), launched("RANK", 0)
    if count < 1 or not 0 <= own < count:
        raise ValueError(
            f"the environment has RANK {own} and WORLD_SIZE {count}: start several processes with torchrun, or unset "
            "both"
        )
    needed = ("RANK", "LOCAL_RANK", *MEETING) if count > 1 else ()
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


def start(use_cuda: bool) -> None:
    """Join the group that torchrun's environment describes, if any.

    The backend is nccl if this machine has a GPU for each of its processes, else gloo: the processes then take the GPUs
    in turn, and some share one. Of gloo's calls, all_reduce and broadcast alone take a GPU's tensors in all versions of
    PyTorch, so this module sends tensors by no others. Raises OSError, in one line, if the processes cannot meet.
    """
    if launched("WORLD_SIZE", 1) == 1 or dist.is_initialized():
        return
    gpus = torch.cuda.device_count() if use_cuda and torch.cuda.is_available() else 0
    if gpus:
        torch.cuda.set_device(launched("LOCAL_RANK", 0) % gpus)
    enough = launched("LOCAL_WORLD_SIZE", 1) <= gpus and dist.is_nccl_available()
    try:
        dist.init_process_group("nccl" if gpus and enough else "gloo")
    except (RuntimeError, ValueError) as error:
        place, reason = ":".join(os.environ[name] for name in MEETING), str(error).partition("\n")[0]
        raise OSError(f"the processes of this run cannot meet at {place} ({', '.join(MEETING)}): {reason}") from error


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
    """All ranks' lists of tensors (n, ...), of any lengths, concatenated in the order of the ranks; on the CPU."""
    if world() == 1:
        return torch.cat(parts)
    own = torch.cat([part.cpu() for part in parts]) if parts else None
    facts: list = [None] * world()
    dist.all_gather_object(facts, None if own is None else (own.dtype, own.shape))
    dtype, shape = next(filter(None, facts))
    counts = [found[1][0] if found else 0 for found in facts]
    whole = torch.empty(sum(counts), *shape[1:], dtype=dtype)
    for source, part in enumerate(whole.split(counts)):
        if source == rank() and own is not None:
            part.copy_(own)
        _send(part, source)
    return whole


def from_first_rank(value: Tensor) -> Tensor:
    """The tensor of rank 0, of the same shape and type on all; for what is drawn at random."""
    if world() == 1:
        return value
    value = value.detach().clone(memory_format=torch.contiguous_format)
    _send(value, 0)
    return value


def found_by_first_rank(value: Tensor | None) -> Tensor | None:
    """The tensor on the CPU, or None, of rank 0; what the others give does not count."""
    if world() == 1:
        return value
    facts = [None if value is None else (value.dtype, value.shape)]
    dist.broadcast_object_list(facts)
    if facts[0] is None:
        return None
    if rank() or value is None:
        value = torch.empty(facts[0][1], dtype=facts[0][0])
    value = value.contiguous()
    _send(value, 0)
    return value


def copy_from_first_rank(module: nn.Module) -> None:
    """Set a module's parameters and buffers to those of rank 0."""
    with torch.no_grad():
        for value in module.state_dict().values():
            value.copy_(from_first_rank(value))


def _send(value: Tensor, source: int) -> None:
    """Replace a contiguous tensor of all ranks by that of the rank `source`, bit for bit, whatever its type."""
    for piece in value.view(-1).view(torch.uint8).split(PIECE) if value.numel() else ():
        sent = _on_backend(piece)
        dist.broadcast(sent, source)
        if sent is not piece and source != rank():
            piece.copy_(sent)


def sum_over_ranks(value: Tensor) -> Tensor:
    if world() > 1:
        value = value.detach().clone()
        dist.all_reduce(value)
    return value


def sum_gradients(module: nn.Module) -> None:
    """Replace the gradients of a module's parameters by their sums over the ranks, in one call."""
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    if world() == 1 or not parameters:
        return
    for parameter in parameters:
        if parameter.grad is None:  # no class of this rank's share uses it
            parameter.grad = torch.zeros_like(parameter)
    sums = torch.cat([parameter.grad.flatten() for parameter in parameters])
    dist.all_reduce(sums)
    for parameter, part in zip(parameters, sums.split([parameter.numel() for parameter in parameters])):
        parameter.grad.copy_(part.view_as(parameter))


def share_of_batch(count: int) -> float:
    """`count` over its sum over the ranks."""
    return 1.0 if world() == 1 else count / sum_over_ranks(_on_backend(torch.tensor(float(count)))).item()


def weighted_sums(values: dict[str, Tensor], weight: float) -> dict[str, Tensor]:
    """The sums over the ranks of each rank's scalars times its weight."""
    if world() == 1:
        return values
    sums = sum_over_ranks(torch.stack([value.double() for value in values.values()]) * weight)
    return dict(zip(values, sums.unbind()))


def first_failure(step: float = math.inf) -> int | None:
    """The rank that failed at the earliest step, of several the lowest; None if none did. All ranks call it at once.

    Args:
        step: at which this rank failed; infinity if it did not.
    """
    key = step * world() + rank()
    if world() > 1:
        keys = _on_backend(torch.tensor(key, dtype=torch.float64))
        dist.all_reduce(keys, dist.ReduceOp.MIN)
        key = keys.item()
    return None if math.isinf(key) else int(key) % world()


@contextlib.contextmanager
def together() -> Iterator[None]:
    """What some ranks do before all go on: if an OSError ends it on one, the others raise an OtherRankError."""
    try:
        yield
    except OSError:
        first_failure(0)
        raise
    if first_failure() is not None:
        raise OtherRankError


def barrier() -> None:
    """Wait for all ranks."""
    if world() > 1:
        dist.barrier()


def _on_backend(value: Tensor) -> Tensor:
    return value.cuda() if dist.get_backend() == "nccl" else value
