"""OpenAI's CLIPs: published names, and files of weights in the layout of the clip package."""

import logging
import os
import re
import tempfile
import urllib.error
import warnings
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

from .config import ClipConfig, Preprocessing, ResNet, Text, Transformer, ViT
from .state_dicts import first_words
from .torchscript import Archive, is_archive
from .weights import KEY, read_state_dict, restore_token_rows, sha256_of

logger = logging.getLogger(__name__)

CACHE_DIR = Path(os.path.expanduser("~/.cache/clip"))  # where there is no home folder, it stays ~
SPELLINGS = {"quickgelu": "quick_gelu", "gelu": "gelu"}
FILES = {  # the SHA-256 and the name of the file of each published name
    "RN50": ("afeb0e10f9e5a86da6080e35cf09123aca3b358a0c3e3b6c78a7b63bc04b6762", "RN50.pt"),
    "RN101": ("8fa8567bab74a42d41c5915025a8e4538c3bdbe8804a470a72f30b0d94fab599", "RN101.pt"),
    "RN50x4": ("7e526bd135e493cef0776de27d5f42653e6b4c8bf9e0f653bb11773263205fdd", "RN50x4.pt"),
    "RN50x16": ("52378b407f34354e150460fe41077663dd5b39c54cd0bfd2b27167a4a06ec9aa", "RN50x16.pt"),
    "RN50x64": ("be1cfb55d75a9666199fb2206c106743da0f6468c9d327f3e0d0a543a9919d9c", "RN50x64.pt"),
    "ViT-B/32": ("40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af", "ViT-B-32.pt"),
    "ViT-B/16": ("5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f", "ViT-B-16.pt"),
    "ViT-L/14": ("b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836", "ViT-L-14.pt"),
    "ViT-L/14@336px": ("3035c92b350959924f9f00213499208652fc7ea050643e8b385c2dac08641f02", "ViT-L-14-336px.pt"),
}
URL = "https://openaipublic.azureedge.net/clip/models/{}/{}"
PUBLISHED = {sha256: name for name, (sha256, _) in FILES.items()}
KEPT = 20  # positions of CLIP that Long-CLIP keeps
WIDEST = 1024  # up to this width all published towers have heads of 64


def published_file(name: str) -> Path:
    """OpenAI's file of a published name, from the cache folder or downloaded there.

    Raises:
        ValueError: the file in the cache has another SHA-256; it is left as it is.
        FileNotFoundError: there is no file and it cannot be downloaded, or not be written there.
    """
    digest, file_name = FILES[name]
    url, target = URL.format(digest, file_name), CACHE_DIR / file_name
    if os.path.exists(target):  # not where the user may not look into the home folder
        found = sha256_of(target)
        if found != digest:
            raise ValueError(
                f"{KEY}: {target} is not OpenAI's CLIP {name}: its SHA-256 is {found}, not {digest}. Remove it to have "
                f"the model downloaded, or, if it is the CLIP that you want, name the file: {KEY} {target}"
            )
        return target
    elsewhere = f"Fetch {url}, put it anywhere and name the file: {KEY} path/to/{target.name}"
    try:
        if not target.is_absolute():
            raise OSError("this user has no home folder; HOME sets one")
        CACHE_DIR.mkdir(parents=True, exist_ok=True)
        # Each process downloads to a folder of its own, so that none sees another's unfinished file.
        own = tempfile.TemporaryDirectory(prefix=f".{file_name}-", dir=CACHE_DIR)
    except OSError as error:
        reason = error.strerror or error
        raise FileNotFoundError(f"{KEY}: CLIP {name} cannot be put at {target} ({reason}). {elsewhere}") from error
    logger.info("Downloading OpenAI's CLIP %s to %s", name, target)
    try:
        with own as folder:
            own_file = os.path.join(folder, file_name)
            torch.hub.download_url_to_file(url, own_file, hash_prefix=digest)
            os.replace(own_file, target)
    except (urllib.error.URLError, OSError, RuntimeError) as error:
        raise FileNotFoundError(
            f"{KEY}: CLIP {name} is not at {target} and cannot be downloaded ({error}). Fetch {url} on a machine with "
            f"a network and put it there, or put it anywhere and name the file: {KEY} path/to/{target.name}"
        ) from error
    return target


def published_name(path: Path) -> str:
    """The published name of a file, by its contents; "" for a file that is not OpenAI's."""
    return PUBLISHED.get(sha256_of(path), "") if path.is_file() else ""


def read(path: Path, spelling: str = "", published: bool = False) -> tuple[ClipConfig, dict[str, Tensor]]:
    """Config and weights of a file in OpenAI's layout, those of its weights that are in fp16 as they are.

    Args:
        spelling: "quickgelu" or "gelu", the activation of a state dict, which does not declare it.
        published: the file is one of OpenAI's, by its SHA-256. PyTorch loads it as the clip package does; others are
            read as data, since loading runs code of the file.

    Raises:
        ValueError: a file without such a CLIP, or a state dict without a spelling.
    """
    try:
        state = loaded_program(path) if published else restore_token_rows(read_state_dict(path))
        for key in ("input_resolution", "context_length", "vocab_size"):
            state.pop(key, None)
        state = one_position_table(state)
        if "text_projection" not in state:
            raise ValueError(f"it has no text_projection; its names begin with {first_words(state)}")
        spelling = spelling or ("quickgelu" if published else "")
        activation = SPELLINGS[spelling] if spelling else declared_activation(path)
        # With any activation: a file that is no CLIP is refused before a missing spelling is.
        config = config_of(state, activation or "gelu")
        state = renamed(state, keep_half=True)
    except Exception as error:  # the readers of four formats raise a dozen types between them
        raise ValueError(f"{KEY}: {path} holds no CLIP state dict ({error})") from error
    if not activation:
        raise ValueError(
            f"{KEY}: {path} is a bare state dict, which does not say whether it was trained with QuickGELU (as "
            f"OpenAI's models) or with GELU (as most of open_clip's). Name {path}@quickgelu or {path}@gelu, or, for "
            f"open_clip's, the architecture: open_clip:ARCHITECTURE {path}"
        )
    check_heads(path, config)
    return config, state


