"""A new or lost picture of users' own folders moves no other between the parts."""

import random
from collections import Counter
from pathlib import Path

import pytest
from data_sets import build, fill, own_part

from datasets.stable import number_of, parts_of

NAMES = [f"oak/{i}.png" for i in range(2000)]


def parts_on_disk(root):
    dataset = build(root, DATASET__TASKS="leaves")
    parts = {"train": dataset.train_x, "val": dataset.val, "test": dataset.test}
    return {str(Path(i.impath).relative_to(root / "leaves")): part for part, items in parts.items() for i in items}


def test_parts_follow_the_hash_of_the_names():
    assert parts_of(NAMES)[0] == [own_part(name) for name in NAMES]
    counts = Counter(parts_of(NAMES)[0])
    assert [counts[part] / len(NAMES) for part in ("train", "val", "test")] == pytest.approx([0.5, 0.2, 0.3], abs=0.03)
    assert number_of("oak/0.png") == 0.7568171505210515  # for ever: splits of users depend on it
    assert number_of("é/x.jpg") == number_of("e\u0301/x.jpg") == 0.06889381907919656


def test_added_and_removed_pictures_move_no_other(tmp_path):
    for name in ("oak", "elm"):
        fill(tmp_path / "leaves" / name, 30)
    before = parts_on_disk(tmp_path)
    assert len(before) == 60 and before == {name: own_part(name) for name in before}
    rng = random.Random(0)
    for name in rng.sample(sorted(before), 15):
        (tmp_path / "leaves" / name).unlink()
        (tmp_path / "leaves" / name).with_name(f"new{rng.random()}.png").write_bytes(b"")
    fill(tmp_path / "leaves/ash", 5)  # sorted first: other labels
    fill(tmp_path / "cups/a", 3)
    fill(tmp_path / "cups/b", 3)
    after = parts_on_disk(tmp_path)
    kept = before.keys() & after.keys()
    assert len(kept) == 45 and {name: after[name] for name in kept} == {name: before[name] for name in kept}


def test_only_an_empty_part_moves_one_picture_from_the_fullest():
    rng = random.Random(1)
    for _ in range(300):
        names = rng.sample(NAMES, rng.randint(3, 12))
        parts, moved = parts_of(names)
        hashed = [own_part(name) for name in names]
        empty = {part for part in ("train", "val", "test") if part not in hashed}
        changed = [i for i, name in enumerate(names) if parts[i] != hashed[i]]
        assert {parts[i] for i in changed} == empty and len(changed) == len(empty) == moved
        assert set(parts) == {"train", "val", "test"}
        ordered = sorted(names)
        assert dict(zip(names, parts)) == dict(zip(ordered, parts_of(ordered)[0]))
        if len(empty) == 1:
            fullest = max(("train", "val", "test"), key=hashed.count)
            donors = [number_of(name) for name, part in zip(names, hashed) if part == fullest]
            taken = number_of(names[changed[0]])
            part = parts[changed[0]]
            middle = {"train": 0.25, "val": 0.6, "test": 0.85}[part]
            assert hashed[changed[0]] == fullest and taken in donors
            assert abs(taken - middle) == min(abs(number - middle) for number in donors)


def test_kept_pictures_keep_their_parts_and_fill_none():
    test = [name for name in NAMES if own_part(name) == "test"][:3]
    assert parts_of(test, kept=["train", "val", "test"]) == (["test"] * 3, 0)
    parts, moved = parts_of(test, kept=["train"])
    assert sorted(parts) == ["test", "test", "val"] and moved == 1
    assert parts_of([], kept=["train", "train"]) == ([], 0)  # nothing can be moved
    val = next(name for name in NAMES if own_part(name) == "val")
    assert parts_of([val], kept=["train", "test"], legal=("train", "test")) == (["train"], 0)


def test_classes_that_are_too_small_are_named_at_once(tmp_path):
    for name, count in (("oak", 3), ("elm", 2), ("ash", 1)):
        fill(tmp_path / "leaves" / name, count)
    message = "'ash' has 1 image, class 'elm' has 2 images: 3 are needed to split a class, or provide train and test"
    with pytest.raises(ValueError, match=message):
        build(tmp_path)
