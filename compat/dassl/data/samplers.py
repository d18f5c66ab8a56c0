"""Samplers by name: in which order a loader visits the images."""

import random
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from dassl.utils import check_availability
from torch.utils.data import RandomSampler, Sampler, SequentialSampler

__all__ = [
    "RandomClassSampler",
    "RandomDomainSampler",
    "RandomSampler",
    "SeqDomainSampler",
    "SequentialSampler",
    "build_sampler",
]

AVAI_SAMPLERS = ["RandomSampler", "SequentialSampler", "RandomDomainSampler", "SeqDomainSampler", "RandomClassSampler"]


def _group(data_source: list, key: Callable[[Any], int]) -> dict[int, list[int]]:
    groups = defaultdict(list)
    for index, item in enumerate(data_source):
        groups[key(item)].append(index)
    return dict(groups)


class _EpochSampler(Sampler):
    """Draws whole epochs with the module `random`, each of the length of the first draw.

    Draws may differ in length (which domain or class runs out first is random). Trainers count batches to know when an
    epoch ends, so a longer draw is cut and a shorter one is continued with another.
    """

    def __init__(self, data_source: list) -> None:
        self.data_source = data_source
        self.length = len(self._draw())

    def _draw(self) -> list[int]:
        raise NotImplementedError

    def __iter__(self) -> Iterator[int]:
        indices: list[int] = []
        while len(indices) < self.length:
            indices += self._draw()
        return iter(indices[: self.length])

    def __len__(self) -> int:
        return self.length


class _DomainSampler(_EpochSampler):
    """Batches with the same number of images from each of `n_domain` domains, until a domain runs out.

    Raises ValueError when the batch cannot be divided so or a domain is too small for one batch.
    """

    def __init__(self, data_source: list, batch_size: int, n_domain: int | None) -> None:
        self.domain_dict = _group(data_source, lambda item: item.domain)
        self.domains = list(self.domain_dict)
        if n_domain is None or n_domain <= 0:
            n_domain = len(self.domains)
        if n_domain > len(self.domains) or batch_size % n_domain != 0:
            raise ValueError(
                f"{type(self).__name__}: BATCH_SIZE {batch_size} must be a multiple of N_DOMAIN {n_domain}, "
                f"which must be at most the {len(self.domains)} domains of the training images"
            )
        self.batch_size = batch_size
        self.n_domain = n_domain
        self.n_img_per_domain = batch_size // n_domain
        smallest = min(self.domains, key=lambda domain: len(self.domain_dict[domain]))
        if len(self.domain_dict[smallest]) < self.n_img_per_domain:
            raise ValueError(
                f"{type(self).__name__}: domain {smallest} has {len(self.domain_dict[smallest])} images, fewer than "
                f"the {self.n_img_per_domain} per batch; lower BATCH_SIZE {batch_size}"
            )
        super().__init__(data_source)

    def _next_domains(self) -> list[int]:
        """The domains of one batch."""
        raise NotImplementedError

    def _draw(self) -> list[int]:
        left = {domain: list(indices) for domain, indices in self.domain_dict.items()}
        drawn: list[int] = []
        exhausted = False
        while not exhausted:
            for domain in self._next_domains():
                chosen = random.sample(left[domain], self.n_img_per_domain)
                drawn += chosen
                taken = set(chosen)
                left[domain] = [index for index in left[domain] if index not in taken]
                exhausted |= len(left[domain]) < self.n_img_per_domain
        return drawn


class RandomDomainSampler(_DomainSampler):
    """Random images of `n_domain` random domains per batch; 0 or less means all of them."""

    def _next_domains(self) -> list[int]:
        return random.sample(self.domains, self.n_domain)


class SeqDomainSampler(_DomainSampler):
    """Random images of every domain per batch, the domains in ascending order."""

    def __init__(self, data_source: list, batch_size: int) -> None:
        super().__init__(data_source, batch_size, n_domain=0)

    def _next_domains(self) -> list[int]:
        return sorted(self.domains)


class RandomClassSampler(_EpochSampler):
    """Batches of `n_ins` images from each of `batch_size // n_ins` random classes.

    A class with fewer images is filled by drawing with replacement. Raises ValueError when there are too few classes.
    """

    def __init__(self, data_source: list, batch_size: int, n_ins: int) -> None:
        self.index_dic = _group(data_source, lambda item: item.label)
        self.labels = list(self.index_dic)
        if not 0 < n_ins <= batch_size:
            raise ValueError(f"RandomClassSampler: N_INS {n_ins} must be between 1 and BATCH_SIZE {batch_size}")
        self.batch_size = batch_size
        self.n_ins = n_ins
        self.ncls_per_batch = batch_size // n_ins
        if len(self.labels) < self.ncls_per_batch:
            raise ValueError(
                f"RandomClassSampler: BATCH_SIZE {batch_size} / N_INS {n_ins} asks for {self.ncls_per_batch} classes "
                f"per batch, the training images have {len(self.labels)}"
            )
        super().__init__(data_source)

    def _packs(self, label: int) -> list[list[int]]:
        """The images of one class, shuffled, in packs of `n_ins`; a remainder is left out."""
        indices = list(self.index_dic[label])
        if len(indices) < self.n_ins:
            indices = np.random.choice(indices, size=self.n_ins, replace=True).tolist()
        random.shuffle(indices)
        starts = range(0, len(indices) - self.n_ins + 1, self.n_ins)
        return [indices[start : start + self.n_ins] for start in starts]

    def _draw(self) -> list[int]:
        packs = {label: self._packs(label) for label in self.labels}
        available = list(self.labels)
        drawn: list[int] = []
        while len(available) >= self.ncls_per_batch:
            for label in random.sample(available, self.ncls_per_batch):
                drawn += packs[label].pop(0)
                if not packs[label]:
                    available.remove(label)
        return drawn


def build_sampler(
    sampler_type: str,
    cfg: Any = None,
    data_source: list | None = None,
    batch_size: int = 32,
    n_domain: int = 0,
    n_ins: int = 16,
) -> Sampler:
    """The sampler named `sampler_type` over `data_source`, a list of Datum objects.

    Raises ValueError for an unknown name and for sizes that do not fit the data.
    """
    check_availability(sampler_type, AVAI_SAMPLERS, key="DATALOADER.*.SAMPLER")
    if sampler_type == "SequentialSampler":
        return SequentialSampler(data_source)
    if sampler_type == "RandomDomainSampler":
        return RandomDomainSampler(data_source, batch_size, n_domain)
    if sampler_type == "SeqDomainSampler":
        return SeqDomainSampler(data_source, batch_size)
    if sampler_type == "RandomClassSampler":
        return RandomClassSampler(data_source, batch_size, n_ins)
    return RandomSampler(data_source)
