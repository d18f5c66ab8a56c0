"""Download the public files of a data set and arrange them in CoOp's layout."""

import os

from yacs.config import CfgNode

from softcpt.files import read_json

from ..base import SplitDataset
from ..raw import found
from .download import DownloadError, fetch
from .sources import Archive, source_of
from .unpack import unpack


def obtain(dataset: type, cfg: CfgNode, keep: bool = False) -> tuple[str, bool]:
    """Download the missing files of a data set. Returns a message, and whether the data set is now complete.

    Archives are removed after unpacking unless `keep`. The message includes errors of the network and of archives.
    """
    if not issubclass(dataset, SplitDataset):
        return "there is nothing to download", False
    unloaded, source = dataset.unloaded(cfg), source_of(dataset.__name__)
    if not (source.archives or source.by_hand):
        return dataset.how_to_get or "there is nothing to download", False
    failures, absent = [], [archive for archive in source.archives if not found(unloaded.dataset_dir, archive.gives)]
    for archive in absent:
        try:
            take(archive, unloaded.dataset_dir, keep)
        except (DownloadError, ValueError) as error:
            failures.append(str(error))
    lacking = [
        pattern for pattern in unloaded.missing_files() if "*" in pattern or not os.path.exists(unloaded.split_path)
    ]
    if not (failures or lacking):
        return f"complete in {unloaded.dataset_dir}; python scripts/data.py check {dataset.__name__}", True
    lines = [f"not complete in {unloaded.dataset_dir}.", *failures, source.by_hand, "See docs/datasets.md."]
    return "\n  ".join(line for line in lines if line), False


def take(archive: Archive, folder: str, keep: bool) -> None:
    """Download one archive or file into a data set's folder. Raises DownloadError and ValueError."""
    os.makedirs(folder, exist_ok=True)
    name = archive.file or archive.url.split("?")[0].rstrip("/").rpartition("/")[2] or "archive"
    path = os.path.join(folder, f".{name}")  # hidden until it is checked
    fetch(archive.url, path, archive.md5)
    if archive.file.endswith(".json"):
        try:
            read_json(path)
        except ValueError as error:
            os.remove(path)
            raise ValueError(
                f"{archive.url}: the downloaded file is not JSON ({error}); open the address in a browser"
            ) from error
    if not archive.file:
        unpack(path, os.path.join(folder, archive.to), archive.prefix, archive.inner)
    if archive.file or keep:
        os.replace(path, os.path.join(folder, name))
    else:
        os.remove(path)
