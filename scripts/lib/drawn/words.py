"""The few of CLIP's 49,408 tokens that the captions of drawn scenes and the benchmark's prompts need."""

import functools

import torch
from clip.simple_tokenizer import SimpleTokenizer
from torch.nn.utils.rnn import pad_sequence

from scripts.lib.drawn import captions

START, END = 49406, 49407


class Words:
    """CLIP's tokens as indices into a small embedding.

    Attributes:
        ids: the token ids of its rows, in ascending order.
    """

    def __init__(self) -> None:
        self.tokens = functools.cache(SimpleTokenizer().encode)
        texts = captions.vocabulary()
        texts += [word + mark for text in texts for word in text.split() for mark in ".:"]
        # END stays the largest index: CLIP finds the end of a text by argmax.
        self.ids = sorted({START, END, *(token for text in texts for token in self.tokens(text))})
        self.row = {token: row for row, token in enumerate(self.ids)}

    def encode(self, texts: list[str]) -> torch.Tensor:
        """Indices (B, L) of START, the text and END, padded with 0 to the longest text."""
        rows = []
        for text in texts:
            tokens = [token for word in text.split() for token in self.tokens(word)]
            rows.append(torch.tensor([self.row[token] for token in (START, *tokens, END)]))
        return pad_sequence(rows, batch_first=True)
