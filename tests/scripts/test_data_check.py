"""scripts/data.py check: all problems are named at once."""

import io
import json
import re
from pathlib import Path

import layouts
import pytest
import toy
from data_sets import own_part
from layout import write_folders, write_image
from PIL import Image

from datasets.tools import check


@pytest.mark.parametrize("name", ["OxfordPets", "ImageNetA", "ImageNet", "FruitVegetable", "RSICB128"])
def test_check_passes_published_data(data, tmp_path, monkeypatch, name):
    layout = layouts.lay_out(name, tmp_path)
    layouts.as_published(monkeypatch, name, layout)
    status, text = data("check", name, "--workers", 1)
    assert status == 0 and text.rstrip().endswith("All right."), text
    assert f"{len(layout.classnames)} classes; train" in text


def test_check_names_every_problem(data, tmp_path, monkeypatch):
    layout = layouts.lay_out("EuroSAT", tmp_path)
    layouts.as_published(monkeypatch, "EuroSAT", layout)
    file = layouts.write_split("EuroSAT", layout, tmp_path / "eurosat")
    split = json.loads(file.read_text())
    images = [layout.image_dir / row[0] for part in ("train", "val", "test") for row in split[part]]
    images[0].write_bytes(b"no image")
    jpeg = io.BytesIO()
    Image.effect_noise((64, 64), 90).convert("RGB").save(jpeg, "JPEG")
    images[1].write_bytes(jpeg.getvalue()[:-600])  # cut off
    images[-1].write_bytes(images[2].read_bytes())  # test = train
    split["val"].append(split["train"][3])
    for part in split.values():
        for row in part:
            row[2] = {0: "sea_or lake", 1: "word " * 70, 2: "Sea or Lake"}[row[1]]
    split["test"] = [row for row in split["test"] if row[1] != 1]
    file.write_text(json.dumps(split))
    status, text = data("check", "EuroSAT", "--workers", 1, "--classes")
    assert status == 1
    wrong = [line for line in text.splitlines() if line.startswith("WRONG")]
    for start in (
        "WRONG: no test image of 1 class: 'word",
        "WRONG: 29 images, but 30 were published",
        "WRONG: 1 image listed twice",
        "WRONG: classes with one name: 'sea_or lake' and 'Sea or Lake'",
        "WRONG: 1 class name longer than the 59 tokens left beside a context of 16",
        "WRONG: 2 unreadable images",
        "WRONG: 1 image in two parts",
    ):
        assert any(line.startswith(start) for line in wrong), (start, text)
    assert any("training image in another part, too" in line for line in wrong)
    assert len(wrong) == 8 and text.rstrip().endswith("8 problems found.")
    assert str(images[0]) in text and str(images[1]) in text
    assert re.search(r"Sea or Lake +\d+ +\d+ +\d+", text)
    assert "unreadable" not in data("check", "EuroSAT", "--no-images")[1]


def test_check_reports_each_task_of_a_benchmark(data, tmp_path):
    layouts.lay_out("OxfordPets", tmp_path)
    status, text = data("check", "FGVC", "--workers", 1)
    assert status == 1
    assert "== OxfordPets" in text and "3 classes, but 37 were published" in text
    assert "no folder " in text and "data.py download StanfordCars" in text


def test_check_ignores_the_case_of_names(data, tmp_path):
    layouts.lay_out("EuroSAT", tmp_path)
    for name in ("eurosat", "EUROSAT"):
        assert "== EuroSAT" in data("check", name, "--no-images")[1]
    assert "did you mean 'EuroSAT'?" in data("check", "eurosad")[1]


def test_check_shows_all_problems_of_a_split(data, tmp_path, monkeypatch):
    layout = layouts.lay_out("EuroSAT", tmp_path)
    layouts.as_published(monkeypatch, "EuroSAT", layout)
    file = layouts.write_split("EuroSAT", layout, tmp_path / "eurosat")
    split = json.loads(file.read_text())
    (layout.image_dir / split["test"][0][0]).unlink()
    split["train"] = [row for row in split["train"] if row[1] != 1]
    split["val"][0][2] = "another name"
    file.write_text(json.dumps(split))
    text = data("check", "EuroSAT", "--workers", 1)[1]
    for message in (
        "1 image missing",
        "is both ",
        "no training image for ",
        "images, but 30 were published",
    ):
        assert len(re.findall(rf"^WRONG: .*{message}", text, re.M)) == 1, (message, text)


