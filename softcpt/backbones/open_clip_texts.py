"""The text towers of open_clip's models: described, or refused, and their weights renamed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from . import transformers_text, transformers_text_configs
from .config import Text, Transformer, TransformersText
from .open_clip_files import FOLDER, PREFIX
from .weights import KEY


def foreign_tower(where: str, model: str, cfg: Mapping[str, Any]) -> TransformersText | None:
    """The text tower of a model's config if transformers runs it; see `transformers_text_configs.describe`."""
    if not cfg["text_cfg"].get("hf_model_name"):
        return None
    folder = Path(model.removeprefix(FOLDER)) if model.startswith(FOLDER) else None
    return transformers_text_configs.describe(where, cfg, folder)


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
    """The text tower of the library's model. Raises ValueError for one of a kind that is not supported."""
    text = getattr(model, "text", model)
    kinds = {type(block).__name__ for block in text.transformer.resblocks}
    pooling = getattr(text, "pool_type", getattr(model, "text_pool_type", "argmax"))
    classed = getattr(text, "cls_emb", None) is not None
    reason = ""
    if kinds != {"ResidualAttentionBlock"}:
        reason = f"its text tower has blocks of the kind {', '.join(sorted(kinds))}"
    elif not classed and pooling not in ("argmax", "eos", "last", "first"):
        reason = f"its text features are pooled by {pooling!r}"
    if reason:
        raise ValueError(f"{KEY}: {PREFIX}{name} is not supported: {reason}")
    projection, tower = text.text_projection, describe_transformer(text.transformer.resblocks)
    if projection is None:
        kind, embed_dim = "none", tower.width
    elif isinstance(projection, nn.Linear):
        kind, embed_dim = "linear" if projection.bias is None else "bias", projection.out_features
    else:
        kind, embed_dim = "linear", projection.shape[1]
    vocabulary, mask = text.token_embedding.num_embeddings, "full" if text.attn_mask is None else "causal"
    pooling = "class" if classed else "eos" if pooling == "argmax" else pooling
    # A class token brings a mask of the padding with it.
    pad = text.pad_id if classed or getattr(text, "use_pad_mask", False) else None
    shifted = classed and not getattr(text, "correct_cls_mask", False)
    return Text(tower, text.context_length, vocabulary, embed_dim, mask, pooling, kind, pad, shifted)


def renamed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights with those of the text tower where `openai.renamed` or the towers expect them."""
    if any(key.startswith("text.transformer.") and ".resblocks." not in key for key in state):
        return transformers_text.renamed(state)
    state = {key.removeprefix("text."): value for key, value in state.items()}
    if "text_projection.weight" in state:
        state["text_projection"] = state.pop("text_projection.weight").T.contiguous()
    for key, name in (("text_projection.bias", "projection_bias"), ("cls_emb", "class_embedding")):
        if key in state:
            state[f"text.{name}"] = state.pop(key)
    return state
