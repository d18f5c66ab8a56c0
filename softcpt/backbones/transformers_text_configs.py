"""Finds and checks the configs of text towers that transformers runs. Nothing is looked up on the network, and only
known keys and values get to the library."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .config import MOST, MOST_LAYERS, TransformersText
from .weights import read_json

CONFIG = "config.json"
BERT = {
    "vocab_size": int, "hidden_size": int, "num_hidden_layers": int, "num_attention_heads": int,
    "intermediate_size": int, "max_position_embeddings": int, "type_vocab_size": int, "pad_token_id": int,
    "layer_norm_eps": float, "hidden_act": str,
}  # fmt: skip
# The kinds of encoders that open_clip builds, and what of their configs the project passes on; the rest concerns
# training and other heads.
KEYS = {
    "bert": BERT,
    "roberta": BERT,
    "xlm-roberta": BERT,
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
LAYERS = ("num_hidden_layers", "encoder_layers", "num_layers")
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
    most = positions(options)
    if type(length) is not int or length < 1:
        raise ValueError(f"{where}: text_cfg.context_length is {length!r:.60}, not a number of tokens")
    if most is not None and length > most:
        raise ValueError(f"{where}: text_cfg.context_length is {length}, but its text tower has {most} positions")
    return TransformersText(options, length, cfg["embed_dim"], pooling, projection)


def positions(options: Mapping[str, Any]) -> int | None:
    """The largest number of tokens of a text; None for no limit."""
    if KEYS.get(options["model_type"], BERT) is not BERT:
        return None
    most = options.get("max_position_embeddings", 512)
    # In RoBERTa and what is made of it they are counted from the padding's id.
    return most if options["model_type"] in ("bert", "chinese_clip") else most - options.get("pad_token_id", 1) - 1


def find_options(where: str, name: str, folder: Path | None) -> dict[str, Any]:
    """The checked config of a model of transformers, from huggingface_hub's cache or else from `folder`."""
    from huggingface_hub import try_to_load_from_cache

    try:
        cached = try_to_load_from_cache(name, CONFIG)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{where}: text_cfg.hf_model_name {name!r:.80} is no name of a repository") from error
    if isinstance(cached, str):
        return read_options(where, Path(cached))
    if folder is not None and (folder / CONFIG).is_file():
        return read_options(where, folder / CONFIG)
    raise FileNotFoundError(
        f"{where}: its text tower is transformers' {name}, whose {CONFIG} is neither in huggingface_hub's cache on "
        "this machine nor in a folder with the weights, and a run downloads nothing. Get it first, with its tokenizer: "
        f"python scripts/data.py weights NAME, with that of the CLIP, or hf download {name} --include '*.json' '*.txt' "
        "'*.model'"
    )


def read_options(where: str, path: Path) -> dict[str, Any]:
    """What the project passes on of a config of transformers, with its "model_type". Raises ValueError."""
    content = read_json(path)
    kind = content.get("model_type")
    if not isinstance(kind, str) or kind not in KEYS:
        raise ValueError(f"{where} is not supported: {path} is of a {kind!r:.60}, not one of {', '.join(KEYS)}")
    return {"model_type": kind, **checked(where, str(path), content, KEYS[kind])}


def checked(where: str, file: str, content: dict[str, Any], keys: Mapping[str, type]) -> dict[str, Any]:
    """What the project passes on of a text tower's config. Raises ValueError for other values than legal ones."""
    for key, legal in ABSENT.items():
        if key in content and content[key] not in legal:
            raise ValueError(f"{where} is not supported: in {file} {key} is {content[key]!r:.60}, not {legal[0]!r}")
    options = {key: content[key] for key in keys if key in content}
    for key, value in options.items():
        if not _legal(key, value, keys[key]):
            raise ValueError(f"{where}: in {file} {key} is {value!r:.60}, which is not legal")
    return options


def _legal(key: str, value: Any, kind: type) -> bool:
    if kind is int and type(value) is int:
        return (0 if key == "pad_token_id" else 1) <= value <= (MOST_LAYERS if key in LAYERS else MOST)
    if kind is float and type(value) is float:
        return 0 < value < 1
    return type(value) is kind and (kind is bool or kind is str and value in WORDS)
