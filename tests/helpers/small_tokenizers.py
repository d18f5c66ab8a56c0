"""Small tokenizers of every kind that CLIPs have, saved as transformers saves them."""

from __future__ import annotations

import functools
from pathlib import Path

from miniatures import save_siglip_tokenizer
from tokenizers import processors
from transformers import PreTrainedTokenizerBase

from scripts.lib.small_tokenizers import make

# "gemma" and "siglip2" have no space before the first word, "prefixed" has one; "merged" joins the stop to a word and
# "crossing" words to each other; "siglip" is a SentencePiece file, "xlmr" and "mt5" are unigrams, "roberta" is
# byte-level, "bert" has word pieces.
KINDS = ("gemma", "siglip2", "prefixed", "merged", "siglip", "xlmr", "mt5", "roberta", "bert")


@functools.cache
def save(kind: str, folder: Path) -> Path:
    """The folder of a kind's tokenizer, below `folder`."""
    folder = folder / kind
    folder.mkdir(parents=True, exist_ok=True)
    if kind == "siglip":
        save_siglip_tokenizer(folder)
    else:
        make(kind).save_pretrained(folder)
    return folder


def template(tokenizer: PreTrainedTokenizerBase, single: str) -> PreTrainedTokenizerBase:
    """The same with another pattern of special tokens around a text, as "[CLS] $A [SEP] [SEP]"."""
    marks = [(word, tokenizer.convert_tokens_to_ids(word)) for word in set(single.split()) - {"$A"}]
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(single=single, special_tokens=marks)
    return tokenizer
