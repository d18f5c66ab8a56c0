"""Readers of folders: CLIPs of libraries, exports with their CLIP, run folders for a report, own folders of pictures.

What is drawn is one file of them, or, for own folders, the list of what lies there.
"""

import gzip
import json
import os
import shutil
import struct
from functools import partial
from pathlib import Path

import hypothesis.strategies as st
import miniatures
import numpy as np
import torch
import toy
from fuzz.hostile import Reader, damaged, edited, json_files, yaml_files
from PIL import Image
from records import record
from safetensors.torch import save

from datasets.folder import read_tasks
from softcpt.backbones import CLIP, Head, load_clip
from softcpt.backbones.config import Preprocessing
from softcpt.evaluation.predictions import COLUMNS
from softcpt.evaluation.records import write_record
from softcpt.inference import Export, load_classifier, write_export
from softcpt.inference.exports import ENTRY, digest_of
from softcpt.reports import write_report
from trainers.engine.config import default_cfg

# -- CLIPs of libraries ------------------------------------------------------------------------------------------------


def clip_features(folder: Path, _: Path) -> list:
    """Whether a folder's CLIP gives finite features of one size. Its own library's features are compared on loading."""
    clip = load_clip(str(folder))
    with torch.no_grad():
        image = clip.encode_image(torch.zeros(1, 3, *clip.preprocessing.size))
        ids = clip.tokenizer(["a photo of a dog."], clip.text.context_length)
        text = clip.text(ids, clip.tokenizer.eos)
    return [image.shape == text.shape, bool(image.isfinite().all() and text.isfinite().all())]


def clip_folder(family: str, file: str, folder: Path) -> Reader:
    place = Path(miniatures.make(family, folder).name.removeprefix("open_clip:"))
    files = json_files(json.loads((place / file).read_text()))
    path = str((place / file).relative_to(folder))
    return Reader(path, partial(clip_features, place), lambda _: [True, True], files, str(place))


# -- exports with their CLIP -------------------------------------------------------------------------------------------

NAMES = (
    "heads.0.weight", "heads.0.bias", "heads.0.keys", "heads.0.labels", "heads.00.weight", "heads.1.weight",
    "weights.ln_post.weight", "weights.conv1.weight", "weights.x", "prompts.0", "prompts.1", "prompts.٠",
    "projection.weight", "projection.bias", "x",
)  # fmt: skip
SHAPES = ((), (0,), (2,), (3,), (64,), (2, 32), (2, 64), (3, 32), (64, 32), (0, 32), (2, 3, 64), (64, 3, 16, 16))
TYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.bool, torch.float8_e4m3fn)


def answers(picture: Path, path: Path) -> list:
    """Whether the probabilities of a picture are right in number and sum."""
    classifier = load_classifier(path, toy.CLIP, "cpu")
    p = classifier.predict_proba([picture], classifier.tasks[0])
    return [p.shape, bool(np.isfinite(p).all() and abs(p.sum() - 1) < 1e-3)]


def right_answers(content: bytes) -> list:
    (length,) = struct.unpack("<Q", content[:8])
    facts = json.loads(json.loads(content[8 : 8 + length])["__metadata__"][ENTRY])
    return [(1, len(facts["tasks"][0]["classnames"])), True]


@st.composite
def signed_exports(draw, facts, tensors):
    """Exports with other metadata, or other tensors, and the digest that matches."""
    found, changed = dict(tensors), facts
    for _ in range(draw(st.integers(0, 2))):
        name, shape, kind = draw(st.sampled_from(NAMES)), draw(st.sampled_from(SHAPES)), draw(st.sampled_from(TYPES))
        value = draw(st.sampled_from((0.0, 1.0, -1.0, 1e-30, 1e4, 3e38, float("nan"), -float("inf"))))
        found[name] = torch.full(shape, value, dtype=torch.float64).nan_to_num(2.0 if kind is torch.int64 else value)
        found[name] = found[name].to(kind)
    if len(found) == len(tensors) or draw(st.booleans()):
        changed = draw(edited(facts))
    if isinstance(changed, dict):
        changed["digest"] = digest_of({key: value for key, value in changed.items() if key != "digest"}, found)
    return save(found, {ENTRY: json.dumps(changed)})


