"""Users' own tasks: folders, a CSV table and tasks.yaml."""

import random
from pathlib import Path

import pytest
from data_sets import build, fill, own_part

from datasets.multitask import drawn_shots, tasks_of
from softcpt.tasks import Task


@pytest.fixture
def root(tmp_path):
    """Two tasks: leaves, without parts, and cups, with them (no val)."""
    for name in ("oak", "ash_tree", "elm"):
        fill(tmp_path / "leaves" / name, 10)
    for name in ("red", "blue"):
        fill(tmp_path / "cups/train" / name, 4, ".jpg")
        fill(tmp_path / "cups/test" / name, 2, ".jpg")
    (tmp_path / "leaves/oak/Thumbs.db").touch()
    (tmp_path / ".cache").mkdir()
    (tmp_path / "notes.txt").touch()
    return tmp_path


def write_table(root, *lines, name="tasks.csv"):
    (root / name).write_text("\n".join(["path,task,class,split", *lines]) + "\n")


LINES = [
    f"leaves/{name}/{i}.png,leaf,{name},{part}"
    for name in ("oak", "elm")
    for i, part in enumerate(("train", "train", "val", "test"))
]


def test_folders_are_tasks_and_classes(root):
    dataset = build(root)
    assert dataset.tasks == (Task("cups", ("blue", "red")), Task("leaves", ("ash tree", "elm", "oak")))
    assert tasks_of(dataset) == dataset.tasks
    assert dataset.classnames == ["blue", "red", "ash tree", "elm", "oak"]
    for part, items in (("train", dataset.train_x), ("val", dataset.val), ("test", dataset.test)):
        found = {str(Path(item.impath).relative_to(root / "leaves")) for item in items if item.domain == 1}
        names = [f"{name}/{i}.png" for name in ("oak", "ash_tree", "elm") for i in range(10)]
        assert found == {name for name in names if own_part(name) == part}
        assert sum(item.domain == 0 for item in items) == {"train": 8, "val": 0, "test": 4}[part]
    for item in (*dataset.train_x, *dataset.val, *dataset.test):
        assert item.classname.replace(" ", "_") == Path(item.impath).parent.name
    paths = [item.impath for part in (dataset.train_x, dataset.val, dataset.test) for item in part]
    assert len(set(paths)) == len(paths) == 12 + 30


def test_shots_and_halves_are_taken_per_task(root):
    dataset = build(root, DATASET__NUM_SHOTS=2, DATASET__SUBSAMPLE_CLASSES="base")
    assert [task.classnames for task in dataset.tasks] == [("blue",), ("ash tree", "elm")]
    shots = drawn_shots(dataset)
    assert {task: len(parts["train"]) for task, parts in shots.items()} == {"cups": 2, "leaves": 4}
    whole = build(root)
    pool = [item.impath for item in whole.train_x if item.label == 0]
    assert shots["cups"]["train"] == [str(Path(p).relative_to(root)) for p in random.Random(1).sample(pool, 2)]


def test_settings_name_and_order_tasks_and_classes(root):
    (root / "tasks.yaml").write_text(
        "leaves:\n  name: tree leaf recognition\n  template: 'a leaf of {}.'\n  metric: mean_per_class\n"
        "  classes: {oak: oak tree, elm: elm tree, ash_tree: ash tree}\ncups:\n  classes: [red, blue]\n"
    )
    dataset = build(root)
    assert dataset.tasks == (
        Task("tree leaf recognition", ("oak tree", "elm tree", "ash tree"), "mean_per_class", "a leaf of {}."),
        Task("cups", ("red", "blue")),
    )
    for which in ("tree leaf recognition", "leaves"):
        assert [task.name for task in build(root, DATASET__TASKS=which).tasks] == ["tree leaf recognition"]
    (root / "tasks.yaml").write_text("leaves:\n  name: tree leaf recognition\n")
    assert [task.name for task in build(root).tasks] == ["tree leaf recognition", "cups"]
    (root / "tasks.yaml").write_text("# nothing yet\n")
    assert len(build(root).tasks) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("leaf:\n  name: x\n", "line 1: no task 'leaf' .*'leaves'"),
        ("cups:\n  nmae: x\n", "line 2: unknown key 'nmae' .*'name'"),
        ("cups:\n  name: [3]\n", "line 2: name must be text, found \\['3'\\]"),
        ("cups:\n  name:\n", "line 2: name must be text, found ''"),
        ("cups:\n  name: x\n  metric: acuracy\n", "line 3: metric is 'acuracy', use accuracy or mean_per_class"),
        ("cups:\n  template: 'a cup'\n", r"line 2: template 'a cup' must have one \{\}"),
        ("cups:\n  classes: [red, blu]\n", "line 2: 'cups' has no class 'blu' .*'blue'"),
        ("cups:\n  classes: [red]\n", "line 2: the classes of 'cups' lack 'blue'"),
        ("cups:\n  classes: {red: cup, blue: cup}\n", "line 2: two classes of 'cups' are called 'cup'"),
        ("cups:\n  classes: 2\n", "line 2: classes must be a list"),
        ("- cups\n", "expected tasks as keys, found list"),
        ("cups: red\n", "line 1: 'cups' must have keys like name"),
        ("cups: {name: leaves}\n", "found twice: 'leaves'"),
        ("cups: [\n", "tasks.yaml: not a YAML file"),
    ],
)
def test_wrong_settings_error_names_the_line(root, text, message):
    (root / "tasks.yaml").write_text(text)
    with pytest.raises(ValueError, match=message):
        build(root)


