"""scripts/data.py: list, splits, shots and stats."""

import json
import re
from pathlib import Path

import layouts
from dassl.data.datasets import DATASET_REGISTRY
from PIL import Image


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
    assert "is there already" in data("splits", "OxfordPets")[1]


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
    for name in ("OxfordPets", "FGVCAircraft", "StanfordCars", "OxfordFlowers", "Food101"):
        layouts.lay_out(name, tmp_path)
    status, text = data("stats", "FGVC", "--plot", tmp_path / "pictures")
    assert status == 0
    assert "pet breed recognition: 3 classes; train 24 (8 per class)" in text
    assert "'a photo of a {}, a type of pet.'" in text
    for name in ("counts", "samples"):
        with Image.open(tmp_path / f"pictures/{name}.png") as image:
            assert min(image.size) > 300
