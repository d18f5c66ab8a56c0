"""The readers that hostile files are given to, each beside a naive one that says what is right."""

import ast
import csv
import gzip
import io
import json
import os
import random
import shutil
import struct
import tarfile
import tempfile
import zipfile
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import torch
from clip.model import CLIP as ClipPackage
from dassl.utils.checkpoint import load_checkpoint
from dassl.utils.resume import restore_checkpoint
from hostile import ODD, Reader, damaged, edited, json_files, yaml_files
from PIL import Image
from safetensors.torch import save
from yacs.config import CfgNode

import train
from backbones import Head, load_clip
from backbones.config import Preprocessing
from datasets.settings import read_settings
from datasets.splits import read_split
from datasets.tables import read_table
from datasets.tools.unpack import unpack
from evaluation.classes import read_classes
from evaluation.predictions import read_predictions
from evaluation.records import LATER_KEYS, read_record
from inference.exports import ENTRY, digest_of, read_export, write_export
from trainers.modules.checkpoints import read_prompts
from trainers.modules.engine.settings import flatten, merge_file
from trainers.modules.images.feature_cache import FeatureCache

IMAGES = [f"{name}{i}.png" for name in "ab" for i in range(3)]


def draw_images(folder: Path) -> None:
    for name in IMAGES:
        Image.new("RGB", (2, 2)).save(folder / name)


# -- JSON ------------------------------------------------------------------------------------------------------------

SPLIT = {
    "train": [[name, "ab".index(name[0]), name[0]] for name in IMAGES[::3]],
    "val": [["a1.png", 0, "a"]],
    "test": [["a2.png", 0, "a"], ["b2.png", 1, "b"]],
}


def split(path: Path) -> list:
    parts = read_split(str(path), str(path.parent))
    return [[[os.path.relpath(i.impath, path.parent), i.label, i.classname] for i in part] for part in parts]


def plain_split(content: bytes) -> list:
    value = json.loads(content)
    rows = [row for part in ("train", "val", "test") for row in value[part]]
    assert all(0 <= row[1] < len(rows) and os.path.normpath(row[0]) in IMAGES for row in rows)
    return [[[os.path.normpath(row[0]), *row[1:]] for row in value[part]] for part in ("train", "val", "test")]


TASK = {"name": "leaf", "template": "a {}.", "metric": "accuracy", "classnames": ["ash", "oak"]}
RECORD = {
    "schema": 1,
    "trainer": "CoOp",
    "variant": "",
    "dataset": "D",
    "shots": 4,
    "seed": 1,
    "backbone": "RN50",
    "split": "test",
    "metric": 75.0,
    "tasks": [{"name": "leaf", "metric": "accuracy", "value": 75.0, "n": 4}],
    "n_params": 10,
    "train_seconds": 1.5,
    "test_seconds": 0.5,
    "peak_memory_bytes": 1,
    "epochs": 2,
    "commit": "",
    "versions": {"torch": "2"},
    "command": "",
}


def record(path: Path) -> dict:
    return {key: value for key, value in read_record(path).items() if key != "path"}


def plain_record(content: bytes) -> dict:
    return {**LATER_KEYS, **{key: value for key, value in json.loads(content).items() if key != "path"}}


# -- YAML ------------------------------------------------------------------------------------------------------------

TASKS = {
    "leaves": {"name": "leaf", "template": "a {}.", "metric": "mean_per_class", "classes": {"a": "ash", "b": "oak"}},
    "cups": {"classes": ["x", "y_z"]},
}
CONFIG = {
    "DATALOADER": {"TRAIN_X": {"BATCH_SIZE": 32}, "NUM_WORKERS": 2},
    "INPUT": {"SIZE": [224, 224], "PIXEL_MEAN": [0.5, 0.5, 0.5], "TRANSFORMS": ["normalize"]},
    "OPTIM": {"NAME": "sgd", "LR": 0.002, "MAX_EPOCH": 50, "STEPSIZE": [1]},
    "TRAINER": {"SOFTCPT": {"N_CTX": 16, "PREC": "amp", "CLASS_SAMPLE_RATE": "1e-1"}},
}
EVERY = train.default_cfg()
DEFAULTS = CfgNode(
    {**{key: EVERY[key] for key in ("DATALOADER", "INPUT", "OPTIM")}, "TRAINER": {"SOFTCPT": EVERY.TRAINER.SOFTCPT}}
)


