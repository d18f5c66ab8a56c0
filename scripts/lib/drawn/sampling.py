"""The scenes for pre-training: random content, drawn in random styles."""

import itertools
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import matplotlib
import numpy as np
from PIL import ImageFont

from scripts.lib.drawn import scenes, surfaces, world
from scripts.lib.drawn.scenes import Scene
from scripts.lib.drawn.world import Style

FONTS = (  # shipped with matplotlib
    "DejaVuSans DejaVuSans-Bold DejaVuSans-Oblique DejaVuSansMono DejaVuSerif DejaVuSerif-Italic cmr10 cmti10 cmss10 "
    "STIXGeneral STIXGeneralItalic"
).split()
CHUNK = 1000  # pictures drawn from one random stream


def random_scene(rng: np.random.Generator) -> Scene:
    """A random scene; scenes of one object are the most frequent."""
    kind = rng.choice(["objects", "digit", "sign"], p=[0.66, 0.22, 0.12])
    place = rng.choice(["plain", "paper", "scene"], p=[0.3, 0.3, 0.4])
    return Scene(
        kind=str(kind),
        shape=str(rng.choice(world.SHAPES)),
        colour=str(rng.choice(list(world.COLOURS))),
        texture="plain" if rng.uniform() < 0.3 else str(rng.choice(surfaces.TEXTURES)),
        count=1 if kind != "objects" or rng.uniform() < 0.4 else int(rng.integers(1, 6)),
        background=str(rng.choice(surfaces.BACKGROUNDS)) if place == "scene" else str(place),
        digit=int(rng.integers(10)),
        filled=bool(rng.uniform() < 0.85),
    )


def random_style(rng: np.random.Generator, filled: bool) -> Style:
    """A random style. The benchmark's, with several strokes over each other, is never drawn."""
    outline = rng.uniform(0.8, 2.6) if rng.uniform() < 0.45 or not filled else 0.0
    ink = rng.uniform(0, 0.25, 3) if rng.uniform() < 0.6 else rng.uniform(0, 1, 3)
    return Style(
        outline=outline,
        ink=tuple(ink),
        wobble=abs(rng.normal(0, 0.05)),
        misprint=rng.uniform(0, 1.0) if rng.uniform() < 0.3 else 0.0,
        clutter=int(rng.poisson(1.0)),
        tint=tuple(np.clip(rng.normal(1, 0.1, 3), 0.6, 1.15) * rng.uniform(0.75, 1.05)),
        lift=rng.uniform(0, 0.2) if rng.uniform() < 0.4 else 0.0,
        blur=rng.uniform(0, 1.0) if rng.uniform() < 0.4 else 0.0,
        vignette=rng.uniform(0, 0.5) if rng.uniform() < 0.3 else 0.0,
        noise=rng.uniform(0, 0.07) if rng.uniform() < 0.6 else 0.0,
    )


def random_digit(digit: int, rng: np.random.Generator) -> np.ndarray:
    """Mask (S, S) of a printed or handwritten digit; half of them are as coarse as a small scan."""
    if rng.uniform() < 0.35:
        folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
        font = ImageFont.truetype(str(folder / f"{rng.choice(FONTS)}.ttf"), int(rng.integers(30, 62)))
        mask = world.digit_glyph(digit, font, rng)
    else:
        mask = world.digit_strokes(digit, rng.uniform(14, 25), abs(rng.normal(0, 0.1)), rng.uniform(2, 7), rng)
    return world.soften(mask, int(rng.integers(11, 24))) if rng.uniform() < 0.5 else mask


def draw_chunk(seed: int, chunk: int) -> tuple[list[Scene], np.ndarray]:
    """CHUNK scenes and their pictures (CHUNK, S, S, 3), in uint8."""
    rng = np.random.default_rng([seed, chunk])
    shown, pictures = [], []
    for _ in range(CHUNK):
        scene = random_scene(rng)
        mask = random_digit(scene.digit, rng) if scene.kind == "digit" else None
        pictures.append(scenes.draw(scene, random_style(rng, scene.filled), rng, mask))
        shown.append(scene)
    return shown, np.stack(pictures)


def draw_world(seed: int, count: int, workers: int = 2) -> tuple[list[Scene], np.ndarray]:
    """`count` scenes, rounded down to whole chunks, and their pictures. `workers` does not change them."""
    numbers = range(max(1, count // CHUNK))
    with ProcessPoolExecutor(workers) as pool:
        chunks = list(pool.map(draw_chunk, itertools.repeat(seed), numbers))
    shown, pictures = zip(*chunks)
    return list(itertools.chain(*shown)), np.concatenate(pictures)
