"""No value in a data file costs memory or time, and no path in one leads out of the data root; the split that was used
is kept."""

import json
import shutil
import time
import tracemalloc
from pathlib import Path

import layouts
import pytest
import toy
from dassl.config import get_cfg_default
from dassl.data.datasets import DATASET_REGISTRY, DatasetBase, build_dataset
from PIL import Image

import datasets
import train
from datasets.adapters import export_task
from datasets.multitask import Task, TaskSpec, is_template, task_of
from datasets.splits import datum, missing_labels, read_split
from datasets.tables import read_table

BILLION = 1_000_000_000
NO_LABEL = "no image has the label|is both|has 1 images: 2 are needed"


def build(root, name="FolderTasks", **keys):
    cfg = get_cfg_default()
    datasets.extend_cfg(cfg)
    cfg.DATASET.ROOT, cfg.DATASET.NAME, cfg.SEED, cfg.VERBOSE = str(root), name, 1, False
    for key, value in keys.items():
        cfg.DATASET[key] = value
    cfg.freeze()
    return build_dataset(cfg)


@pytest.fixture(autouse=True)
def costs():
    """A test that takes more than 64 MiB of Python objects, or 20 s of processor time, fails."""
    tracemalloc.start()
    start = time.process_time()
    yield
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 64 * 2**20, f"{peak / 2**20:.0f} MiB"
    assert time.process_time() - start < 20


@pytest.fixture
def flowers(toy_root, tmp_path):
    """A copy of the toy flowers, and a function that changes their split file."""
    shutil.copytree(toy_root / "toy/flower", tmp_path / "toy/flower")
    path = tmp_path / "toy/flower/split_zhou_ToyFlower.json"

    def change(edit):
        split = json.loads(path.read_text())
        edit(split)
        path.write_text(json.dumps(split))
        return tmp_path

    return change


# -- labels ----------------------------------------------------------------------------------------------------------


def test_a_label_of_a_billion_in_a_split_file_is_named_at_no_cost(flowers):
    root = flowers(lambda split: split["val"][1].__setitem__(1, BILLION))
    with pytest.raises(ValueError, match=r"split_zhou_ToyFlower.json: val\[1\] has the label 1000000000; .* 24 images"):
        build(root, "ToyFlower")


@pytest.mark.parametrize("label", [24, 2**40, 10**400])
def test_any_label_not_below_the_number_of_images_is_refused(label, flowers):
    root = flowers(lambda split: split["test"][0].__setitem__(1, label))
    with pytest.raises(ValueError, match=r"test\[0\] has the label"):
        build(root, "ToyFlower")


def test_a_label_below_it_that_leaves_a_gap_is_still_named(flowers):
    root = flowers(lambda split: [row.__setitem__(1, 7) for rows in split.values() for row in rows if row[1] == 2])
    with pytest.raises(ValueError, match="no image has the label 2, 3, 4, 5, 6, and one has the label 7"):
        build(root, "ToyFlower")


def test_a_number_without_end_or_a_list_without_bottom_is_no_json(tmp_path):
    for text in ("9" * 5000, "[" * 100_000):
        (tmp_path / "split.json").write_text(f'{{"train": [["a.png", {text}')
        with pytest.raises(ValueError, match="split.json: not a JSON file"):
            read_split(str(tmp_path / "split.json"), str(tmp_path))


@pytest.mark.parametrize("labels", [[], [0], [0, 1, 2], [1], [0, 2, 5], [7, 3], [20, 0, 1]])
def test_the_missing_labels_are_those_of_a_loop(labels):
    expected = [label for label in range(max(labels, default=-1) + 1) if label not in labels]
    assert missing_labels(labels) == expected[:5]
    assert missing_labels([*labels, BILLION]) == [i for i in range(40) if i not in labels][:5]


