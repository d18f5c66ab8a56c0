"""The tokens of names and of a context's words, as they stand in the sentence `words name.` that they make.

Many tokenizers have other tokens for a word at the beginning of a text than behind a space, so a name that is tokenised
alone is not the name in a sentence.
"""

from collections.abc import Sequence

from softcpt.backbones.tokenizers import Tokenizer

POSITIONS = ("end", "middle", "front")
SOME_WORD = "a"  # stands in a sentence for context tokens that are no words


def clean(name: str) -> str:
    """A name as it stands in a prompt: underscores are spaces."""
    return name.replace("_", " ").strip()


def tokens_before(position: str, n_context: int) -> int:
    """How many of the context tokens stand before the name."""
    return {"end": n_context, "middle": n_context // 2, "front": 0}[position]


def word_ids(words: str, position: str, tokenizer: Tokenizer, n_context: int = 0) -> list[int]:
    """The ids of a context's words: at the beginning of the sentence, or behind the name if that comes first.

    Args:
        n_context: number of context tokens M; with more than the words have, theirs are the last.
    """
    words = clean(words)
    ids = tokenizer.encode(words)
    n_context = max(n_context, len(ids))
    if tokenizer.by_word or not ids or tokens_before(position, n_context) > n_context - len(ids):
        return ids
    return tokenizer.split([SOME_WORD, f" {words}"])[1]


def name_ids(
    names: Sequence[str], words: str, n_context: int, position: str, stop: str, tokenizer: Tokenizer
) -> list[tuple[list[int], list[int]]]:
    """For each name the ids before and behind the context tokens that follow it: the name, and the stop.

    Context tokens without words stand for some word: the name is as behind "a". Of more words than context tokens,
    which only the position "end" has, the ids of the others come before the name's. CLIP's own tokenizer reads a name
    together with the stop, as CoOp does, wherever the name is.

    Raises:
        ValueError: a name that shares a token with a word beside it, or words that share one with the stop.
    """
    ids = word_ids(words, position, tokenizer, n_context)
    fixed = ids[n_context:]
    if tokenizer.by_word:
        rows = [(tokenizer.encode(clean(name) + stop), len(tokenizer.encode(clean(name)))) for name in names]
        return [(fixed + row[:n], row[n:]) for row, n in rows]
    before, after = around(words, ids, n_context, position, tokenizer)
    head = tokenizer.encode(before)
    tail, rest = tokenizer.split([SOME_WORD, f" {after}", stop])[1:] if after else ([], [])
    found = []
    for name in names:
        sentence = " ".join(part for part in (before, clean(name), after) if part) + stop
        tokens = tokenizer.encode(sentence)
        start, end = len(head), len(tokens) - len(tail) - len(rest)
        if end < start or tokens[:start] != head or tokens[end:] != tail + rest:
            raise ValueError(
                f"{name!r} has no tokens of its own in the prompt {sentence!r}: rename it, or change the words"
            )
        found.append((fixed + tokens[start:end], rest))
    return found


def around(words: str, ids: list[int], n_context: int, position: str, tokenizer: Tokenizer) -> tuple[str, str]:
    """What stands before and behind a name in its sentence, "" for nothing.

    Some word stands for context tokens without words, and for the others if the middle of the context divides a word.

    Args:
        ids: of the words.
    """
    n_before = tokens_before(position, n_context)
    some_before, some_after = SOME_WORD if n_before else "", SOME_WORD if n_before < n_context else ""
    if position == "end":
        return clean(words) or some_before, ""
    n_before = max(0, n_before - max(0, n_context - len(ids)))  # of the words' tokens
    split = clean(words).split(" ")
    for i in range(len(split)):
        before, after = " ".join(split[:i]), " ".join(split[i:])
        if ids and tokenizer.encode(before) == ids[:n_before]:
            return before or some_before, after
    return some_before, some_after
