"""No path in a data file leads out of the data root."""

import shutil
from pathlib import Path

import layouts
import pytest
from dassl.data.datasets import DATASET_REGISTRY
from data_sets import build
from PIL import Image

from datasets.adapters import export_task
from datasets.tables import read_table

pytestmark = pytest.mark.usefixtures("costs")


@pytest.mark.parametrize("path", ["../images/train-0-0.png", "a/../../../x.png", "/etc/hostname", ".."])
def test_split_file_path_outside_the_folder_is_refused(path, flowers):
    root = flowers(lambda split: split["train"][2].__setitem__(0, path))
    with pytest.raises(ValueError, match=r"split_zhou_ToyFlower.json: train\[2\]: the path '.*' leaves the folder"):
        build(root, "ToyFlower")


def test_links_inside_the_root_may_lead_anywhere(flowers, tmp_path_factory):
    root = flowers(lambda split: None)
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "images"
    shutil.move(root / "toy/flower/images", elsewhere)
    (root / "toy/flower/images").symlink_to(elsewhere)
    assert len(build(root, "ToyFlower").test) == 9


@pytest.mark.parametrize(
    ("name", "file", "line"),
    [
        ("FGVCAircraft", "images_variant_test.txt", "../../secret {}"),
        ("OxfordPets", "annotations/test.txt", "../../secret_1 1 1 1"),
        ("SUN397", "Testing_01.txt", "/a/abbey/../../../../secret.jpg"),
    ],
)
def test_annotation_path_outside_the_data_set_is_refused(name, file, line, tmp_path):
    layouts.lay_out(name, tmp_path)
    path = tmp_path / DATASET_REGISTRY.get(name).dataset_dir / file
    text = path.read_text()
    path.write_text(text + line.format(text.splitlines()[0].split(" ", 1)[-1]) + "\n")
    with pytest.raises(ValueError, match="lies outside|unknown class"):
        build(tmp_path, name)


@pytest.fixture
def table(leaves):
    """A function that writes tasks.csv with the images of the leaves and one more line."""

    def write(path, name="tasks.csv", rows=10):
        lines = [f"leaves/{c}/{i}.png,leaf,{c}" for c in ("a", "b") for i in range(rows)]
        (leaves / name).parent.mkdir(exist_ok=True)
        (leaves / name).write_text("\n".join(["path,task,class", *lines, *[f"{path},leaf,a"] * bool(path)]) + "\n")
        return leaves

    return write


def test_table_path_outside_the_root_is_refused(table, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside") / "x.png"
    Image.new("RGB", (4, 4)).save(outside)
    root = table(f"../{outside.parent.name}/x.png")
    with pytest.raises(ValueError, match="tasks.csv, line 22: .*x.png leads out of"):
        build(root)
    with pytest.raises(ValueError, match="line 22: .*leads out of"):
        build(root, DATASET__ABSOLUTE_PATHS=True)
    dataset = build(table("leaves/../cups/a/0.png"))  # it stays inside
    assert sum(map(len, (dataset.train_x, dataset.val, dataset.test))) == 21


def test_absolute_table_path_needs_absolute_paths(table, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside") / "x.png"
    Image.new("RGB", (4, 4)).save(outside)
    root = table(str(outside))
    with pytest.raises(ValueError, match="line 22: .* is an absolute path, which DATASET.ABSOLUTE_PATHS True would"):
        build(root)
    dataset = build(root, DATASET__ABSOLUTE_PATHS=True)
    paths = [item.impath for part in (dataset.train_x, dataset.val, dataset.test) for item in part]
    assert str(outside) in paths and len(paths) == 21


def test_table_in_a_subfolder_may_use_paths_below_the_root(table):
    root = table("", rows=10)
    (root / "lists").mkdir()
    rows = [f"../leaves/{c}/{i}.png,leaf,{c}" for c in ("a", "b") for i in range(10)]
    (root / "lists/mine.csv").write_text("\n".join(["path,task,class", *rows]) + "\n")
    dataset = build(root, DATASET__CSV="lists/mine.csv")
    assert sum(map(len, (dataset.train_x, dataset.val, dataset.test))) == 20
    with pytest.raises(ValueError, match="line 2: ../leaves/a/0.png leads out of"):
        read_table(str(root / "lists/mine.csv"))


@pytest.mark.parametrize("task", ["../out", "/tmp/out", "a/b", "..", ".hidden", "", "a\\b"])
def test_adapter_writes_only_below_the_root(task, tmp_path):
    parts = {"train": [(Image.new("RGB", (4, 4)), "x")]}
    with pytest.raises(ValueError, match="is not the name of a folder in"):
        export_task(parts, str(tmp_path / "root"), task)
    assert not list(tmp_path.iterdir())


def test_adapter_class_names_stay_below_the_task(tmp_path):
    images = [(Image.new("RGB", (4, 4)), name) for name in ("../../x", "a/../b", "/etc")]
    folder = export_task({"train": images}, str(tmp_path / "root"), "mine")
    assert sorted(path.name for path in Path(folder).iterdir()) == ["-..-x", "-etc", "a-..-b"]
    assert [path.name for path in tmp_path.iterdir()] == ["root"]
