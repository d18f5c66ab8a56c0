"""How methods look in pictures: a fixed colour for each name, and two highlighted methods."""

import re
import zlib
from dataclasses import dataclass

import pandas as pd

from .tables import AVERAGE, zero_shot_methods

# Okabe and Ito's palette, safe for colour-blind readers, without its yellow, which is too light for lines, and more.
BLUE, ORANGE_RED, GREEN, PINK = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
AMBER, SKY, BROWN, VIOLET, OLIVE, CRIMSON = "#E69F00", "#56B4E9", "#8C564B", "#6A51A3", "#7A7A00", "#A50F15"
GREY, DARK_GREY = "#B8B8B8", "#555555"
# {start of a method's name: colour}; the first match counts. Other names get a colour by their checksum.
COLORS = {
    "softcpt nats": SKY,
    "softcpt nata blend": VIOLET,
    "softcpt nata_": VIOLET,
    "softcpt": BLUE,
    "coop shared": AMBER,
    "coop mt": AMBER,
    "coop cs": BROWN,
    "coop per class": BROWN,
    "coop": ORANGE_RED,
    "prolip": GREEN,
    "kgcoop": PINK,
    "prograd": OLIVE,
    "promptsrc": CRIMSON,
    "maple": BROWN,
    "cocoop": VIOLET,
    "taskres": OLIVE,
    "tip adapter": AMBER,
    "plot": PINK,
    "clip lora": SKY,
    "lp": CRIMSON,
    "linearprobe": CRIMSON,
}
ALL_COLOURED = 5  # up to this many trained methods are all coloured


def color_of(name: str) -> str:
    """The colour of a method wherever it is not grey."""
    words = re.sub(r"[-+* ]+", " ", name.casefold()).strip()
    known = next((color for beginning, color in COLORS.items() if words.startswith(beginning)), "")
    others = (GREEN, PINK, AMBER, BROWN, VIOLET, OLIVE, CRIMSON, ORANGE_RED)
    return known or others[zlib.crc32(words.encode()) % len(others)]


@dataclass(frozen=True)
class Highlights:
    """The methods of a section in strong colours; the others are grey.

    Attributes:
        hero: SoftCPT, its variant NATA if there is one; without SoftCPT the best method; "" for none.
        rival: the best other trained method that is not a variant of SoftCPT; "" for none.
        why: how the rival was chosen, in words.
    """

    hero: str
    rival: str
    why: str = ""

    def __contains__(self, name: str) -> bool:
        return bool(name) and name in (self.hero, self.rival)


def highlights(section: pd.DataFrame) -> Highlights:
    """The methods of a section's summary to highlight. Only a method that ran at all numbers of shots can be best."""
    rows = section[(section["task"] == AVERAGE) & (section["shots"] != 0) & section["mean"].notna()]
    rows = rows[~rows["method"].isin(zero_shot_methods(section))]
    if rows.empty:
        return Highlights("", "")
    table = rows.pivot(index="method", columns="shots", values="mean").reindex(rows["method"].unique())
    complete = table.dropna() if len(table.dropna()) else table
    means = complete.mean(axis=1).sort_values(ascending=False, kind="stable")
    own = [name for name in table.index if is_softcpt(name)]
    plain = [name for name in own if re.fullmatch(r"softcpt([- ]nata)?", name.casefold())]
    hero = (plain or own or list(means.index))[0]
    rivals = [name for name in means.index if name != hero and not (own and is_softcpt(name))]
    if not rivals:
        return Highlights(hero, "")
    how = f", by the mean over the {table.shape[1]} numbers of shots" if table.shape[1] > 1 else ""
    return Highlights(hero, rivals[0], f"Best rival{how}: {rivals[0]} ({means[rivals[0]]:.1f}).")


def is_softcpt(name: str) -> bool:
    return name.casefold().startswith("softcpt")


def colors(section: pd.DataFrame, stressed: Highlights) -> dict[str, str]:
    """{method: colour} of a section: grey but for the highlighted ones; all in colour if they are few and differ."""
    untrained = zero_shot_methods(section)
    trained = [name for name in section["method"].unique() if name not in untrained]
    own = {name: color_of(name) for name in trained}
    every = len(trained) <= ALL_COLOURED and len(set(own.values())) == len(trained)
    shown = {name: own[name] if every or name in stressed else GREY for name in trained}
    return {**dict.fromkeys(untrained, DARK_GREY), **shown}
