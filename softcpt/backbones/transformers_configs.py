"""config.json of transformers' CLIPModel, MetaClip2Model and SiglipModel: the sizes of both towers."""

from collections.abc import Iterable
from typing import Any

from .config import MOST, MOST_LAYERS, Text, Transformer, ViT

ACTIVATIONS = {"quick_gelu": "quick_gelu", "gelu": "gelu", "gelu_pytorch_tanh": "gelu_tanh", "gelu_new": "gelu_tanh"}
# transformers' defaults for what a config leaves out.
DEFAULTS: dict[str, dict[str, dict[str, Any]]] = {
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
DEFAULTS["metaclip_2"] = DEFAULTS["clip"]
WITH_DICTS = ("clip", "metaclip_2")  # may have text_config_dict and vision_config_dict
UNSUPPORTED = ("quantization_config", "transformers_weights")  # the latter names another file of weights


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
    names = "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size"
    width, layers, heads, hidden = whole(options, *names)
    if width % heads:
        raise ValueError(f"hidden_size {width} is no multiple of num_attention_heads {heads}")
    return Transformer(width, layers, heads, hidden, ACTIVATIONS[activation], eps)


def clip(options: dict[str, Any], vision: dict[str, Any], text: dict[str, Any]) -> tuple[ViT, Text]:
    """The towers of a CLIPModel or a MetaClip2Model."""
    (embed_dim,) = whole({"projection_dim": 512, **options}, "projection_dim")
    size, patch = whole(vision, "image_size", "patch_size")
    length, vocabulary = whole(text, "max_position_embeddings", "vocab_size")
    image = ViT(transformer(vision), (size, size), (patch, patch), embed_dim)
    return image, Text(transformer(text), length, vocabulary, embed_dim)


def siglip(options: dict[str, Any], vision: dict[str, Any], text: dict[str, Any]) -> tuple[ViT, Text]:
    """The towers of a SiglipModel."""
    if vision["vision_use_head"] is not True:
        raise ValueError("its image tower has no head (vision_use_head is not true)")
    size, patch, width = whole(vision, "image_size", "patch_size", "hidden_size")
    image = ViT(
        transformer(vision), (size, size), (patch, patch), width, class_token=False, patch_bias=True, pre_norm=False,
        pool="attention", norm_first=True, projection=False,
    )  # fmt: skip
    key = "hidden_size" if text["projection_size"] is None else "projection_size"
    (embed_dim,) = whole(text, key)
    if embed_dim != width:
        raise ValueError(f"its text features are {embed_dim} wide (text_config.{key}), those of its images {width}")
    length, vocabulary = whole(text, "max_position_embeddings", "vocab_size")
    return image, Text(transformer(text), length, vocabulary, embed_dim, "full", "last", "bias")


def towers(kind: str, options: dict[str, Any]) -> tuple[ViT, Text, int | str | None]:
    """Image tower and text tower of a config of this kind, and the token at which the text feature is read: its id,
    "largest" for the largest id of a text, or None if `Text.pooling` says it."""
    vision, text = sections(options, DEFAULTS[kind], kind in WITH_DICTS)
    if kind == "siglip":
        return *siglip(options, vision, text), None
    eos = text["eos_token_id"]
    if type(eos) is not int or eos < 0:
        raise ValueError(f"text_config.eos_token_id is {eos!r:.60}, not the id of a token")
    # In older configs of CLIP it is wrong, and transformers then reads the feature at the largest id.
    return *clip(options, vision, text), "largest" if kind == "clip" and eos == 2 else eos


def sections(
    options: dict[str, Any], defaults: dict[str, dict[str, Any]], with_dicts: bool
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The values of the image tower and of the text tower as the library has them: `defaults` fill in what is left out.

    Args:
        with_dicts: `vision_config_dict` and `text_config_dict` of an older config replace all of the newer key.

    Raises ValueError for weights that are quantised or in a file of another name, and for images without colours.
    """
    for key in UNSUPPORTED:
        if options.get(key):
            raise ValueError(f"{key} is {options[key]!r:.60}, which is not supported")
    vision, text = (_section(options, name, defaults, with_dicts) for name in ("vision_config", "text_config"))
    if vision.get("num_channels", 3) != 3:
        raise ValueError(f"vision_config.num_channels is {vision['num_channels']!r:.60}, not 3")
    return vision, text


def _section(
    options: dict[str, Any], name: str, defaults: dict[str, dict[str, Any]], with_dicts: bool
) -> dict[str, Any]:
    key = f"{name}_dict" if with_dicts and options.get(f"{name}_dict") is not None else name
    found = options.get(key)
    if found is not None and not isinstance(found, dict):
        raise ValueError(f"{key} is {found!r:.60}, not a JSON object")
    return {**defaults[name], **(found or {})}


def why_not(kind: Any, others: Iterable[str] = ()) -> str:
    """Why a config of this model type is not read; "" if it is. `others` are read elsewhere."""
    if isinstance(kind, str) and kind in DEFAULTS:
        return ""
    words = f"is of a model of type {kind!r:.60}"
    if kind == "siglip2":
        return (
            f"{words}: SigLIP 2 that keeps the shape of pictures (NaFlex), which is not supported. Those of one "
            "resolution, as google/siglip2-base-patch16-224, are of type siglip"
        )
    if isinstance(kind, str) and kind.endswith(("_text_model", "_vision_model")):
        half, other = ("text", "images") if "_text" in kind else ("images", "text")
        return f"{words}: the half of a CLIP for {half} alone. Name a folder that has the half for {other}, too"
    return f"{words}; legal are {', '.join((*DEFAULTS, *others))}"
