"""Text towers that are a BERT or another encoder of transformers, most of them inside a model of open_clip. The
libraries build and run them; here prompts of embeddings get in."""

import contextlib
import importlib
import importlib.util
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from softcpt.packages import optional

from .config import TransformersText
from .layers import UNTUNED, Tuning
from .open_clip_files import library
from .text import lengths_of
from .transformers_text_configs import CONFIG, KEYS
from .weights import KEY

# The decoders, which open_clip drops, are built as small as possible.
SMALLEST = {
    "m2m_100": {"decoder_layers": 1, "decoder_ffn_dim": 1, "decoder_attention_heads": 1},
    "mt5": {"num_decoder_layers": 1},
}


def package() -> tuple[ModuleType, Callable[[], AbstractContextManager[None]]]:
    """transformers, and its context in which models draw no weights. Raises ValueError where it is missing."""
    transformers = optional("transformers", "transformers", f"{KEY}: a text tower of transformers needs that package")
    source = transformers.modeling_utils  # where it was before transformers 5
    if importlib.util.find_spec("transformers.initialization"):
        source = importlib.import_module("transformers.initialization")
    return transformers, source.no_init_weights


@contextlib.contextmanager
def building(options: TransformersText | None) -> Iterator[dict[str, Any]]:
    """What open_clip's `text_cfg` is to hold for this tower, while a model is built: it then reads the config from a
    folder of the project's, and draws no weights. Nothing for None. Raises ValueError without transformers."""
    if options is None:
        yield {}
        return
    kind = options.options["model_type"]
    with tempfile.TemporaryDirectory() as folder, package()[1]():
        (Path(folder) / CONFIG).write_text(json.dumps({**options.options, **SMALLEST.get(kind, {})}))
        yield {
            "hf_model_name": folder,
            "hf_model_pretrained": False,
            "hf_pooler_type": options.pooling,
            "hf_proj_type": options.projection,
        }


class TransformersTextTower(nn.Module):
    """A text tower that transformers runs; see `TextTower` for the attributes.

    Prompts enter at the token embedding, as elsewhere. M2M100 multiplies its rows by a factor, which prompts get here.
    """

    causal = shared = padded = False
    tail, depth = 0, 1  # what the first layer's prompts are is the context

    def __init__(self, options: TransformersText) -> None:
        super().__init__()
        self.transformer, self.pooler, self.head = build(options)
        self.options, self.pooling = options, options.pooling
        self.context_length, self.embed_dim = options.context_length, options.embed_dim
        self.not_tunable = (
            f"it is a {type(self.transformer).__name__} of transformers, whose layers are not this project's"
        )
        parent, name = embedding_of(self.transformer)
        own = getattr(parent, name)
        count, self.width = own.weight.shape
        self.factor = getattr(own, "embed_scale", 1.0)
        setattr(parent, name, nn.Identity())  # prompts do not pass it
        with torch.device("meta"):
            self.token_embedding = nn.Embedding(count, self.width)

    def forward(self, ids: Tensor, eos: Sequence[int]) -> Tensor:
        """Features (R, E) of token ids (R, L), not normalised; `eos` holds the id of [EOS]."""
        return self.encode(self.token_embedding(ids), lengths_of(ids, eos))

    def encode(
        self,
        x: Tensor,
        lengths: Tensor,
        enter_layer: Callable[[int, Tensor], Tensor] | None = None,
        tuning: Tuning = UNTUNED,
    ) -> Tensor:
        """Features (R, E) of prompts x (R, L, D), of which row r has lengths[r] tokens and then padding."""
        assert len(tuning.prompts) < 2 and not tuning.updates  # methods refuse what is `not_tunable`
        mask = (torch.arange(x.shape[1], device=x.device) < lengths.unsqueeze(1)).long()  # (R, L)
        output = self.transformer(inputs_embeds=self.factor * x, attention_mask=mask)
        return self.head(self.pooler(output, mask))


def build(options: TransformersText) -> tuple[nn.Module, nn.Module, nn.Module]:
    """A text tower, its pooling and its projection, without weights."""
    if options.options["model_type"] not in KEYS:
        from .transformers_models import build as build_of_clip

        return build_of_clip(options)
    with building(options) as cfg:
        encoder = library().hf_model.HFTextEncoder(
            cfg["hf_model_name"], options.embed_dim, None, options.pooling, options.projection, pretrained=False
        )
    return encoder.transformer, encoder.pooler, encoder.proj


def embedding_of(transformer: nn.Module) -> tuple[nn.Module, str]:
    """Where the layer of the tokens is: its parent and its name."""
    if hasattr(transformer, "embed_tokens"):
        return transformer, "embed_tokens"
    return getattr(transformer, "roberta", transformer).embeddings, "word_embeddings"


def renamed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights of open_clip's text tower under this project's names, the other weights as they are."""
    result = {}
    for key, value in state.items():
        if key in ("text.transformer.embed_tokens.weight", "text.transformer.embeddings.word_embeddings.weight"):
            key = "text.token_embedding.weight"
        result[f"text.head.{key.removeprefix('text.proj.')}" if key.startswith("text.proj.") else key] = value
    return result
