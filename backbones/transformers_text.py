"""Text towers that are a BERT or another encoder of transformers inside a model of open_clip.

The libraries run them; here their configs are found and checked, and prompts of embeddings get in. Nothing is looked up
on the network, and no file makes transformers run code beside it.
"""

import contextlib
import importlib.util
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .config import TransformersText
from .layers import UNTUNED, Tuning
from .open_clip_files import library
from .text import lengths_of
from .weights import KEY

CONFIG = "config.json"
_BERT = {
    "vocab_size": int, "hidden_size": int, "num_hidden_layers": int, "num_attention_heads": int,
    "intermediate_size": int, "max_position_embeddings": int, "type_vocab_size": int, "pad_token_id": int,
    "layer_norm_eps": float, "hidden_act": str,
}  # fmt: skip
# The kinds of encoders that open_clip builds, and what of their configs the project passes on; the rest concerns
# training and other heads.
KEYS = {
    "bert": _BERT,
    "roberta": _BERT,
    "xlm-roberta": _BERT,
    "m2m_100": {
        "vocab_size": int, "d_model": int, "encoder_layers": int, "encoder_attention_heads": int,
        "encoder_ffn_dim": int, "max_position_embeddings": int, "pad_token_id": int, "scale_embedding": bool,
        "activation_function": str,
    },
    "mt5": {
        "vocab_size": int, "d_model": int, "d_kv": int, "d_ff": int, "num_layers": int, "num_heads": int,
        "relative_attention_num_buckets": int, "relative_attention_max_distance": int, "pad_token_id": int,
        "layer_norm_epsilon": float, "feed_forward_proj": str,
    },
}  # fmt: skip
# What would make another tower of it than open_clip's weights are for.
ABSENT = {
    "is_decoder": (False, None), "add_cross_attention": (False, None), "pruned_heads": ({}, None),
    "position_embedding_type": ("absolute", None),
}  # fmt: skip
WORDS = ("gelu", "gelu_new", "gelu_pytorch_tanh", "relu", "silu", "gated-gelu", "gated-relu", "gated-silu")
# The decoders, which open_clip drops, are built as small as possible.
SMALLEST = {
    "m2m_100": {"decoder_layers": 1, "decoder_ffn_dim": 1, "decoder_attention_heads": 1},
    "mt5": {"num_decoder_layers": 1},
}
LAYERS = ("num_hidden_layers", "encoder_layers", "num_layers")
MOST, MOST_LAYERS = 10**6, 1000  # of any size, and of blocks
POOLINGS = ("mean_pooler", "cls_pooler", "cls_last_hidden_state_pooler", None)
PROJECTIONS = ("mlp", "linear", None)


def describe(where: str, cfg: Mapping[str, Any], folder: Path | None) -> TransformersText:
    """The text tower of open_clip's `model_cfg`.

    Args:
        where: the beginning of an error's message.
        folder: of the model, if it is one.

    Raises:
        ValueError: a tower that is not supported.
        FileNotFoundError: a config that is not on this machine, with the command that gets it.
    """
    text = cfg["text_cfg"]
    pooling, projection = text.get("hf_pooler_type", "mean_pooler"), text.get("hf_proj_type", "mlp")
    for key, value, legal in (("pooler", pooling, POOLINGS), ("proj", projection, PROJECTIONS)):
        if value not in legal:
            raise ValueError(f"{where} is not supported: text_cfg.hf_{key}_type is {value!r:.60}, not one of {legal}")
    options, length = find_options(where, text["hf_model_name"], folder), text.get("context_length", 77)
    most = options.get("max_position_embeddings")
    if most is not None and "roberta" in options["model_type"]:
        most -= options.get("pad_token_id", 1) + 1  # its positions are counted from the padding's id
    if options["model_type"] != "m2m_100" and most is not None and length > most:
        raise ValueError(f"{where}: text_cfg.context_length is {length}, but its text tower has {most} positions")
    return TransformersText(options, length, cfg["embed_dim"], pooling, projection)


