"""CLIP's text tower over prompts that share their beginnings."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from clip.model import CLIP
from torch import Tensor
from torch.utils.checkpoint import checkpoint


class TextEncoder:
    """Encodes prompts given as (prefix of a group, suffix of a row) with the frozen weights of `model`, exactly.

    The tower is causal and a prompt's feature is read at [EOS]. So nothing after [EOS] is ever computed, and the hidden
    states of a prefix do not depend on what follows: each prefix runs through the tower once, and the suffixes attend
    to their group's keys and values in every layer.

    Args:
        model: a CLIP of the `clip` package; its weights are used as they are.
        chunk: rows encoded at a time. Above it, rows are sorted by length and each chunk's activations are recomputed
            in the backward pass, so that memory does not grow with the number of rows.
    """

    def __init__(self, model: CLIP, chunk: int = 256) -> None:
        self.blocks = model.transformer.resblocks
        self.heads = self.blocks[0].attn.num_heads
        self.position = model.positional_embedding  # (77, D)
        self.ln_final = model.ln_final
        self.projection = model.text_projection  # (D, E)
        self.chunk = chunk

    def __call__(self, prefix: Tensor, suffix: Tensor, lengths: Tensor, group: Tensor) -> Tensor:
        """Features (R, E), not normalised.

        Args:
            prefix: (G, P, D) token embeddings.
            suffix: (R, S, D) token embeddings.
            lengths: (R,) number of tokens of each suffix, [EOS] included.
            group: (R,) index of each row's prefix.
        """
        memory = self.encode_prefix(prefix)
        if len(suffix) <= self.chunk:
            return self.encode_suffix(memory, suffix[:, : int(lengths.max())], lengths, group)
        order = lengths.argsort()
        features = [self._encode_chunk(memory, suffix, lengths, group, rows) for rows in order.split(self.chunk)]
        return torch.cat(features)[order.argsort()]

    def _encode_chunk(self, memory: list[tuple[Tensor, Tensor]], suffix, lengths, group, rows: Tensor) -> Tensor:
        args = (memory, suffix[rows, : int(lengths[rows].max())], lengths[rows], group[rows])
        if torch.is_grad_enabled():
            return checkpoint(self.encode_suffix, *args, use_reentrant=False)
        return self.encode_suffix(*args)

    def encode_prefix(self, prefix: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Keys and values (G, H, P, D/H) of every layer, for prefixes (G, P, D)."""
        x = prefix + self.position[: prefix.shape[1]]
        memory = []
        for block in self.blocks:
            q, k, v = self._project(block, x)
            memory.append((k, v))
            if block is not self.blocks[-1]:
                x = x + self._attend(block, q, k, v, is_causal=True)
                x = x + block.mlp(block.ln_2(x))
        return memory

    def encode_suffix(
        self, memory: list[tuple[Tensor, Tensor]], suffix: Tensor, lengths: Tensor, group: Tensor
    ) -> Tensor:
        """Features (R, E) of suffixes (R, S, D) that follow their group's prefix."""
        n_prefix, n = memory[0][0].shape[2], suffix.shape[1]
        x = suffix + self.position[n_prefix : n_prefix + n]
        end = (lengths - 1).view(-1, 1, 1).expand(-1, 1, x.shape[-1])
        # Suffix position s sees the whole prefix and the suffix up to s.
        visible = torch.ones(n, n_prefix + n, dtype=torch.bool, device=x.device).tril(n_prefix)
        for block, (prefix_k, prefix_v) in zip(self.blocks, memory):
            q, k, v = self._project(block, x)  # (R, H, S, D/H)
            k, v = torch.cat([prefix_k[group], k], dim=2), torch.cat([prefix_v[group], v], dim=2)
            mask = visible
            if block is self.blocks[-1]:  # only the feature at [EOS] is read from here on
                x = x.gather(1, end)  # (R, 1, D)
                q = q.gather(2, (lengths - 1).view(-1, 1, 1, 1).expand(-1, q.shape[1], 1, q.shape[3]))
                mask = visible[lengths - 1].view(-1, 1, 1, n_prefix + n)
            x = x + self._attend(block, q, k, v, attn_mask=mask)
            x = x + block.mlp(block.ln_2(x))
        return self.ln_final(x[:, 0]) @ self.projection  # (R, E)

    def _project(self, block, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values (N, H, L, D/H) of x (N, L, D)."""
        qkv = F.linear(block.ln_1(x), block.attn.in_proj_weight, block.attn.in_proj_bias)
        qkv = qkv.unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # (3, N, H, L, D/H)
        return qkv.unbind(0)

    def _attend(self, block, q: Tensor, k: Tensor, v: Tensor, **mask) -> Tensor:
        out = F.scaled_dot_product_attention(q, k, v, **mask)  # (N, H, L, D/H)
        return block.attn.out_proj(out.transpose(1, 2).flatten(2))  # (N, L, D)
