"""Finds open_clip's models in files, folders and the caches of open_clip and huggingface_hub; downloads nothing."""

import difflib
from pathlib import Path
from types import ModuleType
from typing import Any

from softcpt.packages import optional

from . import openai, transformers_tokenizers
from .config import OPENAI_MEAN, OPENAI_STD
from .open_clip_configs import CONFIG
from .weights import KEY, find_path, missing, weights_in

PREFIX, HUB, FOLDER = "open_clip:", "hf-hub:", "local-dir:"
HUB_WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
WEIGHTS = (  # in a folder, in the order in which open_clip looks for them
    "open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "open_clip_pytorch_model.bin",
    "open_clip_pytorch_model.pth", "model.safetensors", "pytorch_model.bin", "pytorch_model.pth", "model.pth",
)  # fmt: skip
FACTS = {  # what a tag says of a model, and what open_clip assumes otherwise
    "mean": OPENAI_MEAN, "std": OPENAI_STD, "interpolation": "bicubic", "resize_mode": "shortest", "quick_gelu": False,
}  # fmt: skip


def library() -> ModuleType:
    """The package open_clip. Raises ValueError with the command that installs it."""
    return optional("open_clip", "open_clip", f"{KEY}: models of open_clip need the package open_clip_torch")


def locate(name: str) -> tuple[str, Path, dict[str, Any]]:
    """A model's name in open_clip, the file of its weights, and the facts of its tag: preprocessing and activation.

    An architecture with a tag is the published one, whatever the current folder holds. A file of an architecture's
    weights has the facts of the tag that is named, or those that all its tags share.

    Args:
        name: what follows "open_clip:": ARCHITECTURE/TAG, ARCHITECTURE FILE, ARCHITECTURE/TAG FILE, FOLDER, or
            hf-hub:OWNER/MODEL.

    Raises:
        ValueError: an unknown architecture or tag, with the nearest ones; a file whose facts are not known.
        FileNotFoundError: weights that are neither a file nor in a cache.
    """
    open_clip = library()
    folder = (
        None if is_tag(name) else cached_folder(name.removeprefix(HUB)) if name.startswith(HUB) else find_path(name)
    )
    if folder is not None and (folder / CONFIG).is_file():
        return FOLDER + str(folder), weights_of(folder), {}
    head, _, file = name.partition(" ")
    architectures = open_clip.list_models()
    architecture, _, tag = (head, "", "") if head in architectures else head.rpartition("/")
    if architecture not in architectures:
        near = difflib.get_close_matches(architecture or name, architectures, n=3, cutoff=0.4)
        raise ValueError(
            f"{KEY}: open_clip has no architecture {architecture or name!r}"
            + (f"; the nearest are {', '.join(near)}" if near else "")
            + f". Legal: {PREFIX}ARCHITECTURE/TAG, {PREFIX}ARCHITECTURE FILE, {PREFIX}ARCHITECTURE/TAG FILE, "
            f"{PREFIX}FOLDER, {HUB}OWNER/MODEL"
        )
    tags = open_clip.list_pretrained_tags_by_model(architecture)
    if tag not in tags and (tag or not file):
        near = difflib.get_close_matches(tag, tags, n=3, cutoff=0.4) or tags
        raise ValueError(
            f"{KEY}: open_clip's {architecture} has no weights {tag!r}; "
            + ("the nearest are " if tag else "one of ")
            + f"{', '.join(near) or 'none: name a file'}"
        )
    facts = open_clip.get_pretrained_cfg(architecture, tag) if tag else shared_facts(architecture, file.strip())
    if not file:
        return architecture, cached_weights(architecture, tag, facts), facts
    path = find_path(file.strip())
    if path is None:
        raise missing(file.strip())
    if (path.parent / CONFIG).is_file():
        raise ValueError(f"{KEY}: {path} has a config beside it, which says what {name!r} does not: name {path.parent}")
    return architecture, path, facts


