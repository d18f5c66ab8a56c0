"""Tokenizers of all families behind one interface: the ids of a text, and the special tokens around it."""

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from clip import clip
from torch import Tensor


@dataclass
class Tokenizer:
    """Words to token ids.

    Attributes:
        encode: text to ids, without special tokens.
        decode: ids to text.
        sos, eos: the ids before and after a text, at most one each.
        pad: the id that fills the context.
    """

    encode: Callable[[str], list[int]]
    decode: Callable[[Sequence[int]], str]
    sos: list[int]
    eos: list[int]
    pad: int

    def __call__(self, texts: Sequence[str], context_length: int) -> Tensor:
        """(R, context_length) ids of whole sentences. Raises ValueError naming one that is too long."""
        rows = [[*self.sos, *self.encode(text), *self.eos] for text in texts]
        for text, row in zip(texts, rows):
            if len(row) > context_length:
                raise ValueError(f"{text!r} has {len(row)} tokens, more than the {context_length} of this CLIP")
        return torch.tensor([row + [self.pad] * (context_length - len(row)) for row in rows])


def clip_tokenizer(clean_as_transformers: bool) -> Tokenizer:
    """The clip package's tokenizer, or the same vocabulary with transformers' cleaning of text."""
    bpe = clip._tokenizer
    sos, eos = (bpe.encoder[f"<|{word}oftext|>"] for word in ("start", "end"))
    if clean_as_transformers:
        return Tokenizer(_encode_as_transformers, bpe.decode, [sos], [eos], eos)
    return Tokenizer(bpe.encode, bpe.decode, [sos], [eos], 0)


def clip_vocabulary() -> dict[str, int]:
    """{token: id} of the clip package, which most CLIPs share."""
    return clip._tokenizer.encoder


def clip_merges() -> list[tuple[str, ...]]:
    """The pairs that its byte-pair encoding merges, in their order."""
    return list(clip._tokenizer.bpe_ranks)


def _encode_as_transformers(text: str) -> list[int]:
    """transformers uses neither ftfy nor HTML entities, and lowers letters one by one."""
    bpe = clip._tokenizer
    text = re.sub(r"\s+", " ", unicodedata.normalize("NFC", text))
    text = "".join(letter.lower() for letter in text)
    ids = []
    for word in bpe.pat.findall(text):
        letters = "".join(bpe.byte_encoder[byte] for byte in word.encode())
        ids += [bpe.encoder[piece] for piece in bpe.bpe(letters).split(" ")]
    return ids


def probe(tokenize: Callable[[str], list[int]], encode: Callable[[str], list[int]], name: str) -> tuple:
    """(sos, eos, pad) of a library's tokenizer, from what it puts around a word. Raises ValueError for another form.

    Args:
        tokenize: text to a whole padded row.
        encode: text to its own ids.
    """
    row, word = tokenize("dog"), encode("dog")
    start = next((i for i in range(len(row) - len(word) + 1) if row[i : i + len(word)] == word), None)
    rest = row[start + len(word) :] if start is not None else []
    if not word or start is None or start > 1 or len(rest) < 2 or len(set(rest[1:])) != 1:
        raise ValueError(f"the tokenizer {name} makes {row[:8]}... of 'dog', which is not [SOS] dog [EOS] [PAD]...")
    return row[:start], rest[:1], rest[-1]
