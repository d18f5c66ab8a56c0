"""Split files, few-shot draws, and base and new classes of one data set."""

import json
import os
import random

import pytest
from data_sets import FRUIT, build, coop_draw

from datasets import splits
from datasets.splits import split_train_val, split_train_val_test, subsample_classes

SPLIT = "fruit/split_zhou_ModelFruit.json"


def rows(items):
    return [(item.impath, item.label, item.domain, item.classname) for item in items]


@pytest.mark.parametrize(("shots", "seed"), [(1, 1), (4, 2), (5, 3), (9, 1), (100, 1)])
def test_shots_match_coops_draws(root, shots, seed):
    dataset = build(root, "ModelFruit", DATASET__NUM_SHOTS=shots, SEED=seed)
    train, val = coop_draw(json.loads((root / SPLIT).read_text()), shots, seed).values()
    prefix = str(root / "fruit" / "images") + "/"
    assert [item.impath.removeprefix(prefix) for item in dataset.train_x] == train
    assert [item.impath.removeprefix(prefix) for item in dataset.val] == val
    assert len(dataset.test) == 3 * len(FRUIT)


def test_class_with_too_few_images_gives_all_of_them(root, caplog):
    dataset = build(root, "ModelFruit", DATASET__NUM_SHOTS=9)
    counts = [sum(item.label == label for item in dataset.train_x) for label in range(5)]
    assert counts == [7, 8, 9, 9, 9]
    assert "2 classes with fewer than 9 images" in caplog.text
    assert "'apple' (7)" in caplog.text


def test_draw_leaves_the_global_generator_alone(root):
    random.seed(7)
    expected = random.random()
    random.seed(7)
    build(root, "ModelFruit", DATASET__NUM_SHOTS=2)
    assert random.random() == expected


def test_constructors_write_nothing(root):
    before = sorted(root.rglob("*"))
    build(root, "ModelBenchmark", DATASET__NUM_SHOTS=1)
    assert sorted(root.rglob("*")) == before


def test_base_and_new_keep_the_draws_of_all(root):
    whole = build(root, "ModelFruit", DATASET__NUM_SHOTS=2)
    base = build(root, "ModelFruit", DATASET__NUM_SHOTS=2, DATASET__SUBSAMPLE_CLASSES="base")
    new = build(root, "ModelFruit", DATASET__NUM_SHOTS=2, DATASET__SUBSAMPLE_CLASSES="new")
    assert base.classnames == list(FRUIT[:3])
    assert new.classnames == list(FRUIT[3:])
    for part in ("train_x", "val", "test"):
        items = rows(getattr(whole, part))
        assert rows(getattr(base, part)) == [row for row in items if row[1] < 3]
        assert rows(getattr(new, part)) == [(path, y - 3, d, name) for path, y, d, name in items if y >= 3]


def test_halves_come_from_all_parts_of_the_split(root):
    items = build(root, "ModelFruit").test
    train = [item for item in items if item.label != 0]
    _, test = subsample_classes(train, items, which="base")
    assert {item.classname for item in test} == set(FRUIT[:3])


def test_reader_is_used_without_a_split_file(root):
    for name in ("b", "a"):
        for i in range(10):
            path = root / "folders" / "images" / name / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    dataset = build(root, "ModelFolders")
    assert dataset.classnames == ["a", "b"]
    assert [len(part) for part in (dataset.train_x, dataset.val, dataset.test)] == [10, 4, 6]
    everything = [*dataset.train_x, *dataset.val, *dataset.test]
    assert len({item.impath for item in everything}) == 20
    again = split_train_val_test(random.Random(3).sample(everything, 20))
    assert [rows(part) for part in again] == [rows(part) for part in (dataset.train_x, dataset.val, dataset.test)]
    train, val = split_train_val(everything)
    assert (len(train), len(val)) == (16, 4)
    with pytest.raises(ValueError, match="'a' has 2 images: 3 are needed"):
        split_train_val_test([item for item in everything if item.classname == "a"][:2])


def test_images_are_checked_with_one_listing_per_folder(root, monkeypatch):
    listed = []
    listdir = os.listdir
    monkeypatch.setattr(splits.os, "listdir", lambda folder: listed.append(folder) or listdir(folder))
    build(root, "ModelFruit")
    assert len(listed) == len(set(listed)) == len(FRUIT)


def edit_split(root, change):
    file = root / "fruit" / "split_zhou_ModelFruit.json"
    split = json.loads(file.read_text())
    change(split)
    file.write_text(json.dumps(split))


def rename(split, old, new):
    for part in split.values():
        for row in part:
            row[2] = new if row[2] == old else row[2]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda s: s.pop("val"), ValueError, "split_zhou_ModelFruit.json: key 'val'"),
        (lambda s: s.update(test={}), ValueError, "key 'test'"),
        (
            lambda s: s["train"].__setitem__(2, ["a.png", "1", "plum"]),
            ValueError,
            r"train\[2\] is \['a.png', '1', 'plum'\]",
        ),
        (lambda s: s["train"][1].pop(), ValueError, r"train\[1\]"),
        (lambda s: s["test"][0].__setitem__(0, "x/y.png"), FileNotFoundError, "1 image missing, .*images/x/y.png"),
        (lambda s: rename(s, "plum", "pear"), ValueError, "labels 2 and 3 are both called 'pear'"),
        (lambda s: s["val"][0].__setitem__(2, "kiwi"), ValueError, "label 4 is both 'fig' and 'kiwi'"),
        (lambda s: s.update(train=[r for r in s["train"] if r[1] != 1]), ValueError, "no training image for 'orange'"),
        (lambda s: [s.update({p: [r for r in s[p] if r[1] != 1]}) for p in s], ValueError, "no image has the label 1"),
        (lambda s: s.update(train=[], val=[], test=[]), ValueError, "no images"),
    ],
)
def test_wrong_split_file_error_names_the_place(root, change, error, message):
    edit_split(root, change)
    with pytest.raises(error, match=message):
        build(root, "ModelFruit")


def test_missing_data_error_says_how_to_get_it(root):
    with pytest.raises(ValueError, match="DATASET.ROOT is empty"):
        build("", "ModelFruit")
    with pytest.raises(FileNotFoundError, match="DATASET.ROOT: no folder .*nowhere"):
        build(root / "nowhere", "ModelFruit")
    (root / "fruit" / "split_zhou_ModelFruit.json").rename(root / "elsewhere.json")
    with pytest.raises(FileNotFoundError, match=r"ModelFruit: no split file .*Draw it yourself\."):
        build(root, "ModelFruit")
    (root / "fruit").rename(root / "vegetables")
    with pytest.raises(FileNotFoundError, match=r"ModelFruit: no folder .*fruit .*Draw it yourself\."):
        build(root, "ModelFruit")


def test_split_file_that_is_not_json_is_an_error(root):
    (root / "fruit" / "split_zhou_ModelFruit.json").write_text('{"train": [')
    with pytest.raises(ValueError, match=r"split_zhou_ModelFruit\.json: not a JSON file"):
        build(root, "ModelFruit")


@pytest.mark.parametrize("name", ["ModelFruit", "ModelBenchmark"])
def test_unknown_choice_of_classes_suggests_the_nearest(root, name):
    with pytest.raises(ValueError, match=r"SUBSAMPLE_CLASSES is 'bases': use one of all, base, new .*'base'"):
        build(root, name, DATASET__SUBSAMPLE_CLASSES="bases")