def test_check_shows_all_problems_of_folders(data, tmp_path):
    write_folders(tmp_path, {"colours": ("red", "round"), "shapes": ("red", "round")}, 4)
    (tmp_path / "colours/notes.txt").write_text("x")
    (tmp_path / "colours/red/list.doc").write_text("x")
    (tmp_path / "colours/red/2.png").write_bytes(b"cut off")
    (tmp_path / "empty").mkdir()
    status, text = data("check", "foldertasks", "--workers", 1)
    wrong = "\n".join(line for line in text.splitlines() if line.startswith("WRONG"))
    assert status == 1 and wrong.count("WRONG") == 4, text
    for message in (
        "notes.txt: not in a class folder",
        "list.doc: not an image file (.doc)",
        "1 unreadable image: ",
        "no class",
    ):
        assert message in wrong, message
    assert "== shapes" in text


def test_check_names_classes_with_equal_features(data, tmp_path):
    write_folders(tmp_path, {"plants": ("rose", "Rose", "oak")}, 4)
    clip = f"{toy.GOLDEN}/tiny_vit.npz@quickgelu"
    text = data("check", "FolderTasks", "--workers", 1, "--backbone", clip)[1]
    assert text.count("same class features") == 1
    assert "note: 'Rose' and 'rose' have the same class features (cosine 1.00000)" in text
    assert "same class features" not in data("check", "FolderTasks", "--workers", 1)[1]


def test_check_reads_images_in_several_processes(tmp_path):
    paths = []
    for i in range(100):
        paths.append(str(tmp_path / f"{i}.png"))
        write_image(Path(paths[-1]))
    Path(paths[70]).write_bytes(b"")
    results = list(check.examine_all(paths, 2, "test"))
    assert [path for path, _, _ in results] == paths
    assert [path for path, _, error in results if error] == [paths[70]]
    assert len({digest for _, digest, _ in results}) == 100


def test_check_and_splits_take_folders(data, tmp_path):
    write_folders(tmp_path, {"colours": ("red", "blue_green")}, 10)
    (tmp_path / "tasks.yaml").write_text("colours: {name: colour recognition, classes: {red: red, blue_green: cyan}}")
    status, text = data("check", "FolderTasks", "--workers", 1)
    assert status == 0 and "== colour recognition" in text, text
    before = data("shots", "FolderTasks", "--shots", 2)[1]
    status, text = data("splits", "FolderTasks")
    assert status == 0 and (tmp_path / "tasks.csv").read_text().startswith("path,task,class,split")
    assert data("shots", "FolderTasks", "--shots", 2)[1] == before
    assert "already exists" in data("splits", "FolderTasks")[1]


def test_check_notes_small_uneven_and_single_classes(data, tmp_path):
    write_folders(tmp_path, {"birds": ("owl", "wren")}, 30)
    write_folders(tmp_path, {"birds": ("kite",)}, 3)
    write_folders(tmp_path, {"cups": ("mug",)}, 10)
    (tmp_path / "tasks.yaml").write_text("cups: {metric: mean_per_class}\n")
    status, text = data("check", "FolderTasks", "--no-images")
    birds, cups = (text.partition(f"== {name}\n")[2].partition("==")[0] for name in ("birds", "cups"))
    assert status == 0, text
    assert "note: 1 class with fewer than 10 images, too few to measure or to split well: 'kite' (3)" in birds
    sizes = "classes differ in size by a factor of 10: 'wren' has 30 images and 'kite' 3; metric: mean_per_class"
    assert f"note: {sizes} would weigh them equally" in birds
    assert "note: one class, so any answer is right: the task does not count in the mean" in cups
    for name in ("fewer than 10", "by a factor"):
        assert name not in cups


def test_check_names_classes_in_which_a_picture_can_move(data, tmp_path):
    write_folders(tmp_path, {"birds": ("owl", "wren")}, 30)
    names = [f"kite/{i}.png" for i in range(40)]
    for name in [name for name in names if own_part(name) == "train"][:4]:
        write_image(tmp_path / "birds" / name)
    note = "note: 1 small class with a part that took its only image from another part: 'kite'; it can move back"
    text = data("check", "FolderTasks", "--no-images")[1]
    assert note in text and "data.py splits fixes the split" in text
    assert "owl" not in text.partition(note)[2].partition("\n")[0]
    data("splits", "FolderTasks")
    assert note not in data("check", "FolderTasks", "--no-images")[1]
