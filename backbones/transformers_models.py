"""transformers' CLIPModel, MetaClip2Model and SiglipModel, read from their files. The package itself is only needed for
a tokenizer that is not CLIP's."""

import re
from pathlib import Path

import torch
from torch import Tensor

from . import adapters, transformers_clips
from .config import ClipConfig
from .transformers_configs import towers, why_not
from .transformers_images import preprocessing_of
from .transformers_tokenizers import tokenizer_of
from .weight_files import INDEX
from .weights import KEY, read_json, read_state_dict, weights_in

CONFIG = "config.json"
WEIGHTS = tuple(f"{name}{part}" for name in ("model.safetensors", "pytorch_model.bin") for part in ("", INDEX))


def is_model(path: Path) -> bool:
    """Whether a folder, or the folder of a file of weights, has the config of a transformers model, or an adapter."""
    folder = path if path.is_dir() else path.parent
    return (path.is_dir() or path.name in WEIGHTS) and (folder / CONFIG).is_file() or adapters.has_one(path)


def weights_of(path: Path) -> Path:
    """The file of the weights. Raises FileNotFoundError."""
    if path.is_dir() and adapters.has_one(path) and not any((path / name).is_file() for name in WEIGHTS):
        raise FileNotFoundError(f"{KEY}: {adapters.only_an_adapter(path)}")
    return path if path.is_file() else weights_in(path, WEIGHTS)


def read(path: Path) -> tuple[ClipConfig, dict[str, Tensor]]:
    """Config and weights of a folder, or of the weights in it. Raises ValueError for another kind of model."""
    weights = weights_of(path)
    folder = weights.parent
    options = read_json(folder / CONFIG)
    kind = options.get("model_type")
    if isinstance(kind, str) and kind in transformers_clips.KINDS:
        return transformers_clips.read(weights, options)
    reason = why_not(kind, transformers_clips.KINDS)
    if reason:
        raise ValueError(f"{KEY}: {folder / CONFIG} {reason}")
    try:
        image_config, text_config, pooled = towers(kind, options)
        state = renamed(adapters.merged(folder, read_state_dict(weights)))
    except Exception as error:  # of PyTorch's and safetensors' readers, and of values of other types
        raise ValueError(f"{KEY}: {weights} holds no {kind} model of transformers ({error})") from error
    preprocessing = preprocessing_of(folder, image_config.image_size, kind)
    tokenizer = tokenizer_of(folder, text_config, pooled)
    config = ClipConfig("transformers", image_config, text_config, preprocessing, tokenizer, bias="logit_bias" in state)
    return config, state


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
