"""The tokenizer of a folder of transformers: CLIP's own, or the library's."""

import hashlib
import json
from pathlib import Path
from typing import Any

from softcpt.packages import optional

from .config import Text
from .tokenizers import EOS, Tokenizer, of_library
from .weight_files import lfs_pointers
from .weights import KEY, first_line, read_json

CLASSES = (None, "CLIPTokenizer", "CLIPTokenizerFast")
SPECIAL = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>"}
OTHER_FILES = ("vocab.txt", "spiece.model", "sentencepiece.bpe.model", "tokenizer.model", "added_tokens.json")
# SHA-256 of CLIP's vocabulary and merges, as JSON.
CLIPS = "1409d1bfc9edcb7ebb15044870c857bf45e1ca6b36a062b503ce2ca5bae95ad4"
FILES = ("tokenizer_config.json", "tokenizer.json", "vocab.json", "merges.txt", *OTHER_FILES)


def tokenizer_of(folder: Path, text: Text, pooled: int | str | None) -> dict[str, Any]:
    """CLIP's tokenizer if the folder has none or the same, else the folder's; the arguments of `build_tokenizer`.

    Args:
        pooled: the token at which the text feature is read; see `transformers_configs.towers`.

    Raises ValueError if CLIP's tokenizer has no such token.
    """
    if text.mask == "causal" and is_clips(folder, text.vocabulary):
        if pooled not in ("largest", EOS):
            raise ValueError(
                f"{KEY}: {folder / 'config.json'}: text_config.eos_token_id is {pooled}, but its tokenizer ends a text "
                f"with the token {EOS}"
            )
        return {"kind": "clip-transformers"}
    return {"kind": "transformers", "folder": str(folder), "context_length": text.context_length, "pooled": pooled}


def is_clips(folder: Path, rows: int) -> bool:
    """Whether the tokenizer in a folder is CLIP's: of the same class, vocabulary, merges and special tokens. A folder
    without one has CLIP's if the text tower has rows for as many tokens."""
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
        return rows == EOS + 1
    same = all(isinstance(vocabulary, dict) and _digest(vocabulary, merges) == CLIPS for vocabulary, merges in found)
    return same and rows > EOS and _is_plain(folder / "tokenizer_config.json")


def _digest(vocabulary: dict[str, Any], merges: Any) -> str:
    """SHA-256 of a vocabulary and of the pairs, "a b" or [a, b], that its encoding merges."""
    pairs = merges if isinstance(merges, list) else []
    split = [pair.split() if isinstance(pair, str) else list(map(str, pair)) for pair in pairs]
    return hashlib.sha256(json.dumps([sorted(vocabulary.items()), split]).encode()).hexdigest()


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
    need = f"{KEY}: the tokenizer of {folder} needs the package transformers"
    transformers = optional("transformers", "transformers", need)
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
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