def test_table_lists_images_of_tasks(root):
    write_table(root, *LINES, "cups/test/red/0.jpg,colour,red,train", "leaves/oak/0.png,colour,brown,train")
    with pytest.raises(ValueError, match=r"'colour': no test image of the class 'brown', 'red' \(first .* line 11"):
        build(root)
    write_table(root, *LINES)
    dataset = build(root)
    assert dataset.tasks == (Task("leaf", ("elm", "oak")),)
    assert [len(part) for part in (dataset.train_x, dataset.val, dataset.test)] == [4, 2, 2]
    assert dataset.train_x[0].impath == str(root / "leaves/elm/0.png")
    write_table(root, *LINES[:4], *(line.replace("oak", "ash_tree") for line in LINES[:4]), name="other.csv")
    assert build(root, DATASET__CSV="other.csv").classnames == ["ash tree", "oak"]


def test_table_without_a_split_column_is_split(root):
    rows = [f"leaves/{name}/{i}.png,leaf,{name}" for name in ("oak", "elm") for i in range(10)]
    (root / "tasks.csv").write_text("\ufeffpath,task,class\r\n" + "\r\n".join(rows) + "\r\n", encoding="utf-8")
    dataset = build(root)
    for part, items in (("train", dataset.train_x), ("val", dataset.val), ("test", dataset.test)):
        names = [row.split(",")[0] for row in rows]
        assert {str(Path(item.impath).relative_to(root)) for item in items} == {n for n in names if own_part(n) == part}


@pytest.mark.parametrize(
    ("line", "error", "message"),
    [
        ("leaves/oak/0.png,leaf,oak,dev", ValueError, "tasks.csv, line 10: split is 'dev', use train, val, test"),
        ("leaves/oak/9.png,leaf,,test", ValueError, "line 10: no class"),
        ("leaves/oak/9.png,leaf,oak", ValueError, "line 10: 3 fields, but the header has 4"),
        ("leaves/oak/99.png,leaf,oak,test", FileNotFoundError, "line 10: no file .*99.png"),
        ("notes.txt,leaf,oak,test", ValueError, "line 10: .*notes.txt is not an image file"),
        ("leaves/oak/0.png,leaf,oak,test", ValueError, "line 10: .*0.png is already in line 2 of the same task"),
        ("leaves/oak/9.png,leaf,ash,test", ValueError, r"no train image of the class 'ash' \(first named in line 10\)"),
    ],
)
def test_wrong_table_row_error_names_the_line(root, line, error, message):
    write_table(root, *LINES, line)
    with pytest.raises(error, match=message):
        build(root)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("file,task,class,split", "line 1: no column 'path'; the header must be path,task,class,split"),
        ("path;task;class;split", "line 1: no column 'path'"),
        ("path,task,class,splt", "line 1: unknown column 'splt'"),
        ("", "line 1: no column 'path'"),
    ],
)
def test_wrong_table_header_is_an_error(root, header, message):
    (root / "tasks.csv").write_text(header + "\n")
    with pytest.raises(ValueError, match=message):
        build(root)


def test_empty_or_missing_table_is_an_error(root):
    write_table(root)
    with pytest.raises(ValueError, match="tasks.csv: lists no pictures"):
        build(root)
    with pytest.raises(FileNotFoundError, match="DATASET.CSV: no file .*mine.csv"):
        build(root, DATASET__CSV="mine.csv")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda r: (r / "leaves/oak/list.txt").touch(),
            "oak/list.txt: not an image file \\(.txt\\), although in",
        ),
        (lambda r: (r / "leaves/oak/more").mkdir(), "oak/more: a folder in a class folder"),
        (lambda r: (r / "leaves/fig").mkdir(), "leaves/fig: a class folder without images, it is empty"),
        (lambda r: fill(r / "leaves/fig", 2), "'fig' has 2 images: 3 are needed"),
        (lambda r: fill(r / "leaves/ash tree", 5), "both called 'ash tree'"),
        (lambda r: fill(r / "pets", 2), "pets/0.png and 1 more: not in a class folder; expected <root>/<task>"),
        (lambda r: (r / "empty").mkdir(), "empty: no class folders, it is empty"),
        (lambda r: fill(r / "cups/train/green", 2), "'cups': no test image of the class 'green'"),
        (lambda r: fill(r / "cups/test/green", 2), "'cups': no train image of the class 'green'"),
        (lambda r: fill(r / "cups/val/red", 2), "'cups': no val image of the class 'blue'"),
        (lambda r: fill(r / "cups/extra/red", 2), "cups: 'extra' is beside 'test' and 'train', read as parts"),
    ],
)
def test_misplaced_files_are_errors(root, spoil, message):
    spoil(root)
    with pytest.raises(ValueError, match=message):
        build(root)


def test_missing_or_empty_root_error_shows_the_layout(tmp_path):
    with pytest.raises(FileNotFoundError, match="no folder .*nowhere; expected <root>/<task>/<class>"):
        build(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="no folder of a task and no tasks.csv"):
        build(tmp_path)


def test_class_may_be_called_train(tmp_path):
    for name in ("bus", "train"):
        fill(tmp_path / "vehicles" / name, 4)
    assert build(tmp_path).classnames == ["bus", "train"]