def plain_yaml(content: bytes):
    import yaml

    return yaml.safe_load(content.decode())


def tasks(path: Path) -> dict:
    found = read_settings(str(path), ["leaves", "cups"])
    return {folder: [own.name, own.template, own.metric, own.classes] for folder, own in found.items()}


def plain_tasks(content: bytes) -> dict:
    found = {}
    for folder, own in (plain_yaml(content) or {}).items():
        own = own or {}
        names = own.get("classes")
        if isinstance(names, list):
            names = {name: str(name).replace("_", " ") for name in names}
        names = None if names is None else {str(name): str(text) for name, text in names.items()}
        name = own.get("name") or folder.replace("_", " ")
        found[folder] = [name, own.get("template", "a photo of a {}."), own.get("metric", "accuracy"), names]
    return found


def config(path: Path) -> str:
    cfg = DEFAULTS.clone()
    merge_file(cfg, str(path))
    return repr(sorted(flatten(cfg).items()))


def plain_config(content: bytes) -> str:
    known = flatten(DEFAULTS)
    for key, value in flatten(plain_yaml(content) or {}).items():
        default = known[key]
        if isinstance(value, str):
            try:
                value = ast.literal_eval(value)
            except (ValueError, SyntaxError):
                pass
        if isinstance(default, float):
            value = float(value)
        elif isinstance(default, list | tuple):
            floats = default and all(isinstance(item, float) for item in default)
            value = type(default)(float(item) if floats else item for item in value)
        assert default is None or type(value) is type(default), (key, value)
        known[key] = value
    return repr(sorted(known.items()))


# -- CSV -------------------------------------------------------------------------------------------------------------

TABLE = [
    ["path", "task", "class", "split"],
    *([name, "leaf", name[0], ("train", "val", "test")[int(name[1])]] for name in IMAGES),
]
PREDICTIONS = [["task", "image", "class", "predicted", "probability"], *(["leaf", n, n[0], "a", "0.5"] for n in IMAGES)]


@st.composite
def csv_files(draw, rows):
    if draw(st.integers(0, 2)) == 0:
        return draw(damaged("\n".join(map(",".join, rows)).encode()))
    changed = draw(edited(rows))
    lines = [row if isinstance(row, list) else [row] for row in (changed if isinstance(changed, list) else [changed])]
    if draw(st.booleans()):
        text = io.StringIO(newline="")
        csv.writer(text).writerows(lines)
        return text.getvalue().encode(errors="surrogatepass")
    return "\n".join(",".join(map(str, line)) for line in lines).encode(errors="surrogatepass")


def rows_of(content: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline="")))


def plain_table(content: bytes) -> dict:
    header, *rows = [[field.strip() for field in row] for row in rows_of(content)]
    found: dict = {}
    for row in rows:
        if any(row):
            row = dict(zip(header, row, strict=True))
            part = {"valid": "val", "validation": "val"}.get(row["split"], row["split"]) if "split" in row else ""
            name = os.path.normpath(row["path"])
            assert name in IMAGES
            found.setdefault(row["task"], {}).setdefault(part, {}).setdefault(row["class"], []).append(name)
    return found


def table(path: Path) -> dict:
    found, _ = read_table(str(path))
    return {
        task: {
            part: {name: [os.path.relpath(p, path.parent) for p in paths] for name, paths in classes.items()}
            for part, classes in parts.items()
        }
        for task, parts in found.items()
    }


def predictions(path: Path) -> list:
    return [list(row) for row in read_predictions(path)]


def plain_predictions(content: bytes) -> list:
    return [
        [*row[:4], float(row[4])]
        for row in list(csv.reader(io.StringIO(gzip.decompress(content).decode(), newline="")))[1:]
    ]


