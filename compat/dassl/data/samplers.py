"""Samplers by name: the order in which a loader visits the images."""

import random
from collections.abc import Iterator

from dassl.utils import check_availability
from torch.utils.data import RandomSampler, Sampler, SequentialSampler


class RandomDomainSampler(Sampler):
    """Batches with as many images from each of `n_domain` random domains, until a domain has too few left.

    Which domain runs out first is random, so draws differ in length. But trainers count the batches of an epoch, so all
    epochs have the length of the first draw: a longer one is cut, a shorter one is continued with another.

    Args:
        data_source: Datum objects, or others with a `domain`.
        n_domain: domains per batch; 0 or less means all.

    Raises ValueError when a batch cannot be divided among the domains or a domain is too small for one batch.
    """

    def __init__(self, data_source: list, batch_size: int, n_domain: int = 0) -> None:
        self.domains: dict[int, list[int]] = {}  # the positions of each domain's images
        for index, item in enumerate(data_source):
            self.domains.setdefault(item.domain, []).append(index)
        self.n_domain = n_domain if n_domain > 0 else len(self.domains)
        if self.n_domain > len(self.domains) or batch_size % self.n_domain:
            raise ValueError(
                f"RandomDomainSampler: BATCH_SIZE {batch_size} must be a multiple of N_DOMAIN {self.n_domain}, "
                f"which must be at most the {len(self.domains)} domains of the training images"
            )
        self.per_domain = batch_size // self.n_domain
        for domain, indices in self.domains.items():
            if len(indices) < self.per_domain:
                raise ValueError(
                    f"RandomDomainSampler: domain {domain} has only {len(indices)} of the "
                    f"{self.per_domain} images per batch; lower BATCH_SIZE {batch_size}"
                )
        self.length = len(self._draw())

    def _draw(self) -> list[int]:
        left, drawn = dict(self.domains), []
        while min(map(len, left.values())) >= self.per_domain:
            for domain in random.sample(list(left), self.n_domain):
                chosen = random.sample(left[domain], self.per_domain)
                drawn += chosen
                taken = set(chosen)
                left[domain] = [index for index in left[domain] if index not in taken]
        return drawn

    def __iter__(self) -> Iterator[int]:
        indices: list[int] = []
        while len(indices) < self.length:
            indices += self._draw()
        return iter(indices[: self.length])

    def __len__(self) -> int:
        return self.length


def build_sampler(sampler_type: str, data_source: list, batch_size: int = 32, n_domain: int = 0) -> Sampler:
    """The sampler of that name. Raises ValueError for an unknown name and for sizes that do not fit the data."""
    names = ("RandomSampler", "SequentialSampler", "RandomDomainSampler")
    check_availability(sampler_type, names, key="DATALOADER.*.SAMPLER")
    if sampler_type == "RandomDomainSampler":
        return RandomDomainSampler(data_source, batch_size, n_domain)
    return RandomSampler(data_source) if sampler_type == "RandomSampler" else SequentialSampler(data_source)
