"""Scenes: what a drawn picture shows, and drawing it from the parts in `world`."""

from dataclasses import dataclass, replace

import numpy as np

from scripts.demo import surfaces, world
from scripts.demo.world import SIZE, Style

RADIUS = {1: (14, 25), 2: (11, 15), 3: (9, 13), 4: (8, 11.5), 5: (7, 10.5)}  # pixels, by the number of objects


@dataclass(frozen=True)
class Scene:
    """The content of a picture. Attributes that a kind of scene does not use keep their defaults."""

    kind: str  # "objects", "sign" or "digit"
    shape: str = "circle"
    colour: str = "black"
    texture: str = "plain"
    count: int = 1
    background: str = "paper"
    digit: int = 0
    filled: bool = True


def draw(scene: Scene, style: Style, rng: np.random.Generator, digit_mask: np.ndarray | None = None) -> np.ndarray:
    """The picture (S, S, 3), in uint8, of a scene; `digit_mask` (S, S) holds a digit."""
    picture = surfaces.background(scene.background, rng)
    picture = world.clutter(picture, style.clutter, rng)
    ink = world.jitter(scene.colour, rng)
    if scene.kind == "digit":
        if np.abs(picture.mean((0, 1)) - ink).sum() < 0.6:
            picture = 0.35 * picture + 0.65 * (1 - ink.round())
        picture = world.paint(picture, digit_mask, ink)
    elif scene.kind == "sign":
        picture = _sign(picture, scene, style, ink, rng)
    else:
        picture = _objects(picture, scene, style, ink, rng)
    return world.finish(picture, style, rng)


def _objects(picture: np.ndarray, scene: Scene, style: Style, ink: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw the scene's objects, which differ in place, size and angle alone."""
    style = _legible(style, picture, ink, scene.filled)
    second = _second_colour(ink, rng)
    low, high = RADIUS[scene.count]
    radius = rng.uniform(low, high)
    free = rng.uniform() < 0.4
    for x, y in _places(scene.count, radius, rng):
        angle = rng.uniform(0, 2 * np.pi) if free else rng.normal(0, 0.2)
        outlines = [
            world.place(world.bend(c, style.wobble, rng), x, y, radius * rng.uniform(0.9, 1.05), angle)
            for c in world.contours(scene.shape)
        ]
        if scene.filled:
            period = rng.uniform(5.5, 9) if scene.count < 3 else rng.uniform(4, 6)
            fill = ink + (second - ink) * surfaces.pattern(scene.texture, rng, period)[..., None]
            shift = rng.normal(0, 1, 2) * style.misprint
            picture = world.paint(picture, world.fill_mask([c + shift for c in outlines]), fill)
        picture = _outline(picture, outlines, style, style.ink if scene.filled else ink, rng)
    return picture


def _outline(picture: np.ndarray, outlines: list, style: Style, ink, rng: np.random.Generator) -> np.ndarray:
    """Trace the contours `style.strokes` times, each time a little displaced."""
    if style.outline == 0:
        return picture
    lines = []
    for _ in range(style.strokes):
        for points in outlines:
            points = points + rng.normal(0, 0.7, 2) * (style.strokes > 1)
            lines.append(np.concatenate([points, points[:2]]))
    return world.paint(picture, world.line_mask(lines, style.outline), np.asarray(ink))


def _sign(picture: np.ndarray, scene: Scene, style: Style, ink: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw a board on a pole: the shape in its colour, with a rim and a small mark."""
    radius = rng.uniform(15, 21)
    x, y = SIZE / 2 + rng.uniform(-6, 6), 8 + radius + rng.uniform(-5, 3)
    pole = np.array([(x, y), (x + rng.normal(0, 1.5), SIZE)])
    picture = world.paint(picture, world.line_mask([pole], rng.uniform(2, 4)), rng.uniform(0.3, 0.7))
    contour = world.bend(world.contours(scene.shape)[0], style.wobble, rng)
    angle = rng.normal(0, 0.15)
    rim = np.full(3, rng.choice([0.95, 0.9, 0.1], p=[0.5, 0.3, 0.2])) + rng.normal(0, 0.03, 3)
    picture = world.paint(picture, world.fill_mask([world.place(contour, x, y, radius, angle)]), rim)
    board = world.place(contour, x, y, radius - rng.uniform(2, 3.5), angle)
    picture = world.paint(picture, world.fill_mask([board + rng.normal(0, 1, 2) * style.misprint]), ink)
    picture = _outline(picture, [world.place(contour, x, y, radius, angle)], style, style.ink, rng)
    mark = world.place(rng.uniform(-1, 1, (3, 2)), x, y, radius * 0.3, 0)
    return world.paint(picture, world.line_mask([mark], rng.uniform(1, 2)), rim)


def _legible(style: Style, picture: np.ndarray, ink: np.ndarray, filled: bool) -> Style:
    """The style, with an outline in contrast to the background where the ink is too close to it."""
    if np.abs(picture.mean((0, 1)) - ink).sum() > 0.45 and (filled or style.outline):
        return style
    line = (0.97, 0.97, 0.97) if picture.mean() < 0.5 else (0.05, 0.05, 0.05)
    return replace(style, outline=max(style.outline, 1.3), ink=line)


def _second_colour(ink: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The other colour of a pattern: near white, or the ink much lighter or darker."""
    white = rng.uniform(0.85, 1, 3)
    shade = ink * 0.3 if ink.mean() > 0.35 else 0.35 * ink + 0.6
    return white if rng.uniform() < 0.55 and ink.mean() < 0.7 else shade


def _places(count: int, radius: float, rng: np.random.Generator) -> list[tuple[float, float]]:
    """`count` random centres in pixels, about two radii apart."""
    apart, found = 2.1 * radius, []
    low, high = radius * 0.95, SIZE - radius * 0.95
    for attempt in range(400):
        if len(found) == count:
            break
        spot = rng.uniform(low, high, 2)
        if all(np.hypot(*(spot - other)) > apart for other in found):
            found.append(spot)
        if attempt % 40 == 39:
            found, apart = [], apart * 0.93
    while len(found) < count:  # not seen so far, but a picture must hold its count
        found.append(rng.uniform(low, high, 2))
    return [tuple(spot) for spot in found]
