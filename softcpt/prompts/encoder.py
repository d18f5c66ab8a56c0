"""Encodes prompts with a text tower; in a causal tower, what prompts share is computed once."""

import logging
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from softcpt.backbones import layers
from softcpt.backbones.layers import UNTUNED, Tuning
from softcpt.backbones.text import TextTower
from softcpt.backbones.transformers_text import TransformersTextTower
from softcpt.placement import to_device

from .packing import GroupSums, Packing, Rows, Whole, put

logger = logging.getLogger(__name__)

SUFFIX = 4  # tokens of a usual suffix: TRAINER.TEXT_CHUNK is a number of suffixes, whole prompts are longer
CPU_SLICE = 128  # rows whose activations stay in a CPU's cache: at 1191 classes a third faster than all at once
TOGETHER = 2**14  # padded tokens: with more of them a GPU computes for longer than its kernels take to launch
Memory = list[Tensor]  # keys and values (G, 2, H, P, D/H) of the prefixes in every layer


class TextEncoder:
    """Encodes prompts, each a prefix of its group and a suffix of its own, with a frozen text tower; it is exact.

    In a causal tower a token depends only on those before it, and the feature is read at a prompt's last token. So what
    follows that token is never computed, and each prefix is encoded once: in every layer the suffixes attend to the
    keys and values of their group. For the matrix products the tokens of all suffixes are packed, whatever their
    lengths; only the attention, about 1 % of the arithmetic, sees them padded.

    In other towers nothing can be shared: `PlainTextEncoder`.

    Args:
        tower: the text tower.
        chunk: rows encoded at a time. With more rows, each chunk's activations are recomputed in the backward pass, so
            that memory does not grow with the number of rows.
    """

    def __init__(self, tower: TextTower, chunk: int = 2048) -> None:
        self.tower = tower
        self.blocks = tower.blocks
        self.heads = self.blocks[0].attn.heads
        self.position = tower.positional_embedding  # (77, D)
        self.chunk = chunk

    def __call__(
        self, prefix: Tensor, suffix: Tensor, lengths: Tensor, group: Tensor, tuning: Tuning = UNTUNED
    ) -> Tensor:
        """Features (R, E), not normalised.

        Args:
            prefix: (G, P, D) token embeddings.
            suffix: (R, S, D) token embeddings.
            lengths: (R,) number of tokens of each suffix, [EOS] included; on the CPU, or they are read from the device.
            group: (R,) index of each row's prefix.
            tuning: of the tower; its prompts are the last tokens of the prefixes.
        """
        places = (len(prefix) + len(suffix)) * (prefix.shape[1] + suffix.shape[1])
        few = places <= TOGETHER and len(suffix) <= self.chunk
        if layers.on_accelerator(suffix) and few and not tuning.updates:
            return self.encode_together(prefix, suffix, lengths, group, tuning)
        memory = self.encode_prefix(prefix, tuning)
        return in_chunks(self.encode_suffix, self.chunk, memory, (suffix, lengths, group), tuning)

    def encode_together(self, prefix: Tensor, suffix: Tensor, lengths: Tensor, group: Tensor, tuning: Tuning) -> Tensor:
        """Features (R, E), with as few operations as possible: the tokens of prefixes and suffixes are one batch, and
        the attention, which repeats a prefix for each of its suffixes, has one shape and no mask."""
        (n_groups, n_prefix), at = prefix.shape[:2], Packing.of(lengths, suffix.device)
        x = torch.cat(
            [
                (prefix + self.position[:n_prefix]).flatten(0, 1),
                suffix[at.row, at.column] + self.position[n_prefix + at.column],
            ]
        )  # (G P + N, D)
        whole = None
        for i, block in enumerate(self.blocks):
            if 0 < i < len(tuning.prompts):
                first, rest = x.split([n_groups * n_prefix, len(at.row)])
                x = torch.cat([enter_layer(i, first.unflatten(0, (n_groups, n_prefix)), tuning).flatten(0, 1), rest])
            projected = block.attn.project(block.ln_1(x))  # (G P + N, 3 D)
            whole = whole or Whole.of(lengths, group, (n_groups, n_prefix), projected.dtype)
            projected = Rows.apply(projected, whole.padded, whole.unpad)
            q, k, v = self._heads(projected.unflatten(0, (n_groups + len(suffix), -1)))  # (G + R, H, L, D/H)
            out = _attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2).flatten(0, 1)
            if block is self.blocks[-1]:  # only the feature at [EOS] is read from here on
                out, x = Rows.apply(out, whole.flat_end, put), x.index_select(0, whole.end)  # (R, D)
            else:
                out = Rows.apply(out, whole.flat, put)  # (G P + N, D)
            x = block.rest(x, out)
        return self.tower.project(x)  # (R, E)

    def encode_prefix(self, prefix: Tensor, tuning: Tuning = UNTUNED) -> Memory:
        """Keys and values of every layer, for prefixes (G, P, D)."""
        x = prefix + self.position[: prefix.shape[1]]
        memory = []
        for i, block in enumerate(self.blocks):
            x = enter_layer(i, x, tuning)
            last = block is self.blocks[-1]
            projected = block.attn.project(block.ln_1(x), "kv" if last else "qkv", tuning.update(i))
            *q, kv = self._queries_and_rest(projected)
            memory.append(kv)
            if not last:
                out = _attention(*q, *kv.unbind(1), is_causal=True)
                x = block.rest(x, out.transpose(1, 2).flatten(2))
        return memory

    def encode_suffix(
        self, memory: Memory, suffix: Tensor, lengths: Tensor, group: Tensor, tuning: Tuning = UNTUNED
    ) -> Tensor:
        """Features (R, E) of suffixes (R, S, D) that follow their group's prefix."""
        size = len(suffix)
        if not layers.on_accelerator(suffix):
            size = 4 * CPU_SLICE if torch.is_autocast_enabled("cpu") else CPU_SLICE
        parts = zip(suffix.split(size), lengths.split(size), group.split(size))
        return torch.cat([self._encode_slice(memory, *part, tuning) for part in parts])

    def _encode_slice(self, memory: Memory, suffix: Tensor, lengths: Tensor, group: Tensor, tuning: Tuning) -> Tensor:
        n_prefix = memory[0].shape[3]
        at, add = Packing.of(lengths, suffix.device), GroupSums()
        x = suffix[at.row, at.column] + self.position[n_prefix + at.column]  # (N, D), N tokens in all
        n = at.padded.shape[1]
        # Suffix position s sees the whole prefix and the suffix up to s.
        kind = memory[0].dtype  # that of the attention, which on a CPU is not in half precision
        kind = kind if layers.on_accelerator(x) else torch.promote_types(kind, torch.float32)
        hidden = torch.full((n, n_prefix + n), -torch.inf, dtype=kind, device=x.device).triu(n_prefix + 1)
        for i, (block, prefix_kv) in enumerate(zip(self.blocks, memory)):
            last, update = block is self.blocks[-1], tuning.update(i)
            h = block.ln_1(x)
            projected = block.attn.project(h, "kv" if last else "qkv", update)  # (N, n D)
            projected = Rows.apply(projected, at.padded.flatten(), at.unpad)
            *q, kv = self._queries_and_rest(projected.unflatten(0, at.padded.shape))
            k, v = torch.cat([Rows.apply(prefix_kv, group, add), kv], dim=3).unbind(1)  # (R, H, P + S, D/H)
            if not last:
                out = _attention(*q, k, v, attn_mask=hidden)
                out = Rows.apply(out.transpose(1, 2).flatten(2).flatten(0, 1), at.flat, put)  # (N, D)
            else:  # only the feature at [EOS] is read from here on
                q = block.attn.project(h.index_select(0, at.end), "q", update)
                (q,) = self._heads(q.unsqueeze(1))  # (R, H, 1, D/H)
                mask = hidden[at.column[at.end]].view(-1, 1, 1, n_prefix + n)
                out = _attention(q, k, v, attn_mask=mask).flatten(1)  # (R, D)
                x = x.index_select(0, at.end)
            x = block.rest(x, out)
        return self.tower.project(x)  # (R, E)

    def _heads(self, x: Tensor) -> tuple[Tensor, ...]:
        """n tensors (N, H, L, D/H) of (N, L, n D): queries, keys, values."""
        return tuple(part.transpose(1, 2) for part in self._parts(x).unbind(2))

    def _queries_and_rest(self, x: Tensor) -> list[Tensor]:
        """The queries (N, H, L, D/H), if there are any, and the keys and values (N, 2, H, L, D/H), of (N, L, n D)."""
        parts = self._parts(x)
        *q, kv = parts.split([1, 2], dim=2) if parts.shape[2] == 3 else (parts,)
        return [*(part.squeeze(2).transpose(1, 2) for part in q), kv.permute(0, 2, 3, 1, 4)]

    def _parts(self, x: Tensor) -> Tensor:
        """(N, L, n, H, D/H) of (N, L, n D)."""
        return x.unflatten(-1, (x.shape[-1] // self.tower.width, self.heads, -1))


class PlainTextEncoder:
    """Encodes whole prompts, for towers where a token's hidden states depend on what follows it. Fewer prompts than
    suffixes are encoded at a time, as they have more tokens; the padding is cut off where features do not depend on it.
    Called as `TextEncoder` is.
    """

    def __init__(self, tower: TextTower | TransformersTextTower, chunk: int = 2048) -> None:
        self.tower, self.tokens = tower, chunk * SUFFIX
        self.chunk = max(1, self.tokens // tower.context_length)

    def __call__(
        self, prefix: Tensor, suffix: Tensor, lengths: Tensor, group: Tensor, tuning: Tuning = UNTUNED
    ) -> Tensor:
        if self.tower.tail is not None:
            suffix = suffix[:, : int(lengths.max()) + self.tower.tail]
        lengths = to_device(lengths, suffix.device)
        size = max(1, self.tokens // (prefix.shape[1] + suffix.shape[1]))
        return in_chunks(self.encode_suffix, size, prefix, (suffix, lengths, group), tuning)

    def encode_suffix(
        self, prefix: Tensor, suffix: Tensor, lengths: Tensor, group: Tensor, tuning: Tuning = UNTUNED
    ) -> Tensor:
        count = prefix.shape[1]

        def enter(layer: int, x: Tensor) -> Tensor:
            return torch.cat([enter_layer(layer, x[:, :count], tuning), x[:, count:]], dim=1)

        x = torch.cat([prefix[group], suffix], dim=1)  # (R, L, D)
        return self.tower.encode(x, count + lengths, enter if tuning.prompts else None, tuning)


Encoder = TextEncoder | PlainTextEncoder


def text_encoder(tower: TextTower | TransformersTextTower, chunk: int) -> Encoder:
    """The encoder that suits a tower, for `chunk` suffixes of a few tokens at a time."""
    if tower.shared:
        return TextEncoder(tower, chunk)
    reason = "a token behind the padding" if tower.causal else "a full mask"
    length = "" if tower.tail is not None else f" and are padded to {tower.context_length}"
    logger.info("The text tower has %s: prompts share no prefix%s", reason, length)
    return PlainTextEncoder(tower, chunk)


def in_chunks(
    encode: Callable[..., Tensor], size: int, memory: Memory | Tensor, rows: tuple[Tensor, ...], tuning: Tuning
) -> Tensor:
    """Features (R, E) by `encode` of `size` rows at a time, whose activations the backward pass then computes anew.
    rows: suffix, lengths and group."""
    if len(rows[0]) <= size:
        return encode(memory, *rows, tuning)
    parts = zip(*(column.split(size) for column in rows))
    if torch.is_grad_enabled():
        return torch.cat([checkpoint(encode, memory, *part, tuning, use_reentrant=False) for part in parts])
    return torch.cat([encode(memory, *part, tuning) for part in parts])


def enter_layer(layer: int, x: Tensor, tuning: Tuning) -> Tensor:
    """The prefixes' hidden states (G, P, D) before a layer, where its prompt replaces the one before."""
    if not 0 < layer < len(tuning.prompts):
        return x
    prompt = tuning.prompts[layer]  # (M, D)
    return torch.cat([x[:, : -len(prompt)], prompt.expand(len(x), -1, -1)], dim=1)


def _attention(q: Tensor, k: Tensor, v: Tensor, **mask) -> Tensor:
    """Attention of (N, H, L, D/H); on a CPU in fp32, since its backward pass in bf16 is ten times slower there."""
    if q.device.type == "cpu" and q.dtype != torch.float32:
        with torch.autocast("cpu", enabled=False):
            return F.scaled_dot_product_attention(q.float(), k.float(), v.float(), **mask).to(q.dtype)
    return F.scaled_dot_product_attention(q, k, v, **mask)
