"""Features of the frozen image tower, computed once and cached on disk."""

import contextlib
import hashlib
import json
import logging
import math
import os
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from softcpt.backbones.weights import write_safetensors
from softcpt.files.texts import counted

from ..distributed import first_failure, found_by_first_rank, gather_parts, rank, shard
from .sharding import part_of

logger = logging.getLogger(__name__)

Encode = Callable[[Tensor], Tensor]


class FeatureCache:
    """Tensors in `folder`, one safetensors file each, named by a digest of all that they depend on.

    A file that is damaged, or has other contents or another shape, is rebuilt with a warning. If the folder cannot be
    written, the cache warns once and keeps the tensors in memory. Any file may be removed at any time.

    Attributes:
        seconds: time spent on computing. It does not count as training time, because only the first of the methods that
            share features computes them. Neither does the memory, which the context `set_aside` leaves out.
    """

    def __init__(
        self, folder: str | os.PathLike, set_aside: Callable[[], contextlib.AbstractContextManager] | None = None
    ) -> None:
        self.folder: Path | None = Path(folder)
        self.set_aside = set_aside or contextlib.nullcontext
        self.seconds = 0.0
        self._told: set[str] = set()  # the tensors whose origin was logged
        self._kept: dict[str, Tensor] = {}  # those that cannot be written

    def get(self, key: dict[str, Any], shape: Sequence[int], compute: Callable[[], Tensor]) -> Tensor:
        """The tensor of `key`: read if there is one of `shape` (leading sizes, -1: any), else computed and stored."""
        text = json.dumps(key, sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()
        if digest in self._kept:
            return self._kept[digest]
        path = self.folder / f"{digest[:32]}.safetensors" if self.folder else None
        # Only rank 0 reads, so that either all ranks have the tensor or all compute it.
        tensor = found_by_first_rank(self._read(path, digest, shape) if rank() == 0 else None)
        images = counted(shape[0], "image")
        if tensor is None:
            logger.info("Computing the features of %s, to be kept in %s", images, self.folder or "memory alone")
            start = time.perf_counter()
            with self.set_aside():
                tensor = compute().contiguous()
            seconds = time.perf_counter() - start
            self.seconds += seconds
            if rank() == 0 and path is not None:
                self._write(path, tensor, digest)
            if first_failure(math.inf if self.folder else 0) is not None:
                self.folder, self._kept[digest] = None, tensor
            logger.info("Features of %s computed in %.0f s", images, seconds)
        elif digest not in self._told:
            logger.info("Features of %s read from %s", images, path)
        self._told.add(digest)
        return tensor

    def _read(self, path: Path | None, digest: str, shape: Sequence[int]) -> Tensor | None:
        if path is not None and path.is_file():
            try:
                with safe_open(path, "pt") as file:
                    tensor, facts = file.get_tensor("features"), file.metadata() or {}
                if facts.get("digest") != digest or not fits(tensor.shape, shape):
                    logger.warning("%s holds features of other contents or shape: rebuilt", path)
                elif not intact(tensor, facts):
                    logger.warning("%s is damaged: rebuilt", path)
                else:
                    return tensor
            except Exception as error:  # safetensors raises its own errors, PyTorch's and Python's
                logger.warning("%s cannot be read (%s): rebuilt", path, error)
        return None

    def _write(self, path: Path, tensor: Tensor, digest: str) -> None:
        facts = {"digest": digest, "crc32": str(zlib.crc32(bytes_of(tensor)))}
        try:
            write_safetensors(path, {"features": tensor}, facts)
        except (OSError, SafetensorError) as error:
            self.folder = None
            text = "the feature cache is off, and features are kept in memory: %s cannot be written (%s)"
            logger.warning(text, path.parent, error)


def intact(tensor: Tensor, facts: Mapping[str, str]) -> bool:
    """Whether a file's tensor is the one that was written. A checksum finds damage, and takes a fraction of the time of
    the digest that files of earlier versions have."""
    values = bytes_of(tensor)
    if "crc32" in facts:
        return facts["crc32"] == str(zlib.crc32(values))
    return facts.get("payload") == hashlib.blake2b(values, digest_size=16).hexdigest()


def bytes_of(tensor: Tensor) -> memoryview:
    """A tensor's values as bytes."""
    return memoryview(tensor.detach().contiguous().flatten().view(torch.uint8).numpy())


def fits(shape: Sequence[int], expected: Sequence[int]) -> bool:
    return len(shape) >= len(expected) and all(e in (-1, s) for s, e in zip(shape, expected))


def image_list(items: Sequence[Any]) -> str:
    """Hexadecimal digest of the images of Datum `items`: their paths, sizes and times of change, in order."""
    digest = hashlib.blake2b(digest_size=16)
    for item in items:
        stat = os.stat(item.impath)
        digest.update(f"{item.impath}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()


class FeatureLoader:
    """The batches of an evaluation loader, with features (B, E), or (B, L, E), instead of images.

    Args:
        loader: a sequential loader of `Pictures`.
        encode: images (B, 3, H, W) to features.
        cache: of the features of all its images.
        key: what the features depend on besides the images and the transform: weights, precision, device.
    """

    def __init__(self, loader: DataLoader, encode: Encode, cache: FeatureCache, key: dict[str, Any]) -> None:
        self.loader, self.encode, self.cache, self.key = loader, encode, cache, key

    def __len__(self) -> int:
        """Number of this process's batches."""
        part = shard(len(self.loader.dataset))
        return -(-(part.stop - part.start) // self.loader.batch_size)

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        items = self.loader.dataset.data_source
        key = {**self.key, "transform": str(self.loader.dataset.transform), "images": image_list(items)}
        features = self.cache.get(key, (len(items), -1), self._encode_all)
        labels = torch.tensor([item.label for item in items])
        size, part = self.loader.batch_size, shard(len(items))
        for image, label in zip(features[part].split(size), labels[part].split(size)):
            yield {"img": image, "label": label}

    def _encode_all(self) -> Tensor:
        batches = progress_bar(part_of(self.loader), "features")
        # A loader draws a seed from the global generator, but training must not depend on the cache.
        with torch.random.fork_rng(devices=[]):
            return gather_parts([self.encode(batch["img"]).cpu() for batch in batches])


def progress_bar(batches: Iterable, what: str) -> tqdm:
    """The batches, with a bar and the time left if there is a terminal."""
    return tqdm(batches, desc=what, unit="batch", disable=None if rank() == 0 else True)
