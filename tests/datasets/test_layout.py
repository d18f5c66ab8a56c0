"""Which folders are tasks, parts and classes, and one clear line for what is none of them."""

from pathlib import Path

import pytest
from data_sets import build, fill

from softcpt.tasks import Task


def parts_of(dataset, root):
    parts = {"train": dataset.train_x, "val": dataset.val, "test": dataset.test}
    return {part: sorted(str(Path(i.impath).relative_to(root)) for i in items or ()) for part, items in parts.items()}


@pytest.mark.parametrize(
    "names",
    [
        ("train", "val", "test"),
        ("Train", "Val", "TEST"),
        ("training", "validation", "testing"),
        ("TRAINING", "Valid", "Testing"),
        ("train", "", "test"),
    ],
)
@pytest.mark.parametrize("inside", ["", "birds"])
def test_folders_of_parts_are_one_task(tmp_path, names, inside):
    root = tmp_path / "birds"
    folder = root / inside
    for name, count in zip(names, (4, 2, 3)):
        for classname in ("wren", "great_tit") if name else ():
            fill(folder / name / classname, count)
    dataset = build(root)
    assert dataset.tasks == (Task("birds", ("great tit", "wren")),)
    for part, name, count in zip(("train", "val", "test"), names, (4, 2, 3)):
        paths = [f"{name}/{c}/{i}.png" for c in ("great_tit", "wren") for i in range(count)] if name else []
        assert parts_of(dataset, folder)[part] == paths
    (root / "tasks.yaml").write_text("birds: {name: garden bird recognition}")
    assert [task.name for task in build(root).tasks] == ["garden bird recognition"]


def test_class_folders_in_the_root_are_one_task(tmp_path):
    root = tmp_path / "my_birds"
    for name in ("wren", "train"):  # a class may be called train
        fill(root / name, 8)
    dataset = build(root)
    assert dataset.tasks == (Task("my birds", ("train", "wren")),)
    below = tmp_path / "tasks"
    below.mkdir()
    (below / "my_birds").symlink_to(root)
    assert parts_of(build(below), below / "my_birds") == parts_of(dataset, root)  # the same split as a task's folder


def test_task_may_be_called_train_if_it_has_parts(tmp_path):
    for task in ("train", "bus"):
        for part in ("train", "test"):
            for name in ("old", "new"):
                fill(tmp_path / task / part / name, 2)
    assert [task.name for task in build(tmp_path).tasks] == ["bus", "train"]


def test_links_and_hidden_files_are_read_as_before(tmp_path):
    fill(tmp_path / "elsewhere", 4)
    fill(tmp_path / "root/leaves/oak", 4)
    (tmp_path / "root/leaves/elm").symlink_to(tmp_path / "elsewhere")
    for junk in ("leaves/.DS_Store", "leaves/oak/Thumbs.db", "leaves/oak/._0.png", "desktop.ini"):
        (tmp_path / "root" / junk).touch()
    (tmp_path / "root/__MACOSX").mkdir()
    dataset = build(tmp_path / "root")
    assert dataset.classnames == ["elm", "oak"] and sum(map(len, parts_of(dataset, tmp_path).values())) == 8


def lay_out(root, *folders):
    """Two images in each folder; a folder that ends with / stays empty."""
    for folder in folders:
        (root / folder).mkdir(parents=True) if folder.endswith("/") else fill(root / folder, 2)


BESIDE = "'{}' is beside {}, read as parts of the images; rename what is no part; expected"
TRAIN, TEST = ("train/a", "train/b"), ("test/a", "test/b")


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        ((*TRAIN, *TEST, "cups/a", "cups/b"), "root: " + BESIDE.format("cups", "'test' and 'train'")),
        (("cups/a", "cups/b", *TEST), "root: " + BESIDE.format("cups", "'test'")),
        (TRAIN, "root: has train but no test folder"),
        ((*TEST, "val/a", "val/b"), "root: has test and val but no train folder"),
        ((*TRAIN, *TEST, "val/a", "validation/a"), "root: val and validation are the same part"),
        ((*TRAIN, "Train/a", *TEST), "root: Train and train are the same part"),
        ((*TRAIN, "test"), "root/test/0.png and 1 more: not in a class folder; expected"),
        (("train", "test"), "root/test/0.png and 1 more: not in a class folder"),
        ((*TRAIN, "test/a"), "root: task 'root': no test image of the class 'b'"),
        ((*TEST, "train/a"), "root: task 'root': no train image of the class 'b'"),
        ((*TRAIN, *TEST, "val/a"), "root: task 'root': no val image of the class 'b'"),
        ((*TRAIN, "test/a", "test/b/"), "root/test/b: a class folder without images, it is empty"),
        ((*TRAIN, *TEST, "val/"), "root/val: no class folders, it is empty"),
        (("train/leaves/oak", "test/leaves/oak"), "test/leaves/oak: a folder in a class folder"),
        (("leaves/train/oak", "leaves/elm"), "leaves: " + BESIDE.format("elm", "'train'")),
        (("a", "b", "c/"), "root/c: a class folder without images, it is empty"),
        (("birds",), "root/birds/0.png and 1 more: not in a class folder"),
        (("birds", "leaves/oak"), "root/birds/0.png and 1 more: not in a class folder"),
        (("leaves/oak", "leaves/elm", "cups/"), "root/cups: no class folders, it is empty"),
    ],
)
def test_other_folders_are_one_clear_line(tmp_path, folders, message):
    lay_out(tmp_path / "root", *folders)
    with pytest.raises(ValueError, match=message) as error:
        build(tmp_path / "root")
    assert len(str(error.value).splitlines()) == 1


def test_empty_root_and_pictures_in_it_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no folder of a task and no tasks.csv, it is empty; expected"):
        build(tmp_path)
    (tmp_path / ".hidden").mkdir()
    with pytest.raises(FileNotFoundError, match="it is empty"):
        build(tmp_path)
    fill(tmp_path, 3)
    with pytest.raises(FileNotFoundError, match="0.png and 2 more: not in the folder of a task and a class; expected"):
        build(tmp_path)


def test_files_of_other_kinds_are_named_once_per_folder(tmp_path):
    for name in ("oak", "elm"):
        fill(tmp_path / "leaves" / name, 3)
    for i in range(50):
        (tmp_path / f"leaves/oak/{i}.txt").touch()
    (tmp_path / "leaves/elm/film.MP4").touch()
    (tmp_path / "leaves/elm/README").touch()
    (tmp_path / "leaves/list.csv").touch()
    with pytest.raises(ValueError) as error:
        build(tmp_path)
    lines = str(error.value).splitlines()
    for line, end in zip(
        lines,
        (
            "leaves/list.csv: not in a class folder; expected <root>/<task>/<class>/* or "
            "<root>/<task>/{train,val,test}/<class>/*",
            "elm/README and 1 more: not an image file (no suffix, .MP4), although in a class folder",
            "oak/0.txt and 49 more: not an image file (.txt), although in a class folder",
        ),
        strict=True,
    ):
        assert line.endswith(end)
