"""transformers' CLIPs, read from their files: CLIPModel, MetaClip2Model and SiglipModel, for which the package is only
needed if the tokenizer is not CLIP's; Chinese-CLIP and AltCLIP, whose text tower it runs."""

import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from . import adapters
from .config import ClipConfig, TransformersText, ViT
from .transformers_configs import DEFAULTS, sections, towers, transformer, whole, why_not
from .transformers_images import preprocessing_of
from .transformers_text import package
from .transformers_text_configs import BERT, checked, positions
from .transformers_tokenizers import tokenizer_of
from .weight_files import INDEX
from .weights import KEY, read_json, read_state_dict, weights_in

CONFIG = "config.json"
WEIGHTS = tuple(f"{name}{part}" for name in ("model.safetensors", "pytorch_model.bin") for part in ("", INDEX))
# {kind: (class of the text tower, what is passed on of its config, where the layer of its tokens is)}
KINDS = {
    "chinese_clip": ("ChineseCLIPText", BERT, "embeddings"),
    "altclip": ("AltCLIPText", {**BERT, "project_dim": int}, "roberta.embeddings"),
}
# Those of the text tower are the library's own.
WITHOUT_TEXT = {"vision_config": DEFAULTS["clip"]["vision_config"], "text_config": {}}
PROJECTION = {"chinese_clip": 512, "altclip": 768}
LENGTH = 77  # the most tokens of a text, as in CLIP
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
    kind: Any = options.get("model_type")
    if isinstance(kind, str) and kind in KINDS:
        return read_with_foreign_text(weights, options)
    reason = why_not(kind, KINDS)
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


# -- Chinese-CLIP and AltCLIP ------------------------------------------------------------------------------------------


def read_with_foreign_text(weights: Path, options: dict[str, Any]) -> tuple[ClipConfig, dict[str, Tensor]]:
    """Config and weights of a folder with `options` in its config.json. Raises ValueError for another model."""
    kind, folder = options["model_type"], weights.parent
    where = f"{KEY}: {weights} holds no {kind} model of transformers"
    try:
        vision, text = sections(options, WITHOUT_TEXT, with_dicts=True)
        (embed_dim,) = whole({"projection_dim": PROJECTION[kind], **options}, "projection_dim")
        size, patch = whole(vision, "image_size", "patch_size")
        image = ViT(transformer(vision), (size, size), (patch, patch), embed_dim)
        own = {"model_type": kind, **checked(where, f"{folder / 'config.json'}", text, KINDS[kind][1])}
        state = renamed(with_text(adapters.merged(folder, read_model(weights, kind)), kind))
    except Exception as error:  # of PyTorch's and safetensors' readers, and of values of other types
        raise ValueError(f"{where} ({error})") from error
    length = min(LENGTH, positions(own) or LENGTH)
    tower = TransformersText(own, length, embed_dim, "cls_last_hidden_state_pooler", "linear")
    tokenizer = {"kind": "transformers", "folder": str(folder), "context_length": length}
    # Without a file their images are prepared as CLIP's.
    return ClipConfig("transformers", image, tower, preprocessing_of(folder, (size, size), "clip"), tokenizer), state


def read_model(weights: Path, kind: str) -> dict[str, Tensor]:
    """Weights under the names in the library's model: AltCLIP's files have two spellings, its code one."""
    state = read_state_dict(weights)
    if kind != "altclip":
        return state
    return {key.replace(".encoder.layer.", ".encoder.layers."): value for key, value in state.items()}


def with_text(state: dict[str, Tensor], kind: str) -> dict[str, Tensor]:
    """Weights with those of the text tower under this project's names."""
    result = {}
    for key, value in state.items():
        if key == f"text_model.{KINDS[kind][2]}.word_embeddings.weight":
            key = "text.token_embedding.weight"
        elif key == "text_projection.weight":
            key = "text.head.weight"
        elif key.startswith("text_model.pooler.") or key.endswith(("position_ids", "token_type_ids")):
            continue  # not used, and not there in newer files
        result[key.replace("text_model.", "text.transformer.", 1)] = value
    return result


class FirstToken(nn.Module):
    def forward(self, output: Any, mask: Tensor) -> Tensor:
        return output.last_hidden_state[:, 0]


def build(options: TransformersText) -> tuple[nn.Module, nn.Module, nn.Module]:
    """A text tower, its pooling and its projection, without weights."""
    transformers, no_weights = package()
    own = {key: value for key, value in options.options.items() if key != "model_type"}
    name = KINDS[options.options["model_type"]][0]
    config = getattr(transformers, f"{name}Config")(**own)
    without_pooler = {"add_pooling_layer": False} if name == "ChineseCLIPText" else {}
    with no_weights():
        tower = getattr(transformers, f"{name}Model")(config, **without_pooler)
        width = own["project_dim"] if "project_dim" in own else config.hidden_size
        return tower, FirstToken(), nn.Linear(width, options.embed_dim, bias=False)
