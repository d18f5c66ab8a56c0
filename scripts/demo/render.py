"""Draw the offline benchmark: seven small classification tasks in one sketchy style, with CoOp's split files.

    python scripts/demo/render.py [--out data/demo] [--seed 0]      draws what is missing (about 15 s on 2 cores)
    python scripts/demo/render.py --tasks texture sign              draws only these tasks

Writes <out>/<task>/images/<class>/*.png (64 x 64) and, last, <out>/<task>/split_zhou_Demo<Task>.json. Complete tasks of
the same version and seed are kept. `handwriting` shows real digits, the 8 x 8 scans of scikit-learn's `load_digits`
(Alpaydin and Kaynak, UCI, 1998), in the style of the drawings.
"""

import argparse
import itertools
import json
import random
import shutil
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
import scripts.lib.command  # noqa: F401  first: the imports below take seconds

import numpy as np
from PIL import Image

from scripts.demo import scenes, surfaces, world
from scripts.demo.scenes import Scene
from scripts.demo.world import Style
from softcpt.files import write_atomically

VERSION = 2  # of the pictures: raise it whenever they change
SPLITS = {"train": 24, "val": 4, "test": 40}  # images per class


def fixing(attribute: str, values: Iterable, names: str) -> dict[str, dict]:
    """{class name: the attribute of a scene that it fixes}, for names separated by spaces."""
    return {name: {attribute: value} for name, value in zip(names.split(), values, strict=True)}


SHAPES = fixing("shape", world.SHAPES, "disc square wedge star heart plus crescent dart pentagon diamond donut dome")
SIGNS = (
    "red disc|red wedge|blue disc|blue square|yellow wedge|yellow diamond|green square|green pentagon|black diamond|"
    "black pentagon"
).split("|")
TASKS: dict[str, dict[str, dict]] = {
    "shape": SHAPES,
    "colour": fixing("colour", world.COLOURS, "crimson amber lemon emerald azure violet rose chocolate ebony silver"),
    "texture": fixing("texture", surfaces.TEXTURES, "flat banded dotted chessboard meshed rippled grainy"),
    "count": fixing("count", range(1, 6), "one two three four five"),
    "background": fixing("background", surfaces.BACKGROUNDS, " ".join(surfaces.BACKGROUNDS)),
    "handwriting": fixing("digit", range(10), "zero one two three four five six seven eight nine"),
    "sign": {name: {"colour": name.split()[0], **SHAPES[name.split()[1]]} for name in SIGNS},
}


def split_file(out: Path, task: str) -> Path:
    return out / task / f"split_zhou_Demo{task.capitalize()}.json"


def file_name(split: str, index: int) -> str:
    return f"{split}_{index:03d}.png"


def random_style(rng: np.random.Generator) -> Style:
    """The style of all tasks: a bad copy of an old notebook, with ruled, yellowed pages, doubled pencil lines,
    misprinted fills and faded inks."""
    return Style(
        outline=rng.uniform(0.7, 1.4),
        ink=tuple(rng.uniform(0.12, 0.35, 3)),
        strokes=3,
        wobble=rng.uniform(0.03, 0.07),
        misprint=1.8,
        clutter=int(rng.poisson(1.2)),
        fade=rng.uniform(0.35, 0.45),
        ruled=rng.uniform(0.5, 0.6),
        tint=tuple(np.array([1.0, 0.9, 0.72]) * rng.uniform(0.9, 1.0) + rng.normal(0, 0.02, 3)),
        lift=rng.uniform(0.33, 0.43),
        blur=rng.uniform(0.3, 0.5),
        vignette=rng.uniform(0.3, 0.4),
        noise=rng.uniform(0.02, 0.04),
    )


def random_scene(task: str, fixed: dict, rng: np.random.Generator) -> Scene:
    """A scene of one class, whose attributes are `fixed`; the others are random."""
    place = rng.choice(["paper", "plain", "scene"], p=[0.65, 0.1, 0.25])
    most = {"shape": 2, "colour": 3, "texture": 2, "background": 4}.get(task, 1)
    drawn = {
        "kind": {"handwriting": "digit", "sign": "sign"}.get(task, "objects"),
        "shape": str(rng.choice(world.SHAPES)),
        "colour": str(rng.choice(list(world.COLOURS))),
        "texture": "plain" if rng.uniform() < 0.5 else str(rng.choice(surfaces.TEXTURES)),
        "count": 1 if rng.uniform() < 0.5 else int(rng.integers(1, most + 1)),
        "background": str(rng.choice(surfaces.BACKGROUNDS)) if place == "scene" else str(place),
        "filled": task in ("colour", "texture") or bool(rng.uniform() < 0.8),
    }
    return Scene(**{**drawn, **fixed})