def loaded_program(path: Path) -> dict[str, Tensor]:
    """The tensors of a TorchScript archive as PyTorch loads it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated by PyTorch
        return torch.jit.load(str(path), map_location="cpu").state_dict()


def one_position_table(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights with one table of text positions in place of Long-CLIP's two: it keeps the first 20 rows of CLIP's
    own and learns the others in `positional_embedding_res` (Zhang et al., Long-CLIP, arXiv 2403.15378)."""
    state = dict(state)
    stretched = state.pop("positional_embedding_res", None)
    if stretched is not None:
        kept = state["positional_embedding"]
        if kept.shape != stretched.shape:
            raise ValueError(f"its tables of positions are {tuple(kept.shape)} and {tuple(stretched.shape)}")
        state["positional_embedding"] = torch.cat([kept[:KEPT], stretched[KEPT:]])
    return state


def declared_activation(path: Path) -> str:
    """The activation that a file declares, in a TorchScript archive's code or an entry "activation" of an .npz or of a
    safetensors file's metadata; "" if it declares none."""
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as arrays:
            return SPELLINGS[str(arrays["activation"])] if "activation" in arrays.files else ""
    if path.suffix == ".safetensors":
        with safe_open(path, "pt") as file:
            found = (file.metadata() or {}).get("activation", "")
        return SPELLINGS[found] if found else ""
    if not is_archive(path):
        return ""
    code = Archive(path).code_of("transformer.resblocks.0.mlp.gelu")
    return "quick_gelu" if "sigmoid" in code else "gelu"


def config_of(state: dict[str, Tensor], activation: str) -> ClipConfig:
    """The config that follows from the shapes of a state dict, as in the clip package."""
    embed_dim, width = state["text_projection"].shape[1], state["ln_final.weight"].shape[0]
    text = transformer_of(state, "", width, activation)
    image: ViT | ResNet
    context_length, vocabulary = len(state["positional_embedding"]), len(state["token_embedding.weight"])
    if "visual.proj" in state:
        width, _, *patch = state["visual.conv1.weight"].shape
        side = round((len(state["visual.positional_embedding"]) - 1) ** 0.5)
        size = (side * patch[0], side * patch[1])
        image = ViT(transformer_of(state, "visual.", width, activation), size, tuple(patch), embed_dim)
    else:
        layers = tuple(count(state, rf"visual\.layer{i}\.(\d+)\.") for i in range(1, 5))
        width = state["visual.layer1.0.conv1.weight"].shape[0]
        side = 32 * round((len(state["visual.attnpool.positional_embedding"]) - 1) ** 0.5)
        size = (side, side)
        image = ResNet(layers, width, width * 32 // 64, size, embed_dim)
    return ClipConfig(
        "OpenAI", image, Text(text, context_length, vocabulary, embed_dim), Preprocessing(size), {"kind": "clip"}
    )


def check_heads(path: Path, config: ClipConfig) -> None:
    """Raise ValueError for a tower whose number of heads does not follow from its width."""
    for what, options in (("image", config.image), ("text", config.text)):
        tower = getattr(options, "transformer", None)
        if tower is not None and tower.width > WIDEST:
            raise ValueError(
                f"{KEY}: {path} has an {what} tower {tower.width} wide, whose number of heads a state dict does not "
                f"tell; name the architecture: open_clip:ARCHITECTURE {path}"
            )


def transformer_of(state: dict[str, Tensor], prefix: str, width: int, activation: str) -> Transformer:
    """The transformer whose weights begin with `prefix`."""
    layers = count(state, rf"{prefix}transformer\.resblocks\.(\d+)\.")
    hidden = state[f"{prefix}transformer.resblocks.0.mlp.c_fc.weight"].shape[0]
    return Transformer(width, layers, max(1, width // 64), hidden, activation)


def count(state: dict[str, Tensor], pattern: str) -> int:
    """The number of distinct matches of `pattern`'s group at the beginning of the keys."""
    return len({found[1] for found in (re.match(pattern, key) for key in state) if found})


RENAMED = (
    (r"^(token_embedding|positional_embedding|ln_final)", r"text.\1"),
    (r"^text_projection$", "text.projection"),
    (r"^transformer\.resblocks\.", "text.blocks."),
    (r"^visual\.transformer\.resblocks\.", "visual.blocks."),
    (r"^visual\.proj$", "visual.projection"),
)


def renamed(state: dict[str, Tensor], keep_half: bool = False) -> dict[str, Tensor]:
    """Weights under this project's names, in fp32; with `keep_half` those in fp16 as they are."""
    result = {}
    for key, value in state.items():
        for pattern, name in RENAMED:
            key = re.sub(pattern, name, key)
        kept = not value.is_floating_point() or keep_half and value.dtype == torch.float16
        result[key] = value if kept else value.float()
    return result
