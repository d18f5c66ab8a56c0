"""transformers' CLIPModel and SiglipModel, read from their files. The package itself is only needed for a tokenizer
that is not CLIP's."""

import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .config import ClipConfig, Text, Transformer, ViT
from .tokenizers import Tokenizer, clip_vocabulary, probe
from .transformers_images import preprocessing_of
from .weights import KEY, first_line, read_json, read_state_dict, weights_in

CONFIG = "config.json"
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
ACTIVATIONS = {"quick_gelu": "quick_gelu", "gelu": "gelu", "gelu_pytorch_tanh": "gelu_tanh", "gelu_new": "gelu_tanh"}
# transformers' defaults for what a config leaves out.
DEFAULTS = {
    "clip": {
        "text_config": dict(
            hidden_size=512, num_hidden_layers=12, num_attention_heads=8, intermediate_size=2048, vocab_size=49408,
            max_position_embeddings=77, hidden_act="quick_gelu", layer_norm_eps=1e-5, eos_token_id=49407,
        ),
        "vision_config": dict(
            hidden_size=768, num_hidden_layers=12, num_attention_heads=12, intermediate_size=3072, image_size=224,
            patch_size=32, hidden_act="quick_gelu", layer_norm_eps=1e-5,
        ),
    },
    "siglip": {
        "text_config": dict(
            hidden_size=768, num_hidden_layers=12, num_attention_heads=12, intermediate_size=3072, vocab_size=32000,
            max_position_embeddings=64, hidden_act="gelu_pytorch_tanh", layer_norm_eps=1e-6, projection_size=None,
        ),
        "vision_config": dict(
            hidden_size=768, num_hidden_layers=12, num_attention_heads=12, intermediate_size=3072, image_size=224,
            patch_size=16, hidden_act="gelu_pytorch_tanh", layer_norm_eps=1e-6, vision_use_head=True,
        ),
    },
}  # fmt: skip
MOST, MOST_LAYERS = 10**6, 1000  # of any size, and of blocks


def is_model(path: Path) -> bool:
    """Whether a folder, or the folder of a safetensors file, has the config of a transformers model."""
    folder = path if path.is_dir() else path.parent
    return (path.is_dir() or path.name in WEIGHTS) and (folder / CONFIG).is_file()


def weights_of(path: Path) -> Path:
    """The file of the weights. Raises FileNotFoundError."""
    return path if path.is_file() else weights_in(path, WEIGHTS)


def read(path: Path) -> tuple[ClipConfig, dict[str, Tensor]]:
    """Config and weights of a folder, or of the weights in it. Raises ValueError for another kind of model."""
    weights = weights_of(path)
    folder = weights.parent
    options = read_json(folder / CONFIG)
    kind = options.get("model_type")
    if not isinstance(kind, str) or kind not in DEFAULTS:
        raise ValueError(f"{KEY}: {folder / CONFIG} is of a model of type {kind!r}; legal are {', '.join(DEFAULTS)}")
    try:
        text, vision = (
            {**DEFAULTS[kind][part], **(options.get(f"{part}_dict") or {}), **(options.get(part) or {})}
            for part in ("text_config", "vision_config")
        )
        state = read_state_dict(weights)
        build = _clip if kind == "clip" else _siglip
        image_config, text_config = build(options, vision, text)
        state = renamed(state)
    except Exception as error:  # of PyTorch's and safetensors' readers, and of values of other types
        raise ValueError(f"{KEY}: {weights} holds no {kind} model of transformers ({error})") from error
    preprocessing = preprocessing_of(folder, image_config.image_size, kind)
    tokenizer = tokenizer_of(folder, text_config)
    config = ClipConfig("transformers", image_config, text_config, preprocessing, tokenizer, bias="logit_bias" in state)
    return config, state


def whole(options: dict[str, Any], *names: str) -> list[int]:
    """The values of keys that are whole numbers above 0. Raises ValueError for any other value."""
    for name in names:
        value, most = options[name], MOST_LAYERS if name == "num_hidden_layers" else MOST
        if type(value) is not int or not 0 < value <= most:
            raise ValueError(f"{name} is {value!r:.60}, not a whole number from 1 to {most:,}")
    return [options[name] for name in names]