@pytest.mark.parametrize(
    ("name", "file", "column"),
    [("OxfordPets", "annotations/trainval.txt", 1), ("UCF101", "ucfTrainTestlist/classInd.txt", 0)],
)
@pytest.mark.parametrize("number", ["1000000000", "999999999", "9" * 5000, "²"])
def test_a_class_number_of_an_annotation_is_named_at_no_cost(name, file, column, number, tmp_path):
    layouts.lay_out(name, tmp_path)
    path = tmp_path / DATASET_REGISTRY.get(name).dataset_dir / file
    lines = path.read_text().splitlines()
    fields = lines[-1].split()
    fields[column] = number
    path.write_text("\n".join([*lines[:-1], " ".join(fields)]) + "\n")
    with pytest.raises(ValueError, match=f"{path.name}, line {len(lines)}: .* is not a class number|{NO_LABEL}"):
        build(tmp_path, name)


def test_a_folder_with_an_odd_number_is_none_of_the_classes(tmp_path):
    layout = layouts.lay_out("FashionPantsType", tmp_path)
    shutil.copytree(next(path for path in layout.image_dir.iterdir() if path.is_dir()), layout.image_dir / "²")
    with pytest.raises(ValueError, match="not one of the"):
        build(tmp_path, "FashionPantsType")


@pytest.mark.parametrize("content", ["[]", '{"1": ["a"]}', '{"1": 5}'])
def test_names_that_are_no_texts_are_named(content, tmp_path):
    layouts.lay_out("OxfordFlowers", tmp_path)
    (tmp_path / "oxford_flowers/cat_to_name.json").write_text(content)
    with pytest.raises(ValueError, match="cat_to_name.json: expected an object of class numbers with their names"):
        build(tmp_path, "OxfordFlowers")


def test_a_data_set_of_others_with_a_label_of_a_billion_is_refused_at_no_cost():
    items = [datum("a.png", 0, "a"), datum("b.png", BILLION, "b")]
    with pytest.raises(ValueError, match="no training image"):
        task_of(DatasetBase(train_x=items, test=items), TaskSpec("Others"))
    tested = DatasetBase(train_x=items[:1], test=items)
    with pytest.raises(ValueError, match="'others' .*: no training image for the labels 1000000000"):
        task_of(tested, TaskSpec("Others"))


# -- tasks.yaml and templates ----------------------------------------------------------------------------------------


@pytest.fixture
def leaves(tmp_path):
    """Two own tasks in folders, of two classes with ten pictures each."""
    for task in ("leaves", "cups"):
        for name in ("a", "b"):
            (tmp_path / task / name).mkdir(parents=True)
            for i in range(10):
                Image.new("RGB", (4, 4), (i, 0, 0)).save(tmp_path / task / name / f"{i}.png")
    return tmp_path


BOMB = "&a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefghi", "bcdefghij")
)


@pytest.mark.parametrize(
    "text, message",
    [
        (f"a: {BOMB}leaves: {{name: *j}}", "references repeat too much"),
        (f"x: {BOMB}leaves: {{<<: [*j, *j]}}", "references repeat too much"),
        ("leaves: {name: a, name: b}", "line 1: the key 'name' is there twice"),
        (f"leaves:\n  name: {BOMB.splitlines()[0]}", "name must be text"),
        ("leaves: {classes: [[a, b], b]}", "classes must be names"),
        ("leaves: {name: " + "9" * 5000 + "}", "not a YAML file"),
        ("leaves: {name: 2001-13-45}", "not a YAML file"),
        ("leaves: " + "[" * 1000, "not a YAML file"),
        ("leaves: {template: 'a {!r:>1000000000} of {}'}", "template .* no other braces"),
        ("leaves: {template: 'a } of {}'}", "template .* no other braces"),
    ],
)
def test_settings_cost_nothing_whatever_they_hold(text, message, leaves):
    (leaves / "tasks.yaml").write_text(text)
    with pytest.raises(ValueError, match=f"tasks.yaml.*{message}"):
        build(leaves)


