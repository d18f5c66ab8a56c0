"""The text tower: its parts, and the plain encoding of whole prompts."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from .config import Text
from .layers import UNTUNED, LayerNorm, Tuning, blocks


class TextTower(nn.Module):
    """A text tower, whose parts `TextEncoder` uses.

    Attributes:
        width, embed_dim: D and E.
        context_length: largest number of tokens.
        mask, pooling: see `config.Text`.
        padded: the feature depends on the padding, so prompts are padded to the whole context.
    """

    def __init__(self, options: Text) -> None:
        super().__init__()
        width = options.transformer.width
        self.options = options
        self.width, self.embed_dim = width, options.embed_dim
        self.context_length, self.mask, self.pooling = options.context_length, options.mask, options.pooling
        self.padded = options.mask == "full" or options.pooling == "last"
        self.token_embedding = nn.Embedding(options.vocabulary, width)
        self.positional_embedding = nn.Parameter(torch.empty(options.context_length, width))
        self.blocks = blocks(options.transformer)
        self.ln_final = LayerNorm(width, options.transformer.eps)
        self.projection = self.projection_bias = None
        if options.projection != "none":
            self.projection = nn.Parameter(torch.empty(width, options.embed_dim))
        if options.projection == "bias":
            self.projection_bias = nn.Parameter(torch.empty(options.embed_dim))

    def forward(self, ids: Tensor, eos: Sequence[int]) -> Tensor:
        """Features (R, E) of token ids (R, L), not normalised; `eos` holds the id of [EOS]."""
        length = torch.isin(ids, torch.tensor(eos, device=ids.device)).int().argmax(1) + 1  # (R,)
        return self.encode(self.token_embedding(ids), length)

    def encode(
        self,
        x: Tensor,
        lengths: Tensor,
        enter_layer: Callable[[int, Tensor], Tensor] | None = None,
        tuning: Tuning = UNTUNED,
    ) -> Tensor:
        """Features (R, E) of prompts x (R, L, D): every token of every prompt passes through every layer.

        Args:
            lengths: (R,) number of tokens of each prompt, [EOS] included.
            enter_layer: changes the hidden states before a layer, for a tuning with prompts.
            tuning: of which only the updates are used here.
        """
        x = x + self.positional_embedding[: x.shape[1]]
        for i, block in enumerate(self.blocks):
            x = x if enter_layer is None else enter_layer(i, x)
            x = block(x, self.mask == "causal", tuning.update(i))
        at = {"eos": lengths - 1, "last": x.shape[1] - 1, "first": 0}[self.pooling]
        return self.project(x[torch.arange(len(x), device=x.device), at])

    def project(self, x: Tensor) -> Tensor:
        """Features (..., E) of the pooled tokens' hidden states (..., D)."""
        x = self.ln_final(x)
        if self.projection is None:
            return x
        x = x @ self.projection
        return x if self.projection_bias is None else x + self.projection_bias
