"""The weights of transformers' CLIPs under this project's names."""

import re

import torch
from torch import Tensor

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
