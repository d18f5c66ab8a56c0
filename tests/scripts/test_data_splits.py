"""scripts/data.py splits and check on users' own folders that have changed since their table was written."""

import csv
import json
from collections import Counter

import layouts
import pytest
from data_sets import build, fill, own_part
from layout import write_image


@pytest.fixture
def root(data, tmp_path):
    """Two tasks of two classes with 20 images each, and their table."""
    for task in ("leaves", "cups"):
        for name in ("a", "b"):
            fill(tmp_path / task / name, 20)
    status, text = data("splits", "FolderTasks")
    assert status == 0 and f"{tmp_path}/tasks.csv: 80 images (" in text
    return tmp_path


def rows_of(root):
    with open(root / "tasks.csv", newline="") as file:
        return list(csv.reader(file))[1:]


def parts_of(root):
    return {row[0]: row[3] for row in rows_of(root)}


def test_table_is_extended_by_new_images_classes_and_tasks(data, root):
    before = rows_of(root)
    write_image(root / "leaves/a/new1.png")
    write_image(root / "leaves/a/new2.png")
    fill(root / "leaves/c", 12)
    fill(root / "mugs/x", 12)
    fill(root / "mugs/y", 12)
    text = data("check", "FolderTasks", "--no-images")[1]
    assert "note: 38 new images in 4 classes, new ones: 'c', 'x', 'y'; add them: python" in text
    assert len(build(root).train_x) == sum(row[3] == "train" for row in before)  # not yet
    status, text = data("splits", "FolderTasks")
    assert status == 0
    after = rows_of(root)
    assert after[:80] == before and len(after) == 118
    added = {row[0]: row[3] for row in after[80:]}
    assert added == {path: own_part(path.split("/", 1)[1]) for path in added}  # as their folders would be split
    counts = Counter(added.values())
    assert f"38 new images joined: {counts['train']} train, {counts['val']} val, {counts['test']} test" in text
    assert {tuple(row[1:3]) for row in after[80:]} == {("leaves", "a"), ("leaves", "c"), ("mugs", "x"), ("mugs", "y")}
    assert len(build(root).test) == sum(row[3] == "test" for row in after)
    assert "no new images" in data("splits", "FolderTasks")[1] and rows_of(root) == after
    text = data("check", "FolderTasks", "--no-images")[1]
    assert text.startswith("== tasks.csv\n118 images listed\n\n==")


def test_gone_images_are_named_and_kept_until_they_are_dropped(data, root):
    before = parts_of(root)
    test = sorted(path for path, part in before.items() if part == "test")[:2]
    train = sorted(path for path, part in before.items() if part == "train")[0]
    for path in (*test, train):
        (root / path).unlink()
    status, text = data("check", "FolderTasks", "--no-images")
    assert status == 1 and "WRONG: 3 images gone; restore, or remove the lines: python" in text
    assert all(f"{path} ({before[path]})" in text for path in (*test, train))
    with pytest.raises(FileNotFoundError, match=r"tasks.csv, line \d+: no file .*; 3 images gone \("):
        build(root)
    status, text = data("splits", "FolderTasks")
    assert status == 1 and parts_of(root) == before
    assert all(f"gone: {path} ({before[path]})" in text for path in (*test, train))
    assert "3 images gone (1 train, 2 test); the lines are kept" in text
    status, text = data("splits", "FolderTasks", "--drop-gone")
    assert status == 0 and all(f"removed: {path} ({before[path]})" in text for path in (*test, train))
    assert parts_of(root) == {path: part for path, part in before.items() if path not in (*test, train)}


def test_moved_images_keep_their_part(data, root):
    name = next(f"{i}.png" for i in range(20, 99) if own_part(f"a/{i}.png") == "test" != own_part(f"b/{i}.png"))
    write_image(root / "leaves/a" / name)
    data("splits", "FolderTasks")
    (root / "leaves/a" / name).rename(root / "leaves/b" / name)  # a picture of another class, after all
    status, text = data("check", "FolderTasks", "--no-images")
    assert status == 1
    command = f"python scripts/data.py splits FolderTasks --root {root}"
    assert f"1 image moved; follow: {command} ('leaves/a/{name} -> " in text
    status, text = data("splits", "FolderTasks")
    assert status == 0 and f"moved: leaves/a/{name} -> leaves/b/{name}" in text
    assert rows_of(root)[-1] == [f"leaves/b/{name}", "leaves", "b", "test"] and len(rows_of(root)) == 81