def loaded_export(folder: Path) -> Reader:
    clip: CLIP = load_clip(toy.CLIP)
    task = {"name": "leaf", "template": "a {}.", "metric": "accuracy", "classnames": ["ash", "oak"]}
    own = {"name": toy.CLIP, "sha256": clip.source["sha256"], "image_digest": clip.image_digest}
    head = Head(torch.ones(2, 32), scale=10.0)
    write_export(folder / "loaded.safetensors", Export([task], [head], Preprocessing((32, 32)), own))
    content = (folder / "loaded.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    facts = json.loads(json.loads(content[8 : 8 + length])["__metadata__"][ENTRY])
    Image.new("RGB", (40, 30), (200, 10, 10)).save(folder / "picture.png")
    tensors = {"heads.0.weight": torch.randn(2, 32, generator=torch.Generator().manual_seed(0))}
    read = partial(answers, folder / "picture.png")
    return Reader("loaded.safetensors", read, right_answers, signed_exports(facts, tensors))


# -- run folders for a report ------------------------------------------------------------------------------------------

ROWS = [list(COLUMNS), ["shape", "a.png", "a", "b", "0.5"], ["shape", "b.png", "b", "a", "0.75"]]
RUN = {"DATASET": {"ROOT": "data", "NAME": "Demo"}, "TRAINER": {"NAME": "SoftCPT"}, "OPTIM": {"LR": 0.002}}
BESIDE = {
    "results.json": record(),
    "config.yaml": RUN,
    "failure.json": {"epoch": 1, "loss": "nan"},
}


def other_row(out: Path, path: Path) -> list[str]:
    """The line of the run beside the spoilt one in the report, which is always written."""
    try:
        text = write_report(out, out.parent / "report")
    except Exception as error:
        raise AssertionError(f"no report: {error!r:.500}") from error
    finally:
        path.unlink(missing_ok=True)
    return [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("| CoOp")][:1]


def report(name: str, folder: Path) -> Reader:
    """A report of three runs, of which one has a spoilt file of this name."""
    out = folder / "out"
    for run, own in (("a", record()), ("b", record("CoOp", "")), ("c", {})):
        (out / run).mkdir(parents=True)
        if own:
            write_record(out / run / "results.json", own)
    if name == "predictions.csv.gz":
        packed = gzip.compress("\n".join(map(",".join, ROWS)).encode(), mtime=0)
        files = st.one_of(damaged(packed), edited(ROWS).map(packed_rows))
    else:
        files = (yaml_files if name.endswith("yaml") else json_files)(BESIDE[name])
    path = f"out/{'c' if name == 'results.json' else 'a'}/{name}"
    return Reader(path, partial(other_row, out), lambda _: ["CoOp"], files)


def packed_rows(rows: object) -> bytes:
    lines = [row if isinstance(row, list) else [row] for row in (rows if isinstance(rows, list) else [rows])]
    text = "\n".join(",".join(map(str, line)) for line in lines)
    return gzip.compress(text.encode(errors="surrogatepass"))


# -- own folders of pictures -------------------------------------------------------------------------------------------

PLACES = ("", "a", "b", "a/x", "a/y", "b/x", "b/y", "a/train/x", "a/test/x", "train/x", "test/x", "a/x/deep", ".h/x")
KINDS = ("picture", "picture", "picture", "text", "empty", "fifo", "loop", "dangling", "folder", "picture.JPEG")
WORDS = ("0", "1", "2", "3", "=1", "é", "e\u0301", "a b", ".hidden", "Thumbs.db", "$x$", "n\nl", "-r", "con")
PIXEL = b"P6 1 1 255 abc"
WHOLE = [f"{task}/{name}/{i}.ppm" for task in "ab" for name in "xy" for i in range(6)]


@st.composite
def trees(draw) -> bytes:
    """Two tasks of two classes with six pictures each, beside which, or in place of some, lie other things."""
    kept = WHOLE if draw(st.booleans()) else draw(st.lists(st.sampled_from(WHOLE), unique=True))
    things = st.tuples(st.sampled_from(PLACES), st.sampled_from(WORDS), st.sampled_from(KINDS))
    return json.dumps([sorted(kept), draw(st.lists(things, max_size=5))]).encode()


def grow(root: Path, kept: list[str], things: list[list[str]]) -> None:
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    for name in kept:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(PIXEL)
    for place, word, kind in things:
        path = root / place / (word + {"picture": ".ppm", "picture.JPEG": ".JPEG", "text": ".txt"}.get(kind, ""))
        path.parent.mkdir(parents=True, exist_ok=True)
        if os.path.lexists(path):
            continue
        if kind == "fifo":
            os.mkfifo(path.with_suffix(".png")) if not path.with_suffix(".png").exists() else None
        elif kind in ("loop", "dangling"):
            path.symlink_to("." if kind == "loop" else "nowhere")
        elif kind == "folder":
            path.mkdir()
        else:
            path.write_bytes(PIXEL if kind.startswith("picture") else b"")


def own_pictures(path: Path) -> list[str]:
    """The real files of all tasks, each once, relative to the root."""
    root = path.with_suffix(".tree")
    grow(root, *json.loads(path.read_bytes()))
    cfg = default_cfg()
    cfg.DATASET.ROOT = str(root)
    items = [item.impath for task in read_tasks(cfg) for part in task.parts for item in part]
    assert len(items) == len(set(map(os.path.realpath, items))), "a picture twice"
    return sorted(os.path.relpath(os.path.realpath(item), root) for item in items)


def right_pictures(folder: Path, _: bytes) -> list[str]:
    """Every visible picture, by the names alone: what is neither in its place nor a picture is refused. A pipe or a
    dangling link is refused when it is read."""
    root = folder / "pictures.tree"
    found = [path.relative_to(root) for path in root.rglob("*") if path.suffix.lower() in (".ppm", ".jpeg", ".png")]
    visible = [path for path in found if not any(part.startswith(".") for part in path.parts)]
    return sorted(str(path) for path in visible if not (root / path).is_dir())


def own_folders(folder: Path) -> Reader:
    return Reader("pictures", own_pictures, partial(right_pictures, folder), trees())


OPEN_CLIP, TOKENIZER = "open_clip_config.json", "tokenizer_config.json"
READERS = {
    "open_clip config": partial(clip_folder, "open_clip-vit", OPEN_CLIP),
    "open_clip config, SigLIP": partial(clip_folder, "open_clip-siglip", OPEN_CLIP),
    "open_clip tokenizer": partial(clip_folder, "open_clip-siglip", TOKENIZER),
    "transformers config": partial(clip_folder, "transformers-clip", "config.json"),
    "transformers config, SigLIP": partial(clip_folder, "transformers-siglip", "config.json"),
    "transformers tokenizer": partial(clip_folder, "transformers-siglip", TOKENIZER),
    "export, loaded": loaded_export,
    "own pictures": own_folders,
    **{f"report, {name}": partial(report, name) for name in (*BESIDE, "predictions.csv.gz")},
}
