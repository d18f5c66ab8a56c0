"""Texts that people, terminals and spreadsheets read: counts in words, names without control characters, lists of
names in one text."""

import logging
import re
import unicodedata
from collections.abc import Sequence

# C0 and C1 controls, line and paragraph separators, overrides of a text's direction, lone surrogates.
CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
MARKUP = re.compile(r"[|`]|<(?=[A-Za-z/!?])|(?<=\])\(")  # of Markdown: columns, code, HTML, links
FORMULA = ("=", "+", "-", "@")  # a spreadsheet computes a cell that begins so


def counted(number: int, noun: str, plural: str = "") -> str:
    """ "1 class", "2 classes", "1,200 images": a number and its noun; `plural` defaults to the noun and s, or es."""
    plural = plural or noun + ("es" if noun.endswith(("s", "x", "ch", "sh")) else "s")
    return f"{number:,} {noun if number == 1 else plural}"


def nfc(text: str) -> str:
    """A name in composed Unicode (NFC). File systems and editors write "é" as one character or as two."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def plain(text: object, keep: str = "") -> str:
    r"""A text without control characters, which would move the cursor, colour the terminal or begin a new line: each
    is written as an escape, as \x1b or \n. Those in `keep` stay."""
    return CONTROLS.sub(lambda found: found[0] if found[0] in keep else _escape(found[0]), str(text))


def in_utf8(text: str) -> bool:
    """Whether a text can be written in UTF-8. Names on disk of other bytes cannot, nor lone surrogates in a file."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _escape(character: str) -> str:
    return ascii(character)[1:-1]


class PlainFormatter(logging.Formatter):
    """Log lines without control characters but line breaks and tabs, as messages in several lines have them."""

    def format(self, record: logging.LogRecord) -> str:
        return plain(super().format(record), keep="\n\t")


def spreadsheet(value: object) -> object:
    """The value of a cell in a CSV that spreadsheets open: a text that would be a formula has an apostrophe before it.

    Numbers stay. CSVs that programs read back, such as tasks.csv, keep their texts exactly.
    """
    text = plain(value) if isinstance(value, str) else value
    return f"'{text}" if isinstance(text, str) and text.lstrip().startswith(FORMULA) else text


def markdown_text(text: object) -> str:
    """A text for Markdown, also for a cell of a table: control characters and what would be markup are escaped."""
    return MARKUP.sub(lambda found: f"\\{found[0]}", plain(text))


# -- several names in one text, the value of DATASET.TASKS -------------------------------------------------------------

HALVES = ("all", "base", "new")  # as the whole text, not names


def joined_names(names: Sequence[str]) -> str:
    r"""Names as one text, separated by commas. A comma within a name becomes \, and a single name that is one of
    HALVES has a comma after it. `names_of` is the inverse."""
    text = ",".join(re.sub(r"([\\,])", r"\\\1", name) for name in names)
    return f"{text}," if text in HALVES else text


def names_of(text: str) -> list[str]:
    r"""The names in a text, see `joined_names`, without spaces around them. Before other characters a \ is itself."""
    names = [""]
    for token in re.findall(r"\\[\\,]|.", text, re.S):
        if token == ",":
            names.append("")
        else:
            names[-1] += token[-1]  # of an escape the character that it stands for
    names = [name.strip() for name in names]
    return names[:-1] if len(names) > 1 and not names[-1] else names