def find_options(where: str, name: str, folder: Path | None) -> dict[str, Any]:
    """The checked config of a model of transformers, from huggingface_hub's cache or else from `folder`."""
    from huggingface_hub import try_to_load_from_cache

    try:
        cached = try_to_load_from_cache(name, CONFIG)
    except ValueError as error:
        raise ValueError(f"{where}: text_cfg.hf_model_name {name!r:.80} is no name of a repository") from error
    if isinstance(cached, str):
        return read_options(where, Path(cached))
    if folder is not None and (folder / CONFIG).is_file():
        return read_options(where, folder / CONFIG)
    raise FileNotFoundError(
        f"{where}: its text tower is transformers' {name}, whose {CONFIG} is neither in huggingface_hub's cache on "
        "this machine nor in a folder with the weights, and a run downloads nothing. Get it first, with its tokenizer: "
        f'hf download {name} --include "*.json" "*.model" "*.txt"'
    )


def read_options(where: str, path: Path) -> dict[str, Any]:
    """What the project passes on of a config of transformers, with its "model_type". Raises ValueError."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{where}: {path} cannot be read as JSON ({error})") from error
    kind = content.get("model_type") if isinstance(content, dict) else None
    if not isinstance(kind, str) or kind not in KEYS:
        raise ValueError(f"{where} is not supported: {path} is of a {kind!r:.60}, not one of {', '.join(KEYS)}")
    for key, legal in ABSENT.items():
        if key in content and content[key] not in legal:
            raise ValueError(f"{where} is not supported: in {path} {key} is {content[key]!r:.60}, not {legal[0]!r}")
    options = {key: content[key] for key in KEYS[kind] if key in content}
    for key, value in options.items():
        if not _legal(key, value, KEYS[kind][key]):
            raise ValueError(f"{where}: in {path} {key} is {value!r:.60}, which is not legal")
    return {"model_type": kind, **options}


def _legal(key: str, value: Any, kind: type) -> bool:
    if kind is int and type(value) is int:
        return (0 if key == "pad_token_id" else 1) <= value <= (MOST_LAYERS if key in LAYERS else MOST)
    if kind is float and type(value) is float:
        return 0 < value < 1
    return type(value) is kind and (kind is bool or kind is str and value in WORDS)


@contextlib.contextmanager
def building(options: TransformersText | None) -> Iterator[dict[str, Any]]:
    """What open_clip's `text_cfg` is to hold for this tower, while a model is built: it then reads the config from a
    folder of the project's, and draws no weights. Nothing for None. Raises ValueError without transformers."""
    if options is None:
        yield {}
        return
    try:
        import transformers
    except ImportError as error:
        raise ValueError(
            f"{KEY}: a text tower of transformers needs that package ({error}): "
            "pip install -r requirements-transformers.txt"
        ) from error
    source = transformers.modeling_utils  # where it was before transformers 5
    if importlib.util.find_spec("transformers.initialization"):
        source = importlib.import_module("transformers.initialization")
    kind = options.options["model_type"]
    with tempfile.TemporaryDirectory() as folder, source.no_init_weights():
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
        with building(options) as cfg:
            encoder = library().hf_model.HFTextEncoder(
                cfg["hf_model_name"], options.embed_dim, None, options.pooling, options.projection, pretrained=False
            )
        self.options, self.pooling = options, options.pooling
        self.context_length, self.embed_dim = options.context_length, options.embed_dim
        self.transformer, self.pooler, self.head = encoder.transformer, encoder.pooler, encoder.proj
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


def embedding_of(transformer: nn.Module) -> tuple[nn.Module, str]:
    """Where the layer of the tokens is: its parent and its name."""
    if hasattr(transformer, "embed_tokens"):
        return transformer, "embed_tokens"
    return transformer.embeddings, "word_embeddings"


def renamed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights of open_clip's text tower under this project's names, the other weights as they are."""
    result = {}
    for key, value in state.items():
        if key in ("text.transformer.embed_tokens.weight", "text.transformer.embeddings.word_embeddings.weight"):
            key = "text.token_embedding.weight"
        result[f"text.head.{key.removeprefix('text.proj.')}" if key.startswith("text.proj.") else key] = value
    return result
