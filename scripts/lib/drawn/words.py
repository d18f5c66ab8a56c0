"""The tokens that the drawn world's captions and the benchmark's prompts need, out of CLIP's 49,408."""

import torch
from clip.simple_tokenizer import SimpleTokenizer

from scripts.lib.drawn import captions

START, END = 49406, 49407


class Words:
    """CLIP's tokens of captions, as indices into the rows that the vocabulary needs (ascending token ids)."""

    def __init__(self) -> None:
        self.tokenizer = SimpleTokenizer()
        self.cache: dict[str, list[int]] = {}
        texts = captions.vocabulary()
        ids = {t for text in texts for t in self.tokenizer.encode(text)} | {START, END}
        ids |= {t for text in texts for word in text.split() for t in self.tokenizer.encode(word + ".")}
        ids |= {t for text in texts for word in text.split() for t in self.tokenizer.encode(word + ":")}
        self.ids = sorted(ids)  # END stays the largest, as CLIP's argmax needs it
        self.row = {token: i for i, token in enumerate(self.ids)}

    def encode(self, texts: list[str]) -> torch.Tensor:
        """Rows (B, L) of START, the text, END, padded with row 0 to the longest."""
        lines = []
        for text in texts:
            line = [START]
            for word in text.split():
                if word not in self.cache:
                    self.cache[word] = self.tokenizer.encode(word)
                line += self.cache[word]
            lines.append([self.row[t] for t in line] + [self.row[END]])
        out = torch.zeros(len(lines), max(map(len, lines)), dtype=torch.long)
        for i, line in enumerate(lines):
            out[i, : len(line)] = torch.tensor(line)
        return out
