"""Names and files that would break a report: each is shown or named, and the report is written."""

import csv
import json
import os
import resource

import pytest
import yaml
from records import record, write_runs

from softcpt.evaluation.predictions import PREDICTIONS_FILE, Prediction, write_predictions
from softcpt.evaluation.records import write_record
from softcpt.reports import REPORT_FILES, write_report
from softcpt.reports.confusion import LARGEST, matrix_picture, of_method, of_rows
from softcpt.reports.html import html
from softcpt.reports.pictures import png
from softcpt.reports.plots import accuracy_figure, tasks_figure
from softcpt.reports.runs import missing_methods, runs_below, told_apart
from softcpt.reports.tables import AVERAGE, results_frame, sections, summarise
from softcpt.reports.texts import wrapped
from softcpt.sweeps import Method

ODD = ("a|b", "two\nlines", AVERAGE, "memory", "task", "method", "$x_1$ and $", "=1+1", "\x1b[31mred", "<img src=x>")


def of_names(names, trainer="SoftCPT", seed=1, value=50.0, **changes):
    tasks = [{"name": name, "metric": "accuracy", "value": value + i, "n": 10} for i, name in enumerate(names)]
    return record(trainer, "", 4, seed, tasks=tasks, **changes)


def write(folder, runs):
    for i, run in enumerate(runs):
        (folder / f"run{i}").mkdir(parents=True)
        write_record(folder / f"run{i}/results.json", run)


