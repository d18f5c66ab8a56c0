"""The data model: split files, few-shot draws, base/new classes, and data sets composed to tasks."""

import json
import os
import random
from collections import defaultdict
from pathlib import Path

import pytest
from dassl.config import get_cfg_default
from dassl.data import DataManager
from dassl.data.datasets import DATASET_REGISTRY, DatasetBase, Datum, build_dataset
from PIL import Image

import datasets
from datasets import splits
from datasets.base import SplitDataset
from datasets.multitask import MultiTask, Task, TaskSpec, drawn_shots, tasks_of, words, write_shots
from datasets.splits import split_train_val, split_train_val_test, subsample_classes, write_split
from datasets.tables import write_table

FRUIT = ("apple", "orange", "pear", "plum", "fig")
COLORS = ("red", "orange", "blue")


@DATASET_REGISTRY.register()
class ModelFruit(SplitDataset):
    dataset_dir = "fruit"
    task_name = "kind of fruit"
    template = "a photo of a {}, a type of fruit."
    metric = "mean_per_class"
    how_to_get = "Draw it yourself."


@DATASET_REGISTRY.register()
class ModelColor(SplitDataset):
    dataset_dir = "color"


@DATASET_REGISTRY.register()
class ModelFolders(SplitDataset):
    """No split file: one folder per class, read by a reader."""

    dataset_dir = "folders"

    def read_raw(self):
        root = Path(self.image_dir)
        items = [
            Datum(impath=str(image), label=label, classname=folder.name)
            for label, folder in enumerate(sorted(root.iterdir()))
            for image in folder.iterdir()
        ]
        return split_train_val_test(items)


@DATASET_REGISTRY.register()
class ModelOrdinarySet(DatasetBase):
    """A data set as other projects write them: no declarations, draws from the global generator."""

    dataset_dir = "color"

    def __init__(self, cfg):
        folder = Path(cfg.DATASET.ROOT, self.dataset_dir)
        split = json.loads((folder / "split_zhou_ModelColor.json").read_text())
        train, val, test = (
            [
                Datum(impath=str(folder / "images" / path), label=label, classname=name)
                for path, label, name in split[part]
            ]
            for part in ("train", "val", "test")
        )
        train = self.generate_fewshot_dataset(train, num_shots=cfg.DATASET.NUM_SHOTS)
        super().__init__(train_x=train, val=val, test=test)


@DATASET_REGISTRY.register()
class ModelBenchmark(MultiTask):
    specs = (
        TaskSpec("ModelFruit"),
        TaskSpec("ModelColor", name="colour", template="{} things."),
        TaskSpec("ModelOrdinarySet", metric="mean_per_class"),
    )


def write_task(root, folder, class_name, names, n_train=7, n_val=6, n_test=3):
    """Draw one-pixel images and their split file, with the classes interleaved in an order of their own."""
    split = {}
    for part, n in (("train", n_train), ("val", n_val), ("test", n_test)):
        rows = []
        for label, name in reversed(list(enumerate(names))):
            for i in range(n + (label if part == "train" else 0)):
                path = root / folder / "images" / name / f"{part}{i}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (8, 8), (40 * label, 20 * i, 0)).save(path)
                rows.append([f"{name}/{path.name}", label, name])
        split[part] = rows
    file = root / folder / f"split_zhou_{class_name}.json"
    file.write_text(json.dumps(split))
    return file


@pytest.fixture
def root(tmp_path):
    write_task(tmp_path, "fruit", "ModelFruit", FRUIT)
    write_task(tmp_path, "color", "ModelColor", COLORS)
    return tmp_path


def build(root, name, **keys):
    cfg = get_cfg_default()
    datasets.extend_cfg(cfg)
    cfg.DATASET.ROOT, cfg.DATASET.NAME, cfg.SEED, cfg.VERBOSE = str(root), name, 1, False
    cfg.merge_from_list([part for key, value in keys.items() for part in (key.replace("__", "."), value)])
    cfg.freeze()
    return build_dataset(cfg)


def rows(items):
    return [(item.impath, item.label, item.domain, item.classname) for item in items]


def coop_shots(file, shots, seed):
    """CoOp's draw, as a loop of its own: global generator, train before val, classes as they first appear."""
    split = json.loads(file.read_text())
    random.seed(seed)
    drawn = []
    for part, k in (("train", shots), ("val", min(shots, 4))):
        groups = defaultdict(list)
        for row in split[part]:
            groups[row[1]].append(row[0])
        drawn.append(
            [path for paths in groups.values() for path in (random.sample(paths, k) if len(paths) >= k else paths)]
        )
    return drawn


