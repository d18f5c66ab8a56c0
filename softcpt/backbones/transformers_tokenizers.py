"""The tokenizer of a folder of transformers: CLIP's own, or the library's."""

from pathlib import Path
from typing import Any

from .config import Text
from .tokenizers import Tokenizer, clip_merges, clip_vocabulary, of_library
from .weight_files import lfs_pointers
from .weights import KEY, first_line, read_json

CLASSES = (None, "CLIPTokenizer", "CLIPTokenizerFast")
SPECIAL = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>"}
OTHER_FILES = ("vocab.txt", "spiece.model", "sentencepiece.bpe.model", "tokenizer.model", "added_tokens.json")
FILES = ("merges.txt", *OTHER_FILES)  # besides tokenizer.json, tokenizer_config.json and vocab.json


def tokenizer_of(folder: Path, text: Text, pooled: int | str | None) -> dict[str, Any]:
    """CLIP's tokenizer if the folder has none or the same, else the folder's; the arguments of `build_tokenizer`.

    Args:
        pooled: the token at which the text feature is read; see `transformers_configs.towers`.

    Raises ValueError if CLIP's tokenizer has no such token.
    """
    own = clip_vocabulary()
    if text.mask == "causal" and is_clips(folder, text.vocabulary):
        eos = own[SPECIAL["eos_token"]]
        if pooled not in ("largest", eos):
            raise ValueError(
                f"{KEY}: {folder / 'config.json'}: text_config.eos_token_id is {pooled}, but its tokenizer ends a text "
                f"with the token {eos}"
            )
        return {"kind": "clip-transformers"}
    return {"kind": "transformers", "folder": str(folder), "context_length": text.context_length, "pooled": pooled}


def is_clips(folder: Path, rows: int) -> bool:
    """Whether the tokenizer in a folder is CLIP's: of the same class, vocabulary, merges and special tokens. A folder
    without one has CLIP's if the text tower has rows for as many tokens."""
    own = clip_vocabulary()
    if any((folder / name).is_file() for name in OTHER_FILES):
        return False
    found = []  # vocabulary and merges of each file
    if (folder / "tokenizer.json").is_file():
        content = read_json(folder / "tokenizer.json")
        model = content.get("model")
        if not isinstance(model, dict) or not _only_special(content.get("added_tokens")):
            return False
        found.append((model.get("vocab"), model.get("merges")))
    if (folder / "vocab.json").is_file():
        merges = folder / "merges.txt"
        lines = merges.read_text(encoding="utf-8", errors="replace").splitlines() if merges.is_file() else []
        found.append(
            (read_json(folder / "vocab.json"), [x for x in lines if x.strip() and not x.startswith("#version")])
        )
    if not found:
        return rows == len(own)
    same = all(vocabulary == own and _pairs(merges) == clip_merges() for vocabulary, merges in found)
    return same and rows >= len(own) and _is_plain(folder / "tokenizer_config.json")


def _pairs(merges: Any) -> list[tuple[str, ...]]:
    if not isinstance(merges, list):
        return []
    return [tuple(pair.split()) if isinstance(pair, str) else tuple(map(str, pair)) for pair in merges]


def _is_plain(path: Path) -> bool:
    """Whether tokenizer_config.json, if there is one, keeps CLIP's class and special tokens, and adds none."""
    content = read_json(path) if path.is_file() else {}
    texts = {key: content.get(key) or text for key, text in SPECIAL.items()}
    same = all((x.get("content") if isinstance(x, dict) else x) == SPECIAL[key] for key, x in texts.items())
    added = content.get("added_tokens_decoder") or {}
    none_added = isinstance(added, dict) and _only_special([*added.values()])
    return same and none_added and content.get("tokenizer_class") in CLASSES


def _only_special(tokens: Any) -> bool:
    """Whether the tokens that a file adds are CLIP's [SOS] and [EOS] alone."""
    contents = [token.get("content") if isinstance(token, dict) else None for token in tokens or ()]
    return all(content in SPECIAL.values() for content in contents)


def load_tokenizer(folder: str, context_length: int, pooled: int | str | None = None) -> Tokenizer:
    """The tokenizer of a folder.

    Raises ValueError without transformers, or if the text feature is not read at the token that ends a text;
    FileNotFoundError without its files.
    """
    try:
        from transformers import AutoTokenizer
    except ImportError as error:
        raise ValueError(
            f"{KEY}: the tokenizer of {folder} needs the package transformers ({error}): "
            "pip install -r requirements-transformers.txt"
        ) from error
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # of many kinds
        reason = lfs_pointers(Path(folder)) or first_line(error)
        raise FileNotFoundError(f"{KEY}: {folder} has no tokenizer that transformers can read ({reason})") from error

    def whole(text: str) -> list[int]:
        return tokenizer(text, padding="max_length", max_length=context_length).input_ids

    try:
        found = of_library(tokenizer, str, whole, folder)
        ends = found.eos[0] if found.eos else None
        if isinstance(pooled, int) and pooled != ends:
            raise ValueError(f"texts end with the token {ends}, but eos_token_id reads their features at {pooled}")
        return found.within(ends + 1) if pooled == "largest" and ends is not None else found
    except Exception as error:  # of values in its config that the library does not check
        raise ValueError(f"{KEY}: the tokenizer of {folder} does not work ({first_line(error)})") from error
