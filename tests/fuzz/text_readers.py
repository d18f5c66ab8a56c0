"""Readers of JSON, YAML and CSV, each with a naive reader that gives the right value."""

import ast
import csv
import gzip
import io
import json
import os
import unicodedata
from pathlib import Path

import hypothesis.strategies as st
from fuzz.hostile import Reader, damaged, edited, json_files, yaml_files
from PIL import Image
from yacs.config import CfgNode

from datasets.settings import read_settings
from datasets.splits import read_split
from datasets.tables import read_table
from softcpt.evaluation.classes import KEYS, classes_of, read_classes
from softcpt.evaluation.data import tasks_then
from softcpt.evaluation.predictions import read_predictions
from softcpt.evaluation.records import LATER_KEYS, read_record
from trainers.engine.config import default_cfg
from trainers.engine.settings import flatten, merge_file

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

    def path(text: str) -> str:
        return os.path.normpath(composed(text).replace("\\", "/"))

    assert all(0 <= row[1] < len(rows) and path(row[0]) in IMAGES for row in rows)
    parts = ("train", "val", "test")
    return [[[path(row[0]), row[1], composed(row[2])] for row in value[part]] for part in parts]


TASK = {"name": "leaf", "template": "a {}.", "metric": "accuracy", "classnames": ["ash", "oak"]}
RECORD = {
    "schema": 1, "trainer": "CoOp", "variant": "", "dataset": "D", "shots": 4, "seed": 1, "backbone": "RN50",
    "split": "test", "metric": 75.0, "tasks": [{"name": "leaf", "metric": "accuracy", "value": 75.0, "n": 4}],
    "n_params": 10, "train_seconds": 1.5, "test_seconds": 0.5, "peak_memory_bytes": 1, "epochs": 2, "commit": "",
    "versions": {"torch": "2"}, "command": "",
}  # fmt: skip


def record(path: Path) -> dict:
    return {key: value for key, value in read_record(path).items() if key != "path"}


def plain_record(content: bytes) -> dict:
    return {**LATER_KEYS, **{key: value for key, value in json.loads(content).items() if key != "path"}}


def plain_classes(content: bytes) -> list:
    rows = [{key: row[key] for key in KEYS} for row in json.loads(content)["tasks"]]
    for row in rows:
        row |= {"name": composed(row["name"]), "template": composed(row["template"])}
        row["classnames"] = [composed(name) for name in row["classnames"]]
    return rows


DATA = {
    "schema": 1, "root": "/data", "settings": "0" * 32, "evaluates": "",
    "tasks": [{"name": "leaf", "train": {"n": 2, "images": "0123456789abcdef", "times": "0123456789abcde0"},
               "test": {"n": 0, "images": "", "times": ""}}],
}  # fmt: skip
DRAWN = {"leaf": {"train": ["a0.png", "b0.png"], "val": ["a1.png"]}, "cup": {"train": [], "val": []}}


def images_then(path: Path) -> dict:
    found = tasks_then(path.parent)
    return {task: {part: [x.names, x.marks, x.times] for part, x in own.items()} for task, own in found.items()}


def plain_data(content: bytes) -> dict:
    rows, parts = json.loads(content)["tasks"], ("train", "val", "test")
    return {
        row["name"]: {part: [None, row[part]["images"], row[part]["times"]] for part in parts if part in row}
        for row in rows
    }


def plain_drawn(content: bytes) -> dict:
    rows = json.loads(content).items()
    return {task: {part: [own.get(part, []), None, None] for part in ("train", "val")} for task, own in rows}


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
EVERY = default_cfg()
DEFAULTS = CfgNode(
    {**{key: EVERY[key] for key in ("DATALOADER", "INPUT", "OPTIM")}, "TRAINER": {"SOFTCPT": EVERY.TRAINER.SOFTCPT}}
)


def plain_yaml(content: bytes):
    import yaml

    return yaml.safe_load(content.decode())


def tasks(path: Path) -> dict:
    found = read_settings(str(path), ["leaves", "cups"])
    return {folder: [own.name, own.template, own.metric, own.classes] for folder, own in found.items()}


def composed(text: object) -> str:
    return unicodedata.normalize("NFC", str(text))


def plain_tasks(content: bytes) -> dict:
    import yaml

    class Texts(yaml.SafeLoader):
        yaml_implicit_resolvers = {"<": yaml.SafeLoader.yaml_implicit_resolvers["<"]}  # <<, the merge key

    found = {}
    for folder, own in (yaml.load(content.decode(), Texts) or {}).items():
        own = {} if own in ("", "~", "null", None) else own
        names = own.get("classes")
        if isinstance(names, list):
            names = dict.fromkeys(names, "")
        if names is not None:
            names = None if names in ("", "~", "null") else {composed(n): composed(text) for n, text in names.items()}
        name = composed(own.get("name") or folder.replace("_", " "))
        template, metric = composed(own.get("template", "a photo of a {}.")), own.get("metric", "accuracy")
        found[composed(folder)] = [name, template, metric, names]
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


PARTS = {"training": "train", "valid": "val", "validation": "val", "testing": "test"}
PARTS |= {part: part for part in ("train", "val", "test")}


def rows_of(content: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline="")))


def plain_table(content: bytes) -> dict:
    header, *rows = [[field.strip() for field in row] for row in rows_of(content)]
    found: dict = {}
    for row in rows:
        if any(row):
            row = dict(zip(header, row, strict=True))
            part = PARTS[row["split"].casefold()] if "split" in row else ""
            name = os.path.normpath(composed(row["path"]).replace("\\", "/"))
            assert name in IMAGES
            task, classname = composed(row["task"]), composed(row["class"])
            found.setdefault(task, {}).setdefault(part, {}).setdefault(classname, []).append(name)
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


def readers(folder: Path) -> dict[str, Reader]:
    draw_images(folder)
    packed = gzip.compress("\n".join(map(",".join, PREDICTIONS)).encode(), mtime=0)
    return {
        "split JSON": Reader("split.json", split, plain_split, json_files(SPLIT)),
        "tasks.csv": Reader("tasks.csv", table, plain_table, csv_files(TABLE)),
        "tasks.yaml": Reader("tasks.yaml", tasks, plain_tasks, yaml_files(TASKS)),
        "config yaml": Reader("config.yaml", config, plain_config, yaml_files(CONFIG)),
        "classes.json": Reader(
            "classes.json",
            lambda path: classes_of(read_classes(path)),
            plain_classes,
            json_files({"schema": 1, "tasks": [TASK]}),
        ),
        "results.json": Reader("results.json", record, plain_record, json_files(RECORD)),
        "data.json": Reader("data.json", images_then, plain_data, json_files(DATA)),
        "shots.json": Reader("shots.json", images_then, plain_drawn, json_files(DRAWN)),
        "predictions.csv.gz": Reader(
            "predictions.csv.gz",
            predictions,
            plain_predictions,
            st.one_of(damaged(packed), csv_files(PREDICTIONS).map(gzip.compress)),
        ),
    }