@pytest.mark.parametrize(("shots", "seed"), [(1, 1), (4, 2), (5, 3), (9, 1), (100, 1)])
def test_shots_are_the_draws_that_coop_makes_from_the_same_split_file(root, shots, seed):
    dataset = build(root, "ModelFruit", DATASET__NUM_SHOTS=shots, SEED=seed)
    train, val = coop_shots(root / "fruit" / "split_zhou_ModelFruit.json", shots, seed)
    prefix = str(root / "fruit" / "images") + "/"
    assert [item.impath.removeprefix(prefix) for item in dataset.train_x] == train
    assert [item.impath.removeprefix(prefix) for item in dataset.val] == val
    assert len(dataset.test) == 3 * len(FRUIT)


def test_without_shots_all_training_images_are_used(root):
    assert len(build(root, "ModelFruit").train_x) == sum(7 + label for label in range(5))


def test_a_class_with_fewer_images_than_shots_gives_all_of_them_and_is_logged(root, caplog):
    dataset = build(root, "ModelFruit", DATASET__NUM_SHOTS=9)
    counts = [sum(item.label == label for item in dataset.train_x) for label in range(5)]
    assert counts == [7, 8, 9, 9, 9]
    assert "2 classes have fewer than 9 images" in caplog.text
    assert "apple (7)" in caplog.text


def test_the_draw_leaves_the_global_generator_alone(root):
    random.seed(7)
    expected = random.random()
    random.seed(7)
    build(root, "ModelFruit", DATASET__NUM_SHOTS=2)
    assert random.random() == expected


def test_constructors_write_nothing(root):
    before = sorted(root.rglob("*"))
    build(root, "ModelBenchmark", DATASET__NUM_SHOTS=1)
    assert sorted(root.rglob("*")) == before


def test_base_and_new_are_three_and_two_of_five_classes_with_the_draws_of_all(root):
    whole = build(root, "ModelFruit", DATASET__NUM_SHOTS=2)
    base = build(root, "ModelFruit", DATASET__NUM_SHOTS=2, DATASET__SUBSAMPLE_CLASSES="base")
    new = build(root, "ModelFruit", DATASET__NUM_SHOTS=2, DATASET__SUBSAMPLE_CLASSES="new")
    assert base.classnames == list(FRUIT[:3])
    assert new.classnames == list(FRUIT[3:])
    for part in ("train_x", "val", "test"):
        items = rows(getattr(whole, part))
        assert rows(getattr(base, part)) == [row for row in items if row[1] < 3]
        assert rows(getattr(new, part)) == [(path, y - 3, d, name) for path, y, d, name in items if y >= 3]


def test_class_halves_come_from_all_parts_not_from_train_alone(root):
    items = build(root, "ModelFruit").test
    train = [item for item in items if item.label != 0]
    _, test = subsample_classes(train, items, which="base")
    assert {item.classname for item in test} == set(FRUIT[:3])


def test_a_reader_is_used_where_there_is_no_split_file_and_does_not_depend_on_the_listing(root):
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
    assert rows(split_train_val_test(everything, seed=1)[0]) != rows(dataset.train_x)
    train, val = split_train_val(everything, p_val=0.2)
    assert (len(train), len(val)) == (16, 4)
    with pytest.raises(ValueError, match="'a' has 2 images: 3 are needed"):
        split_train_val_test([item for item in everything if item.classname == "a"][:2])


def test_the_existence_of_images_is_checked_by_one_listing_per_folder(root, monkeypatch):
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
        (lambda s: s["test"][0].__setitem__(0, "x/y.png"), FileNotFoundError, "1 of its images .*images/x/y.png"),
        (lambda s: rename(s, "plum", "pear"), ValueError, "labels 2 and 3 are both called 'pear'"),
        (lambda s: s["val"][0].__setitem__(2, "kiwi"), ValueError, "label 4 is both 'fig' and 'kiwi'"),
        (lambda s: s.update(train=[r for r in s["train"] if r[1] != 1]), ValueError, "no training image for 'orange'"),
        (lambda s: [s.update({p: [r for r in s[p] if r[1] != 1]}) for p in s], ValueError, "no image has the label 1"),
        (lambda s: s.update(train=[], val=[], test=[]), ValueError, "no images"),
    ],
)
def test_a_wrong_split_file_is_one_error_that_names_file_and_place(root, change, error, message):
    edit_split(root, change)
    with pytest.raises(error, match=message):
        build(root, "ModelFruit")


