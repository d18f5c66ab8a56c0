"""scripts/data.py: list, splits, shots and stats."""

import json
import os
import re
import subprocess
from pathlib import Path

import layouts
import toy
from dassl.data.datasets import DATASET_REGISTRY
from PIL import Image
from warm_python import python

import train

PROJECT = Path(__file__).resolve().parents[2]
FGVC = ("FGVCAircraft", "StanfordCars", "OxfordPets", "OxfordFlowers", "Food101")


def test_list_shows_data_sets_and_what_is_on_disk(data, tmp_path):
    layouts.lay_out("OxfordPets", tmp_path)
    layout = layouts.lay_out("EuroSAT", tmp_path)
    layouts.write_split("EuroSAT", layout, tmp_path / "eurosat")
    (tmp_path / "sun397").mkdir()
    status, text = data("list")
    assert status == 0
    rows = {line.split()[0]: re.split(r"\s{2,}", line.strip()) for line in text.splitlines() if line}
    assert set(DATASET_REGISTRY.registered_names()) <= set(rows)
    assert rows["OxfordPets"] == ["OxfordPets", "1", "37", "mean_per_class", "yes"]
    assert rows["EuroSAT"] == ["EuroSAT", "1", "10", "accuracy", "yes, with split file"]
    assert rows["SUN397"][-1] == "incomplete: no SUN397/*/*"
    assert rows["UCF101"][-1] == "no"
    assert rows["General10"] == ["General10", "10", "1191", "accuracy / mean_per_class", "2 of 10 tasks"]


def test_splits_writes_coops_format_once(data, tmp_path):
    layouts.lay_out("OxfordPets", tmp_path)
    shots = data("shots", "OxfordPets", "--shots", 2)[1]
    file = tmp_path / "oxford_pets/split_zhou_OxfordPets.json"
    assert not file.exists()  # reading writes nothing
    status, text = data("splits", "OxfordPets")
    assert status == 0 and "24 train, 6 val, 12 test" in text
    split = json.loads(file.read_text())
    assert {part: len(rows) for part, rows in split.items()} == {"train": 24, "val": 6, "test": 12}
    assert all(len(row) == 3 and (tmp_path / "oxford_pets/images" / row[0]).is_file() for row in split["train"])
    assert data("shots", "OxfordPets", "--shots", 2)[1] == shots
    assert "already exists" in data("splits", "OxfordPets")[1]


def test_shots_are_shown_and_saved(data, tmp_path):
    layouts.lay_out("OxfordPets", tmp_path)
    status, text = data("shots", "OxfordPets", "--shots", 3, "--seed", 2, "--out", tmp_path / "mine.json", "--all")
    assert status == 0
    drawn = json.loads((tmp_path / "mine.json").read_text())["pet breed recognition"]
    assert [len(drawn[part]) for part in ("train", "val")] == [9, 6]
    assert all(path in text for path in drawn["train"])
    data("shots", "OxfordPets", "--shots", 3)
    assert Path("output/shots/OxfordPets_3shots_seed1.json").is_file()


def test_stats_draws_counts_and_samples(data, tmp_path):
    for name in FGVC:
        layouts.lay_out(name, tmp_path)
    status, text = data("stats", "FGVC", "--plot", tmp_path / "pictures")
    assert status == 0
    assert "pet breed recognition: 3 classes; train 24 (8 per class)" in text
    assert "'a photo of a {}, a type of pet.'" in text
    for name in ("counts", "samples"):
        with Image.open(tmp_path / f"pictures/{name}.png") as image:
            assert min(image.size) > 300


def test_method_script_says_what_is_missing_and_how_to_get_it(tmp_path):
    variables = {"DATA": str(tmp_path / "data"), "OUT": str(tmp_path / "out"), "SEEDS": "1", "PYTHON": python()}
    command = ["bash", str(PROJECT / "scripts/softcpt/main.sh"), "fgvc", "16"]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **variables}, cwd=tmp_path)
    assert done.returncode != 0
    for name in FGVC:
        assert f"python scripts/data.py download {name} --root {tmp_path / 'data'}" in done.stderr
    assert "no run was started, because data or weights are missing" in done.stderr
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").rglob("results.json"))


def test_method_trains_on_a_miniature_of_fgvc(tmp_path):
    for name in FGVC:
        layouts.lay_out(name, tmp_path / "data")
    config = ["--dataset-config-file", str(PROJECT / "configs/datasets/fgvc.yaml")]
    arguments = toy.arguments(tmp_path / "data", tmp_path / "run", "SoftCPT", "DATASET.NUM_SHOTS", 2, dataset="FGVC")
    assert train.main(config + arguments) == 0
    record = json.loads((tmp_path / "run/results.json").read_text())
    assert record["dataset"] == "FGVC" and len(record["tasks"]) == 5
    metrics = [task["metric"] for task in record["tasks"]]
    assert metrics == ["mean_per_class", "accuracy", "mean_per_class", "mean_per_class", "accuracy"]
    assert [task["n"] for task in record["tasks"]] == [9, 12, 12, 9, 9]