# -- tensors ---------------------------------------------------------------------------------------------------------

TENSOR = torch.arange(6.0).view(2, 3)


def optimiser(model):
    optim = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    return optim, torch.optim.lr_scheduler.CosineAnnealingLR(optim, 10)


def trained() -> dict:
    model = torch.nn.Linear(3, 2, bias=False)
    optim, schedule = optimiser(model)
    model(torch.ones(1, 3)).sum().backward()
    optim.step()
    schedule.step()
    model.weight.data = TENSOR.clone()
    return {
        "state_dict": model.state_dict(),
        "epoch": 1,
        "optimizer": optim.state_dict(),
        "scheduler": schedule.state_dict(),
    }


def saved(value) -> bytes:
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


def listed(value):
    """Tensors as lists, so that == compares."""
    if isinstance(value, torch.Tensor):
        return [str(value.dtype), tuple(value.shape), repr(value.tolist())]
    if isinstance(value, dict):
        return {key: listed(item) for key, item in value.items()}
    return [listed(item) for item in value] if isinstance(value, list | tuple) else repr(value)


CHECKPOINT = trained()
CHECKPOINT_FILE = saved(CHECKPOINT)
ODD_TENSORS = (
    torch.zeros(0),
    torch.tensor(1.0),
    torch.zeros(3, 2),
    torch.zeros(2, 3, dtype=torch.int64),
    torch.zeros(2, 3).bool(),
    torch.zeros(2, 3, dtype=torch.complex64),
    torch.zeros(1).expand(10**9),
    torch.zeros(1, 1).expand(10**9, 64),
    torch.full((2, 3), torch.nan),
)


@st.composite
def checkpoints(draw):
    """Checkpoints of other contents."""
    changed = {**CHECKPOINT, "state_dict": dict(CHECKPOINT["state_dict"])}
    for _ in range(draw(st.integers(1, 2))):
        place = draw(
            st.sampled_from(("all", "state_dict", "weight", "optimizer", "scheduler", "epoch", "state", "groups"))
        )
        odd = draw(st.sampled_from((*(value for value in ODD if value != "\ud800"), *ODD_TENSORS)))
        if place == "all":
            changed = odd
        elif not isinstance(changed, dict):
            continue
        elif place == "weight" and isinstance(changed.get("state_dict"), dict):
            changed["state_dict"] = {draw(st.sampled_from(("weight", "bias", ""))): odd}
        elif place in ("state", "groups") and isinstance(changed.get("optimizer"), dict):
            key = {"state": "state", "groups": "param_groups"}[place]
            changed["optimizer"] = {**changed["optimizer"], key: draw(st.sampled_from((odd, [odd], {0: odd})))}
        elif place in changed:
            changed[place] = odd
    return saved(changed)


def restored(path: Path):
    model = torch.nn.Linear(3, 2, bias=False)
    restore_checkpoint(str(path), model, *optimiser(model))
    return repr(model.weight.tolist())


def plain_restored(content: bytes):
    value = torch.load(io.BytesIO(content), weights_only=True)["state_dict"]["weight"]
    return repr(value.float().tolist())


def prompts(path: Path):
    return listed(read_prompts(path, {"weight": TENSOR}, "CoOp"))


def plain_prompts(content: bytes):
    return listed(torch.load(io.BytesIO(content), weights_only=True)["state_dict"])


torch.manual_seed(0)
STATE = {
    key: value.float().contiguous()
    for key, value in ClipPackage(8, 32, 1, 64, 16, 8, 64, 64, 1, 1).state_dict().items()
    if key not in ("input_resolution", "context_length", "vocab_size")
}


def clip(path: Path):
    return {key: value.detach().numpy().tobytes() for key, value in load_clip(f"{path}@quickgelu").state_dict().items()}


def npz(state) -> bytes:
    file = io.BytesIO()
    np.savez(file, **{key: value.numpy() for key, value in state.items()})
    return file.getvalue()