def test_missing_data_are_named_with_how_to_get_them(root):
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


def test_a_split_file_that_is_no_json_is_named(root):
    (root / "fruit" / "split_zhou_ModelFruit.json").write_text('{"train": [')
    with pytest.raises(ValueError, match=r"split_zhou_ModelFruit\.json: not a JSON file"):
        build(root, "ModelFruit")


@pytest.mark.parametrize("name", ["ModelFruit", "ModelBenchmark"])
def test_an_unknown_choice_of_classes_names_the_nearest(root, name):
    with pytest.raises(ValueError, match=r"SUBSAMPLE_CLASSES is 'bases': use one of all, base, new .*'base'"):
        build(root, name, DATASET__SUBSAMPLE_CLASSES="bases")


def test_tasks_are_domains_and_contiguous_label_ranges(root):
    dataset = build(root, "ModelBenchmark", DATASET__NUM_SHOTS=2)
    assert dataset.tasks == (
        Task("kind of fruit", FRUIT, "mean_per_class", "a photo of a {}, a type of fruit."),
        Task("colour", COLORS, "accuracy", "{} things."),
        Task("model ordinary set", COLORS, "mean_per_class", "a photo of a {}."),
    )
    assert tasks_of(dataset) == dataset.tasks
    assert dataset.num_classes == 11
    assert dataset.classnames == [*FRUIT, *COLORS, *COLORS]
    assert dataset.lab2cname == dict(enumerate(dataset.classnames))
    ranges = [range(5), range(5, 8), range(8, 11)]
    for part in (dataset.train_x, dataset.val, dataset.test):
        for task, labels in enumerate(ranges):
            assert {item.label for item in part if item.domain == task} == set(labels)
        assert all(item.classname == dataset.classnames[item.label] for item in part)


@pytest.mark.parametrize("seed", [1, 5])
def test_each_task_has_the_images_that_its_data_set_draws_alone(root, seed):
    whole = build(root, "ModelBenchmark", DATASET__NUM_SHOTS=2, SEED=seed)
    for task, name in enumerate(("ModelFruit", "ModelColor", "ModelOrdinarySet")):
        random.seed(seed)  # as train.py does; matters to the ordinary data set only
        alone = build(root, name, DATASET__NUM_SHOTS=2, SEED=seed)
        drawn = [item.impath for item in whole.train_x if item.domain == task]
        assert drawn == [item.impath for item in alone.train_x]


def test_class_halves_are_taken_per_task(root):
    new = build(root, "ModelBenchmark", DATASET__TASKS="kind of fruit,colour", DATASET__SUBSAMPLE_CLASSES="new")
    assert [task.classnames for task in new.tasks] == [FRUIT[3:], COLORS[2:]]
    assert new.classnames == ["plum", "fig", "blue"]


@pytest.mark.parametrize(
    ("which", "expected"),
    [
        ("all", ["kind of fruit", "colour", "model ordinary set"]),
        ("base", ["kind of fruit", "colour"]),
        ("new", ["model ordinary set"]),
        ("colour, kind of fruit", ["kind of fruit", "colour"]),
        ("ModelColor", ["colour"]),
    ],
)
def test_tasks_are_selected_by_half_or_by_name_and_keep_their_order(root, which, expected):
    dataset = build(root, "ModelBenchmark", DATASET__TASKS=which)
    assert [task.name for task in dataset.tasks] == expected
    assert {item.domain for item in dataset.test} == set(range(len(expected)))


def test_tasks_may_be_a_list():
    specs = ModelBenchmark.specs
    assert datasets.multitask.select_specs(specs, ["colour", "ModelFruit"]) == specs[:2]


def test_an_unknown_task_names_the_nearest(root):
    with pytest.raises(ValueError, match=r"no task 'color' \(did you mean 'colour'\?\)"):
        build(root, "ModelBenchmark", DATASET__TASKS="color")
    with pytest.raises(ValueError, match="ModelFruit is a single task"):
        build(root, "ModelFruit", DATASET__TASKS="colour")


def test_wrong_benchmarks_are_refused(root):
    def refuse(message, *specs):
        benchmark = type("Benchmark", (MultiTask,), {"specs": specs})
        cfg = get_cfg_default()
        datasets.extend_cfg(cfg)
        cfg.DATASET.ROOT = str(root)
        with pytest.raises(ValueError, match=message):
            benchmark(cfg)

    refuse(r"no data set 'ModelFruits' is registered \(did you mean 'ModelFruit'\?\)", TaskSpec("ModelFruits"))
    refuse("found twice: 'x'", TaskSpec("ModelFruit", name="x"), TaskSpec("ModelColor", name="x"))
    refuse("has tasks of its own", TaskSpec("ModelBenchmark"))
    refuse(r"metric is 'acuracy', use one of .*'accuracy'", TaskSpec("ModelColor", metric="acuracy"))
    refuse(r"template 'a photo\.' must have one \{\}", TaskSpec("ModelColor", template="a photo."))