def transformer(options: dict[str, Any]) -> Transformer:
    activation, eps = options["hidden_act"], options["layer_norm_eps"]
    if not isinstance(activation, str) or activation not in ACTIVATIONS:
        raise ValueError(f"hidden_act {activation!r:.60} is not one of {', '.join(ACTIVATIONS)}")
    if type(eps) is not float or not 0 < eps < 1:
        raise ValueError(f"layer_norm_eps is {eps!r:.60}, not a number between 0 and 1")
    sizes = whole(options, "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
    if sizes[0] % sizes[2]:
        raise ValueError(f"hidden_size {sizes[0]} is no multiple of num_attention_heads {sizes[2]}")
    return Transformer(*sizes, ACTIVATIONS[activation], eps)


def _clip(options: dict[str, Any], vision: dict[str, Any], text: dict[str, Any]) -> tuple[ViT, Text]:
    (embed_dim,) = whole({"projection_dim": 512, **options}, "projection_dim")
    size, patch = whole(vision, "image_size", "patch_size")
    length, vocabulary = whole(text, "max_position_embeddings", "vocab_size")
    image = ViT(transformer(vision), (size, size), (patch, patch), embed_dim)
    return image, Text(transformer(text), length, vocabulary, embed_dim)


def _siglip(options: dict[str, Any], vision: dict[str, Any], text: dict[str, Any]) -> tuple[ViT, Text]:
    if not vision["vision_use_head"]:
        raise ValueError("its image tower has no head (vision_use_head is false)")
    size, patch, width = whole(vision, "image_size", "patch_size", "hidden_size")
    parts = {"class_token": False, "patch_bias": True, "pre_norm": False, "norm_first": True, "projection": False}
    image = ViT(transformer(vision), (size, size), (patch, patch), width, pool="attention", **parts)
    (embed_dim,) = whole(text, "projection_size" if text["projection_size"] else "hidden_size")
    length, vocabulary = whole(text, "max_position_embeddings", "vocab_size")
    return image, Text(transformer(text), length, vocabulary, embed_dim, "full", "last", "bias")


RENAMED = (
    (r"^text_model\.embeddings\.token_embedding\.", "text.token_embedding."),
    (r"^text_model\.embeddings\.position_embedding\.weight$", "text.positional_embedding"),
    (r"^text_model\.final_layer_norm\.", "text.ln_final."),
    (r"^text_model\.head\.bias$", "text.projection_bias"),
    (r"^(text_projection|text_model\.head)\.weight$", "text.projection"),
    (r"^vision_model\.embeddings\.class_embedding$", "visual.class_embedding"),
    (r"^vision_model\.embeddings\.patch_embedding\.", "visual.conv1."),
    (r"^vision_model\.embeddings\.position_embedding\.weight$", "visual.positional_embedding"),
    (r"^vision_model\.pre_layrnorm\.", "visual.ln_pre."),
    (r"^vision_model\.post_layernorm\.", "visual.ln_post."),
    (r"^visual_projection\.weight$", "visual.projection"),
    (r"^vision_model\.head\.probe$", "visual.pool.probe"),
    (r"^vision_model\.head\.attention\.", "visual.pool.attn."),
    (r"^vision_model\.head\.layernorm\.", "visual.pool.norm."),
    (r"^vision_model\.head\.mlp\.", "visual.pool.mlp."),
    (r"^text_model\.encoder\.layers\.", "text.blocks."),
    (r"^vision_model\.encoder\.layers\.", "visual.blocks."),
    (r"\.layer_norm(\d)\.", r".ln_\1."),
    (r"\.self_attn\.", ".attn."),
    (r"\.mlp\.fc1\.", ".mlp.c_fc."),
    (r"\.mlp\.fc2\.", ".mlp.c_proj."),
)


def renamed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights under this project's names, in fp32; queries, keys and values are packed."""
    result: dict[str, Tensor] = {}
    for key, value in state.items():
        if key.endswith("position_ids"):
            continue
        name = key
        for pattern, replacement in RENAMED:
            name = re.sub(pattern, replacement, name)
        if name in ("text.projection", "visual.projection"):
            value = value.T.contiguous()
        if name in ("logit_scale", "logit_bias"):
            value = value.reshape(())
        result[name] = value.float() if value.is_floating_point() else value
    for prefix in [key.removesuffix("q_proj.weight") for key in result if key.endswith(".q_proj.weight")]:
        for kind in ("weight", "bias"):
            parts = [result.pop(f"{prefix}{part}_proj.{kind}") for part in "qkv"]
            result[f"{prefix}in_proj_{kind}"] = torch.cat(parts)
    return result


def tokenizer_of(folder: Path, text: Text) -> dict[str, Any]:
    """CLIP's tokenizer if the folder has none or one with the same vocabulary, else the folder's."""
    vocabulary = None
    if (folder / "vocab.json").is_file():
        vocabulary = read_json(folder / "vocab.json")
    elif (folder / "tokenizer.json").is_file():
        model = read_json(folder / "tokenizer.json").get("model")
        vocabulary = model.get("vocab") if isinstance(model, dict) else model
    own = clip_vocabulary()
    if text.mask == "causal" and text.vocabulary == len(own) and vocabulary in (None, own):
        return {"kind": "clip-transformers"}
    return {"kind": "transformers", "folder": str(folder), "context_length": text.context_length}


def load_tokenizer(folder: str, context_length: int) -> Tokenizer:
    """The tokenizer of a folder. Raises ValueError without transformers, FileNotFoundError without its files."""
    try:
        from transformers import AutoTokenizer
    except ImportError as error:
        raise ValueError(
            f"{KEY}: the tokenizer of {folder} needs the package transformers ({error}): "
            "pip install -r requirements-transformers.txt"
        ) from error
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # of many kinds
        reason = first_line(error)
        raise FileNotFoundError(f"{KEY}: {folder} has no tokenizer that transformers can read ({reason})") from error

    def encode(text: str) -> list[int]:
        return tokenizer(text, add_special_tokens=False).input_ids

    def whole(text: str) -> list[int]:
        return tokenizer(text, padding="max_length", max_length=context_length).input_ids

    try:
        return Tokenizer(encode, tokenizer.decode, *probe(whole, encode, folder))
    except Exception as error:  # of values in its config that the library does not check
        raise ValueError(f"{KEY}: the tokenizer of {folder} does not work ({first_line(error)})") from error
