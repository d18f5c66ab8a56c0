"""Loaders of which each rank reads its share. In one process they are what they were."""

from collections.abc import Iterator

import torch
from torch.utils.data import BatchSampler, DataLoader, Sampler, Subset

from softcpt.files import start_method
from softcpt.files.texts import counted

from ..distributed import from_first_rank, shard, world


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
        collate_fn=loader.collate_fn,
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
