"""open_clip's models. The library builds a model and loads its file; here it is described and its weights renamed."""

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from . import open_clip_texts, openai
from .config import ClipConfig, CoCaViT, OpenClipTower, Preprocessing, ResNet, ViT
from .open_clip_configs import check_vision_cfg, read_model_cfg
from .open_clip_files import FOLDER, HUB, PREFIX, cached_tokenizer, library, locate
from .open_clip_texts import describe_transformer
from .tokenizers import Tokenizer, of_library
from .transformers_text import building
from .weights import KEY, first_line, read_state_dict


def read(name: str) -> tuple[ClipConfig, dict[str, Tensor], nn.Module]:
    """Config, weights and the library's own model; see `locate`. Raises ValueError for an unsupported model."""
    open_clip = library()
    model_name, path, facts = locate(name)
    model_cfg = model_config(model_name)
    foreign = open_clip_texts.foreign_tower(f"{KEY}: {PREFIX}{name}", model_name, model_cfg)
    known = {key: facts[key] for key in ("mean", "std", "interpolation", "resize_mode") if facts.get(key)}
    try:
        with _without_weights(), building(foreign) as text_cfg:
            model = open_clip.create_model(
                model_name,
                load_weights=False,
                pretrained_text=False,
                force_quick_gelu=bool(facts.get("quick_gelu")),
                force_preprocess_cfg=known,
                **({"text_cfg": {**model_cfg["text_cfg"], **text_cfg}} if foreign else {}),
            )
    except Exception as error:  # of many kinds, assertions among them
        raise ValueError(f"{KEY}: open_clip cannot build {name} ({first_line(error)})") from error
    if type(model).__name__ != "CoCa" and hasattr(model.visual, "output_tokens"):
        model.visual.output_tokens = False  # features alone, as a CoCa returns them
    load_weights(open_clip, model, path, name)
    model.eval().requires_grad_(False)
    text = foreign or open_clip_texts.describe_text(name, model)
    image = describe_image(model, model_cfg, bool(facts.get("quick_gelu")))
    tokenizer = {"kind": "open_clip", "model": model_name, "context_length": text.context_length}
    tokenizer["hub"] = name.startswith(HUB)
    config = ClipConfig(
        "open_clip", image, text, describe_preprocessing(name, model), tokenizer, model.logit_bias is not None
    )
    return config, renamed(model.state_dict(), image), model


@contextlib.contextmanager
def _without_weights() -> Iterator[None]:
    """Builds a model without open_clip's warnings about its weights, as that they are random: they are loaded next."""

    def keep(record: logging.LogRecord) -> bool:
        return record.module != "factory" or record.levelno > logging.WARNING

    root = logging.getLogger()  # the library's
    root.addFilter(keep)
    try:
        yield
    finally:
        root.removeFilter(keep)


def model_config(model: str) -> dict[str, Any]:
    """The config of open_clip's own architecture, or the checked one of FOLDER."""
    if model.startswith(FOLDER):
        return read_model_cfg(Path(model.removeprefix(FOLDER)))
    return library().get_model_config(model)


def load_weights(open_clip: ModuleType, model: nn.Module, path: Path, name: str) -> None:
    """Load a file into the library's model. The project reads it: open_clip's reader falls back to unpickling objects.

    Raises ValueError for the weights of another model, also for those whose positions open_clip would resize to this
    image size or context length.
    """
    try:
        if path.suffix == ".npz":
            open_clip.load_checkpoint(model, str(path))
            return
        own, state = model.state_dict(), converted(open_clip, model, read_state_dict(path))
        for key, value in state.items():
            if "pos" in key and key in own and own[key].shape != value.shape:
                raise ValueError(f"{key} has shape {tuple(value.shape)}, not {tuple(own[key].shape)}")
        model.load_state_dict(state)
    except Exception as error:  # PyTorch's readers raise many kinds
        reason = error if type(error) is ValueError else first_line(error)
        raise ValueError(f"{KEY}: {path} does not hold the weights of {PREFIX}{name} ({reason})") from error


