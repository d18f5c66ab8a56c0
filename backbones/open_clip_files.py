"""Finds open_clip's models in files, folders and the caches of open_clip and huggingface_hub; downloads nothing."""

import difflib
from pathlib import Path
from types import ModuleType
from typing import Any

from . import openai
from .open_clip_configs import CONFIG
from .weights import KEY, find_path, missing, weights_in

PREFIX, HUB, FOLDER = "open_clip:", "hf-hub:", "local-dir:"
WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "open_clip_pytorch_model.bin")


def library() -> ModuleType:
    """The package open_clip. Raises ValueError with the command that installs it."""
    try:
        import open_clip
    except ImportError as error:
        raise ValueError(
            f"{KEY}: models of open_clip need the package open_clip_torch ({error}): "
            "pip install -r requirements-open_clip.txt"
        ) from error
    return open_clip


def locate(name: str) -> tuple[str, Path, dict[str, Any]]:
    """A model's name in open_clip, the file of its weights, and the facts of its tag: preprocessing and activation.

    An architecture with a tag is the published one, whatever the current folder holds.

    Args:
        name: what follows "open_clip:": ARCHITECTURE/TAG, ARCHITECTURE FILE, FOLDER, or hf-hub:OWNER/MODEL.

    Raises:
        ValueError: an unknown architecture or tag, with the nearest ones.
        FileNotFoundError: weights that are neither a file nor in a cache.
    """
    open_clip = library()
    folder = (
        None if is_tag(name) else cached_folder(name.removeprefix(HUB)) if name.startswith(HUB) else find_path(name)
    )
    if folder is not None and (folder / CONFIG).is_file():
        return FOLDER + str(folder), weights_in(folder, WEIGHTS), {}
    architecture, _, file = name.partition(" ")
    if not file:
        architecture, _, tag = name.rpartition("/") if name not in open_clip.list_models() else (name, "", "")
    architectures = open_clip.list_models()
    if architecture not in architectures:
        near = difflib.get_close_matches(architecture or name, architectures, n=3, cutoff=0.4)
        raise ValueError(
            f"{KEY}: open_clip has no architecture {architecture or name!r}"
            + (f"; the nearest are {', '.join(near)}" if near else "")
            + f". Legal: {PREFIX}ARCHITECTURE/TAG, {PREFIX}ARCHITECTURE FILE, {PREFIX}FOLDER, {HUB}OWNER/MODEL"
        )
    if file:
        path = find_path(file.strip())
        if path is None:
            raise missing(file.strip())
        return architecture, path, {}
    tags = open_clip.list_pretrained_tags_by_model(architecture)
    if tag not in tags:
        near = difflib.get_close_matches(tag, tags, n=3, cutoff=0.4) or tags
        raise ValueError(
            f"{KEY}: open_clip's {architecture} has no weights {tag!r}; "
            + ("the nearest are " if tag else "one of ")
            + f"{', '.join(near) or 'none: name a file'}"
        )
    facts = open_clip.get_pretrained_cfg(architecture, tag)
    return architecture, cached_weights(architecture, tag, facts), facts


def is_tag(name: str) -> bool:
    """Whether this is ARCHITECTURE/TAG of published weights."""
    architecture, _, tag = name.rpartition("/")
    return bool(architecture) and tag in library().list_pretrained_tags_by_model(architecture)


def cached_weights(architecture: str, tag: str, facts: dict[str, Any]) -> Path:
    """The file of a tag in a cache of open_clip or huggingface_hub. Raises FileNotFoundError, saying how to get it."""
    if facts.get("hf_hub"):
        from huggingface_hub import try_to_load_from_cache

        repo, file = facts["hf_hub"].rsplit("/", 1)
        files = [file, str(Path(file).with_suffix(".safetensors"))] if file else list(WEIGHTS)
        found = [path for name in files if isinstance(path := try_to_load_from_cache(repo, name), str)]
        if found:
            return Path(found[0])
    if facts.get("url"):
        path = openai.CACHE_DIR / facts["url"].rsplit("/", 1)[-1]
        if path.is_file():
            return path
    where = facts.get("hf_hub") or facts.get("url")
    raise FileNotFoundError(
        f"{KEY}: the weights {tag} of open_clip's {architecture} ({where}) are in no cache of this machine, and a run "
        f"downloads nothing. Get them first: python -c \"import open_clip; open_clip.create_model('{architecture}', "
        f"pretrained='{tag}')\", or name a file: {PREFIX}{architecture} path/to/file"
    )


def cached_folder(repo: str) -> Path:
    """The snapshot of a repository in huggingface_hub's cache."""
    from huggingface_hub import try_to_load_from_cache

    path = try_to_load_from_cache(repo, CONFIG)
    if not isinstance(path, str):
        raise FileNotFoundError(
            f"{KEY}: {HUB}{repo} is not in huggingface_hub's cache on this machine, and a run downloads nothing. Get "
            f"it first: hf download {repo}"
        )
    return Path(path).parent


def cached_tokenizer(repo: str) -> str:
    """The snapshot of a tokenizer's repository in huggingface_hub's cache."""
    from huggingface_hub import try_to_load_from_cache

    for name in ("tokenizer_config.json", "tokenizer.json", "spiece.model", "vocab.txt", "vocab.json"):
        path = try_to_load_from_cache(repo, name)  # a ValueError for what is no name of a repository
        if isinstance(path, str):
            return str(Path(path).parent)
    raise FileNotFoundError(f"get it first: hf download {repo}")
