"""Tokenizers of all families behind one interface: the ids of a text, and the special tokens around it."""

import functools
import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from softcpt.packages import optional

from .weights import KEY

SOS, EOS = 49406, 49407  # the last of CLIP's vocabulary
# What a library's tokenizer is tried on.
TRIED = ("dog", "a photo of a dog.", "Zo\u00eb's 12 cats")


@dataclass
class Tokenizer:
    """Words to token ids.

    Attributes:
        encode: text to ids, without special tokens.
        decode: ids to text.
        sos, eos: the ids before and after a text, at most one each.
        pad: the id that fills the context.
        by_word: CLIP's own vocabulary, whose tokens of a word do not depend on the words beside it.
    """

    encode: Callable[[str], list[int]]
    decode: Callable[[Sequence[int]], str]
    sos: list[int]
    eos: list[int]
    pad: int
    by_word: bool = False

    def split(self, parts: Sequence[str]) -> list[list[int]]:
        """The ids of each part of a sentence, which is all parts in a row, as they stand in it.

        Raises ValueError, with the sentence, if a token reaches across the end of a part.
        """
        sentence = "".join(parts)
        ids, ends = self.encode(sentence), [0]
        for i in range(1, len(parts)):
            head = "".join(parts[:i])
            own = self.encode(head)
            if ids[: len(own)] != own:
                raise ValueError(f"a token of the prompt {sentence!r} reaches across the end of {head!r}")
            ends.append(len(own))
        return [ids[start:end] for start, end in zip(ends, [*ends[1:], len(ids)])]

    def within(self, rows: int, where: str = KEY) -> "Tokenizer":
        """The same for a token embedding of so many rows. Raises ValueError, which begins with `where`, if the ids
        around each text are beyond it; `encode` then raises one for a text with such an id."""
        beyond = [i for i in (*self.sos, *self.eos, self.pad) if i >= rows]
        if beyond:
            raise ValueError(
                f"{where}: the tokenizer puts the token {beyond[0]} around texts, and the CLIP takes those below "
                f"{rows:,}"
            )
        return replace(self, encode=functools.partial(_encode_within, self.encode, rows))

    def __call__(self, texts: Sequence[str], context_length: int) -> Tensor:
        """(R, context_length) ids of whole sentences. Raises ValueError naming one that is too long."""
        rows = [[*self.sos, *self.encode(text), *self.eos] for text in texts]
        for text, row in zip(texts, rows):
            if len(row) > context_length:
                raise ValueError(f"{text!r} has {len(row)} tokens, more than the {context_length} of this CLIP")
        return torch.tensor([row + [self.pad] * (context_length - len(row)) for row in rows])


def clip_tokenizer(clean_as_transformers: bool) -> Tokenizer:
    """The clip package's tokenizer, or the same vocabulary with transformers' cleaning of text. The package is imported
    with the first text: an image tower needs none."""
    encode, pad = (_encode_as_transformers, EOS) if clean_as_transformers else (_encode, 0)
    return Tokenizer(encode, lambda ids: clip_vocabulary().decode(ids), [SOS], [EOS], pad, by_word=True)


def clip_vocabulary() -> Any:
    """The byte-pair encoding of the clip package, which most CLIPs share. Raises ValueError without the package."""
    return optional("clip.clip", "clip", "CLIP's tokenizer needs the package clip, as in clip-anytorch")._tokenizer


def _encode(text: str) -> list[int]:
    return clip_vocabulary().encode(text)


def _encode_as_transformers(text: str) -> list[int]:
    """transformers uses neither ftfy nor HTML entities, and lowers letters one by one."""
    bpe = clip_vocabulary()
    text = re.sub(r"\s+", " ", unicodedata.normalize("NFC", text))
    text = "".join(letter.lower() for letter in text)
    ids = []
    for word in bpe.pat.findall(text):
        letters = "".join(bpe.byte_encoder[byte] for byte in word.encode())
        ids += [bpe.encoder[piece] for piece in bpe.bpe(letters).split(" ")]
    return ids


def _encode_within(encode: Callable[[str], list[int]], rows: int, text: str) -> list[int]:
    ids = encode(text)
    if ids and max(ids) >= rows:
        raise ValueError(f"{KEY}: {text!r:.80} has the token {max(ids)}, and the CLIP takes those below {rows:,}")
    return ids


def of_library(inner: Any, clean: Callable[[str], str], tokenize: Callable[[str], list[int]], name: str) -> Tokenizer:
    """A tokenizer of transformers.

    Args:
        inner: the package's own object.
        clean: of a text before that.
        tokenize: text to a whole padded row, as the model reads it.
        name: for errors.

    Raises:
        ValueError: rows of another form than [SOS] text [EOS] [PAD]...; later, for a text that holds one of these.
    """

    def encode(text: str) -> list[int]:
        return inner(clean(text), add_special_tokens=False).input_ids

    def full(text: str) -> list[int]:
        return inner(clean(text)).input_ids

    if inner.unk_token_id in encode(TRIED[0]):  # transformers makes such a one without a file of the vocabulary
        raise ValueError(f"the tokenizer {name} knows no {TRIED[0]!r}: its files have no vocabulary, or that of others")
    sos, eos, pad = probe(tokenize, encode, full, name)
    if not eos and pad == inner.eos_token_id:
        eos = [pad]  # the first [PAD] is read as [EOS]
    marks = {*sos, *eos, pad}

    def encode_text(text: str) -> list[int]:
        ids = encode(text)
        for i in marks.intersection(ids):
            token = inner.convert_ids_to_tokens(i)
            raise ValueError(f"{text!r} has the token {token} inside, which marks the ends of a text to {name}")
        return ids

    result = Tokenizer(encode_text, inner.decode, sos, eos, pad)
    for text in TRIED:
        row, own = tokenize(text), [*sos, *encode(text), *eos]
        if len(own) <= len(row) and row != own + [pad] * (len(row) - len(own)):
            raise ValueError(f"the tokenizer {name} makes {row[: len(own) + 2]}... of {text!r}, not {own} and padding")
    return result


def probe(
    tokenize: Callable[[str], list[int]],
    encode: Callable[[str], list[int]],
    full: Callable[[str], list[int]],
    name: str,
) -> tuple[list[int], list[int], int]:
    """(sos, eos, pad) of a library's tokenizer, from what it puts around a word. Raises ValueError for another form.

    Args:
        tokenize: text to a whole padded row.
        encode: text to its own ids.
        full: text to its own ids and those around it, as many as in the row, where the last may be another.
    """
    row, word, own = (function(TRIED[0]) for function in (tokenize, encode, full))
    numbers = all(type(i) is int for i in (*row, *word, *own))  # a mark without a token has none
    start = next((i for i in range(2) if numbers and word and row[i : i + len(word)] == word), None)
    if start is not None:
        end = start + len(word)
        sos, eos, padding = row[:start], row[end : len(own)], row[len(own) :]
        if own[:end] == row[:end] and len(eos) < 2 and len(set(padding)) == 1 and not {*sos, *eos}.intersection(word):
            return sos, eos, padding[0]
    raise ValueError(
        f"the tokenizer {name} makes {row[:8]}... of {TRIED[0]!r}, which is not [SOS] dog [EOS] [PAD]... with at most "
        "one id on each side"
    )
