"""transformers' Chinese-CLIP and AltCLIP: CLIP's image tower, and a text tower that transformers runs."""

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from . import adapters, transformers_configs
from .config import ClipConfig, TransformersText, ViT
from .transformers_configs import transformer, whole
from .transformers_images import preprocessing_of
from .transformers_text import package
from .transformers_text_configs import BERT, checked, positions
from .transformers_weights import renamed
from .weights import KEY, read_state_dict

# {kind: (class of the text tower, what is passed on of its config, where the layer of its tokens is)}
KINDS = {
    "chinese_clip": ("ChineseCLIPText", BERT, "embeddings"),
    "altclip": ("AltCLIPText", {**BERT, "project_dim": int}, "roberta.embeddings"),
}
# Those of the text tower are the library's own.
DEFAULTS = {"vision_config": transformers_configs.DEFAULTS["clip"]["vision_config"], "text_config": {}}
PROJECTION = {"chinese_clip": 512, "altclip": 768}
LENGTH = 77  # the most tokens of a text, as in CLIP


def read(weights: Path, options: dict[str, Any]) -> tuple[ClipConfig, dict[str, Tensor]]:
    """Config and weights of a folder with `options` in its config.json. Raises ValueError for another model."""
    kind, folder = options["model_type"], weights.parent
    where = f"{KEY}: {weights} holds no {kind} model of transformers"
    try:
        vision, text = transformers_configs.sections(options, DEFAULTS, with_dicts=True)
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