def test_references_that_grow_without_end_are_shown_in_part(leaves):
    lines = BOMB.splitlines()[:3]
    text = "\n".join([f"leaves:\n  x: {lines[0]}", *(f"  {line}" for line in lines[1:]), "  classes: [*c, b]"])
    (leaves / "tasks.yaml").write_text(text)
    with pytest.raises(ValueError, match="unknown key 'x'") as error:
        build(leaves)
    assert len(str(error.value)) < 1000
    (leaves / "tasks.yaml").write_text(text.replace("leaves:\n  x: ", "cups: &c\n  name: ").replace("classes", "name"))
    with pytest.raises(ValueError) as error:
        build(leaves)
    assert len(str(error.value)) < 1000


@pytest.mark.parametrize("text", ["{}", "a photo of {}.", "a (very) small {}!"])
def test_a_template_has_one_place(text):
    assert is_template(text) and Task("t", ("a",), template=text).template == text


@pytest.mark.parametrize("text", ["", "a", "{} {}", "{0}", "{:>9}", "{{}}", "{} {x}", "a } {}", "{!r:>1000000000}{}"])
def test_a_template_with_other_braces_is_refused(text):
    assert not is_template(text)
    with pytest.raises(ValueError, match="must have one {} for the class name"):
        Task("t", ("a",), template=text)


# -- paths -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["../images/train-0-0.png", "a/../../../x.png", "/etc/hostname", ".."])
def test_a_path_of_a_split_file_that_leaves_is_refused_with_file_part_and_row(path, flowers):
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
def test_a_path_of_an_annotation_that_leaves_the_data_set_is_refused(name, file, line, tmp_path):
    layouts.lay_out(name, tmp_path)
    path = tmp_path / DATASET_REGISTRY.get(name).dataset_dir / file
    text = path.read_text()
    path.write_text(text + line.format(text.splitlines()[0].split(" ", 1)[-1]) + "\n")
    with pytest.raises(ValueError, match="lies outside|unknown class"):
        build(tmp_path, name)


@pytest.fixture
def table(leaves):
    """A function that writes tasks.csv with a line more than the pictures of the leaves."""

    def write(path, name="tasks.csv", rows=10):
        lines = [f"leaves/{c}/{i}.png,leaf,{c}" for c in ("a", "b") for i in range(rows)]
        (leaves / name).parent.mkdir(exist_ok=True)
        (leaves / name).write_text("\n".join(["path,task,class", *lines, *[f"{path},leaf,a"] * bool(path)]) + "\n")
        return leaves

    return write


