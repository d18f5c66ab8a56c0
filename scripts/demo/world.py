"""Parts of a drawn picture of 64 x 64 pixels: colours, shapes and drawing styles.

Pictures are float arrays (S, S, 3) in [0, 1] and masks (S, S) in [0, 1]. All randomness comes from the
`numpy.random.Generator` that is passed in, so a picture depends on its seed alone.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

SIZE = 64  # pixels
OVERSAMPLE = 2  # masks are drawn at this scale and averaged down

COLOURS = {
    "red": (0.83, 0.12, 0.12),
    "orange": (0.95, 0.52, 0.10),
    "yellow": (0.94, 0.86, 0.15),
    "green": (0.13, 0.62, 0.22),
    "blue": (0.13, 0.30, 0.82),
    "purple": (0.50, 0.18, 0.66),
    "pink": (0.96, 0.56, 0.74),
    "brown": (0.45, 0.27, 0.12),
    "black": (0.07, 0.07, 0.08),
    "grey": (0.53, 0.53, 0.55),
}
SHAPES = "circle square triangle star heart cross crescent arrow pentagon rhombus ring semicircle".split()
Y, X = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32)


@dataclass(frozen=True)
class Style:
    """How a scene is drawn, whatever it shows. Lengths are in pixels, shares and brightness in [0, 1]."""

    outline: float = 0.0  # line width; 0 draws none
    ink: tuple[float, float, float] = (0.1, 0.1, 0.1)
    strokes: int = 1  # number of outlines drawn over each other, each a little displaced
    wobble: float = 0.0  # how far a contour bends, as a fraction of the radius
    misprint: float = 0.0  # how far the fill is displaced from its outline
    clutter: int = 0  # number of stray lines
    fade: float = 0.0  # share of the colour that is lost
    ruled: float = 0.0  # opacity of the lines of a notebook page
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)
    lift: float = 0.0  # brightness of black
    blur: float = 0.0  # radius
    vignette: float = 0.0
    noise: float = 0.0  # standard deviation


def contours(shape: str) -> list[np.ndarray]:
    """The outer contour of `shape`, then its holes: arrays (n, 2) of x, y (down) around 0 with radius about 1."""

    def arc(start: float, stop: float, radius: float = 1.0, n: int = 40, x: float = 0.0, y: float = 0.0) -> np.ndarray:
        angle = np.linspace(start, stop, n) * 2 * np.pi
        return np.stack([x + radius * np.sin(angle), y - radius * np.cos(angle)], 1)

    corners = {"triangle": 3, "pentagon": 5}
    if shape in corners:
        return [arc(0, 1, n=corners[shape] + 1)[:-1]]
    if shape == "square":
        return [np.array([(-0.8, -0.8), (0.8, -0.8), (0.8, 0.8), (-0.8, 0.8)])]
    if shape == "rhombus":
        return [np.array([(0, -1.1), (0.62, 0), (0, 1.1), (-0.62, 0)])]
    if shape == "star":
        return [arc(0, 1, n=11)[:-1] * np.where(np.arange(10) % 2, 0.42, 1.1)[:, None]]
    if shape == "cross":
        arm = np.array([(-0.33, -0.33), (-0.33, -1.0), (0.33, -1.0)])
        turns = [np.array([(cos, sin), (-sin, cos)]) for cos, sin in [(1, 0), (0, 1), (-1, 0), (0, -1)]]
        return [np.concatenate([arm @ turn for turn in turns])]
    if shape == "arrow":
        return [np.array([(0, -1.1), (0.75, -0.2), (0.28, -0.2), (0.28, 1), (-0.28, 1), (-0.28, -0.2), (-0.75, -0.2)])]
    if shape == "heart":
        t = np.linspace(0, 2 * np.pi, 40)[:-1]
        y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
        return [np.stack([np.sin(t) ** 3 * 16, -y - 2], 1) / 15.5]
    if shape == "crescent":
        return [np.concatenate([arc(-0.02, -0.52, n=30), arc(-0.57, 0.07, 0.86, 24, 0.42)])]
    if shape == "semicircle":
        return [arc(-0.25, 0.25) + (0, 0.45)]
    if shape == "ring":
        return [arc(0, 1)[:-1], arc(0, 1, 0.55)[:-1]]
    if shape == "circle":
        return [arc(0, 1)[:-1]]
    raise KeyError(f"unknown shape {shape!r}: legal are {', '.join(SHAPES)}")


def bend(points: np.ndarray, wobble: float, rng: np.random.Generator, closed: bool = True) -> np.ndarray:
    """Resample a contour (n, 2) finely and displace it by a smooth random wave of size `wobble`."""
    loop = np.concatenate([points, points[:1]]) if closed else points
    length = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(loop, axis=0).T) + 1e-6)])
    at = np.union1d(np.linspace(0, length[-1], 48), length)
    fine = np.stack([np.interp(at, length, loop[:, i]) for i in (0, 1)], 1)
    if wobble > 0:
        turn = at[:, None, None] / length[-1] * 2 * np.pi * np.arange(1, 5)
        wave = np.sin(turn + rng.uniform(0, 2 * np.pi, (1, 2, 4))) * rng.normal(0, 1, (1, 2, 4))
        fine = fine + wobble * 0.5 * wave.sum(-1)
    return fine


def place(points: np.ndarray, x: float, y: float, radius: float, angle: float, aspect: float = 1.0) -> np.ndarray:
    """Scale (pixels) and rotate (radians) the points (n, 2) of a unit figure, and move them to (x, y)."""
    cos, sin = np.cos(angle), np.sin(angle)
    return (points * (radius * aspect, radius / aspect)) @ np.array([(cos, sin), (-sin, cos)]) + (x, y)


def fill_mask(outlines: list[np.ndarray]) -> np.ndarray:
    """Mask of the inside of the first contour, with the others as holes."""
    canvas = Image.new("L", (SIZE * OVERSAMPLE,) * 2)
    pen = ImageDraw.Draw(canvas)
    for i, points in enumerate(outlines):
        pen.polygon([tuple(p) for p in points * OVERSAMPLE], fill=0 if i else 255)
    return np.asarray(canvas.reduce(OVERSAMPLE), np.float32) / 255


def line_mask(lines: list[np.ndarray], width: float) -> np.ndarray:
    """Mask of open lines (n, 2) that are `width` pixels wide."""
    canvas = Image.new("L", (SIZE * OVERSAMPLE,) * 2)
    pen = ImageDraw.Draw(canvas)
    for points in lines:
        pen.line([tuple(p) for p in points * OVERSAMPLE], 255, max(1, round(width * OVERSAMPLE)), joint="curve")
    return np.asarray(canvas.reduce(OVERSAMPLE), np.float32) / 255


def paint(picture: np.ndarray, mask: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """Blend `colour`, (3,) or (S, S, 3), over the picture where the mask is above 0."""
    return picture + mask[..., None] * (colour - picture)


def jitter(colour: str, rng: np.random.Generator, amount: float = 0.05) -> np.ndarray:
    """A random shade (3,) of a named colour."""
    return np.clip(np.array(COLOURS[colour]) * rng.normal(1, 2 * amount) + rng.normal(0, amount, 3), 0, 1)


def clutter(picture: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Scatter short, thin lines of random colours."""
    for _ in range(count):
        start, step = rng.uniform(0, SIZE, 2), rng.normal(0, 9, 2)
        mask = line_mask([np.stack([start, start + step])], rng.uniform(0.5, 1.5))
        picture = paint(picture, mask * rng.uniform(0.3, 0.9), rng.uniform(0, 1, 3))
    return picture


def finish(picture: np.ndarray, style: Style, rng: np.random.Generator) -> np.ndarray:
    """Apply the style's fading, light and camera. Returns the finished picture (S, S, 3) in uint8."""
    if style.fade:
        picture = picture + style.fade * (picture.mean(2, keepdims=True) - picture)
    if style.ruled:
        line = (Y + rng.normal(0, 0.04) * X + rng.uniform(0, 9)) % 9 < 1
        picture = paint(picture, line * style.ruled, np.array([0.35, 0.4, 0.6]))
    picture = style.lift + (1 - style.lift) * np.clip(picture, 0, 1) * style.tint
    if style.vignette:
        picture = picture * (1 - style.vignette * ((X - 31.5) ** 2 + (Y - 31.5) ** 2) / 31.5**2 / 2)[..., None]
    image = Image.fromarray((np.clip(picture, 0, 1) * 255).astype(np.uint8))
    if style.blur:
        image = image.filter(ImageFilter.GaussianBlur(style.blur))
    noisy = np.asarray(image, np.float32) + 255 * style.noise * rng.normal(0, 1, (SIZE, SIZE, 3))
    return np.clip(noisy, 0, 255).astype(np.uint8)
