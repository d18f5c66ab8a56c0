"""From the name of a CLIP to the library that reads it and its file."""

import difflib
import functools
import re
from dataclasses import dataclass
from pathlib import Path

from softcpt.packages import installed

from . import adapters, hub, open_clip_files, openai, transformers_models
from .weight_files import files_of
from .weights import KEY, PROJECT_ROOT, SUFFIXES, find_path, licence_of, missing, sha256_of

DEMO = PROJECT_ROOT / "scripts" / "demo"  # holds the demo's CLIPs


@dataclass(frozen=True)
class Source:
    """Where a CLIP comes from.

    Attributes:
        family: "OpenAI", "open_clip" or "transformers".
        name: of the model in the family's own library.
        path: of the file of weights.
        spelling: "quickgelu" or "gelu" for a file in OpenAI's layout; "" if unknown.
        licence: the licence tag; "" if unknown.
    """

    family: str
    name: str
    path: Path
    spelling: str = ""
    licence: str = ""

    @functools.cached_property
    def sha256(self) -> str:
        """Of its files, in hexadecimal digits."""
        return sha256_of(*self.files)

    @property
    def files(self) -> list[Path]:
        """Of its weights: one, or shards; of transformers also those of an adapter."""
        beside = adapters.files_of(self.path.parent) if self.family == "transformers" else []
        return [*files_of(self.path), *beside]


def find_source(name: str) -> Source:
    """The family and the file of a name; see `load_clip`."""
    if name in openai.FILES:
        return Source("OpenAI", name, openai.published_file(name), "quickgelu", "MIT")
    inner = name.removeprefix(open_clip_files.PREFIX)
    if name != inner:
        return _open_clip(inner)
    plain, _, spelling = name.rpartition("@")
    if plain and (path := find_path(plain)) is not None:
        return _spelt(plain, path, spelling)
    path = None if name.startswith(hub.HUB) else find_path(name)
    if path is not None:
        return _in_folder(name, path) or Source("OpenAI", name, path)
    if spelling in openai.SPELLINGS and hub.is_cached(plain):
        raise _spelt_twice(plain, spelling)
    near = [] if hub.is_cached(name) else difflib.get_close_matches(name, openai.FILES, n=1, cutoff=0.6)
    if hub.is_repo(name) and not near and Path(plain or name).suffix not in SUFFIXES:
        return _of_hub(name)
    if Path(plain or name).suffix in SUFFIXES or "/" in name and not near:
        raise missing(plain or name)
    raise ValueError(_unknown(name, near))


def _open_clip(name: str) -> Source:
    """A source of what follows open_clip:, or of a folder."""
    _, path, _ = open_clip_files.locate(name)
    return Source("open_clip", name, path, licence=licence_of(path.parent))


def _spelt(plain: str, path: Path, spelling: str) -> Source:
    """A file in OpenAI's layout with its activation."""
    if spelling not in openai.SPELLINGS:
        legal = " or ".join(f"@{word}" for word in openai.SPELLINGS)
        raise ValueError(f"{KEY}: {plain}@{spelling} ends in @{spelling}; legal is {legal}")
    if path.is_dir() or _in_folder(plain, path):
        raise _spelt_twice(plain, spelling)
    return Source("OpenAI", plain, path, spelling)


def _spelt_twice(plain: str, spelling: str) -> ValueError:
    return ValueError(
        f"{KEY}: {plain} has a config, which states its activation and preprocessing: leave out @{spelling}"
    )


def _in_folder(name: str, path: Path) -> Source | None:
    """The source of a folder of open_clip's or transformers', or of the weights in it; None for a file alone."""
    folder = path if path.is_dir() else path.parent
    if (folder / open_clip_files.CONFIG).is_file() and path in (folder, open_clip_files.weights_of(folder)):
        return _open_clip(str(folder))
    if transformers_models.is_model(path):
        weights = transformers_models.weights_of(path)
        return Source("transformers", name, weights, licence=licence_of(weights.parent))
    if path.is_dir():
        raise ValueError(
            f"{KEY}: the folder {path} holds neither {transformers_models.CONFIG} (transformers) nor "
            f"{open_clip_files.CONFIG} (open_clip)"
        )
    return None


def _of_hub(name: str) -> Source:
    """A model in huggingface_hub's cache. Raises a hint for open_clip's ARCHITECTURE/TAG."""
    hub.check_no_tag(name)
    if not name.startswith(hub.HUB) and not installed("huggingface_hub"):
        raise missing(name)
    library, folder = hub.cached(name)
    if library == "open_clip":
        return _open_clip(hub.HUB + name.removeprefix(hub.HUB))
    weights = transformers_models.weights_of(folder)
    return Source("transformers", name, weights, licence=licence_of(folder))


def why_not_here(name: str) -> str:
    """Why `load_clip` would find no weights; "" if they are on this machine, or published and would be downloaded."""
    try:
        if name not in openai.FILES:
            _ = find_source(name).files  # of an index, each that it names
    except (ValueError, OSError) as error:
        return str(error)
    return ""


def _unknown(name: str, near: list[str]) -> str:
    hint = f"; did you mean {near[0]}?" if near else "."
    legal = (
        *openai.FILES,
        f"a file ending in {', '.join(SUFFIXES)}",
        "a folder of transformers' or open_clip's",
        f"{open_clip_files.PREFIX}ARCHITECTURE/TAG",
        "OWNER/MODEL of Hugging Face's hub",
    )
    return f"{KEY}: unknown CLIP {name!r}{hint} Legal: {', '.join(legal)}"


def published(name: str, sha256: str) -> str:
    """A name for `load_clip` that does not depend on the files of this machine; "" if there is none.

    Args:
        name: as in a run's config. Legal are OpenAI's, open_clip:ARCHITECTURE/TAG and hf-hub:OWNER/MODEL; also
            OWNER/MODEL if the hub's cache holds it, since it may have been a folder of another machine.
        sha256: of the CLIP's file: a copy of one of OpenAI's or of the demo's CLIPs is found whatever `name` is.

    Raises ValueError for a model of open_clip without that package.
    """
    if name in openai.FILES:
        return name
    inner = name.removeprefix(open_clip_files.PREFIX)
    if inner.startswith(hub.HUB) and hub.is_repo(inner) or name != inner and _is_tag(inner):
        return name
    if sha256 in openai.PUBLISHED:
        return openai.PUBLISHED[sha256]
    spelling = re.search(rf"@({'|'.join(openai.SPELLINGS)})$", name)
    if hub.is_cached(name):
        return hub.HUB + name
    demo = [path for path in sorted(DEMO.glob("*.npz")) if sha256_of(path) == sha256]
    return f"{demo[0]}{spelling[0] if spelling else ''}" if demo else ""


def _is_tag(name: str) -> bool:
    return bool(re.fullmatch(hub.REPO, name)) and open_clip_files.is_tag(name)