def test_odd_names_of_tasks_and_methods_are_shown_in_every_file(tmp_path):
    runs = [of_names(ODD), of_names(ODD, "task", value=40.0), of_names(ODD, "=a|b\nc", value=30.0)]
    write(tmp_path / "out", [*runs, of_names(ODD, "ZeroshotCLIP") | {"shots": 0}])
    text = write_report(tmp_path / "out", tmp_path / "to")
    assert {path.name for path in (tmp_path / "to").iterdir()} == set(REPORT_FILES)
    table = text[text.index("### Tasks, 4 shots") :].split("\n\n")[1].splitlines()
    rows = [line.replace("\\|", "/").split("|") for line in table]
    assert {len(row) for row in rows} == {7}, "the same number of columns"
    assert [row[1].strip() for row in rows[2:]] == [
        "a/b", r"two\nlines", "average over tasks (task)", "memory (task)", "task (task)", "method (task)",
        "$x_1$ and $", "=1+1", r"\x1b[31mred", r"\<img src=x>", AVERAGE, "training", "memory",
    ]  # fmt: skip
    assert r"=a\|b\nc" in text and "task (method)" in text and "\x1b" not in text
    with open(tmp_path / "to/report.csv", newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert "'=1+1" in cells and "=1+1" not in cells and r"'=a|b\nc" in cells
    page = (tmp_path / "to/report.html").read_text()
    assert "<img src=x>" not in page and "\x1b" not in page and "<title>Results: Demo</title>" in page
    assert r"average over tasks (task)" in (tmp_path / "to/report.tex").read_text()


def test_dollars_are_no_mathematics_in_pictures():
    runs = [of_names(["$x_1$", r"$\frac{", "cost $5"], f"$a_{i}$", seed) for i in (1, 2) for seed in (1, 2)]
    for figure in (accuracy_figure(summarise(results_frame(runs))), tasks_figure(summarise(results_frame(runs)))):
        assert png(figure).startswith(b"\x89PNG")
        texts = [text for axes in figure.axes for text in (*axes.get_yticklabels(), axes.title)]
        assert texts and not any(text.get_parse_math() for text in texts)


def test_long_names_are_wrapped():
    name = "SoftCPT NATA_MAX_STEPS-350_NAME-open-clip-ViT-B-16-laion2b-s34b-b88k"
    assert wrapped("SoftCPT NATA") == "SoftCPT NATA"
    lines = wrapped(name, 24).split("\n")
    assert (
        len(lines) == 3
        and max(map(len, lines)) <= 24
        and lines[-1] == "…-16-laion2b-s34b-b88k"[-24:]
        or "…" in lines[-1]
    )


# -- sections and methods that differ ----------------------------------------------------------------------------------


def test_equal_titles_say_how_the_sections_differ():
    runs = [record(), record(n=(15, 1200)), record(values=(40.0,), n=(30,)), record(backbone="other/tiny_clip.npz")]
    titles = {name["title"] for name, _ in sections(summarise(results_frame(runs)))}
    start, model = "Demo, tiny_clip, test set; ", "backbone models/tiny_clip.npz; "
    both = "shape (30), number of objects (1,200, mean per class)"
    assert titles == {
        f"{start}{model}tested on {both}",
        f"{start}{model}tested on shape (15), number of objects (1,200, mean per class)",
        f"{start}{model}tested on shape (30)",
        f"{start}backbone other/tiny_clip.npz; tested on {both}",
    }


def test_runs_with_other_steps_or_other_own_folders_are_not_averaged(tmp_path):
    runs = [record(seed=seed, steps=steps) for seed, steps in ((1, 50), (2, 1500), (3, 1500))]
    own = [record(seed=seed, dataset="FolderTasks", command=f"python train.py --root /x/{where}/data --seed {seed}")
           for seed, where in ((1, "old"), (2, "new"))]  # fmt: skip
    write(tmp_path, [*runs, *own])
    records, notes = runs_below(tmp_path)
    names = {(run["dataset"], run["method"], run["seed"]) for run in records}
    assert names == {
        ("Demo", "SoftCPT NATA (50 steps)", 1),
        ("Demo", "SoftCPT NATA (1,500 steps)", 2),
        ("Demo", "SoftCPT NATA (1,500 steps)", 3),
        ("FolderTasks in old/data", "SoftCPT NATA", 1),
        ("FolderTasks in new/data", "SoftCPT NATA", 2),
    }
    assert notes == ["SoftCPT NATA: its runs differ in their settings (1,500 steps, 50 steps); they are kept apart"]


def test_methods_without_a_finished_run_are_named_with_the_reason(tmp_path):
    folders = {name: tmp_path / f"demo/{name}/tiny_4shots/default/seed1" for name in ("CoOp", "PLOT", "TaskRes")}
    write_record_in(folders["CoOp"], record("CoOp", "", 4))
    folders["PLOT"].mkdir(parents=True)
    (folders["PLOT"] / "failure.txt").write_text("exit status 1\nmany lines\nerror: no images\n")
    methods = [Method(name, name) for name in (*folders, "MaPLe")]
    records, notes = runs_below(tmp_path, methods, folders=set(folders.values()), reasons={"MaPLe": "it has no config"})
    assert [run["method"] for run in records] == ["CoOp"]
    assert f"failed runs: 1 ({folders['PLOT']}: exit status 1: error: no images)" in notes
    assert "PLOT: no finished run (exit status 1: error: no images)" in notes
    assert "TaskRes: no finished run" in notes and "MaPLe: left out, it has no config" in notes
    asked = runs_below(tmp_path, methods, folders={folders["CoOp"]})[1]
    assert not any("no finished run" in note for note in asked), "only of the runs that were asked for"
    assert missing_methods([], methods[:1], None, lambda path, shots: "", {}) == ["CoOp: no finished run"]


def write_record_in(folder, run):
    folder.mkdir(parents=True)
    write_record(folder / "results.json", run)


def test_halves_on_changed_data_are_kept_apart():
    runs = [{**record(split="test-base-classes", n=n), "path": f"{name}/results.json"}
            for name, n in (("a", (30, 40)), ("b", (31, 40)))]  # fmt: skip
    assert {run["method"] for run in told_apart(runs)[0]} == {"SoftCPT NATA", "SoftCPT NATA [b]"}
    named = {**record(split="test-a,x-base-tasks", loaded_from="run"), "path": "c"}
    assert told_apart([named])[0][0]["method"] == "SoftCPT NATA (evaluation)", "tasks by their names, not a half"


# -- spoilt files ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key, value", [("shots", 10**400), ("n_params", -(10**30)), ("metric", 10**400)])
def test_record_with_a_huge_number_costs_its_own_row(tmp_path, key, value):
    write_runs(tmp_path)
    folder = tmp_path / "spoilt"
    folder.mkdir()
    (folder / "results.json").write_text(json.dumps({**record(), key: value}))
    text = write_report(tmp_path, tmp_path / "to")
    assert f"{folder}/results.json: '{key}' is " in text and "| SoftCPT NATA" in text


def test_spoilt_files_beside_a_run_cost_only_themselves(tmp_path):
    folder = tmp_path / "run"
    write_record_in(folder, {**record(), "versions": {"torch": ["a", {"b": 1}], "x\n": None}})
    (folder / "config.yaml").write_text(yaml.safe_dump({"DATASET": {"ROOT": 5}}))
    (folder / PREDICTIONS_FILE).write_bytes(b"\x1f\x8b damaged")
    os.mkfifo(tmp_path / "results.json")
    text = write_report(tmp_path, tmp_path / "to")
    assert "| SoftCPT NATA" in text and f"{tmp_path}/results.json: not a regular file" in text
    page = (tmp_path / "to/report.html").read_text()
    assert "[&#39;a&#39;, {&#39;b&#39;: 1}]" in page


def test_predictions_show_no_pictures_from_outside_the_data(tmp_path):
    from PIL import Image

    data, run = tmp_path / "data", tmp_path / "run"
    data.mkdir()
    run.mkdir()
    for path in (data / "in.png", tmp_path / "out.png"):
        Image.new("RGB", (8, 8)).save(path)
    os.mkfifo(data / "fifo.png")
    names = [
        "in.png",
        "../out.png",
        str(tmp_path / "out.png"),
        "x/../../out.png",
        "fifo.png",
        "/dev/zero",
        "a\0b",
        "n" * 5000,
    ]
    rows = [Prediction("t", name, "a", "b", 0.9) for name in names]
    write_predictions(run / PREDICTIONS_FILE, rows)
    own = [{**record(), "method": "m", "path": str(run / "results.json")}]
    for i in range(len(names)):
        write_predictions(run / PREDICTIONS_FILE, rows[i : i + 1])
        shown = [
            url for task in of_method(own, "m", 1, data=data).tasks for pair in task.pairs for url in pair.thumbnails
        ]
        assert len(shown) == (names[i] == "in.png"), names[i]


def test_counts_of_many_classes_take_little_memory():
    rows = [Prediction("t", f"{i}.png", f"class {i}", f"other {i}", 0.5) for i in range(6000)]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    (task,) = of_rows([*rows, Prediction("t", "x", "class 3", "other 3", 0.7)])
    picture = matrix_picture(task)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000, "kB; a dense matrix has 1.1 GB"
    assert len(task.classes) == 12_000 and len(task.counts) == 6000 and task.matrix(LARGEST).sum() == 6001
    assert (task.pairs[0].classname, task.pairs[0].count, task.pairs[0].of) == ("class 3", 2, 2)
    assert picture.startswith(b"\x89PNG") and len(picture) < 200_000
    assert html([], [], {}).count("<title>Results</title>") == 1
