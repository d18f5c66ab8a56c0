"""The description of a CLIP without its weights, which the reader of each family fills in."""

import dataclasses
import re
from dataclasses import dataclass, field
from typing import Any

RESIZE = re.compile(r"(shortest|squash)|shortest:([1-9]\d{0,3})|squash:([1-9]\d{0,3})x([1-9]\d{0,3})")
RESIZES = "shortest, squash, shortest:PIXELS, squash:HEIGHTxWIDTH"  # in words
MOST, MOST_LAYERS = 10**6, 1000  # of any size in a model's config, and of blocks
OPENAI_MEAN, OPENAI_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True)
class Transformer:
    """A stack of pre-norm residual attention blocks."""

    width: int
    layers: int
    heads: int
    mlp_width: int
    activation: str  # a key of layers.ACTIVATIONS
    eps: float = 1e-5  # of the layer norms
    layer_scale: bool = False  # a learned scale on what each block adds


@dataclass(frozen=True)
class Text:
    """A text tower.

    Attributes:
        mask: "causal", or "full" if every token attends to every other.
        pooling: the token at which the feature is read: "eos" the first [EOS], "last" the last of the context, "first",
            or "class", a learned token behind the context.
        projection: "linear", "bias" (linear with a bias), or "none".
        pad: the id of the tokens that no token attends to, those of the padding; None if the padding is attended to.
        shifted: the mask of the padding is one token late, as in CoCa: the first [PAD] is attended to, and the class
            token is not, unless there is no padding.
    """

    transformer: Transformer
    context_length: int
    vocabulary: int
    embed_dim: int
    mask: str = "causal"
    pooling: str = "eos"
    projection: str = "linear"
    pad: int | None = None
    shifted: bool = False
    kind: str = "own"


@dataclass(frozen=True)
class TransformersText:
    """A text tower that transformers runs; nothing attends to its padding.

    Attributes:
        options: of transformers' config, with its "model_type"; see `transformers_text_configs.KEYS` and
            `transformers_models.KINDS`.
        pooling, projection: open_clip's `hf_pooler_type` and `hf_proj_type`.
    """

    options: dict[str, Any]
    context_length: int
    embed_dim: int
    pooling: str | None
    projection: str | None
    kind: str = "transformers"


@dataclass(frozen=True)
class ViT:
    """A vision transformer.

    Attributes:
        pool: "token" reads the class token, "mean" the mean of the patches, "attention" a learned query over the
            patches (SigLIP's head).
        norm_first: the last layer norm comes before pooling, not after it.
        projection: a matrix to the embedding; False if the pooled feature is the embedding.
    """

    transformer: Transformer
    image_size: tuple[int, int]
    patch_size: tuple[int, int]
    embed_dim: int
    class_token: bool = True
    patch_bias: bool = False
    pre_norm: bool = True
    pool: str = "token"
    norm_first: bool = False
    projection: bool = True
    kind: str = "vit"


@dataclass(frozen=True)
class CoCaViT(ViT):
    """CoCa's: a learned query, as wide as the embedding, attends to all tokens in `pool_heads` heads."""

    pool: str = "query"
    pool_heads: int = 8
    kind: str = "coca_vit"


@dataclass(frozen=True)
class ResNet:
    """OpenAI's modified ResNet with an attention pool."""

    layers: tuple[int, ...]
    width: int
    heads: int
    image_size: tuple[int, int]
    embed_dim: int
    kind: str = "resnet"


@dataclass(frozen=True)
class OpenClipTower:
    """An image tower that open_clip builds, often timm's, from `vision_cfg` and the other attributes."""

    vision_cfg: dict[str, Any]
    quick_gelu: bool
    image_size: tuple[int, int]
    embed_dim: int
    kind: str = "open_clip"


@dataclass(frozen=True)
class Preprocessing:
    """The preprocessing of images in a CLIP's training.

    Attributes:
        size: height and width in pixels.
        mean, std: of each channel, for pixels in [0, 1].
        interpolation: "bicubic", "bilinear" or "nearest".
        resize: "shortest" brings the shorter edge to the size and crops the centre, "squash" changes the aspect ratio.
            "shortest:256" and "squash:256x256" resize to so many pixels, and crop the centre as transformers does.
    """

    size: tuple[int, int]
    mean: tuple[float, ...] = OPENAI_MEAN
    std: tuple[float, ...] = OPENAI_STD
    interpolation: str = "bicubic"
    resize: str = "shortest"

    def resized(self) -> int | tuple[int, int]:
        """The shorter edge, or height and width, before the centre is cropped. Raises ValueError for an illegal
        `resize`, and for one to fewer pixels than are cropped."""
        found = RESIZE.fullmatch(self.resize)
        if found is None:
            raise ValueError(f"{self.resize!r:.60} is not one of {RESIZES}")
        word, edge, height, width = found.groups()
        pixels = (int(edge),) * 2 if edge else (int(height), int(width)) if height else self.size
        if any(there < wanted for there, wanted in zip(pixels, self.size)):
            raise ValueError(f"{self.resize!r} leaves fewer pixels than {self.size[0]}x{self.size[1]}")
        if self.resize.startswith("squash"):
            return pixels
        return max(pixels)


@dataclass(frozen=True)
class ClipConfig:
    """A CLIP without its weights.

    Attributes:
        family: "OpenAI", "open_clip" or "transformers".
        tokenizer: the arguments of `model.build_tokenizer`.
        bias: the logits have a learned bias, as in models trained with the sigmoid loss.
    """

    family: str
    image: ViT | ResNet | OpenClipTower
    text: Text | TransformersText
    preprocessing: Preprocessing
    tokenizer: dict[str, Any] = field(default_factory=lambda: {"kind": "clip"})
    bias: bool = False

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "ClipConfig":
        """The inverse of `to_dict`, also after a round trip through JSON."""
        image, text, preprocessing = (dict(values[key]) for key in ("image", "text", "preprocessing"))
        for tower in (image, text):
            if "transformer" in tower:
                tower["transformer"] = Transformer(**tower["transformer"])
        kind = {kind.kind: kind for kind in (ViT, CoCaViT, ResNet, OpenClipTower)}[image["kind"]]
        text_kind = {"own": Text, "transformers": TransformersText}[text.get("kind", "own")]
        parts = {"text": text_kind(**text), "preprocessing": Preprocessing(**_tuples(preprocessing))}
        return cls(**{**values, **parts, "image": kind(**_tuples(image))})


def _tuples(values: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
