"""Checks open_clip_config.json, whose values open_clip passes on to classes of its own, of timm and of transformers.

Only keys and values that this project knows get there. In particular, no file makes transformers run the code beside
it (`trust_remote_code`), names another file or folder, or has anything downloaded.
"""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .config import MOST, MOST_LAYERS
from .weights import KEY, read_json

CONFIG = "open_clip_config.json"
MODEL_KEYS = (
    "embed_dim", "vision_cfg", "text_cfg", "custom_text", "quick_gelu", "init_logit_scale", "init_logit_bias",
    "nonscalar_logit_scale", "multimodal_cfg",
)  # fmt: skip
BLOCK_KEYS = (
    "width", "layers", "mlp_ratio", "ls_init_value", "final_ln_after_pool", "pool_type", "output_tokens", "act_kwargs",
    "norm_kwargs", "block_type", "qk_norm", "scaled_cosine_attn", "scale_heads", "scale_attn_inner", "scale_attn",
    "scale_fc",
)  # fmt: skip
VISION_KEYS = (
    *BLOCK_KEYS, "head_width", "patch_size", "image_size", "patch_dropout", "attentional_pool", "attn_pooler_queries",
    "attn_pooler_heads", "no_ln_pre", "pos_embed_type", "timm_model_name", "timm_model_pretrained", "timm_pool",
    "timm_proj", "timm_proj_bias", "timm_drop", "timm_drop_path",
)  # fmt: skip
TEXT_KEYS = (
    *BLOCK_KEYS, "heads", "context_length", "vocab_size", "hf_tokenizer_name", "tokenizer_mode", "tokenizer_kwargs",
    "embed_cls", "pad_id", "eos_id", "no_causal_mask", "proj_bias", "proj_type", "use_pad_mask", "correct_cls_mask",
    "hf_model_name", "hf_model_pretrained", "hf_proj_type", "hf_pooler_type",
)  # fmt: skip
MULTIMODAL_KEYS = (*TEXT_KEYS, "dim_head", "n_queries", "attn_pooler_heads")
INNER_KEYS = {
    "tokenizer_kwargs": ("clean", "strip_sep_token"), "norm_kwargs": ("eps",), "act_kwargs": ("approximate",)
}  # fmt: skip
WORDS = (  # keys whose values may be texts
    "pool_type", "block_type", "attentional_pool", "pos_embed_type", "proj_type", "timm_model_name", "timm_pool",
    "timm_proj", "hf_tokenizer_name", "tokenizer_mode", "clean", "approximate", "hf_model_name", "hf_proj_type",
    "hf_pooler_type",
)  # fmt: skip
SIZES = (  # at least 1, in a list, too; null is open_clip's own value of some of them
    "embed_dim", "width", "layers", "heads", "head_width", "patch_size", "image_size", "context_length", "vocab_size",
    "attn_pooler_queries", "attn_pooler_heads",
)  # fmt: skip
PREPARED = {"interpolation": ("bicubic", "bilinear"), "resize_mode": ("shortest", "squash")}  # legal texts
LEAST_STD = 1e-6  # pixels divided by less are not finite numbers


def read_model_cfg(folder: Path) -> dict[str, Any]:
    """The checked "model_cfg" of a folder's config. Raises ValueError that names the file and the key."""
    path = folder / CONFIG
    content = read_json(path)
    cfg = content.get("model_cfg")
    parts = [cfg.get(part) for part in ("vision_cfg", "text_cfg")] if isinstance(cfg, dict) else [None]
    if not isinstance(cfg, dict) or not all(isinstance(part, dict) for part in parts) or "embed_dim" not in cfg:
        raise ValueError(f"{KEY}: {path} has no model_cfg with embed_dim, vision_cfg and text_cfg")
    where = f"{KEY}: {path}"
    _check(where, "model_cfg", cfg, MODEL_KEYS)
    check_vision_cfg(where, cfg["vision_cfg"])
    _check(where, "text_cfg", cfg["text_cfg"], TEXT_KEYS)
    if "multimodal_cfg" in cfg:
        if not isinstance(cfg["multimodal_cfg"], dict):
            raise ValueError(f"{where}: model_cfg.multimodal_cfg is {cfg['multimodal_cfg']!r:.80}, not an object")
        _check(where, "multimodal_cfg", cfg["multimodal_cfg"], MULTIMODAL_KEYS)
    check_preprocess_cfg(where, content.get("preprocess_cfg"))
    return cfg


def check_preprocess_cfg(where: str, cfg: Any) -> None:
    """Raise ValueError for a mean, deviation or way of resizing that no image can be prepared with."""
    if not isinstance(cfg, dict | None):
        raise ValueError(f"{where}: preprocess_cfg is {cfg!r:.80}, not keys with their values")
    for key, value in (cfg or {}).items():
        numbers = isinstance(value, list) and len(value) == 3 and all(_number(item) for item in value)
        if key in ("mean", "std") and (not numbers or key == "std" and min(value) < LEAST_STD):
            above = f" of at least {LEAST_STD:f}" if key == "std" else ""
            raise ValueError(f"{where}: preprocess_cfg.{key} is {value!r:.80}, not three numbers{above}")
        if key in PREPARED and value not in PREPARED[key]:
            legal = ", ".join(PREPARED[key])
            raise ValueError(f"{where}: preprocess_cfg.{key} is {value!r:.80}, not one of {legal}")


def _number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) <= MOST


def check_vision_cfg(where: str, cfg: Mapping[str, Any]) -> None:
    """Raise ValueError for an image tower with unknown keys, or of a timm model that is not in timm itself."""
    _check(where, "vision_cfg", cfg, VISION_KEYS)
    name = cfg.get("timm_model_name")
    if name:
        import timm  # open_clip needs it, too

        if not (isinstance(name, str) and timm.is_model(name)):
            raise ValueError(f"{where}: vision_cfg.timm_model_name {name!r:.80} is no model of timm {timm.__version__}")


def _check(where: str, section: str, cfg: Mapping[str, Any], known: tuple[str, ...]) -> None:
    for key, value in cfg.items():
        name = f"{section}.{key}"
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else f"; legal are {', '.join(known)}"
            raise ValueError(f"{where}: {name:.200} is not known, and nothing unknown is passed on to a library{hint}")
        if key in ("vision_cfg", "text_cfg", "multimodal_cfg"):
            continue
        if key in INNER_KEYS and isinstance(value, dict):
            _check(where, name, value, INNER_KEYS[key])
        elif key in INNER_KEYS and value is None:
            continue
        elif isinstance(value, str) and key in WORDS:
            continue
        elif not _plain(value, MOST_LAYERS if key == "layers" else MOST) or key in INNER_KEYS:
            raise ValueError(f"{where}: {name} is {value!r:.80}, not a plain value of a legal size")
        elif key in SIZES and not _size(value):
            raise ValueError(f"{where}: {name} is {value!r:.80}, not a whole number of at least 1")


def _size(value: Any) -> bool:
    return value is None or all(
        type(item) is int and item > 0 for item in (value if isinstance(value, list) else [value])
    )


def _plain(value: Any, most: int) -> bool:
    """Whether this is a finite number up to `most`, a truth value, None, or a short list of whole numbers."""
    if isinstance(value, list):
        return len(value) <= 4 and all(isinstance(item, int) and 0 <= item <= most for item in value)
    if isinstance(value, int | float):
        return abs(value) <= most  # not so for nan, and of integers of any length
    return value is None
