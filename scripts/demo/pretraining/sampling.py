"""The scenes for pre-training: random content, drawn in random styles."""

import itertools
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from scripts.demo import scenes, surfaces, world
from scripts.demo.scenes import Scene
from scripts.demo.world import SIZE, Style

FONTS = (  # shipped with matplotlib
    "DejaVuSans DejaVuSans-Bold DejaVuSans-Oblique DejaVuSansMono DejaVuSerif DejaVuSerif-Italic cmr10 cmti10 cmss10 "
    "STIXGeneral STIXGeneralItalic"
).split()
CHUNK = 1000  # pictures drawn from one random stream

# Strokes of the ten digits in a unit square (x to the right, y down); `smooth` rounds their corners.
DIGITS = (
    [[(0.5, 0), (0.1, 0.2), (0.1, 0.8), (0.5, 1), (0.9, 0.8), (0.9, 0.2), (0.5, 0)]],
    [[(0.3, 0.2), (0.55, 0), (0.55, 1)]],
    [[(0.12, 0.25), (0.3, 0), (0.8, 0.02), (0.85, 0.4), (0.1, 1), (0.1, 1), (0.9, 0.98)]],
    [[(0.12, 0.08), (0.8, 0), (0.85, 0.4), (0.4, 0.48), (0.9, 0.55), (0.85, 1), (0.1, 0.95)]],
    [[(0.6, 0), (0.1, 0.65), (0.1, 0.65), (0.95, 0.65)], [(0.68, 0.3), (0.66, 1)]],
    [[(0.85, 0), (0.2, 0.02), (0.2, 0.02), (0.15, 0.45), (0.85, 0.4), (0.9, 0.95), (0.1, 0.95)]],
    [[(0.75, 0), (0.2, 0.35), (0.1, 0.95), (0.8, 1.05), (0.9, 0.55), (0.15, 0.6)]],
    [[(0.1, 0.02), (0.9, 0), (0.9, 0), (0.4, 1)]],
    [[(0.5, 0.48), (0.1, 0.25), (0.5, -0.05), (0.9, 0.25), (0.5, 0.48), (0.05, 0.75), (0.5, 1.05), (0.95, 0.75),
      (0.5, 0.48)]],
    [[(0.85, 0.3), (0.5, 0.55), (0.1, 0.3), (0.45, -0.05), (0.85, 0.2), (0.82, 0.5), (0.6, 1)]],
)  # fmt: skip


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


def smooth(points: np.ndarray, times: int = 3) -> np.ndarray:
    """Chaikin's corner cutting of an open line (n, 2), which keeps its ends."""
    for _ in range(times):
        a, b = points[:-1], points[1:]
        cut = np.stack([0.75 * a + 0.25 * b, 0.25 * a + 0.75 * b], 1).reshape(-1, 2)
        points = np.concatenate([points[:1], cut[1:-1], points[-1:]])
    return points


def digit_strokes(digit: int, radius: float, wobble: float, width: float, rng: np.random.Generator) -> np.ndarray:
    """Mask of a handwritten digit: bent strokes, slightly slanted and rotated."""
    x, y = SIZE / 2 + rng.uniform(-6, 6, 2)
    slant = np.array([(1, 0), (rng.normal(-0.1, 0.2), 1)])
    aspect, angle = rng.uniform(0.62, 0.95), rng.normal(0, 0.12)
    lines = []
    for stroke in DIGITS[digit]:
        points = (np.array(stroke) - 0.5) * 2 + rng.normal(0, 0.06, (len(stroke), 2))
        lines.append(world.place(world.bend(smooth(points), wobble, rng, False) @ slant, x, y, radius, angle, aspect))
    return world.line_mask(lines, width)


def digit_glyph(digit: int, font: ImageFont.FreeTypeFont, rng: np.random.Generator) -> np.ndarray:
    """Mask of a printed digit, slightly slanted and rotated."""
    canvas = Image.new("L", (SIZE, SIZE))
    centre = SIZE / 2 + rng.uniform(-6, 6, 2)
    ImageDraw.Draw(canvas).text(tuple(centre), str(digit), 255, font, anchor="mm")
    a, b, c = rng.normal(0, (0.12, 0.2, 0.12))
    matrix = (1 + a, b, -32 * (a + b), c, 1.0, -32 * c)
    return np.asarray(canvas.transform((SIZE, SIZE), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)) / 255.0


def soften(mask: np.ndarray, size: int) -> np.ndarray:
    """The mask as a scan of `size` x `size` pixels would show it."""
    picture = Image.fromarray((mask * 255).astype(np.uint8))
    small = picture.resize((size, size), Image.Resampling.BOX)
    return np.asarray(small.resize((SIZE, SIZE), Image.Resampling.BICUBIC), np.float32) / 255


def random_digit(digit: int, rng: np.random.Generator) -> np.ndarray:
    """Mask (S, S) of a printed or handwritten digit; half of them are as coarse as a small scan."""
    if rng.uniform() < 0.35:
        folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
        font = ImageFont.truetype(str(folder / f"{rng.choice(FONTS)}.ttf"), int(rng.integers(30, 62)))
        mask = digit_glyph(digit, font, rng)
    else:
        mask = digit_strokes(digit, rng.uniform(14, 25), abs(rng.normal(0, 0.1)), rng.uniform(2, 7), rng)
    return soften(mask, int(rng.integers(11, 24))) if rng.uniform() < 0.5 else mask


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
