"""open_clip's models. The library builds a model and loads its file; here it is described and its weights renamed."""

from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from . import openai
from .config import ClipConfig, CoCaViT, OpenClipTower, Preprocessing, ResNet, Text, Transformer, ViT
from .open_clip_configs import check_vision_cfg, read_model_cfg, refuse_foreign_text
from .open_clip_files import FOLDER, PREFIX, library, locate
from .tokenizers import Tokenizer, probe
from .weights import KEY, first_line, read_state_dict


def read(name: str) -> tuple[ClipConfig, dict[str, Tensor], nn.Module]:
    """Config, weights and the library's own model; see `locate`. Raises ValueError for an unsupported model."""
    open_clip = library()
    model_name, path, facts = locate(name)
    model_cfg = model_config(model_name)
    refuse_foreign_text(f"{KEY}: {PREFIX}{name}", model_cfg)
    known = {key: facts[key] for key in ("mean", "std", "interpolation", "resize_mode") if facts.get(key)}
    try:
        model = open_clip.create_model(
            model_name,
            load_weights=False,
            pretrained_text=False,
            force_quick_gelu=bool(facts.get("quick_gelu")),
            force_preprocess_cfg=known,
        )
    except Exception as error:  # of many kinds, assertions among them
        raise ValueError(f"{KEY}: open_clip cannot build {name} ({first_line(error)})") from error
    refuse_text_tower(name, model)
    load_weights(open_clip, model, path, name)
    model.eval().requires_grad_(False)
    text, image = describe_text(name, model), describe_image(model, model_cfg, bool(facts.get("quick_gelu")))
    tokenizer = {"kind": "open_clip", "model": model_name, "context_length": text.context_length}
    config = ClipConfig(
        "open_clip", image, text, describe_preprocessing(name, model), tokenizer, model.logit_bias is not None
    )
    return config, renamed(model.state_dict(), image), model


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


def refuse_text_tower(name: str, model: nn.Module) -> None:
    """Raise ValueError for a text tower that cannot encode prompts of token embeddings."""
    text = getattr(model, "text", model)
    kind = type(text).__name__
    reason = ""
    if type(model).__name__ == "CoCa" or getattr(text, "cls_emb", None) is not None:
        reason = "CoCa's text tower reads a class token behind the padding, under a mask of its own"
    elif kind == "HFTextEncoder":
        reason = f"its text tower is a {type(text.transformer).__name__} of transformers, which is not causal"
    elif {type(block).__name__ for block in text.transformer.resblocks} != {"ResidualAttentionBlock"}:
        reason = f"its text tower has blocks of the kind {type(text.transformer.resblocks[0]).__name__}"
    elif getattr(text, "use_pad_mask", False):
        reason = "its text tower masks the padding"
    if reason:
        raise ValueError(f"{KEY}: {PREFIX}{name} is not supported: {reason}")


def describe_transformer(blocks: nn.ModuleList) -> Transformer:
    block = blocks[0]
    activation = type(block.mlp.gelu).__name__
    if activation == "GELU":
        activation = "gelu_tanh" if block.mlp.gelu.approximate == "tanh" else "gelu"
    elif activation == "QuickGELU":
        activation = "quick_gelu"
    width, hidden = block.ln_1.normalized_shape[0], block.mlp.c_fc.out_features
    scaled = not isinstance(block.ls_1, nn.Identity)
    return Transformer(width, len(blocks), block.attn.num_heads, hidden, activation, block.ln_1.eps, scaled)


def describe_text(name: str, model: nn.Module) -> Text:
    text = getattr(model, "text", model)
    projection, tower = text.text_projection, describe_transformer(text.transformer.resblocks)
    pooling = getattr(text, "pool_type", getattr(model, "text_pool_type", "argmax"))
    if pooling not in ("argmax", "eos", "last", "first"):
        raise ValueError(f"{KEY}: {PREFIX}{name} is not supported: its text features are pooled by {pooling!r}")
    if projection is None:
        kind, embed_dim = "none", tower.width
    elif isinstance(projection, nn.Linear):
        kind, embed_dim = "linear" if projection.bias is None else "bias", projection.out_features
    else:
        kind, embed_dim = "linear", projection.shape[1]
    vocabulary, mask = text.token_embedding.num_embeddings, "full" if text.attn_mask is None else "causal"
    pooling = "eos" if pooling == "argmax" else pooling
    return Text(tower, text.context_length, vocabulary, embed_dim, mask, pooling, kind)


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
    cfg = {**model_cfg["vision_cfg"], "timm_model_pretrained": False}
    return OpenClipTower(cfg, quick_gelu or bool(model_cfg.get("quick_gelu")), size, embed_dim)


def describe_preprocessing(name: str, model: nn.Module) -> Preprocessing:
    facts = library().get_model_preprocess_cfg(model)
    size, resize = facts["size"], facts.get("resize_mode", "shortest")
    if resize not in ("shortest", "squash"):
        raise ValueError(f"{KEY}: {PREFIX}{name} is not supported: its images are resized by {resize!r}")
    size = tuple(size) if isinstance(size, (tuple, list)) else (size, size)
    return Preprocessing(size, tuple(facts["mean"]), tuple(facts["std"]), facts["interpolation"], resize)


def renamed(state: dict[str, Tensor], image: ViT | ResNet | OpenClipTower) -> dict[str, Tensor]:
    """Weights under this project's names."""
    state = {key.removeprefix("text."): value for key, value in state.items()}
    if "text_projection.weight" in state:
        state["text_projection"] = state.pop("text_projection.weight").T.contiguous()
    if "text_projection.bias" in state:
        state["text.projection_bias"] = state.pop("text_projection.bias")
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


def load_tokenizer(model: str, context_length: int) -> Tokenizer:
    """The library's tokenizer of a model. Raises FileNotFoundError if its files are not on this machine."""
    open_clip = library()
    cfg = model_config(model)
    # These win over what the config says.
    own = {"local_files_only": True, "trust_remote_code": False} if cfg["text_cfg"].get("hf_tokenizer_name") else {}
    try:
        tokenizer = open_clip.get_tokenizer(model, context_length=context_length, **own)
    except Exception as error:  # transformers raises many kinds
        raise FileNotFoundError(
            f"{KEY}: the tokenizer of open_clip's {model.removeprefix(FOLDER)} is not on this machine, or needs "
            f"another package ({first_line(error)}). It needs transformers (pip install -r "
            "requirements-transformers.txt) and the tokenizer's files in the model's folder or in huggingface_hub's "
            "cache"
        ) from error
    if type(tokenizer).__name__ == "SimpleTokenizer":
        ends = [tokenizer.sot_token_id], [tokenizer.eot_token_id]
        return Tokenizer(tokenizer.encode, tokenizer.decode, *ends, 0)
    inner = tokenizer.tokenizer
    clean = getattr(tokenizer, "clean_fn", None) or (
        lambda text: open_clip.tokenizer.canonicalize_text(open_clip.tokenizer.basic_clean(text))
    )

    def encode(text: str) -> list[int]:
        return inner(clean(text), add_special_tokens=False).input_ids

    try:
        return Tokenizer(encode, inner.decode, *probe(lambda text: tokenizer([text])[0].tolist(), encode, model))
    except Exception as error:  # of values in its config that the library does not check
        raise ValueError(
            f"{KEY}: the tokenizer of {model.removeprefix(FOLDER)} does not work ({first_line(error)})"
        ) from error
