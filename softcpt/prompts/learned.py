"""Prompts `[SOS] context name . [EOS]`: the tokens of names, which are fixed, and learned contexts."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from softcpt.backbones import CLIP
from softcpt.files.messages import check_choice
from softcpt.placement import on_host

from .owners import register_owners
from .sentences import POSITIONS, name_ids, tokens_before, word_ids


class PromptTemplate(nn.Module):
    """The fixed tokens of the prompts of R names, around a context of M learned tokens.

    A prompt is a *prefix*, `[SOS]` and the context tokens before the name, which all names with the same context share,
    and a *suffix*: the name, the other context tokens, the full stop and `[EOS]`. With the name at the "end" the whole
    context is in the prefix, in the "middle" the first half (rounded down), at the "front" none of it. The suffix
    includes the padding if features depend on it.

    A name has the tokens that it has in the sentence of the context's words, the name and the full stop, which follows
    directly; underscores are spaces. Behind a context without words it has those that it has behind "a".

    Args:
        names: R class or task names.
        n_context: number of context tokens M.
        model: the CLIP, for its token embedding and context length.
        position: of the name: "end", "middle" or "front" of the context.
        stop: what follows the name.
        words: with which the context starts, as for `Context`; of more words than M tokens, at the "end", the others
            are fixed.

    Raises:
        ValueError: an unknown position, or a prompt longer than the tower's context, naming the name; a token that
            joins the name with a word beside it.
    """

    def __init__(
        self,
        names: Sequence[str],
        n_context: int,
        model: CLIP,
        position: str = "end",
        stop: str = ".",
        words: str = "",
    ) -> None:
        super().__init__()
        check_choice("CLASS_TOKEN_POSITION", position, POSITIONS)
        self.n_context = n_context
        self.n_before = tokens_before(position, n_context)
        n_after = n_context - self.n_before

        tokenizer, tower = model.tokenizer, model.text
        halves = name_ids(names, words, n_context, position, stop, tokenizer)
        tokens = [name + rest + tokenizer.eos for name, rest in halves]
        room = tower.context_length - len(tokenizer.sos) - n_context
        for name, row in zip(names, tokens):
            if len(row) > room:
                raise ValueError(
                    f"the prompt of {name!r} has {tower.context_length - room + len(row)} tokens with {n_context} "
                    f"context tokens, more than CLIP's {tower.context_length}: shorten the name or N_CTX"
                )
        lengths = [len(row) + n_after for row in tokens]
        if tower.padded:
            tokens = [row + [tokenizer.pad] * (room - len(row)) for row in tokens]
        if tower.pooling == "last":
            lengths = [room + n_after] * len(tokens)
        longest = max(map(len, tokens))
        # Position s of a suffix takes entry index[s] of [suffix tokens (longest) | context tokens after the name].
        index = torch.zeros(len(names), longest + n_after, dtype=torch.long)
        for r, ((own, _), row) in enumerate(zip(halves, tokens)):
            n_name = len(own)
            order = [*range(n_name), *range(longest, longest + n_after), *range(n_name, len(row))]
            index[r, : len(order)] = torch.tensor(order)

        padded = torch.tensor([row + [0] * (longest - len(row)) for row in tokens])
        lengths = torch.tensor(lengths)
        weight = tower.token_embedding.weight
        # Not persistent: tokens in a checkpoint would overwrite those of other classes when it is loaded.
        self.register_buffer("sos", weight[tokenizer.sos], persistent=False)  # (1, D), or (0, D)
        self.register_buffer("tokens", weight[padded.to(weight.device)], persistent=False)  # (R, longest, D)
        self.register_buffer("index", index.to(weight.device), persistent=False)  # (R, S)
        self.lengths = lengths  # (R,) on the host, which needs them

    def forward(self, context: Tensor, group: Tensor, rows: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Prefixes and suffixes of the prompts of some names.

        Args:
            context: (G, M, D), one context per group.
            group: (R,) the group of each name.
            rows: (R,) which names; None for all.

        Returns:
            prefix (G, 1 + M_before, D), suffix (R, S, D), and on the CPU lengths (R,) of the suffixes, up to the token
            at which the feature is read, [EOS] in most towers.
        """
        tokens, index, lengths = self.tokens, self.index, self.lengths
        if rows is not None:
            tokens, index, lengths = tokens[rows], index[rows], lengths[on_host(rows)]
        before, after = context.split([self.n_before, self.n_context - self.n_before], dim=1)
        prefix = torch.cat([self.sos.unsqueeze(0).expand(len(context), -1, -1), before], dim=1)  # (G, 1 + M_before, D)
        if after.shape[1]:
            tokens = torch.cat([tokens, after[group]], dim=1)  # (R, longest + M_after, D)
        suffix = tokens.gather(1, index.unsqueeze(-1).expand(-1, -1, tokens.shape[-1]))  # (R, S, D)
        return prefix, suffix, lengths


