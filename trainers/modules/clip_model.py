"""Loading OpenAI's CLIP from a name or a file, and freezing it."""

from __future__ import annotations

import difflib
import hashlib
import logging
import os
import tempfile
import urllib.error
import warnings
from pathlib import Path

import numpy as np
import torch
from clip import clip
from clip.model import CLIP, build_model
from torch import Tensor, nn

logger = logging.getLogger(__name__)

PROJECT_ROOT = Path(__file__).resolve().parents[2]
CACHE_DIR = Path("~/.cache/clip").expanduser()
SUFFIXES = (".pt", ".pth", ".npz", ".safetensors")


def load_clip(name_or_path: str) -> CLIP:
    """CLIP in fp32 on the CPU, in evaluation mode, frozen.

    Args:
        name_or_path: one of `clip.available_models()` (looked up in ~/.cache/clip, downloaded if it is not there), or
            a file: OpenAI's JIT archive, or a state dict in .pt, .pth, .npz or .safetensors. A relative path is looked
            up in the current folder, then in the project's. A state dict may hold `token_ids` (n,) and `token_rows`
            (n, D) in the place of `token_embedding.weight`: the only rows kept, the others are zero.

    Raises:
        ValueError: neither a known name nor a path, a file that holds no CLIP, or one in ~/.cache/clip that is not
            OpenAI's (by its SHA-256).
        FileNotFoundError: a path that is not there, or a known name that cannot be downloaded.
    """
    path = find_weights(name_or_path)
    try:
        state_dict = read_state_dict(path)
        model = build_model(restore_token_rows(state_dict))
    except Exception as error:  # the readers of four formats raise a dozen types between them
        raise ValueError(f"MODEL.BACKBONE.NAME: {path} holds no CLIP state dict ({error})") from error
    # build_model rounds the weights to fp16, as the released models are stored, whatever the precision of the run.
    return model.float().eval().requires_grad_(False)


def find_weights(name_or_path: str) -> Path:
    """The file of a model name or path; see `load_clip`."""
    if name_or_path in clip.available_models():
        return _download(name_or_path)
    for folder in (Path.cwd(), PROJECT_ROOT):
        path = (folder / name_or_path).expanduser()
        if path.is_file():
            return path
    if Path(name_or_path).suffix in SUFFIXES:
        raise FileNotFoundError(f"MODEL.BACKBONE.NAME: no file {name_or_path} in {Path.cwd()} or {PROJECT_ROOT}")
    names = clip.available_models()
    near = difflib.get_close_matches(name_or_path, names, n=1, cutoff=0.4)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise ValueError(
        f"MODEL.BACKBONE.NAME: unknown CLIP {name_or_path!r}{hint} Legal: {', '.join(names)}, or a file ending in "
        f"{', '.join(SUFFIXES)}"
    )


def _download(name: str) -> Path:
    """OpenAI's file of a known model: the one in the cache folder, which is never changed, or a new one put there."""
    url = clip._MODELS[name]
    digest, file_name = url.split("/")[-2:]
    target = CACHE_DIR / file_name
    if target.exists():
        found = sha256_of(target)
        if found != digest:
            raise ValueError(
                f"MODEL.BACKBONE.NAME: {target} is not OpenAI's CLIP {name}: its SHA-256 is {found}, not {digest}. "
                "Remove it to have the model downloaded, or, if it is the CLIP that you want, name the file: "
                f"MODEL.BACKBONE.NAME {target}"
            )
        return target
    try:
        CACHE_DIR.mkdir(parents=True, exist_ok=True)
        # A folder for each process: others may download the same model now, and none may see half of a file.
        with tempfile.TemporaryDirectory(prefix=f".{file_name}-", dir=CACHE_DIR) as folder:
            os.replace(clip._download(url, folder), target)
    except (urllib.error.URLError, OSError, RuntimeError) as error:
        raise FileNotFoundError(
            f"MODEL.BACKBONE.NAME: CLIP {name} is not at {target} and cannot be downloaded ({error}). Fetch {url} on "
            "a machine with a network and put it there, or put it anywhere and name the file: "
            f"MODEL.BACKBONE.NAME path/to/{target.name}"
        ) from error
    return target


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """State dict of a JIT archive or of a .pt, .npz or .safetensors file, without unpickling code."""
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as arrays:
            return {key: torch.from_numpy(arrays[key]) for key in arrays.files if arrays[key].dtype.kind in "fiu"}
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", FutureWarning
            )  # deprecated, but the form in which the weights are published
            return torch.jit.load(str(path), map_location="cpu").state_dict()
    except RuntimeError:  # no JIT archive
        state_dict = torch.load(path, map_location="cpu", weights_only=True)
        return state_dict.get("state_dict", state_dict)


def restore_token_rows(state_dict: dict[str, Tensor], vocabulary: int = 49408) -> dict[str, Tensor]:
    """Put the kept rows `token_rows` (n, D) of the token embedding back at `token_ids` (n,); the others are zero."""
    state_dict = dict(state_dict)
    if "token_rows" in state_dict:
        ids, rows = state_dict.pop("token_ids").long(), state_dict.pop("token_rows").float()
        weight = torch.zeros(vocabulary, rows.shape[1])
        weight[ids] = rows
        state_dict["token_embedding.weight"] = weight
    return state_dict


def check_input_size(size: tuple[int, int], model: CLIP) -> None:
    """Raise ValueError where INPUT.SIZE is not the size of the image tower."""
    legal = model.visual.input_resolution
    if tuple(size) != (legal, legal):
        raise ValueError(
            f"INPUT.SIZE: {tuple(size)} does not fit this CLIP's image tower, which takes ({legal}, {legal})"
        )


def store_in_half(model: CLIP, dtype: torch.dtype) -> None:
    """Keep the weights of matrix products and convolutions in fp16 or bf16; norms and embeddings stay in fp32."""
    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            module.to(dtype)
        elif isinstance(module, nn.MultiheadAttention):
            module.in_proj_weight.data = module.in_proj_weight.data.to(dtype)
            module.in_proj_bias.data = module.in_proj_bias.data.to(dtype)
        for name in ("text_projection", "proj"):
            if isinstance(getattr(module, name, None), Tensor):
                getattr(module, name).data = getattr(module, name).data.to(dtype)
