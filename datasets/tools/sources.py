"""Where data sets come from: archives to download, and what to do by hand. The table is sources.yaml."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from softcpt.files import read_yaml

DRIVE = "https://drive.usercontent.google.com/download?id={}&export=download&confirm=t"  # without a warning page


@dataclass(frozen=True)
class Archive:
    """A file to download; sources.yaml explains the fields."""

    url: str
    gives: str
    md5: str = ""
    file: str = ""
    prefix: str = ""
    to: str = ""
    inner: str = ""


@dataclass(frozen=True)
class Source:
    """The files of a data set that can be downloaded, and what to do by hand if these are not all."""

    archives: tuple[Archive, ...] = ()
    by_hand: str = ""


def _archive(drive: str = "", **facts: str) -> Archive:
    url = {"url": DRIVE.format(drive)} if drive else {}
    return Archive(**{"gives": facts.get("file", ""), **url, **facts})


def _source(name: str, row: Mapping[str, Any]) -> Source:
    archives = [_archive(**archive) for archive in row.get("archives", ())]
    if "split" in row:
        archives.append(_archive(row["split"], file=f"split_zhou_{name}.json"))
    return Source(tuple(archives), row.get("by_hand", ""))


SOURCES = {name: _source(name, row) for name, row in read_yaml(Path(__file__).with_name("sources.yaml")).items()}


def source_of(name: str) -> Source:
    """The source of a registered data set. The tasks of Fashion-20 share one."""
    return SOURCES.get("Fashion" if name.startswith("Fashion") else name, Source())
