"""The images of a run, read by the project's one reader whichever Dassl is installed."""

from collections.abc import Callable, Sequence
from typing import Any

from torch.utils.data import DataLoader, Dataset

from softcpt.images.read import read_image


class Pictures(Dataset):
    """The images of Datum objects, with the items of Dassl's DatasetWrapper.

    Args:
        transform: from an RGB image to img.
        upright: whether images are turned as their EXIF entries say.
    """

    def __init__(self, data_source: Sequence[Any], transform: Callable, upright: bool) -> None:
        self.data_source, self.transform, self.upright = data_source, transform, upright

    def __len__(self) -> int:
        return len(self.data_source)

    def __getitem__(self, index: int) -> dict[str, Any]:
        item = self.data_source[index]
        image = self.transform(read_image(item.impath, self.upright))
        return {"label": item.label, "domain": item.domain, "impath": item.impath, "index": index, "img": image}


def picture_loader(loader: DataLoader, transform: Callable, upright: bool, drop_last: bool = True) -> DataLoader:
    """A loader of Dassl's, with the same batches of `Pictures`; `drop_last` False adds an incomplete last one."""
    return DataLoader(
        Pictures(loader.dataset.data_source, transform, upright),
        batch_size=loader.batch_size,
        sampler=loader.sampler,
        num_workers=loader.num_workers,
        drop_last=loader.drop_last and drop_last,
        pin_memory=loader.pin_memory,
    )