def shared_facts(architecture: str, file: str) -> dict[str, Any]:
    """The facts that all tags of an architecture share; open_clip's defaults for one without tags.

    Raises ValueError where they differ, with a name for each kind.
    """
    open_clip = library()
    kinds: dict[tuple[str, ...], str] = {}
    for tag in open_clip.list_pretrained_tags_by_model(architecture):
        facts = {**FACTS, **open_clip.get_pretrained_cfg(architecture, tag)}
        kinds.setdefault(tuple(str(facts[key]) for key in FACTS), tag)
    if len(kinds) > 1:
        differ = [i for i in range(len(FACTS)) if len({kind[i] for kind in kinds}) > 1]
        spelt = [
            f"'{PREFIX}{architecture}/{tag} {file}' ({', '.join(f'{list(FACTS)[i]} {kind[i]}' for i in differ)})"
            for kind, tag in kinds.items()
        ]
        raise ValueError(
            f"{KEY}: open_clip's {architecture} has weights of {len(kinds)} kinds, and {file} does not say its own. "
            f"Name it by a tag of the same kind: {', '.join(spelt)}"
        )
    return open_clip.get_pretrained_cfg(architecture, next(iter(kinds.values()), "")) or {}


def weights_of(folder: Path) -> Path:
    """The file of a folder's weights: the first of `WEIGHTS`, or else the only one of another name.

    Raises FileNotFoundError for a folder without weights, ValueError for one with several.
    """
    others = sorted(path for path in folder.iterdir() if path.suffix in (".safetensors", ".bin", ".pth"))
    if any(path.name in WEIGHTS for path in others) or not others:
        return weights_in(folder, WEIGHTS)
    if len(others) > 1:
        names = ", ".join(path.name for path in others)
        raise ValueError(
            f"{KEY}: {folder} holds {len(others)} files that may be its weights: {names}. Keep one of them"
        )
    return others[0]


def is_tag(name: str) -> bool:
    """Whether this is ARCHITECTURE/TAG of published weights."""
    architecture, _, tag = name.rpartition("/")
    return bool(architecture) and tag in library().list_pretrained_tags_by_model(architecture)


def alternatives(file: str) -> tuple[str, ...]:
    """The names under which open_clip looks for a file of the hub, in this order."""
    return (str(Path(file).with_suffix(".safetensors")), file) if file else HUB_WEIGHTS


def cached_weights(architecture: str, tag: str, facts: dict[str, Any]) -> Path:
    """The file of a tag in a cache of open_clip or huggingface_hub. Raises FileNotFoundError, saying how to get it."""
    if facts.get("hf_hub"):
        from huggingface_hub import try_to_load_from_cache

        repo, file = facts["hf_hub"].rsplit("/", 1)
        found = [path for name in alternatives(file) if isinstance(path := try_to_load_from_cache(repo, name), str)]
        if found:
            return Path(found[0])
    if facts.get("url"):
        path = openai.CACHE_DIR / facts["url"].rsplit("/", 1)[-1]
        if path.is_file():
            return path
    where = facts.get("hf_hub") or facts.get("url")
    raise FileNotFoundError(
        f"{KEY}: the weights {tag} of open_clip's {architecture} ({where}) are in no cache of this machine, and a run "
        f"downloads nothing. Get them first: python scripts/data.py weights {PREFIX}{architecture}/{tag}, or name a "
        f"file: '{PREFIX}{architecture}/{tag} path/to/file'"
    )


def cached_folder(repo: str) -> Path:
    """The snapshot of a repository in huggingface_hub's cache."""
    from huggingface_hub import try_to_load_from_cache

    path = try_to_load_from_cache(repo, CONFIG)
    if not isinstance(path, str):
        raise FileNotFoundError(
            f"{KEY}: {HUB}{repo} is not in huggingface_hub's cache on this machine, and a run downloads nothing. Get "
            f"it first: python scripts/data.py weights {repo}, or hf download {repo}"
        )
    return Path(path).parent


def cached_tokenizer(repo: str) -> str:
    """The snapshot of a tokenizer's repository in huggingface_hub's cache."""
    from huggingface_hub import try_to_load_from_cache

    for name in transformers_tokenizers.FILES:
        path = try_to_load_from_cache(repo, name)  # a ValueError for what is no name of a repository
        if isinstance(path, str):
            return str(Path(path).parent)
    raise FileNotFoundError(f"get it first: hf download {repo}")
