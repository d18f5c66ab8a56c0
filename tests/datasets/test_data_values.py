"""No value in a data file costs much memory or time."""

import layouts
import pytest
from dassl.data.datasets import DATASET_REGISTRY, DatasetBase
from data_sets import build

from datasets.multitask import TaskSpec, task_of
from datasets.splits import datum, missing_labels, read_split
from softcpt.tasks import Task, is_template

pytestmark = pytest.mark.usefixtures("costs")

BILLION = 1_000_000_000
NO_LABEL = "no image has the label|is both|has 1 image: 2 are needed"


@pytest.mark.parametrize("label", [24, BILLION, 2**40, 10**400])
def test_label_beyond_the_number_of_images_is_refused(label, flowers):
    root = flowers(lambda split: split["test"][0].__setitem__(1, label))
    with pytest.raises(ValueError, match=r"test\[0\] has the label"):
        build(root, "ToyFlower")


def test_gap_in_the_labels_is_named(flowers):
    root = flowers(lambda split: [row.__setitem__(1, 7) for rows in split.values() for row in rows if row[1] == 2])
    with pytest.raises(ValueError, match="no image has the label 2, 3, 4, 5, 6, and one has the label 7"):
        build(root, "ToyFlower")


def test_endless_number_or_list_is_not_json(tmp_path):
    for text in ("9" * 5000, "[" * 100_000):
        (tmp_path / "split.json").write_text(f'{{"train": [["a.png", {text}')
        with pytest.raises(ValueError, match="split.json: not a JSON file"):
            read_split(str(tmp_path / "split.json"), str(tmp_path))


@pytest.mark.parametrize("labels", [[], [0], [0, 1, 2], [1], [0, 2, 5], [7, 3], [20, 0, 1]])
def test_missing_labels_match_a_loop(labels):
    expected = [label for label in range(max(labels, default=-1) + 1) if label not in labels]
    assert missing_labels(labels) == expected[:5]
    assert missing_labels([*labels, BILLION]) == [i for i in range(40) if i not in labels][:5]


@pytest.mark.parametrize(
    ("name", "file", "column"),
    [("OxfordPets", "annotations/trainval.txt", 1), ("UCF101", "ucfTrainTestlist/classInd.txt", 0)],
)
@pytest.mark.parametrize("number", ["1000000000", "999999999", "9" * 5000, "²"])
def test_huge_class_number_in_an_annotation_costs_nothing(name, file, column, number, tmp_path):
    layouts.lay_out(name, tmp_path)
    path = tmp_path / DATASET_REGISTRY.get(name).dataset_dir / file
    lines = path.read_text().splitlines()
    fields = lines[-1].split()
    fields[column] = number
    path.write_text("\n".join([*lines[:-1], " ".join(fields)]) + "\n")
    with pytest.raises(ValueError, match=f"{path.name}, line {len(lines)}: .* is not a class number|{NO_LABEL}"):
        build(tmp_path, name)


def test_huge_label_in_a_foreign_data_set_costs_nothing():
    items = [datum("a.png", 0, "a"), datum("b.png", BILLION, "b")]
    with pytest.raises(ValueError, match="no training image"):
        task_of(DatasetBase(train_x=items, test=items), TaskSpec("Others"))
    tested = DatasetBase(train_x=items[:1], test=items)
    with pytest.raises(ValueError, match="'others' .*: no training image for the labels 1000000000"):
        task_of(tested, TaskSpec("Others"))


BOMB = "&a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefghi", "bcdefghij")
)


@pytest.mark.parametrize(
    "text, message",
    [
        (f"a: {BOMB}leaves: {{name: *j}}", "references repeat too much"),
        (f"x: {BOMB}leaves: {{<<: [*j, *j]}}", "references repeat too much"),
        ("leaves: {name: a, name: b}", "line 1: the key 'name' occurs twice"),
        (f"leaves:\n  name: {BOMB.splitlines()[0]}", "name must be text"),
        ("leaves: {classes: [[a, b], b]}", "classes must be names"),
        ("leaves: {name: !!int " + "9" * 5000 + "}", "not a YAML file"),
        ("leaves: {name: !!timestamp 2001-13-45}", "not a YAML file"),
        ("leaves: " + "[" * 1000, "not a YAML file"),
        ("leaves: {template: 'a {!r:>1000000000} of {}'}", "template .* no other braces"),
        ("leaves: {template: 'a } of {}'}", "template .* no other braces"),
    ],
)
def test_hostile_settings_cost_nothing(text, message, leaves):
    (leaves / "tasks.yaml").write_text(text)
    with pytest.raises(ValueError, match=f"tasks.yaml.*{message}"):
        build(leaves)


def test_growing_references_are_shown_in_part(leaves):
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
def test_template_has_one_placeholder(text):
    assert is_template(text) and Task("t", ("a",), template=text).template == text


@pytest.mark.parametrize("text", ["", "a", "{} {}", "{0}", "{:>9}", "{{}}", "{} {x}", "a } {}", "{!r:>1000000000}{}"])
def test_template_with_other_braces_is_refused(text):
    assert not is_template(text)
    with pytest.raises(ValueError, match="must have one {} for the class name"):
        Task("t", ("a",), template=text)
