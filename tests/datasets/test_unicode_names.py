"""One name in two Unicode forms, and names that YAML reads as values."""

import json
import shutil
import unicodedata

import layouts
import pytest
from data_sets import build, config_of, fill

from datasets.multitask import tasks_of
from datasets.paths import Listings
from softcpt.evaluation.classes import check_same_classes, classes_of
from softcpt.files.texts import nfc
from softcpt.tasks import Task
from trainers.engine.run_files import split_of

TASK, CLASS = "pâtisserie", "crème_brûlée"  # composed


def nfd(text):
    return unicodedata.normalize("NFD", text)


@pytest.fixture(params=["NFC", "NFD"])
def root(request, tmp_path):
    """A task and a class with accents, on disk in one of both forms."""
    for name in (CLASS, "baba"):
        folder = tmp_path / unicodedata.normalize(request.param, f"{TASK}/{name}")
        fill(folder, 4)
        for i in range(4):
            (folder / f"{i}.png").rename(folder / unicodedata.normalize(request.param, f"é{i}.png"))
    return tmp_path


def other_form(root):
    """The Unicode form that is not on disk."""
    return nfd if any(nfc(path.name) == path.name == TASK for path in root.iterdir()) else nfc


def test_settings_and_selection_name_folders_in_any_form(root):
    text = f"{TASK}:\n  name: le goût\n  template: 'pâte {{}}'\n  classes: {{{CLASS}: crème, baba: baba}}\n"
    (root / "tasks.yaml").write_text(other_form(root)(text), encoding="utf-8")
    expected = (Task("le goût", ("crème", "baba"), "accuracy", "pâte {}"),)
    for which in ("all", "le goût", nfd("le goût"), other_form(root)(TASK)):
        dataset = build(root, DATASET__TASKS=which)
        assert dataset.tasks == expected and dataset.classnames == ["crème", "baba"]
    assert classes_of(dataset.tasks)[0]["classnames"] == ["crème", "baba"]
    (root / "tasks.yaml").unlink()
    assert build(root).tasks == (Task("pâtisserie", ("baba", "crème brûlée")),)


def test_table_names_files_in_any_form(root):
    form = other_form(root)
    parts = ("train", "val", "test", "test")
    rows = [f"{TASK}/{name}/é{i}.png,{TASK},{name},{parts[i]}" for name in (CLASS, "baba") for i in range(4)]
    (root / "tasks.csv").write_text(form("\n".join(["path,task,class,split", *rows])), encoding="utf-8")
    (root / "tasks.yaml").write_text(f"{TASK}: {{classes: [{CLASS}, baba]}}", encoding="utf-8")
    dataset = build(root)
    assert dataset.tasks == (Task(TASK, ("crème brûlée", "baba")),)
    for item in (*dataset.train_x, *dataset.test):
        assert item.impath in map(str, root.rglob("*.png"))  # as it is on disk
    (root / "tasks.csv").write_text("\n".join(["path,task,class,split", *rows, form(rows[0])]), encoding="utf-8")
    with pytest.raises(ValueError, match="line 10: .* is already in line 2"):
        build(root)


def test_own_split_does_not_depend_on_the_form(tmp_path):
    splits = []
    for form in (nfc, nfd):
        folder = tmp_path / form.__name__ / form("fruits")
        for i in range(40):
            fill(folder / form("pêche"), 1)
            (folder / form("pêche") / "0.png").rename(folder / form("pêche") / form(f"é{i}.png"))
        fill(folder / "a", 5)
        dataset = build(tmp_path / form.__name__)
        splits.append([sorted(nfc(item.impath[len(str(folder)) :]) for item in dataset.test), dataset.classnames])
    assert splits[0] == splits[1] and splits[0][1] == ["a", "pêche"]


def test_split_file_and_lists_name_files_in_any_form(tmp_path):
    layout = layouts.lay_out("DescribableTextures", tmp_path)
    first = sorted(path for path in layout.image_dir.iterdir())[0]
    first.rename(first.with_name(nfd("rayé")))
    split = {part: [] for part in ("train", "val", "test")}
    raw = build(tmp_path, "DescribableTextures")
    assert "rayé" in raw.classnames
    for part, items in zip(split, (raw.train_x, raw.val, raw.test)):
        split[part] = [
            [
                nfc(i.impath[len(str(layout.image_dir)) + 1 :]),
                i.label,
                nfd(i.classname) if part == "val" else i.classname,
            ]
            for i in items
        ]
    (tmp_path / "dtd/split_zhou_DescribableTextures.json").write_text(json.dumps(split))
    again = build(tmp_path, "DescribableTextures")
    assert [i.impath for i in again.train_x] == [i.impath for i in raw.train_x]
    assert again.classnames == raw.classnames and tasks_of(again) == tasks_of(raw)