def test_own_names_of_a_table_are_kept_for_its_folders(data, tmp_path):
    fill(tmp_path / "pictures", 6)  # a flat folder of two classes
    for name in ("oak", "elm"):
        fill(tmp_path / "leaves" / name, 5)
    parts = ("train", "test", "test")
    rows = [f"pictures/{i}.png,mood,{('happy', 'sad')[i // 3]},{parts[i % 3]}" for i in range(6)]
    rows += [f"leaves/{name}/{i}.png,leaf,{name} tree,{parts[i]}" for name in ("oak", "elm") for i in range(3)]
    (tmp_path / "tasks.csv").write_text("\n".join(["path,task,class,split", *rows]) + "\n")
    write_image(tmp_path / "pictures/new.png")
    write_image(tmp_path / "leaves/elm/new.png")
    status, text = data("splits", "FolderTasks")
    assert "1 image on disk not listed, in a folder of several classes: 'pictures/new.png'" in text
    added = rows_of(tmp_path)[12:]
    assert {tuple(row[:3]) for row in added} == {
        *((f"leaves/{name}/{i}.png", "leaf", f"{name} tree") for name in ("oak", "elm") for i in (3, 4)),
        ("leaves/elm/new.png", "leaf", "elm tree"),
    }
    assert {row[3] for row in added} <= {"train", "test"}  # the task has no val
    build(tmp_path)


def test_new_images_in_folders_of_parts_take_their_part(data, tmp_path):
    for part in ("train", "test"):
        for name in ("a", "b"):
            fill(tmp_path / "cups" / part / name, 3)
    data("splits", "FolderTasks")
    write_image(tmp_path / "cups/test/a/new.png")
    for part in ("train", "test"):
        fill(tmp_path / "cups" / part / "c", 2)
    assert data("splits", "FolderTasks")[0] == 0
    added = {row[0]: row[3] for row in rows_of(tmp_path)[12:]}
    assert added == {path: path.split("/")[1] for path in added} and len(added) == 5


def test_new_class_with_too_few_images_is_named(data, root):
    before = rows_of(root)
    fill(root / "leaves/fig", 2)
    status, text = data("splits", "FolderTasks")
    assert status == 1 and rows_of(root) == before
    assert "task 'leaves': class 'fig' has 2 images: 3 are needed to split a class" in text


def test_table_without_parts_gets_those_that_it_is_read_with(data, tmp_path):
    for name in ("oak", "elm"):
        fill(tmp_path / "leaves" / name, 9)
    rows = [f"leaves/{name}/{i}.png,leaf,{name}" for name in ("oak", "elm") for i in range(9)]
    (tmp_path / "tasks.csv").write_text("\n".join(["path,task,class", *rows]) + "\n")
    before = [sorted(item.impath for item in part) for part in vars_of(build(tmp_path))]
    assert data("splits", "FolderTasks")[0] == 0
    assert (tmp_path / "tasks.csv").read_text().startswith("path,task,class,split")
    assert [sorted(item.impath for item in part) for part in vars_of(build(tmp_path))] == before


def vars_of(dataset):
    return dataset.train_x, dataset.val, dataset.test


def test_published_split_stays_and_says_what_it_lacks(data, tmp_path):
    layout = layouts.lay_out("EuroSAT", tmp_path)
    file = layouts.write_split("EuroSAT", layout, tmp_path / "eurosat")
    before = json.loads(file.read_text())
    assert data("splits", "EuroSAT")[1].strip() == f"{file} already exists"
    write_image(layout.image_dir / "Forest/new.jpg")
    text = data("splits", "EuroSAT")[1]
    assert "already exists and stays as it is; 1 image on disk not in it, the first is " in text
    assert "Forest/new.jpg" in text and json.loads(file.read_text()) == before
