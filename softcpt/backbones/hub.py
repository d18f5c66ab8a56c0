"""Models of Hugging Face's hub, by OWNER/MODEL: found in its cache on this machine, downloaded only when asked."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from softcpt.packages import installed, optional

from . import adapters, open_clip_files, openai, transformers_models
from .open_clip_configs import read_model_cfg
from .weights import KEY, first_line, missing

HUB = open_clip_files.HUB
REPO = r"\w[\w.-]*/\w[\w.-]*"
# Configs, tokenizers, a model card; and an adapter, which the library applies.
SMALL = ("*.json", "*.txt", "*.model", "README.md", "LICENSE*", *adapters.WEIGHTS)
LIBRARIES = {
    "open_clip": (open_clip_files.CONFIG, open_clip_files.HUB_WEIGHTS),
    "transformers": (transformers_models.CONFIG, transformers_models.WEIGHTS),
}


def is_repo(name: str) -> bool:
    """Whether this has the form OWNER/MODEL or hf-hub:OWNER/MODEL."""
    return bool(re.fullmatch(f"({HUB})?{REPO}", name))


def cached(name: str) -> tuple[str, Path]:
    """The library that reads a model, "open_clip" or "transformers", and its folder in the cache.

    A model that both can read is open_clip's, if its weights for open_clip are there.

    Raises FileNotFoundError with the command that downloads it, ValueError without the package huggingface_hub.
    """
    repo = name.removeprefix(HUB)
    find = package().try_to_load_from_cache
    for library, files in LIBRARIES.items():
        config, weights = find(repo, files[0]), [find(repo, file) for file in files[1]]
        if isinstance(config, str) and any(isinstance(path, str) for path in weights):
            return library, Path(config).parent
    elsewhere = f"{missing(name)}, and " if name == repo else f"{KEY}: {name}: "
    raise FileNotFoundError(
        f"{elsewhere}no complete model {repo} in huggingface_hub's cache on this machine, and a run downloads nothing. "
        f"Get it first: python scripts/data.py weights {repo}, or all of its files: hf download {repo}"
    )


def check_no_tag(name: str) -> None:
    """Raise ValueError, with the name that is meant, for open_clip's ARCHITECTURE/TAG without its prefix."""
    if not name.startswith(HUB) and installed("open_clip") and open_clip_files.is_tag(name):
        raise ValueError(f"{KEY}: {name} is a model of open_clip: write {open_clip_files.PREFIX}{name}")


def is_cached(name: str) -> bool:
    """Whether this is a model of the hub that is on this machine."""
    try:
        return is_repo(name) and bool(cached(name))
    except (ValueError, FileNotFoundError):
        return False


def package() -> ModuleType:
    """huggingface_hub. Raises ValueError with the command that installs it."""
    need = f"{KEY}: models of Hugging Face's hub need the package huggingface_hub"
    return optional("huggingface_hub", "transformers", need)


def fetch(name: str, download: Callable[[str, str], None]) -> Path:
    """Download the weights and the tokenizer of a published CLIP, unless they are there, and return their place.

    Args:
        name: for `load_clip`: one of OpenAI's, open_clip:ARCHITECTURE/TAG, or OWNER/MODEL of the hub.
        download: downloads an address to a file that appears once it is complete.

    Raises:
        ValueError: another name; the hub does not know it, or holds no weights that this project reads.
        OSError: it cannot be downloaded.
    """
    if name in openai.FILES:
        return openai.published_file(name)
    if name.startswith(open_clip_files.PREFIX) and open_clip_files.is_tag(name.removeprefix(open_clip_files.PREFIX)):
        return _fetch_tag(name.removeprefix(open_clip_files.PREFIX), download)
    repo = name.removeprefix(open_clip_files.PREFIX)
    if not is_repo(repo):
        raise ValueError(
            f"{name!r} is no published CLIP; legal are {', '.join(openai.FILES)}, "
            f"{open_clip_files.PREFIX}ARCHITECTURE/TAG and OWNER/MODEL of Hugging Face's hub"
        )
    check_no_tag(name)
    return _fetch_repo(repo.removeprefix(HUB))


def _fetch_tag(name: str, download: Callable[[str, str], None]) -> Path:
    architecture, _, tag = name.rpartition("/")
    library = open_clip_files.library()
    facts, text = library.get_pretrained_cfg(architecture, tag), library.get_model_config(architecture)["text_cfg"]
    try:
        path = open_clip_files.cached_weights(architecture, tag, facts)
    except FileNotFoundError:
        if facts.get("hf_hub"):
            repo, _, file = facts["hf_hub"].rpartition("/")
            path = _snapshot(repo, [_first(repo, open_clip_files.alternatives(file))]) if file else _fetch_repo(repo)
        else:
            path = openai.CACHE_DIR / facts["url"].rsplit("/", 1)[-1]
            path.parent.mkdir(parents=True, exist_ok=True)
            download(facts["url"], str(path))
    _fetch_text(text)
    return path


def _fetch_text(text_cfg: Mapping[str, Any]) -> None:
    """The tokenizer and the config of a text tower that open_clip takes from other repositories."""
    for repo in dict.fromkeys(text_cfg.get(key) for key in ("hf_tokenizer_name", "hf_model_name")):
        if repo:
            _snapshot(repo, [])


def _fetch_repo(repo: str) -> Path:
    """The small files of a repository, and the weights of the first library that can read it."""
    for config, weights in LIBRARIES.values():
        if _present(repo, (config,)) and (found := _present(repo, weights)):
            shards = ["*-of-*" + Path(found[0].removesuffix(".index.json")).suffix] if "index" in found[0] else []
            folder = _snapshot(repo, [found[0], *shards])
            if config == open_clip_files.CONFIG:
                _fetch_text(read_model_cfg(folder)["text_cfg"])
            return folder
    raise ValueError(
        f"{repo} holds no CLIP that this project reads: neither {open_clip_files.CONFIG} nor "
        f"{transformers_models.CONFIG} with its weights"
    )


def _first(repo: str, files: tuple[str, ...]) -> str:
    """The first of `files` in a repository. Raises ValueError if it holds none."""
    found = _present(repo, files)
    if not found:
        raise ValueError(f"{repo} holds none of {', '.join(files)}")
    return found[0]


def _present(repo: str, files: tuple[str, ...]) -> list[str]:
    there = _ask(repo, lambda hub: hub.list_repo_files(repo))
    return [file for file in files if file in there]


def _snapshot(repo: str, weights: list[str]) -> Path:
    return Path(_ask(repo, lambda hub: hub.snapshot_download(repo, allow_patterns=[*SMALL, *weights])))


def _ask(repo: str, question: Callable[[ModuleType], Any]) -> Any:
    """What huggingface_hub answers. Raises OSError in one line."""
    hub = package()
    try:
        return question(hub)
    except Exception as error:  # of huggingface_hub and of its HTTP client: no network, an unknown or closed repository
        raise OSError(f"Hugging Face's hub does not give {repo}: {first_line(error)}") from error
