"""The CLIP that the rest of the project sees, whichever library it comes from."""

import functools
import json
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from . import open_clip_models, transformers_tokenizers
from .config import ClipConfig
from .image import build_image_tower
from .layers import UNTUNED, Attention, Tuning
from .text import build_text_tower
from .tokenizers import Tokenizer, clip_tokenizer
from .weights import KEY, digest_of


class CLIP(nn.Module):
    """A CLIP of any family.

    Attributes:
        visual: the `ImageTower`.
        text: the `TextTower`.
        logit_scale: (), the logarithm of the factor on the cosine similarities.
        logit_bias: (), added to the logits; None for a model trained with a softmax.
        tokenizer: words to token ids.
        preprocessing: of images, as in its training.
        embed_dim: E, the width of the features of both towers.
        source: facts about its file, for logs and records.
    """

    def __init__(self, config: ClipConfig, where: str = KEY) -> None:
        super().__init__()
        self.config = config
        with torch.device("meta"):  # the weights are loaded later, so none are drawn
            self.visual = build_image_tower(config.image)
            self.text = build_text_tower(config.text)
            self.logit_scale = nn.Parameter(torch.empty(()))
            self.logit_bias = nn.Parameter(torch.empty(())) if config.bias else None
        rows = len(self.text.token_embedding.weight)
        self.tokenizer: Tokenizer = build_tokenizer(config.tokenizer).within(rows, where)
        self.preprocessing, self.embed_dim = config.preprocessing, config.text.embed_dim
        self.source: dict[str, str] = {}

    def encode_image(self, image: Tensor, tuning: Tuning = UNTUNED) -> Tensor:
        """Features (B, E) of images (B, 3, H, W), not normalised."""
        return self.visual(image, tuning)

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """Features (R, E) of sentences, not normalised. Raises ValueError naming a sentence that is too long."""
        ids = self.tokenizer(texts, self.text.context_length).to(self.logit_scale.device)
        return self.text(ids, self.tokenizer.eos)

    def with_bias(self, logits: Tensor) -> Tensor:
        """Logits of scaled similarities, with the bias of a model that was trained with the sigmoid loss."""
        return logits if self.logit_bias is None else logits + self.logit_bias

    @functools.cached_property
    def image_digest(self) -> str:
        """A digest of what image features depend on: the tower's weights, as they are in the file, and its description.
        `load_clip` computes it before it stores them in half."""
        return self.stored_digest()

    def stored_digest(self) -> str:
        """The same of the weights as they are stored now."""
        config = self.config.to_dict()
        return digest_of(self.visual.state_dict(), json.dumps([config["family"], config["image"]], sort_keys=True))


def build_tokenizer(options: dict[str, Any]) -> Tokenizer:
    """The tokenizer of a `ClipConfig`, by its kind.

    "clip" is the clip package's, "clip-transformers" the same vocabulary with transformers' cleaning of text,
    "open_clip" and "transformers" are the libraries' own.
    """
    kind, rest = options["kind"], {key: value for key, value in options.items() if key != "kind"}
    libraries = {"open_clip": open_clip_models, "transformers": transformers_tokenizers}
    if kind in libraries:
        return libraries[kind].load_tokenizer(**rest)
    return clip_tokenizer(clean_as_transformers=kind == "clip-transformers")


def check_finite(model: nn.Module, where: str) -> None:
    """Raise ValueError for weights that are not finite: the sum of a tensor tells quickly that they are."""
    for name, value in model.state_dict().items():
        if math.isfinite(value.sum().item()):
            continue
        bad = int((~torch.isfinite(value)).sum())
        if bad:
            raise ValueError(f"{where}: {bad:,} of {value.numel():,} numbers of {name} are nan or infinite")


def store_in_half(model: nn.Module, dtype: torch.dtype) -> None:
    """Store the weights of matrix products and convolutions in fp16 or bf16; norms and embeddings stay in fp32."""
    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            module.to(dtype)
        elif isinstance(module, (Attention, nn.MultiheadAttention)):
            for name, value in module.named_parameters(recurse=False):
                if "proj" in name:
                    value.data = value.data.to(dtype)
        projection = getattr(module, "projection", None)
        if isinstance(projection, Tensor):
            projection.data = projection.data.to(dtype)