def test_a_path_of_a_table_that_leaves_the_root_is_refused_with_its_line(table, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside") / "x.png"
    Image.new("RGB", (4, 4)).save(outside)
    root = table(f"../{outside.parent.name}/x.png")
    with pytest.raises(ValueError, match="tasks.csv, line 22: .*x.png leads out of"):
        build(root)
    with pytest.raises(ValueError, match="line 22: .*leads out of"):
        build(root, ABSOLUTE_PATHS=True)
    assert len(build(table("leaves/../cups/a/0.png")).train_x) == 11  # it stays inside


def test_an_absolute_path_of_a_table_needs_its_key(table, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside") / "x.png"
    Image.new("RGB", (4, 4)).save(outside)
    root = table(str(outside))
    with pytest.raises(ValueError, match="line 22: .* is an absolute path, which DATASET.ABSOLUTE_PATHS True would"):
        build(root)
    dataset = build(root, ABSOLUTE_PATHS=True)
    paths = [item.impath for part in (dataset.train_x, dataset.val, dataset.test) for item in part]
    assert str(outside) in paths and len(paths) == 21


def test_a_table_in_a_folder_may_name_pictures_beside_it_in_the_root(table):
    root = table("", rows=10)
    (root / "lists").mkdir()
    rows = [f"../leaves/{c}/{i}.png,leaf,{c}" for c in ("a", "b") for i in range(10)]
    (root / "lists/mine.csv").write_text("\n".join(["path,task,class", *rows]) + "\n")
    assert len(build(root, CSV="lists/mine.csv").train_x) == 10
    with pytest.raises(ValueError, match="line 2: ../leaves/a/0.png leads out of"):
        read_table(str(root / "lists/mine.csv"))


@pytest.mark.parametrize("task", ["../out", "/tmp/out", "a/b", "..", ".hidden", "", "a\\b"])
def test_an_adapter_writes_nowhere_but_into_the_root(task, tmp_path):
    parts = {"train": [(Image.new("RGB", (4, 4)), "x")]}
    with pytest.raises(ValueError, match="is no name of a folder in"):
        export_task(parts, str(tmp_path / "root"), task)
    assert not list(tmp_path.iterdir())


def test_class_names_of_an_adapter_stay_below_the_task(tmp_path):
    images = [(Image.new("RGB", (4, 4)), name) for name in ("../../x", "a/../b", "/etc")]
    folder = export_task({"train": images}, str(tmp_path / "root"), "mine")
    assert sorted(path.name for path in Path(folder).iterdir()) == ["-..-x", "-etc", "a-..-b"]
    assert [path.name for path in tmp_path.iterdir()] == ["root"]


# -- the split that was used -----------------------------------------------------------------------------------------


def rows_of(path):
    return [tuple(line.split(",")) for line in path.read_text().splitlines()[1:]]


def test_a_run_on_own_folders_keeps_which_images_it_had_for_what(leaves, tmp_path_factory):
    (leaves / "tasks.yaml").write_text("leaves: {classes: {b: beech, a: ash}}\n")
    out = tmp_path_factory.mktemp("run") / "run"
    arguments = toy.arguments(leaves, out, "ZeroshotCLIP", "DATASET.NUM_SHOTS", 2, dataset="FolderTasks")
    assert train.main(arguments) == 0
    rows = rows_of(out / "split.csv")
    assert len(rows) == 40 and {row[3] for row in rows} == {"train", "val", "test"}
    dataset = build(leaves, NUM_SHOTS=2)
    tested = {str(Path(item.impath).relative_to(leaves)) for item in dataset.test}
    assert {row[0] for row in rows if row[3] == "test"} == tested
    shots = json.loads((out / "shots.json").read_text())
    drawn = {path for parts in shots.values() for path in parts["train"]}
    assert drawn < {row[0] for row in rows if row[3] == "train"} and len(drawn) == 8
    # Whatever comes to the folders later, the table gives the very same split again.
    Image.new("RGB", (4, 4), (99, 0, 0)).save(leaves / "leaves/a/00.png")
    shutil.copy(out / "split.csv", leaves / "tasks.csv")
    again = build(leaves, NUM_SHOTS=2)
    assert {str(Path(item.impath).relative_to(leaves)) for item in again.test} == tested
    assert again.tasks == dataset.tasks


def test_a_run_of_a_version_without_the_new_key_goes_on(leaves, tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "run"
    options = ("OPTIM.MAX_EPOCH", 1, "DATASET.NUM_SHOTS", 1)
    assert train.main(toy.arguments(leaves, out, "CoOp", *options, dataset="FolderTasks")) == 0
    text = (out / "config.yaml").read_text()
    (out / "config.yaml").write_text(text.replace("  ABSOLUTE_PATHS: false\n", ""))
    assert text != (out / "config.yaml").read_text()
    assert train.main(toy.arguments(leaves, out, "CoOp", *options, dataset="FolderTasks")) == 0
    changed = toy.arguments(leaves, out, "CoOp", *options, "DATASET.ABSOLUTE_PATHS", True, dataset="FolderTasks")
    (out / "config.yaml").write_text(text.replace("  ABSOLUTE_PATHS: false\n", ""))
    assert train.main(changed) == 2


def test_other_data_sets_keep_none(toy_root, tmp_path):
    assert train.main(toy.arguments(toy_root, tmp_path / "run", "ZeroshotCLIP")) == 0
    assert (tmp_path / "run/shots.json").is_file() and not (tmp_path / "run/split.csv").exists()
