"""Data sets of other libraries become tasks."""

import io
import os
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
from data_sets import build, fill
from PIL import Image
from warm_python import python

from datasets.adapters import export_task, store
from softcpt.tasks import Task

PROJECT = Path(__file__).resolve().parents[2]


class Pairs:
    """A data set in memory, as in torchvision."""

    classes = ("cat", "AC/DC")

    def __init__(self, count, shift=0):
        self.items = [(Image.new("RGB", (4, 4), (i + shift, 0, 0)), i % 2) for i in range(count)]

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]


class Picture:
    def __init__(self, decode=True):
        self.decode = decode


class Columns:
    """A data set as in Hugging Face's library: columns, and encoded images on request."""

    features = {"image": Picture(), "label": SimpleNamespace(names=["oak", "elm"])}
    decode = True

    def cast_column(self, column, feature):
        assert column == "image" and not feature.decode
        other = Columns()
        other.decode = False
        return other

    def __len__(self):
        return 6

    def __getitem__(self, index):
        assert not self.decode
        buffer = io.BytesIO()
        Image.new("RGB", (4, 4), (index, 9, 9)).save(buffer, "JPEG")
        return {"image": {"bytes": buffer.getvalue(), "path": None}, "label": index % 2}


def test_in_memory_data_set_is_written_once(tmp_path):
    folder = Path(export_task({"train": Pairs(6), "test": Pairs(4, 100)}, str(tmp_path), "animals"))
    written = {path: path.stat().st_mtime_ns for path in folder.rglob("*.png")}
    assert len(written) == 10
    export_task({"train": Pairs(6), "test": Pairs(4, 100)}, str(tmp_path), "animals")
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.png")} == written
    dataset = build(tmp_path)
    assert dataset.tasks == (Task("animals", ("AC-DC", "cat")),)
    assert [len(dataset.train_x), len(dataset.test)] == [6, 4]
    pixels = {Image.open(item.impath).getpixel((0, 0))[0] for item in dataset.train_x if item.classname == "cat"}
    assert pixels == {0, 2, 4}


def test_decoded_phone_picture_is_written_upright(tmp_path):
    """PNG files of Pillow's do not keep an image's EXIF entry."""
    image, exif = Image.new("RGB", (6, 4)), Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "phone.png", exif=exif)
    pairs = [(Image.open(tmp_path / "phone.png"), name) for name in ("a", "b")]
    folder = Path(export_task({"train": pairs, "test": pairs}, str(tmp_path), "things"))
    assert {Image.open(path).size for path in folder.rglob("*.png")} == {(4, 6)}


def test_encoded_images_are_copied_unchanged(tmp_path):
    export_task({"train": Columns(), "validation": Columns()}, str(tmp_path), "leaves")
    dataset = build(tmp_path)
    assert dataset.classnames == ["elm", "oak"]
    assert [len(dataset.train_x), dataset.val, len(dataset.test)] == [6, None, 6]  # validation serves as test
    assert all(item.impath.endswith(".jpeg") for item in dataset.train_x)


def test_images_on_disk_are_linked(tmp_path):
    from torchvision.datasets import ImageFolder

    for name in ("a", "b"):
        fill(tmp_path / "source" / name, 5)
    export_task(ImageFolder(str(tmp_path / "source")), str(tmp_path / "mine"), "letters")
    files = list((tmp_path / "mine").rglob("*.png"))
    assert len(files) == 10 and all(path.is_symlink() for path in files)
    assert build(tmp_path / "mine").classnames == ["a", "b"]


def test_images_on_disk_are_copied_where_no_links_can_be_made(tmp_path, monkeypatch):
    def refused(*arguments):
        raise OSError("A required privilege is not held by the client")

    fill(tmp_path / "source", 1)
    (picture,) = (tmp_path / "source").iterdir()
    monkeypatch.setattr(os, "symlink", refused)
    store(str(picture), str(tmp_path / "copy"))
    assert (tmp_path / f"copy{picture.suffix}").read_bytes() == picture.read_bytes()


def test_failed_export_leaves_nothing_behind(tmp_path):
    broken = Pairs(4)
    broken.items[3] = ("no such file", 1)
    with pytest.raises(ValueError, match="'no such file' is not a PIL image"):
        export_task({"train": broken, "test": broken}, str(tmp_path), "animals")
    broken.items[3] = (broken.items[0][0], -1)
    with pytest.raises(ValueError, match="label -1 of 2 classes"):
        export_task(broken, str(tmp_path), "animals")
    assert not list(tmp_path.iterdir())


def test_adapter_runs_beside_hugging_face_datasets(tmp_path):
    (tmp_path / "lib/datasets").mkdir(parents=True)
    (tmp_path / "lib/datasets/__init__.py").write_text(
        "from PIL import Image\n"
        "def load_dataset(name, cache_dir):\n"
        "    items = [{'img': Image.new('RGB', (4, 4)), 'label': ('x', 'y')[i % 2]} for i in range(8)]\n"
        "    return {'train': items, 'test': items}\n"
    )
    command = [python(), PROJECT / "datasets/adapters.py", "huggingface", "org/set", "--root", tmp_path / "mine"]
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, env={"PYTHONPATH": str(tmp_path / "lib")}, cwd=PROJECT
    )
    assert done.returncode == 0, done.stderr
    assert [task.name for task in build(tmp_path / "mine").tasks] == ["org set"]
