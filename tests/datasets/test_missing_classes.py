"""A class without images, or without training images, is an error that names it, in every reader."""

import json

import layouts
import pytest
from dassl.data.datasets import DATASET_REGISTRY, DatasetBase
from data_sets import build, fill

from datasets.base import ClassFolderDataset
from datasets.imagenet import ImageNetLayout
from datasets.multitask import TaskSpec, task_of
from datasets.splits import datum

FOLDERS = [
    name
    for name in layouts.LAYOUTS
    if issubclass(DATASET_REGISTRY.get(name), ClassFolderDataset | ImageNetLayout) or name.startswith("FashionHat")
]


@pytest.mark.parametrize("name", FOLDERS)
@pytest.mark.parametrize("place", [0, -1])  # the last made fewer classes without a word
def test_empty_class_folder_of_a_published_data_set_is_named(tmp_path, name, place):
    layout = layouts.lay_out(name, tmp_path)
    folders = sorted({(layout.image_dir / path).parent for path in layout.rows}, key=lambda path: path.name)
    for image in folders[place].iterdir():
        image.unlink()
    (folders[place] / "readme.txt").touch()
    with pytest.raises(ValueError, match=f"{folders[place]}: a class folder without images"):
        build(tmp_path, name)


@pytest.mark.parametrize("name", FOLDERS)
def test_folders_that_systems_leave_are_no_empty_classes(tmp_path, name):
    layout = layouts.lay_out(name, tmp_path)
    expected = build(tmp_path, name)
    for folder in {(layout.image_dir / path).parent.parent for path in layout.rows}:
        (folder / "__MACOSX" / "x").mkdir(parents=True)
        (folder / "__MACOSX" / "x" / "._1.jpg").touch()
    found = build(tmp_path, name)
    assert [(i.impath, i.label) for i in found.test] == [(i.impath, i.label) for i in expected.test]


LISTED = {  # {data set: its list of classes, and how a list ends that has one more}
    "FGVCAircraft": ("variants.txt", lambda text: text + "Spruce Goose\n"),
    "SUN397": ("ClassName.txt", lambda text: text + "/z/zoo\n"),
    "UCF101": ("ucfTrainTestlist/classInd.txt", lambda text: text + f"{len(text.split()) // 2 + 1} YoYo\n"),
    "OxfordFlowers": ("cat_to_name.json", lambda text: json.dumps({**json.loads(text), "102": "blackberry lily"})),
}
EXTRA = {"FGVCAircraft": "Spruce Goose", "SUN397": "/z/zoo", "UCF101": "YoYo", "OxfordFlowers": "blackberry lily"}


@pytest.mark.parametrize("name", LISTED)
def test_listed_class_without_images_is_named(tmp_path, name):
    layouts.lay_out(name, tmp_path)
    file, extended = LISTED[name]
    path = tmp_path / DATASET_REGISTRY.get(name).dataset_dir / file
    path.write_text(extended(path.read_text()))
    with pytest.raises(ValueError, match=f"no image of 1 of .* listed classes: '{EXTRA[name]}'"):
        build(tmp_path, name)


def test_class_of_a_list_without_training_images_is_named(tmp_path):
    layouts.lay_out("FGVCAircraft", tmp_path)
    folder = tmp_path / "fgvc_aircraft"
    name = (folder / "variants.txt").read_text().splitlines()[-1]
    path = folder / "images_variant_train.txt"
    path.write_text("".join(line for line in path.open() if not line.rstrip().endswith(name)))
    with pytest.raises(ValueError, match=f"no training image for '{name}'"):
        build(tmp_path, "FGVCAircraft")


def test_gap_in_a_split_file_names_the_classes_beside_it(root):
    path = root / "fruit/split_zhou_ModelFruit.json"
    split = json.loads(path.read_text())
    for label, beside in ((1, "'apple', 'pear'"), (0, "'pear'")):
        split = {part: [row for row in rows if row[1] != label] for part, rows in split.items()}
        path.write_text(json.dumps(split))
        with pytest.raises(ValueError, match=f"has the label {label}.*; beside {beside} a class is missing"):
            build(root, "ModelFruit")


def test_class_of_a_table_without_training_images_is_named(tmp_path):
    for name in ("oak", "elm"):
        fill(tmp_path / "leaves" / name, 4)
    parts = {"oak": ("train", "train", "val", "test"), "elm": ("val", "val", "test", "test")}
    rows = [f"leaves/{name}/{i}.png,leaves,{name},{part}" for name in parts for i, part in enumerate(parts[name])]
    (tmp_path / "tasks.csv").write_text("\n".join(["path,task,class,split", *rows]))
    with pytest.raises(ValueError, match=r"task 'leaves': no train image of the class 'elm' \(first .* line 6"):
        build(tmp_path)


def test_class_of_another_projects_data_set_is_named():
    items = [datum("a.png", 0, "ash"), datum("b.png", 1, "oak")]
    with pytest.raises(ValueError, match=r"task 'others' \(Others\): no training image for the labels 1 \('oak'\)"):
        task_of(DatasetBase(train_x=items[:1], test=items), TaskSpec("Others"))


def test_task_without_new_classes_is_named(tmp_path):
    fill(tmp_path / "leaves/oak", 4)
    for name in ("cups", "mugs", "jugs"):
        fill(tmp_path / "vessels" / name, 4)
    with pytest.raises(ValueError, match="SUBSAMPLE_CLASSES is 'new', but task 'leaves' has only 1 class"):
        build(tmp_path, DATASET__SUBSAMPLE_CLASSES="new")
