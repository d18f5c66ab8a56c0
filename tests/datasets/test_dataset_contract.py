"""One contract for every registered data set, read from a miniature of its raw layout and from a split file."""

import functools
import json
import re
from collections import Counter
from pathlib import Path

import layouts
import pytest
import yaml
from dassl.data.datasets import DATASET_REGISTRY
from data_sets import build, coop_draw
from layout import write_image

from datasets.base import SplitDataset
from datasets.multitask import MultiTask, tasks_of
from datasets.splits import write_split
from softcpt.tasks import METRICS, Task

PROJECT = Path(__file__).resolve().parents[2]
DOCUMENT = (PROJECT / "docs/datasets.md").read_text()
REGISTERED = [
    name
    for name in DATASET_REGISTRY.registered_names()
    if DATASET_REGISTRY.get(name).__module__.startswith("datasets.")
    and DATASET_REGISTRY.get(name).__module__ not in ("datasets.demo", "datasets.folder")
]
# A user's own data set is not in the project's document, and has neither a published layout nor a source.
ALL = [name for name in REGISTERED if re.search(rf"^(### {name}$|\| {name} \|)", DOCUMENT, re.M)]
OWN = [name for name in REGISTERED if name not in ALL and issubclass(DATASET_REGISTRY.get(name), SplitDataset)]
SINGLE = [name for name in ALL if issubclass(DATASET_REGISTRY.get(name), SplitDataset)]
BENCHMARKS = [name for name in ALL if issubclass(DATASET_REGISTRY.get(name), MultiTask)]
SPLIT = [name for name in SINGLE if not name.startswith("ImageNet")]
MEAN_PER_CLASS = {"Caltech101", "FGVCAircraft", "OxfordFlowers", "OxfordPets"}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A data root with the raw layout of every data set, and the content of each."""
    root = tmp_path_factory.mktemp("world")
    return root, {name: layouts.lay_out(name, root) for name in layouts.LAYOUTS}


def rows(items, layout):
    return [(str(Path(item.impath).relative_to(layout.image_dir)), item.label, item.classname) for item in items]


@pytest.mark.parametrize("name", OWN)
def test_custom_data_set_declares_a_legal_task(name):
    dataset = DATASET_REGISTRY.get(name)
    Task(dataset.task_name or name, ("a",), dataset.metric, dataset.template)
    assert dataset.dataset_dir


def test_every_data_set_has_a_layout():
    assert sorted(SINGLE) == sorted(layouts.LAYOUTS)
    assert len(SINGLE) + len(BENCHMARKS) == len(ALL)


@pytest.mark.parametrize("name", SPLIT)
def test_raw_layout_is_read_as_published_each_time(world, name):
    root, all_layouts = world
    layout = all_layouts[name]
    dataset, again = (build(root, name) for _ in range(2))
    parts, same = ([rows(part, layout) for part in (own.train_x, own.val, own.test)] for own in (dataset, again))
    assert parts == same
    everything = [row for part in parts for row in part]
    assert sorted(everything) == sorted((path, *row) for path, row in layout.rows.items())
    assert len({path for path, _, _ in everything}) == len(everything)  # the parts are disjoint
    for part, count in zip(parts, layout.counts):
        assert Counter(label for _, label, _ in part) == {label: count for label in range(len(layout.classnames))}
    if layout.test is not None:
        assert {path for path, _, _ in parts[2]} == layout.test
    assert dataset.classnames == layout.classnames
    assert dataset.num_classes == len(layout.classnames)


@pytest.mark.parametrize("name", SPLIT)
def test_coop_split_file_is_used_without_annotations(tmp_path, name):
    layout = layouts.lay_out(name, tmp_path)
    folder = tmp_path / DATASET_REGISTRY.get(name).dataset_dir
    file = layouts.write_split(name, layout, folder)
    for path in layout.annotations:
        path.unlink()
    split = json.loads(file.read_text())
    dataset = build(tmp_path, name)
    for part, items in zip(("train", "val", "test"), (dataset.train_x, dataset.val, dataset.test)):
        assert rows(items, layout) == [tuple(row) for row in split[part]]
    assert dataset.classnames == layout.classnames
    dataset = build(tmp_path, name, DATASET__NUM_SHOTS=2, SEED=3)
    drawn = coop_draw(split, 2, 3)
    assert [path for path, _, _ in rows(dataset.train_x, layout)] == drawn["train"]
    assert [path for path, _, _ in rows(dataset.val, layout)] == drawn["val"]


@pytest.mark.parametrize("name", SPLIT)
def test_written_split_reads_back_unchanged(tmp_path, name):
    layout = layouts.lay_out(name, tmp_path)
    raw = build(tmp_path, name)
    parts = (raw.train_x, raw.val, raw.test)
    write_split(raw.split_path, raw.image_dir, parts)
    again = build(tmp_path, name)
    assert again.classnames == raw.classnames
    for before, after in zip(parts, (again.train_x, again.val, again.test)):
        assert rows(after, layout) == rows(before, layout)


@pytest.mark.parametrize("name", SPLIT)
def test_base_and_new_are_halves_of_the_classes(world, name):
    root, all_layouts = world
    names = all_layouts[name].classnames
    half = -(-len(names) // 2)
    base, new = (build(root, name, DATASET__SUBSAMPLE_CLASSES=which) for which in ("base", "new"))
    assert (base.classnames, new.classnames) == (names[:half], names[half:])
    whole = build(root, name)
    assert len(base.test) + len(new.test) == len(whole.test)
    assert {item.label for item in new.test} == set(range(len(names) - half))


@pytest.mark.parametrize("name", SINGLE)
def test_each_data_set_declares_its_task(world, name):
    dataset_class = DATASET_REGISTRY.get(name)
    (task,) = tasks_of(build(world[0], name))
    assert task.metric in METRICS and task.template.count("{}") == 1
    assert task.metric == ("mean_per_class" if name in MEAN_PER_CLASS or name.startswith("Fashion") else "accuracy")
    assert len(task.name.split()) >= 2 and "_" not in task.name
    assert dataset_class.__doc__ and dataset_class.files
    assert name.startswith("Fashion") or dataset_class.n_classes >= 5


@pytest.mark.parametrize("name", [name for name in SINGLE if name.startswith("ImageNet")])
def test_imagenet_and_its_variants(world, name):
    root, all_layouts = world
    layout = all_layouts[name]
    dataset = build(root, name, DATASET__NUM_SHOTS=2)
    assert {path for path, _, _ in rows(dataset.test, layout)} == layout.test
    for items in (dataset.train_x, dataset.test):
        for path, label, classname in rows(items, layout):
            assert layout.rows[path] == (label, classname)
    assert dataset.classnames == layout.classnames  # two classes are called "missile"
    if name == "ImageNet":
        assert dataset.val is dataset.test
        assert Counter(item.label for item in dataset.train_x) == {label: 2 for label in range(4)}
        assert all("/train/" in item.impath for item in dataset.train_x)
    else:
        assert dataset.val is None
        assert rows(dataset.train_x, layout) == rows(dataset.test, layout)  # never drawn


@pytest.mark.parametrize("name", BENCHMARKS)
def test_benchmark_is_its_tasks_side_by_side(world, name):
    root, all_layouts = world
    dataset = build(root, name, DATASET__NUM_SHOTS=1)
    specs = DATASET_REGISTRY.get(name).specs
    assert [task.classnames for task in dataset.tasks] == [
        tuple(all_layouts[spec.dataset].classnames) for spec in specs
    ]
    assert len({task.name for task in dataset.tasks}) == len(specs)
    offset = 0
    for index, (task, spec) in enumerate(zip(dataset.tasks, specs)):
        assert task == tasks_of(build(root, spec.dataset))[0]
        labels = {item.label for item in dataset.test if item.domain == index}
        assert labels == set(range(offset, offset + len(task.classnames)))
        offset += len(task.classnames)
    assert dataset.num_classes == offset


@pytest.mark.parametrize(
    ("name", "n_tasks", "n_classes"),
    [("General10", 10, 1191), ("FGVC", 5, 536), ("Plant6", 6, 116), ("RS8", 8, 208), ("Fashion20", 20, 78)],
)
def test_benchmarks_have_the_sizes_of_the_paper(name, n_tasks, n_classes):
    benchmark = DATASET_REGISTRY.get(name)
    assert (len(benchmark.specs), benchmark.n_classes) == (n_tasks, n_classes)
    sizes = [DATASET_REGISTRY.get(spec.dataset).n_classes for spec in benchmark.specs]
    assert sum(sizes) in (n_classes, 0)  # the sizes of the single tasks of Fashion-20 are not published


def test_general10_has_the_test_images_of_coops_splits():
    sizes = [DATASET_REGISTRY.get(spec.dataset).n_images[2] for spec in DATASET_REGISTRY.get("General10").specs]
    assert sum(sizes) == 83696


def test_plant_village_prompts_repeat_no_word(world):
    task = tasks_of(build(world[0], "PlantVillage"))[0]
    for classname in task.classnames:
        words = re.findall(r"\w+", task.template.format(classname))
        assert len(words) == len(set(words)), words


def test_plant_village_has_the_released_names_if_asked(world, tmp_path):
    layouts.lay_out("PlantVillage", tmp_path)
    images = tmp_path / "PlantVillage" / DATASET_REGISTRY.get("PlantVillage").image_dir
    for folder in DATASET_REGISTRY.get("PlantVillage").released:
        for i in range(4):
            write_image(images / folder / f"{i}.jpg")
    ours, theirs = (
        tasks_of(build(tmp_path, "PlantVillage", DATASET__RELEASED_NAMES=released))[0] for released in (False, True)
    )
    assert (ours.template, theirs.template) == ("a photo of {}.", "a photo of a plant leaf with {} disease.")
    pairs = dict(zip(ours.classnames, theirs.classnames))
    assert pairs["apple leaf with scab"] == "apple leaf with scab disease"
    assert pairs["healthy bell pepper leaf"] == "healthy pepper leaf"
    assert sum(name != released for name, released in pairs.items()) == 14 < len(pairs)
    plant6 = build(world[0], "Plant6", DATASET__RELEASED_NAMES=True)
    assert [task.template for task in plant6.tasks][-1] == theirs.template
    (tmp_path / "PlantVillage/split_zhou_PlantVillage.json").write_text("{}")
    with pytest.raises(ValueError, match=r"DATASET.RELEASED_NAMES: True, but the class names are those of .*json"):
        build(tmp_path, "PlantVillage", DATASET__RELEASED_NAMES=True)


def test_no_copy_of_a_test_image_is_trained_on(world):
    for name in ("FruitVegetable", "KaggleVegetable"):
        dataset = build(world[0], name)
        contents = [{Path(item.impath).read_bytes() for item in part} for part in (dataset.train_x, dataset.test)]
        assert not contents[0] & contents[1]
        everything = [Path(item.impath).read_bytes() for item in (*dataset.train_x, *dataset.val, *dataset.test)]
        assert len(set(everything)) == len(everything)


def test_shipped_parts_share_one_class_numbering(tmp_path):
    layouts.lay_out("FruitVegetable", tmp_path)
    for i in range(10):  # sorted before the other classes, and in only one of the three folders
        layouts.write_image(tmp_path / f"fruit_vegetable/images/train/aaa/{i}.jpg")
    dataset = build(tmp_path, "FruitVegetable")
    names = {(item.label, item.classname) for part in (dataset.train_x, dataset.val, dataset.test) for item in part}
    assert names == {(0, "aaa"), (1, "apple"), (2, "bell pepper"), (3, "sweetcorn")}


def test_fashion_tasks_are_split_per_class(tmp_path):
    for name in layouts.FASHION:
        layouts.lay_out(f"Fashion{name}", tmp_path)
    for i in range(300):  # a class that would nearly fill the parts of a split per task
        write_image(tmp_path / f"fashion20/images/14/1/more{i}.jpg")
    dataset = build(tmp_path, "Fashion20", DATASET__TASKS="hat style,FashionSocksType")
    assert [task.name for task in dataset.tasks] == ["hat style", "socks type"]
    assert [task.metric for task in dataset.tasks] == ["mean_per_class"] * 2
    counts = [Counter(item.label for item in part) for part in (dataset.train_x, dataset.val, dataset.test)]
    assert counts == [{0: 5, 1: 155, 2: 5, 3: 5}, {0: 2, 1: 62, 2: 2, 3: 2}, {0: 3, 1: 93, 2: 3, 3: 3}]
    assert build(tmp_path, "Fashion20", DATASET__SUBSAMPLE_CLASSES="new").num_classes == 20


@functools.cache
def configs():
    """{name of a data set: name of its config file}."""
    paths = (PROJECT / "configs/datasets").glob("*.yaml")
    return {yaml.safe_load(path.read_text())["DATASET"]["NAME"]: path.stem for path in paths}


def test_each_data_set_has_a_config_file():
    assert set(configs()) <= set(DATASET_REGISTRY.registered_names())
    assert {name for name in ALL if not re.match("Fashion[A-Z]", name)} <= set(configs())
    assert configs()["DescribableTextures"] == "dtd" and configs()["ImageNetV2"] == "imagenetv2"


@pytest.mark.parametrize("name", SINGLE)
def test_missing_data_error_shows_tree_and_command(tmp_path, name):
    with pytest.raises(FileNotFoundError) as error:
        build(tmp_path / "nowhere", name)
    assert "DATASET.ROOT: no folder" in str(error.value)
    (tmp_path / DATASET_REGISTRY.get(name).dataset_dir).mkdir()
    with pytest.raises(FileNotFoundError) as error:
        build(tmp_path, name)
    message = str(error.value)
    dataset_class = DATASET_REGISTRY.get(name)
    assert all(f"{dataset_class.dataset_dir}/{pattern}" in message for pattern in dataset_class.files)
    assert (f"split_zhou_{name}.json" in message) == (not name.startswith("ImageNet"))
    assert f"python scripts/data.py download {name} --root {tmp_path}" in message


def test_benchmark_names_all_missing_data_at_once(tmp_path):
    layouts.lay_out("OxfordPets", tmp_path)
    with pytest.raises(FileNotFoundError) as error:
        build(tmp_path, "FGVC")
    message = str(error.value)
    assert "4 of 5 tasks" in message and "OxfordPets" not in message
    for name in ("FGVCAircraft", "StanfordCars", "OxfordFlowers", "Food101"):
        assert f"data.py download {name} " in message


def test_data_sets_are_documented():
    for name in SINGLE:
        dataset = DATASET_REGISTRY.get(name)
        if name.startswith("Fashion"):
            assert f"| {name} | {dataset.task_name} | {dataset.template} |" in DOCUMENT
            continue
        facts = f"| `{configs()[name]}` | {dataset.task_name} | {dataset.template} | {dataset.metric} |"
        assert f"| {name} {facts}" in DOCUMENT
        note = re.search(rf"^- {name} \((.*?)\): \[source\]\(\S+\)[^;]*;\s+licence: ", DOCUMENT, re.M | re.S)
        assert note and f"{dataset.n_classes} classes" in note[1]
        assert all(f"{count:,}" in note[1] for count in dataset.n_images if count)
        assert all(f"\n{dataset.dataset_dir}/{pattern}\n" in DOCUMENT for pattern in dataset.files)
    for name in BENCHMARKS:
        benchmark = DATASET_REGISTRY.get(name)
        assert re.search(rf"^\| {name} \| {configs()[name]} \|.*\| {benchmark.n_classes} \|$", DOCUMENT, re.M)