def converted(open_clip: ModuleType, model: nn.Module, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A state dict under the names of the library's model, as open_clip reads older and others' files."""
    own, state = model.state_dict(), dict(state)
    for key in ("input_resolution", "context_length", "vocab_size", "text.transformer.embeddings.position_ids"):
        state.pop(key, None)
    state = open_clip.factory.convert_state_dict(model, state)
    if "positional_embedding" in state and "positional_embedding" not in own:
        state = open_clip.factory.convert_to_custom_text_state_dict(state)
    for key in ("logit_scale", "logit_bias"):
        if key in state and key in own:
            state[key] = state[key].reshape(own[key].shape)
    if "logit_bias" in own and "logit_bias" not in state:
        state["logit_bias"] = torch.zeros_like(own["logit_bias"])
    return state


def describe_image(model: nn.Module, model_cfg: dict[str, Any], quick_gelu: bool) -> ViT | ResNet | OpenClipTower:
    tower, embed_dim = model.visual, model_cfg["embed_dim"]
    size = tuple(tower.image_size) if isinstance(tower.image_size, (tuple, list)) else (tower.image_size,) * 2
    if type(tower).__name__ == "ModifiedResNet" and size[0] == size[1]:
        cfg = model_cfg["vision_cfg"]
        heads = cfg["width"] * 32 // cfg.get("head_width", 64)
        return ResNet(tuple(cfg["layers"]), cfg["width"], heads, size, embed_dim)
    if type(tower).__name__ == "VisionTransformer":
        blocks, pool = tower.transformer.resblocks, {"tok": "token", "avg": "mean"}.get(tower.pool_type)
        plain = {type(block).__name__ for block in blocks} == {"ResidualAttentionBlock"}
        if plain and pool and (tower.attn_pool is None or pool == "token" and tower.attn_pool_contrastive is None):
            facts = (describe_transformer(blocks), size, tuple(tower.patch_size), embed_dim)
            pre_norm = not isinstance(tower.ln_pre, nn.Identity)
            if tower.attn_pool is not None:  # the feature is that of the first query
                return CoCaViT(*facts, pre_norm=pre_norm, pool_heads=tower.attn_pool.attn.num_heads)
            norm_first = pool == "mean" and not tower.final_ln_after_pool
            return ViT(*facts, pre_norm=pre_norm, pool=pool, norm_first=norm_first)
    cfg = {**model_cfg["vision_cfg"], "timm_model_pretrained": False, "output_tokens": False}
    return OpenClipTower(cfg, quick_gelu or bool(model_cfg.get("quick_gelu")), size, embed_dim)


def describe_preprocessing(name: str, model: nn.Module) -> Preprocessing:
    facts = library().get_model_preprocess_cfg(model)
    size, resize = facts["size"], facts.get("resize_mode", "shortest")
    if resize not in ("shortest", "squash"):
        raise ValueError(f"{KEY}: {PREFIX}{name} is not supported: its images are resized by {resize!r}")
    size = tuple(size) if isinstance(size, (tuple, list)) else (size, size)
    if not all(isinstance(edge, int) for edge in size):
        raise ValueError(f"{KEY}: {PREFIX}{name} is not supported: vision_cfg.image_size is {size[0]!r}, not a number")
    return Preprocessing(size, tuple(facts["mean"]), tuple(facts["std"]), facts["interpolation"], resize)


def renamed(state: dict[str, Tensor], image: ViT | ResNet | OpenClipTower) -> dict[str, Tensor]:
    """Weights under this project's names, without a CoCa's decoder."""
    state = {key: value for key, value in state.items() if not key.startswith("text_decoder.")}
    state = open_clip_texts.renamed(state)
    for key in ("logit_scale", "logit_bias"):
        if key in state:
            state[key] = state[key].reshape(())
    if isinstance(image, CoCaViT):
        state = {key.replace("visual.attn_pool.", "visual.pool."): value for key, value in state.items()}
        state["visual.pool.query"] = state["visual.pool.query"][:1].clone()
    if isinstance(image, OpenClipTower):
        state = {key.replace("visual.", "visual.tower.", 1): value for key, value in state.items()}
    return openai.renamed(state)


def build_tower(options: OpenClipTower) -> nn.Module:
    """An image tower that open_clip builds, without its weights."""
    check_vision_cfg(f"{KEY}: open_clip's image tower", options.vision_cfg)
    text_cfg = {"layers": 1, "width": 8, "heads": 1, "vocab_size": 1, "context_length": 1}
    model = library().CustomTextCLIP(options.embed_dim, options.vision_cfg, text_cfg, quick_gelu=options.quick_gelu)
    return model.visual


def load_tokenizer(model: str, context_length: int, hub: bool = False) -> Tokenizer:
    """The library's tokenizer of a model.

    As in the library, a FOLDER's is beside its weights, while a model of the hub has that which its config names.

    Raises:
        FileNotFoundError: its files are not on this machine.
        ValueError: a tokenizer of another form, or one whose [EOS] is not the model's.
    """
    open_clip = library()
    text_cfg, shown = model_config(model)["text_cfg"], model.removeprefix(FOLDER)
    named = text_cfg.get("hf_tokenizer_name")
    # These win over what the config says.
    own = {"local_files_only": True, "trust_remote_code": False} if named else {}
    try:
        if hub and named:
            options = {
                **(text_cfg.get("tokenizer_kwargs") or {}),
                **own,
                "tokenizer_mode": text_cfg.get("tokenizer_mode"),
            }
            source = cached_tokenizer(named)
            tokenizer = open_clip.tokenizer.HFTokenizer(source, context_length=context_length, **options)
        else:
            tokenizer = open_clip.get_tokenizer(model, context_length=context_length, **own)
    except Exception as error:  # transformers raises many kinds
        raise FileNotFoundError(
            f"{KEY}: the tokenizer of open_clip's {shown} is not on this machine, or needs another package "
            f"({first_line(error)}). It needs transformers (pip install -r requirements-transformers.txt) and the "
            "tokenizer's files in the model's folder or in huggingface_hub's cache"
        ) from error
    if type(tokenizer).__name__ == "SimpleTokenizer":
        ends = [tokenizer.sot_token_id], [tokenizer.eot_token_id]
        return Tokenizer(tokenizer.encode, tokenizer.decode, *ends, 0, by_word=True)
    inner = tokenizer.tokenizer
    clean = getattr(tokenizer, "clean_fn", None) or (
        lambda text: open_clip.tokenizer.canonicalize_text(open_clip.tokenizer.basic_clean(text))
    )
    try:
        found = of_library(inner, clean, lambda text: tokenizer([text])[0].tolist(), shown)
        check_eos(text_cfg, found, max(inner.get_vocab().values()))
    except Exception as error:  # of values in its config that the library does not check
        raise ValueError(f"{KEY}: the tokenizer of {shown} does not work ({first_line(error)})") from error
    return found


def check_eos(text_cfg: dict[str, Any], tokenizer: Tokenizer, largest: int) -> None:
    """Raise ValueError for a text tower that reads its feature at another token than the tokenizer's [EOS].

    Args:
        largest: the largest id of the tokenizer.
    """
    pooling, eos_id = text_cfg.get("pool_type", "argmax"), text_cfg.get("eos_id", 2)
    if text_cfg.get("hf_model_name") or pooling not in ("eos", "argmax"):
        return
    read = eos_id if pooling == "eos" else largest
    if tokenizer.eos != [read]:
        raise ValueError(f"it ends a text with {tokenizer.eos}, and the model reads its feature at the token {read}")