class Context(nn.Module):
    """Learnable context tokens: `ctx` (M, D) shared by all, or (rows, M, D).

    Args:
        n_context: number of tokens M; with `words` theirs is used instead.
        model: the CLIP, for its token embedding.
        rows: None for one context shared by all, a number of contexts, or the name of each context's owner: a
            checkpoint then loads for the same names only.
        words: initial words ("a photo of a"); empty for N(0, 0.02^2) as in CoOp.
        pad: keep all n_context tokens, zeros and then the words.
        position: of the names in the prompts, since words may have other tokens behind a name.
        cut: keep the first n_context tokens of the words only.

    Raises:
        ValueError: with `pad`, more words than tokens.
    """

    def __init__(
        self,
        n_context: int,
        model: CLIP,
        rows: int | Sequence[str] | None = None,
        words: str = "",
        pad: bool = False,
        position: str = "end",
        cut: bool = False,
    ) -> None:
        super().__init__()
        if words:
            embedding = model.text.token_embedding
            ids = word_ids(words, position, model.tokenizer, n_context if pad else 0)
            ids = ids[:n_context] if cut else ids
            start = embedding(torch.tensor(ids, device=embedding.weight.device)).detach().clone()  # (M, D)
            if pad and len(start) > n_context:
                raise ValueError(f"CTX_INIT: {words!r} has {len(start)} tokens, more than N_CTX {n_context}")
            if pad:
                start = torch.cat([start.new_zeros(n_context - len(start), start.shape[1]), start])
        else:
            start = torch.empty(n_context, model.text.width)
        if rows is not None and not isinstance(rows, int):
            register_owners(self, rows)
            rows = len(rows)
        shape = start.shape if rows is None else (rows, *start.shape)
        self.ctx = nn.Parameter(start.expand(shape).clone())
        if not words:
            nn.init.normal_(self.ctx, std=0.02)

    @property
    def n_context(self) -> int:
        return self.ctx.shape[-2]

    def forward(self) -> Tensor:
        """(rows, M, D), rows = 1 for a shared context."""
        return self.ctx if self.ctx.dim() == 3 else self.ctx.unsqueeze(0)


POSITION_OF = {  # {key of the words of a context: key of the name's position in the prompts with it}
    "CTX_INIT": "CLASS_TOKEN_POSITION",
    "TASK_CTX_INIT": "TASK_TOKEN_POSITION",
    "CLASS_CTX_INIT": "CLASS_BRANCH_TOKEN_POSITION",
}


def check_words(method: type[Any], options: Mapping[str, Any], model: CLIP) -> None:
    """Raise ValueError if a number of context tokens is set, and initial words with another number replace it.

    Args:
        method: a trainer's class, for its `defaults` and its `counted_by_words`.
        options: its config node.
        model: the CLIP, for its tokenizer.
    """
    node = f"TRAINER.{method.__name__.upper()}"
    for key, source in method.counted_by_words.items():
        count, text = options[key], options[source]
        position = options.get(POSITION_OF[source], "end")
        length = len(word_ids(text, position, model.tokenizer))
        if text and count not in (length, method.defaults[key]):
            raise ValueError(
                f"{node}.{key}: {count}, but the context is the {length} tokens of {node}.{source}, {text!r}: leave "
                f"out {key}, or set {source} ''"
            )