def test_two_names_of_one_form_are_an_error_that_names_both(tmp_path):
    fill(tmp_path / "a/é", 3)
    fill(tmp_path / "a/b", 3)
    shutil.copytree(tmp_path / "a/é", tmp_path / "a" / nfd("é"))
    with pytest.raises(ValueError, match=r"a: 'e\\u0301' and '\\xe9' are the same name, 'é', in two Unicode forms"):
        build(tmp_path)
    with pytest.raises(ValueError, match="are the same name"):
        Listings().find(str(tmp_path / "a/é"))


def test_backslashes_separate_folders_in_tables_and_split_files(tmp_path):
    fill(tmp_path / "t/a", 3)
    fill(tmp_path / "t/b", 3)
    rows = [rf"t\{name}\{i}.png,t,{name},{part}" for name in "ab" for i, part in enumerate(("train", "val", "test"))]
    (tmp_path / "tasks.csv").write_text("\n".join(["path,task,class,split", *rows]))
    assert [item.impath for item in build(tmp_path).train_x] == [str(tmp_path / f"t/{name}/0.png") for name in "ab"]
    (tmp_path / "tasks.csv").write_text("\n".join(["path,task,class,split", *rows, r"..\x.png,t,a,test"]))
    with pytest.raises(ValueError, match="line 8: .*leads out of"):
        build(tmp_path)


ODD = ("yes", "no", "on", "off", "null", "~x", "007", "1.10", "1e3", "0x1f", "2020-01-01", "12:30:00", "=", "True")


def test_names_in_settings_are_the_texts_that_are_written(tmp_path):
    for name in ODD:
        fill(tmp_path / "yes" / name, 3)
    for name in ("a", "b"):
        fill(tmp_path / "1.10" / name, 3)
    lines = [f"    {name}: {ODD[i - 1]}" for i, name in enumerate(ODD)]
    text = "yes:\n  name: 2020-01-01\n  classes:\n" + "\n".join(lines) + "\n1.10:\n  name: null\n"
    (tmp_path / "tasks.yaml").write_text(text)
    assert build(tmp_path).tasks == (Task("2020-01-01", (ODD[-1], *ODD[:-1])), Task("null", ("a", "b")))
    (tmp_path / "tasks.yaml").write_text(f"yes: {{classes: [{', '.join(ODD)}]}}\n1.10: ~\n")
    assert build(tmp_path).tasks == (Task("yes", ODD), Task("1.10", ("a", "b")))


def test_some_classes_may_be_renamed(tmp_path):
    for name in ("rose", "ox_eye", "bell_flower"):
        fill(tmp_path / "flowers" / name, 3)
    for text, names in (
        ("{ox_eye: ox-eye daisy}", ("bell flower", "ox-eye daisy", "rose")),  # in the order of the folders
        ("{rose: rose, ox_eye: daisy, bell_flower: campanula}", ("rose", "daisy", "campanula")),
        ("{rose: , ox_eye: , bell_flower: }", ("rose", "ox eye", "bell flower")),
        ("~", ("bell flower", "ox eye", "rose")),
    ):
        (tmp_path / "tasks.yaml").write_text(f"flowers: {{classes: {text}}}\n")
        assert build(tmp_path).tasks == (Task("flowers", names),)
    for text, message in (
        ("{ox_eyes: daisy}", "'flowers' has no class 'ox_eyes' .*'ox_eye'"),
        ("{ox_eye: bell flower}", "two classes of 'flowers' are called 'bell flower'"),
        ("[ox_eye]", "the classes of 'flowers' lack 'bell_flower', 'rose'"),
    ):
        (tmp_path / "tasks.yaml").write_text(f"flowers:\n  classes: {text}\n")
        with pytest.raises(ValueError, match=f"tasks.yaml, line 2: {message}"):
            build(tmp_path)


def test_run_with_names_in_another_form_has_the_same_classes(root, tmp_path_factory):
    run = tmp_path_factory.mktemp("run")
    tasks = build(root).tasks
    tasks_then = [{**classes_of([task])[0], "name": nfd(task.name)} for task in tasks]
    for task in tasks_then:
        task["classnames"] = [nfd(name) for name in task["classnames"]]
    (run / "classes.json").write_text(json.dumps({"schema": 1, "tasks": tasks_then}))
    check_same_classes(run, tasks)
    tasks_then[0]["classnames"][0] = "savarin"
    (run / "classes.json").write_text(json.dumps({"schema": 1, "tasks": tasks_then}))
    with pytest.raises(ValueError, match="'savarin'"):
        check_same_classes(run, tasks)


def test_split_of_a_record_names_tasks_in_one_form(root):
    cfg = config_of(root, "FolderTasks", DATASET__TASKS=nfd(TASK))
    cfg.TEST.SPLIT = "test"
    assert split_of(cfg) == f"test-{TASK}-tasks"