def loaded_from(suffix: str, content: bytes):
    """What the undamaged file gives."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"clip{suffix}")
        path.write_bytes(content)
        return clip(path)


RIGHT_CLIP: list = []


def right_clip(_: bytes):
    """Of a file with checksums nothing but the weights that were written is right."""
    if not RIGHT_CLIP:
        RIGHT_CLIP.append(loaded_from(".pt", saved(STATE)))
    return RIGHT_CLIP[0]


def plain_safetensors(content: bytes) -> dict:
    """The tensors of a file by its header, which is JSON of a length in 8 bytes."""
    (length,) = struct.unpack("<Q", content[:8])
    header, data = json.loads(content[8 : 8 + length]), content[8 + length :]
    types = {"F32": np.float32, "F16": np.float16, "F64": np.float64}
    return {
        key: torch.from_numpy(np.frombuffer(data[slice(*about["data_offsets"])], types[about["dtype"]]).copy()).view(
            about["shape"]
        )
        for key, about in header.items()
        if key != "__metadata__"
    }


def plain_clip(content: bytes):
    """A safetensors file has no checksums: what its header says is right, in the rounding of the clip package."""
    return loaded_from(".pt", saved(plain_safetensors(content)))


@st.composite
def states(draw):
    """Weights of which some are odd."""
    changed = dict(STATE)
    for _ in range(draw(st.integers(1, 2))):
        key = draw(st.sampled_from(sorted(changed)))
        if draw(st.booleans()):
            changed.pop(key)
        changed[draw(st.sampled_from((key, "token_rows", "token_ids", "x", "transformer.resblocks.7.x")))] = draw(
            st.sampled_from((*ODD_TENSORS, "x", None, torch.zeros(1, 10**6), torch.tensor([-1, 10**12])))
        )
    return saved(changed)


# -- exports, caches, archives ---------------------------------------------------------------------------------------


def export_file(folder: Path) -> bytes:
    from inference.exports import Export

    own = {"name": "RN50", "sha256": "0" * 64, "image_digest": "0" * 32}
    export = Export([TASK], [Head(torch.ones(2, 3))], Preprocessing((32, 32)), own, provenance={"run": "x"})
    write_export(folder / "export.safetensors", export)
    return (folder / "export.safetensors").read_bytes()


def export(path: Path):
    found = read_export(path)
    heads = [listed(dict(head.named_buffers())) for head in found.heads]
    return [list(found.tasks), heads, found.precision, dict(found.backbone), found.preprocessing.size]


@st.composite
def exports(draw, facts):
    """Exports of other contents, with the digest that fits them."""
    changed = draw(edited(facts))
    tensors = {"heads.0.weight": draw(st.sampled_from((torch.ones(2, 3), torch.ones(3), torch.zeros(0, 3))))}
    if isinstance(changed, dict):
        changed["digest"] = digest_of({key: value for key, value in changed.items() if key != "digest"}, tensors)
    return save(tensors, {ENTRY: json.dumps(changed)})


def plain_export(content: bytes):
    (length,) = struct.unpack("<Q", content[:8])
    facts = json.loads(json.loads(content[8 : 8 + length])["__metadata__"][ENTRY])
    heads = [{"weight": listed(plain_safetensors(content)["heads.0.weight"])}]
    size = facts["preprocessing"]["size"]
    size = tuple(size) if isinstance(size, list) else size
    return [facts["tasks"], heads, facts["precision"], facts["backbone"], size]


FEATURES = torch.arange(12.0).view(4, 3)


def features(path: Path):
    """Whatever the file of a key holds, the features are the right ones: read or computed again."""
    return FeatureCache(path.parent).get({"a": 1}, (4, -1), FEATURES.clone).tolist()


FILES = {"images/a.jpg": random.Random(0).randbytes(700), "images/b.jpg": b"b" * 40, "list.txt": b"images/a.jpg 1\n"}


def archive(kind: str) -> bytes:
    file = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as target:
            for name, content in FILES.items():
                target.writestr(name, content)
    else:
        with tarfile.open(fileobj=file, mode=f"w:{kind}") as target:
            for name, content in FILES.items():
                info = tarfile.TarInfo(name)
                info.size = len(content)
                target.addfile(info, io.BytesIO(content))
    return file.getvalue()


def unpacked(path: Path):
    target, before = path.parent / "target", set(os.listdir(path.parent))
    shutil.rmtree(target, ignore_errors=True)
    try:
        unpack(str(path), str(target))
        return {str(p.relative_to(target)): p.read_bytes() for p in target.rglob("*") if p.is_file()}
    finally:
        assert set(os.listdir(path.parent)) <= before | {"target"}, "files beside the target"


def plain_tar(content: bytes) -> dict:
    """A tar has no checksums of contents, and in its headers plain sums: what tarfile itself finds is right."""
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as file:
        return {os.path.normpath(info.name): file.extractfile(info).read() for info in file if info.isreg()}


def readers(folder: Path) -> dict[str, Reader]:
    """All readers by the name of what they read; `folder` holds what the files name."""
    draw_images(folder)
    exported = export_file(folder)
    facts = json.loads(json.loads(exported[8 : 8 + struct.unpack("<Q", exported[:8])[0]])["__metadata__"][ENTRY])
    features(folder / "any")
    (cache,) = (path for path in folder.glob("*.safetensors") if path.name != "export.safetensors")
    packed = gzip.compress("\n".join(map(",".join, PREDICTIONS)).encode(), mtime=0)
    safe = save(STATE)
    start = 8 + struct.unpack("<Q", safe[:8])[0]
    return {
        "split JSON": Reader("split.json", split, plain_split, json_files(SPLIT)),
        "tasks.csv": Reader("tasks.csv", table, plain_table, csv_files(TABLE)),
        "tasks.yaml": Reader("tasks.yaml", tasks, plain_tasks, yaml_files(TASKS)),
        "config yaml": Reader("config.yaml", config, plain_config, yaml_files(CONFIG)),
        "classes.json": Reader(
            "classes.json",
            read_classes,
            lambda content: json.loads(content)["tasks"],
            json_files({"schema": 1, "tasks": [TASK]}),
        ),
        "results.json": Reader("results.json", record, plain_record, json_files(RECORD)),
        "predictions.csv.gz": Reader(
            "predictions.csv.gz",
            predictions,
            plain_predictions,
            st.one_of(damaged(packed), csv_files(PREDICTIONS).map(gzip.compress)),
        ),
        "checkpoint, damaged": Reader(
            "model.pth.tar-1",
            lambda path: listed(load_checkpoint(str(path))),
            lambda _: listed(CHECKPOINT),
            damaged(CHECKPOINT_FILE),
        ),
        "checkpoint, resumed": Reader("model.pth.tar-2", restored, plain_restored, checkpoints()),
        "checkpoint, loaded": Reader("model.pth.tar-3", prompts, plain_prompts, checkpoints()),
        "CLIP .pt": Reader("clip.pt", clip, right_clip, damaged(saved(STATE))),
        "CLIP .pt, other weights": Reader("other.pt", clip, right_clip, states()),
        "CLIP .npz": Reader("clip.npz", clip, right_clip, damaged(npz(STATE))),
        "CLIP .safetensors": Reader(
            "clip.safetensors", clip, plain_clip, damaged(safe[:start]).map(lambda head: head + safe[start:])
        ),
        "export, damaged": Reader("export.safetensors", export, lambda _: plain_export(exported), damaged(exported)),
        "export, other contents": Reader("export.safetensors", export, plain_export, exports(facts)),
        "feature cache": Reader(cache.name, features, lambda _: FEATURES.tolist(), damaged(cache.read_bytes())),
        "archive .zip": Reader("archive.zip", unpacked, lambda _: FILES, damaged(archive("zip"))),
        "archive .tar.gz": Reader("archive.tgz", unpacked, lambda _: FILES, damaged(archive("gz"))),
        "archive .tar": Reader("archive.tar", unpacked, plain_tar, damaged(archive(""))),
    }