def scanned_digits(seed: int) -> list[list[np.ndarray]]:
    """The scans of each digit, arrays (8, 8) in [0, 1], shuffled."""
    from sklearn.datasets import load_digits  # here: it is slow to import, and only this task needs it

    data = load_digits()
    found = [list(data.images[data.target == digit] / 16.0) for digit in range(10)]
    for images in found:
        random.Random(seed).shuffle(images)
    return found


def digit_mask(scan: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A scan (8, 8) enlarged to a mask (S, S), slightly displaced and rotated."""
    side = int(rng.integers(36, 58))
    big = Image.fromarray((scan * 255).astype(np.uint8)).resize((side, side), Image.Resampling.BICUBIC)
    canvas = Image.new("L", (world.SIZE, world.SIZE))
    canvas.paste(big, tuple(int((world.SIZE - side) / 2 + d) for d in rng.uniform(-5, 5, 2)))
    return np.asarray(canvas.rotate(rng.normal(0, 8), Image.Resampling.BILINEAR), np.float32) / 255


def draw_class(out: Path, task: str, name: str, seed: int, sizes: dict[str, int]) -> None:
    """Draw all images of one class; each depends on (seed, task, class, image number) alone."""
    folder = out / task / "images" / name
    folder.mkdir(parents=True, exist_ok=True)
    fixed = TASKS[task][name]
    scans = scanned_digits(seed)[fixed["digit"]] if task == "handwriting" else None
    numbers = [(split, i) for split, size in sizes.items() for i in range(size)]
    for number, (split, i) in enumerate(numbers):
        rng = np.random.default_rng([seed, list(TASKS).index(task), list(TASKS[task]).index(name), number])
        mask = digit_mask(scans[number], rng) if scans else None
        picture = scenes.draw(random_scene(task, fixed, rng), random_style(rng), rng, mask)
        Image.fromarray(picture).save(folder / file_name(split, i))


def is_complete(out: Path, task: str, seed: int, sizes: dict[str, int]) -> bool:
    """Whether this version has drawn a task with this seed and these sizes, and no image is missing."""
    try:
        stamp = json.loads((out / task / "rendered.json").read_text())
        split = json.loads(split_file(out, task).read_text())
    except (OSError, ValueError):
        return False
    present = {f"{f.parent.name}/{f.name}" for f in (out / task / "images").glob("*/*.png")}
    listed = {item[0] for items in split.values() for item in items}
    return stamp == {"version": VERSION, "seed": seed, "sizes": sizes} and listed <= present


def render(
    out: Path, seed: int = 0, sizes: dict[str, int] | None = None, workers: int = 2, tasks: Sequence[str] = tuple(TASKS)
) -> list[str]:
    """Draw those of `tasks` that are not complete, and return their names.

    Args:
        sizes: images per class for "train", "val" and "test"; SPLITS if None.
    """
    sizes = sizes or SPLITS
    missing = [task for task in tasks if not is_complete(out, task, seed, sizes)]
    for task in missing:
        split_file(out, task).unlink(missing_ok=True)
        shutil.rmtree(out / task / "images", ignore_errors=True)
    jobs = [(out, task, name, seed, sizes) for task in missing for name in TASKS[task]]
    if workers > 1 and jobs:
        with ProcessPoolExecutor(workers) as pool:
            list(pool.map(draw_class, *zip(*jobs)))
    else:
        list(itertools.starmap(draw_class, jobs))
    for task in missing:
        content = {
            split: [[f"{name}/{file_name(split, i)}", k, name] for k, name in enumerate(TASKS[task]) for i in range(n)]
            for split, n in sizes.items()
        }
        made = {"version": VERSION, "seed": seed, "sizes": sizes}
        write_atomically(out / task / "rendered.json", json.dumps(made, indent=1))
        write_atomically(split_file(out, task), json.dumps(content, indent=1))
    return missing


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("data/demo"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tasks", nargs="+", metavar="TASK", choices=list(TASKS), default=list(TASKS))
    args = parser.parse_args()
    drawn = render(args.out, args.seed, tasks=args.tasks)
    print(f"{args.out}: drew {', '.join(drawn)}" if drawn else f"{args.out}: complete, nothing to draw")
