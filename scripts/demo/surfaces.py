"""Fill patterns of objects and the backgrounds behind them. Shapes and ranges are as in `world`."""

import numpy as np
from PIL import Image

from scripts.demo.world import SIZE, X, Y

PATTERNS = {  # positive where a fill has its second colour; u and v are phases (S, S) along and across the pattern
    "plain": lambda u, v, rng: np.full_like(u, -1),
    "striped": lambda u, v, rng: np.sin(u),
    "dotted": lambda u, v, rng: np.cos(u) + np.cos(v) - 0.75,
    "checked": lambda u, v, rng: 2 * np.sin(u * 0.7) * np.sin(v * 0.7),
    "grid": lambda u, v, rng: np.maximum(np.cos(u), np.cos(v)) - 0.72,
    "wavy": lambda u, v, rng: np.sin(u + 1.9 * np.sin(v * 0.6)),
    "speckled": lambda u, v, rng: rng.normal(-0.5, 1, (SIZE, SIZE)),
}
TEXTURES = list(PATTERNS)
BACKGROUNDS = "night sky grass brick sand wood water".split()


def cloud(rng: np.random.Generator, across: int, down: int) -> np.ndarray:
    """Smooth noise (S, S) of mean 0.5, with about `across` x `down` bumps."""
    coarse = Image.fromarray(rng.integers(0, 256, (down, across), dtype=np.uint8))
    return np.asarray(coarse.resize((SIZE, SIZE), Image.Resampling.BICUBIC), np.float32) / 255


def pattern(texture: str, rng: np.random.Generator, period: float) -> np.ndarray:
    """Mask of a fill's second colour; `period` in pixels. Raises KeyError that names the known textures."""
    if texture not in PATTERNS:
        raise KeyError(f"unknown texture {texture!r}: legal are {', '.join(TEXTURES)}")
    angle = rng.uniform(0, np.pi)
    turn = 2 * np.pi / period
    u = (np.cos(angle) * X + np.sin(angle) * Y + rng.uniform(0, period)) * turn
    v = (np.cos(angle) * Y - np.sin(angle) * X + rng.uniform(0, period)) * turn
    return np.clip(0.5 + 1.8 * PATTERNS[texture](u, v, rng), 0, 1).astype(np.float32)


def background(name: str, rng: np.random.Generator) -> np.ndarray:
    """An empty picture with one of BACKGROUNDS, "paper" or "plain"."""
    if name == "plain":
        return np.ones((SIZE, SIZE, 3), np.float32) * rng.uniform(0, 1, 3)
    colours = {
        "paper": ((0.90, 0.88, 0.82), (1.0, 0.99, 0.96)),
        "night": ((0.02, 0.03, 0.10), (0.10, 0.10, 0.26)),
        "sky": ((0.40, 0.66, 0.93), (0.98, 0.98, 1.0)),
        "grass": ((0.16, 0.38, 0.08), (0.46, 0.70, 0.22)),
        "brick": ((0.62, 0.25, 0.17), (0.80, 0.76, 0.70)),
        "sand": ((0.70, 0.57, 0.36), (0.95, 0.85, 0.64)),
        "wood": ((0.43, 0.26, 0.13), (0.72, 0.50, 0.29)),
        "water": ((0.05, 0.32, 0.46), (0.42, 0.74, 0.80)),
    }
    low, high = (np.array(c) + rng.normal(0, 0.03, 3) for c in colours[name])
    return low + (high - low) * _relief(name, rng)[..., None]


def _relief(name: str, rng: np.random.Generator) -> np.ndarray:
    """Where between its dark and its light colour a background is, per pixel."""
    if name == "night":
        stars = rng.uniform(0, 1, (SIZE, SIZE)) > 1 - rng.uniform(0.003, 0.012)
        return Y / SIZE + stars * rng.uniform(4, 9)
    if name == "sky":
        return np.clip(2.2 * cloud(rng, 5, 7) - 0.9 + 0.2 * Y / SIZE, 0, 1)
    if name == "grass":
        return 0.25 + 0.9 * (cloud(rng, 48, 12) - 0.5) + 0.4 * cloud(rng, 4, 4)
    if name == "brick":
        height, width = rng.uniform(8, 12), rng.uniform(16, 24)
        row, shift = np.divmod(Y + rng.uniform(0, 12), height)
        joint = np.minimum(shift, (X + rng.uniform(0, 12) + row % 2 * width / 2) % width)
        return np.where(joint < 1.5, 1.0, 0.3 * cloud(rng, 12, 12))
    if name == "sand":
        return 0.5 + 0.35 * rng.normal(0, 1, (SIZE, SIZE)) * 0.6 + 0.5 * (cloud(rng, 5, 5) - 0.5)
    if name == "wood":
        rings = np.sin(Y * rng.uniform(0.35, 0.7) + 6 * cloud(rng, 3, 5))
        return 0.5 + 0.35 * rings + 0.4 * (cloud(rng, 6, 40) - 0.5)
    if name == "water":
        wave = np.sin(Y * rng.uniform(0.5, 0.8) + 1.2 * np.sin(X * rng.uniform(0.2, 0.35) + rng.uniform(0, 6)))
        return np.clip(0.35 + 0.5 * np.maximum(wave, 0) ** 3 + 0.3 * (cloud(rng, 5, 8) - 0.5), 0, 1)
    return 0.7 + 0.3 * (cloud(rng, 6, 6) - 0.5)  # paper