def test_an_ordinary_data_set_without_training_images_of_a_class_is_refused(root):
    file = root / "color" / "split_zhou_ModelColor.json"
    split = json.loads(file.read_text())
    split["train"] = [row for row in split["train"] if row[1] != 2]
    file.write_text(json.dumps(split))
    with pytest.raises(
        ValueError, match=r"'model ordinary set' \(ModelOrdinarySet\): no training image for the labels 2"
    ):
        build(root, "ModelBenchmark", DATASET__TASKS="ModelOrdinarySet")


def test_an_ordinary_data_set_is_one_task(root):
    assert tasks_of(build(root, "ModelOrdinarySet")) == (Task("model ordinary set", COLORS),)
    assert tasks_of(build(root, "ModelFruit"))[0].metric == "mean_per_class"


@pytest.mark.parametrize(
    ("name", "expected"),
    [("OxfordPets", "oxford pets"), ("FGVCAircraft", "fgvc aircraft"), ("SUN397", "sun397"), ("EuroSAT", "euro sat")],
)
def test_class_names_become_words(name, expected):
    assert words(name) == expected


def test_drawn_shots_are_written_relative_to_the_root(root, tmp_path):
    dataset = build(root, "ModelBenchmark", DATASET__NUM_SHOTS=1)
    shots = drawn_shots(dataset)
    assert list(shots) == ["kind of fruit", "colour", "model ordinary set"]
    assert [len(shots["colour"][part]) for part in ("train", "val")] == [3, 3]
    train, val = coop_shots(root / "fruit" / "split_zhou_ModelFruit.json", 1, 1)
    prefix = "fruit/images/"
    assert shots["kind of fruit"] == {
        "train": [prefix + path for path in train],
        "val": [prefix + path for path in val],
    }
    write_shots(dataset, tmp_path / "shots.json")
    assert json.loads((tmp_path / "shots.json").read_text()) == shots
    assert not list(tmp_path.glob("*.tmp"))


def test_what_cannot_be_written_leaves_the_old_file_and_no_temporary_one(root, monkeypatch):
    def no_space(*args):
        raise OSError("no space left")

    out = root / "out"
    out.mkdir()
    dataset = build(root, "ModelBenchmark", DATASET__NUM_SHOTS=1)
    writers = {
        "shots.json": lambda path: write_shots(dataset, path),
        "split.json": lambda path: write_split(path, str(root), (dataset.train_x, [], [])),
        "tasks.csv": lambda path: write_table(path, [("a.png", "colour", "red", "train")]),
    }
    for name, write in writers.items():
        write(str(out / name))
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    assert before.keys() == writers.keys()
    monkeypatch.setattr(os, "replace", no_space)
    for name, write in writers.items():
        with pytest.raises(OSError, match="no space left"):
            write(str(out / name))
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_the_shots_of_an_ordinary_data_set_are_relative_to_a_given_root(root):
    shots = drawn_shots(build(root, "ModelOrdinarySet", DATASET__NUM_SHOTS=1), str(root))
    assert all(path.startswith("color/images/") for path in shots["model ordinary set"]["train"])


def test_dassls_data_manager_delivers_the_task_as_domain(root):
    cfg = get_cfg_default()
    datasets.extend_cfg(cfg)
    cfg.DATASET.ROOT, cfg.DATASET.NAME, cfg.VERBOSE = str(root), "ModelBenchmark", False
    cfg.INPUT.SIZE, cfg.DATALOADER.NUM_WORKERS = (8, 8), 0
    cfg.DATALOADER.TRAIN_X.SAMPLER, cfg.DATALOADER.TRAIN_X.N_DOMAIN = "RandomDomainSampler", 3
    cfg.DATALOADER.TRAIN_X.BATCH_SIZE = 6
    batch = next(iter(DataManager(cfg).train_loader_x))
    offsets = (0, 5, 8, 11)
    assert sorted(batch["domain"].tolist()) == [0, 0, 1, 1, 2, 2]
    for task, label in zip(batch["domain"].tolist(), batch["label"].tolist()):
        assert offsets[task] <= label < offsets[task + 1]
