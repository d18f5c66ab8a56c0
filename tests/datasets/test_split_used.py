"""A run records the split that it used."""

import json
import shutil
from pathlib import Path

import toy
from data_sets import build
from PIL import Image

import train


def rows_of(path):
    return [tuple(line.split(",")) for line in path.read_text().splitlines()[1:]]


def test_run_on_folders_records_its_split(leaves, tmp_path_factory):
    (leaves / "tasks.yaml").write_text("leaves: {classes: {b: beech, a: ash}}\n")
    out = tmp_path_factory.mktemp("run") / "run"
    arguments = toy.arguments(leaves, out, "ZeroshotCLIP", "DATASET.NUM_SHOTS", 2, dataset="FolderTasks")
    assert train.main(arguments) == 0
    rows = rows_of(out / "split.csv")
    assert len(rows) == 40 and {row[3] for row in rows} == {"train", "val", "test"}
    dataset = build(leaves, DATASET__NUM_SHOTS=2)
    tested = {str(Path(item.impath).relative_to(leaves)) for item in dataset.test}
    assert {row[0] for row in rows if row[3] == "test"} == tested
    shots = json.loads((out / "shots.json").read_text())
    drawn = {path for parts in shots.values() for path in parts["train"]}
    assert drawn < {row[0] for row in rows if row[3] == "train"} and len(drawn) == 8
    # Whatever is added to the folders later, the table gives the same split again.
    Image.new("RGB", (4, 4), (99, 0, 0)).save(leaves / "leaves/a/00.png")
    shutil.copy(out / "split.csv", leaves / "tasks.csv")
    again = build(leaves, DATASET__NUM_SHOTS=2)
    assert {str(Path(item.impath).relative_to(leaves)) for item in again.test} == tested
    assert again.tasks == dataset.tasks


def test_run_without_the_new_key_resumes(leaves, tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "run"
    options = ("OPTIM.MAX_EPOCH", 1, "DATASET.NUM_SHOTS", 1)
    assert train.main(toy.arguments(leaves, out, "CoOp", *options, dataset="FolderTasks")) == 0
    text = (out / "config.yaml").read_text()
    (out / "config.yaml").write_text(text.replace("  ABSOLUTE_PATHS: false\n", ""))
    assert text != (out / "config.yaml").read_text()
    assert train.main(toy.arguments(leaves, out, "CoOp", *options, dataset="FolderTasks")) == 0
    changed = toy.arguments(leaves, out, "CoOp", *options, "DATASET.ABSOLUTE_PATHS", True, dataset="FolderTasks")
    (out / "config.yaml").write_text(text.replace("  ABSOLUTE_PATHS: false\n", ""))
    assert train.main(changed) == 2
