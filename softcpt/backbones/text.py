"""The text tower: its parts, and the plain encoding of whole prompts."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from .config import Text, TransformersText
from .layers import UNTUNED, LayerNorm, Tuning, blocks

EnterLayer = Callable[[int, Tensor], Tensor]  # changes the hidden states before a layer, for a tuning with prompts


class TextTower(nn.Module):
    """A text tower, whose parts `TextEncoder` uses.

    Attributes:
        width, embed_dim, depth: D, E, and the number of layers that a tuning can change.
        context_length: largest number of tokens.
        causal: a token attends to those up to itself.
        pooling: see `config.Text`.
        token_embedding: the layer of the tokens, whose rows stand in prompts.
        shared: the feature depends only on the tokens up to the one where it is read, so that prompts share prefixes.
        padded: prompts are padded to the whole context.
        tail: how many tokens of the padding features depend on; None for all.
        not_tunable: the reason why it takes no tuning, else "".
    """

    not_tunable = ""

    def __init__(self, options: Text) -> None:
        super().__init__()
        width = options.transformer.width
        self.options = options
        self.width, self.embed_dim, self.depth = width, options.embed_dim, options.transformer.layers
        self.context_length, self.causal, self.pooling = (
            options.context_length,
            options.mask == "causal",
            options.pooling,
        )
        self.shared = self.causal and options.pad is None
        self.padded = not self.shared or options.pooling == "last"
        self.tail: int | None = int(options.shifted)
        if options.pooling == "last" or options.pad is None and not self.causal:
            self.tail = None
        self.token_embedding = nn.Embedding(options.vocabulary, width)
        positions = options.context_length + (options.pooling == "class")
        self.class_embedding = nn.Parameter(torch.empty(width)) if options.pooling == "class" else None
        self.positional_embedding = nn.Parameter(torch.empty(positions, width))
        self.blocks = blocks(options.transformer)
        self.ln_final = LayerNorm(width, options.transformer.eps)
        self.projection = self.projection_bias = None
        if options.projection != "none":
            self.projection = nn.Parameter(torch.empty(width, options.embed_dim))
        if options.projection == "bias":
            self.projection_bias = nn.Parameter(torch.empty(options.embed_dim))

    def forward(self, ids: Tensor, eos: Sequence[int]) -> Tensor:
        """Features (R, E) of token ids (R, L), not normalised; `eos` holds the id of [EOS]."""
        return self.encode(self.token_embedding(ids), lengths_of(ids, eos))

    def encode(
        self, x: Tensor, lengths: Tensor, enter_layer: EnterLayer | None = None, tuning: Tuning = UNTUNED
    ) -> Tensor:
        """Features (R, E) of prompts x (R, L, D): every token of every prompt passes through every layer.

        Args:
            lengths: (R,) number of tokens of each prompt, [EOS] included.
            enter_layer: changes the hidden states before a layer, for a tuning with prompts.
            tuning: of which only the updates are used here.
        """
        positions, mask = self.positional_embedding[: x.shape[1]], None
        if self.options.pad is not None:
            mask = self.visible(x)
        if self.class_embedding is not None:
            x = torch.cat([x, self.class_embedding.expand(len(x), 1, -1)], dim=1)
            positions = torch.cat([positions, self.positional_embedding[-1:]])
        x = x + positions
        for i, block in enumerate(self.blocks):
            x = x if enter_layer is None else enter_layer(i, x)
            x = block(x, self.causal, tuning.update(i), mask)
        last = x.shape[1] - 1
        at = {"eos": lengths - 1, "last": last, "class": last, "first": 0}[self.pooling]
        return self.project(x[torch.arange(len(x), device=x.device), at])

    def visible(self, x: Tensor) -> Tensor:
        """(R, 1, L or 1, L): which tokens each token of prompts x (R, L, D) attends to, the class token included.

        As in open_clip a token is padding by its id, here by its row of the embedding: of CLIP's vocabulary "!" has the
        id of the padding.
        """
        seen = (x != self.token_embedding.weight[self.options.pad]).any(-1)  # (R, L)
        if self.class_embedding is not None:
            always = seen.new_ones(len(x), 1)
            seen = torch.cat([always, seen] if self.options.shifted else [seen, always], dim=1)
        seen = seen[:, None, None]
        return seen & seen.new_ones(seen.shape[-1], seen.shape[-1]).tril() if self.causal else seen

    def project(self, x: Tensor) -> Tensor:
        """Features (..., E) of the pooled tokens' hidden states (..., D)."""
        x = self.ln_final(x)
        if self.projection is None:
            return x
        x = x @ self.projection
        return x if self.projection_bias is None else x + self.projection_bias


def lengths_of(ids: Tensor, eos: Sequence[int]) -> Tensor:
    """(R,): the number of tokens of rows of ids (R, L), up to the first [EOS]."""
    return torch.isin(ids, torch.tensor(eos, device=ids.device)).int().argmax(1) + 1


def build_text_tower(options: Text | TransformersText) -> nn.Module:
    """The tower of a config, its weights not yet set."""
    if isinstance(options, Text):
        return TextTower(options)
    from .transformers_text import TransformersTextTower

    with torch.device("cpu"):  # it has tables besides its weights
        return TransformersTextTower(options)
