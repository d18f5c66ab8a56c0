"""Records, tables and the report, against numbers worked out by hand."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.colors import to_hex
from PIL import Image

from evaluation.provenance import git_commit, software_versions
from evaluation.records import merge_tasks, read_records, run_record, write_record
from experiments.reports import REPORT_FILES
from experiments.reports.base_to_new import base_to_new, base_to_new_summary
from experiments.reports.plots import MOST_SECTIONS, accuracy_figure, halves_figure, tasks_figure
from experiments.reports.runs import readable_records, told_apart
from experiments.reports.styles import GREY, color_of, colors, highlights
from experiments.reports.tables import (
    AVERAGE,
    backbone_title,
    cost_note,
    duration,
    results_frame,
    section_title,
    sections,
    shots_table,
    summarise,
    task_table,
    zero_shot_methods,
)

REPORT = Path(__file__).resolve().parents[2] / "scripts" / "report.py"


def record(trainer="SoftCPT", variant="NATA", shots=1, seed=1, values=(40.0, 60.0), n=(30, 1200), **changes):
    names = ("shape", "number of objects", "day")
    metrics = ("accuracy", "mean_per_class", "accuracy")
    fields = {
        "trainer": trainer,
        "variant": variant,
        "dataset": "Demo",
        "shots": shots,
        "seed": seed,
        "backbone": "models/tiny_clip.npz",
        "split": "test",
        "tasks": [dict(zip(("name", "metric", "value", "n"), task)) for task in zip(names, metrics, values, n)],
        "n_params": 1234 if shots else 0,
        "train_seconds": 90.0 if shots else 0.0,
        "test_seconds": 2.0,
        "peak_memory_bytes": 10**9,
        "device": "cpu",
        "epochs": 50,
        "steps": 1500,
        "commit": "abc",
        "versions": {"torch": "2.4"},
    }
    return run_record(**{**fields, **changes})


RUNS = (
    record("ZeroshotCLIP", "", 0, 1, (35.0, 45.0), steps=0, peak_memory_bytes=8 * 10**8),
    record("CoOp", "", 1, 1, (40.0, 50.0), peak_memory_bytes=12 * 10**8, steps=50),
    record("CoOp", "", 1, 2, (44.0, 54.0), steps=50),
    record("CoOp", "", 1, 3, (42.0, 58.0), steps=50),
    record("SoftCPT", "NATA", 16, 1, (50.0, 70.0)),
    record("SoftCPT", "NATA", 16, 2, (53.0, 71.0)),
    record("SoftCPT", "NATA", 1, 1, (41.0, 51.0)),
    record("SoftCPT", "NATA", 1, 2, (43.0, 55.0)),
    record("SoftCPT", "NATA", 1, 3, (42.0, 53.0)),
)


def write_runs(folder, runs=RUNS):
    for i, run in enumerate(runs):
        path = folder / run["dataset"] / run["trainer"] / f"run{i}"
        path.mkdir(parents=True)
        write_record(path / "results.json", run)


def run_report(*arguments, cwd="/"):
    return subprocess.run([sys.executable, str(REPORT), *map(str, arguments)], capture_output=True, text=True, cwd=cwd)


def section_of(runs):
    return sections(summarise(results_frame(runs)))[0][1]


def test_a_record_has_the_keys_of_schema_1_in_order_and_the_mean_over_tasks():
    run = record(values=(40.0, None, 65.0), n=(30, 0, 20))
    assert run["metric"] == 52.5
    assert (
        list(run)
        == (
            "schema trainer variant dataset shots seed backbone split metric tasks n_params train_seconds test_seconds "
            "peak_memory_bytes device epochs steps commit versions command loaded_from"
        ).split()
    )
    assert run["schema"] == 1
    with pytest.raises(ValueError, match="'shots' is '16'"):
        record(shots="16")
    with pytest.raises(ValueError, match="result of any task"):
        record(values=(None,), n=(0,))


def tasks_record(name, value, **changes):
    split = f"test-{name}-tasks"
    task = {"name": name, "metric": "accuracy", "value": value, "n": 10}
    return record(variant="separate", tasks=[task], **{"split": split, **changes})


def test_records_of_single_tasks_merge_into_one_by_hand():
    parts = [
        tasks_record("air", 40.0, train_seconds=1.5, test_seconds=1.0, peak_memory_bytes=7, n_params=2),
        tasks_record("sea", 70.0, train_seconds=2.0, test_seconds=0.5, peak_memory_bytes=9, n_params=3),
    ]
    merged = merge_tasks(parts)
    assert merged["tasks"] == [parts[0]["tasks"][0], parts[1]["tasks"][0]]
    assert (merged["metric"], merged["split"], merged["variant"]) == (55.0, "test", "separate")
    assert (merged["n_params"], merged["train_seconds"], merged["test_seconds"]) == (5, 3.5, 1.5)
    assert merged["peak_memory_bytes"] == 9 and merged["commit"] == "abc" and merged["versions"] == {"torch": "2.4"}
    assert merge_tasks([parts[0], {**parts[1], "train_seconds": None, "commit": "def"}])["train_seconds"] is None
    assert merge_tasks([parts[0], {**parts[1], "commit": "def"}])["commit"] == "abc, def"


def test_tasks_of_equal_epochs_or_of_equal_steps_merge_and_others_do_not():
    parts = [tasks_record("air", 40.0, epochs=50, steps=150), tasks_record("sea", 70.0, epochs=50, steps=200)]
    merged = merge_tasks(parts)
    assert (merged["epochs"], merged["steps"], merged["device"]) == (50, 350, "cpu")
    at_steps = [{**part, "epochs": epochs, "steps": 90} for part, epochs in zip(parts, (30, 23))]
    merged = merge_tasks(at_steps)
    assert (merged["epochs"], merged["steps"]) == (30, 180)
    with pytest.raises(ValueError, match="differ in epochs: 30, 23"):
        merge_tasks([at_steps[0], {**at_steps[1], "steps": 91}])
    older = [{key: value for key, value in part.items() if key not in ("steps", "device")} for part in parts]
    merged = merge_tasks(older)
    assert (merged["epochs"], merged["steps"], merged["device"]) == (50, None, "")


def test_records_that_are_not_of_one_run_do_not_merge():
    with pytest.raises(ValueError, match="no records"):
        merge_tasks([])
    with pytest.raises(ValueError, match="differ in seed: 1, 2"):
        merge_tasks([tasks_record("air", 40.0), tasks_record("sea", 40.0, seed=2)])
    with pytest.raises(ValueError, match="differ in split: test, val"):
        merge_tasks([tasks_record("air", 40.0), tasks_record("sea", 40.0, split="val-sea-tasks")])
    with pytest.raises(ValueError, match="record 1 of 2 to merge: not the record of a run"):
        merge_tasks([tasks_record("air", 40.0), {}])


def test_records_are_read_back_sorted_with_their_files(tmp_path):
    write_runs(tmp_path)
    records = read_records(tmp_path)
    assert [run.pop("path") for run in records] == sorted(map(str, tmp_path.rglob("results.json")))
    assert sorted(map(str, records)) == sorted(map(str, RUNS))
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_record_of_an_older_version_is_read_with_unknown_steps_and_device(tmp_path):
    older = {key: value for key, value in RUNS[1].items() if key not in ("steps", "device")}
    (tmp_path / "results.json").write_text(json.dumps(older))
    (found,) = read_records(tmp_path)
    assert (found["steps"], found["device"], found["epochs"]) == (None, "", 50)


def test_a_number_that_json_cannot_hold_leaves_no_file(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_record(tmp_path / "results.json", record(train_seconds=float("nan")))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not a JSON file"),
        ("[1]", "no key 'schema'"),
        ('{"accuracy": 3}', "no key 'schema'"),
        ('{"schema": 2}', "schema is 2"),
        ('{"schema": 1, "trainer": "CoOp"}', "missing keys: variant, dataset, shots"),
        (json.dumps({**RUNS[0], "seed": "1"}), "'seed' is '1'"),
        (json.dumps({**RUNS[0], "tasks": []}), "'tasks' is empty"),
        (json.dumps({**RUNS[0], "tasks": [{"name": "x"}]}), r"tasks\[0\]: missing keys: metric, value, n"),
    ],
)
def test_a_file_that_is_no_record_is_named(tmp_path, content, message):
    (tmp_path / "results.json").write_text(content)
    with pytest.raises(ValueError, match=rf"{tmp_path}/results\.json.*{message}"):
        read_records(tmp_path)


def test_versions_and_commit_are_texts(tmp_path):
    versions = software_versions()
    assert set(versions) == {"python", "torch", "torchvision", "clip", "dassl", "softcpt"}
    assert versions["torch"]
    assert git_commit(tmp_path) == ""
    subprocess.run(
        "git init -q . && touch a && git add a && git -c user.name=x -c user.email=x@x commit -qm a",
        shell=True,
        cwd=tmp_path,
        check=True,
    )
    clean = git_commit(tmp_path)
    assert len(clean) == 40
    (tmp_path / "a").write_text("changed")
    assert git_commit(tmp_path) == clean + "+dirty"


def test_means_and_sample_deviations_are_those_worked_out_by_hand():
    summary = summarise(results_frame(RUNS))
    coop = summary[(summary["method"] == "CoOp") & (summary["shots"] == 1)].set_index("task")
    # shape: 40, 44, 42: mean 42, s.d. sqrt((4 + 4 + 0) / 2) = 2; average: 45, 49, 50: mean 48, s.d. sqrt(14 / 2)
    assert coop.loc["shape", ["mean", "sd", "n"]].tolist() == [42, 2, 3]
    assert coop.loc[AVERAGE, ["mean", "sd", "n"]].tolist() == pytest.approx([48, 7**0.5, 3])
    zero_shot = summary[summary["method"] == "ZeroshotCLIP"].set_index("task")
    assert zero_shot.loc[AVERAGE, "mean"] == 40
    assert pd.isna(zero_shot.loc[AVERAGE, "sd"])
    assert zero_shot_methods(summary) == ["ZeroshotCLIP"]


def test_the_table_has_methods_times_shots_with_zero_shot_first_and_costs_last():
    table = shots_table(section_of(RUNS))
    assert list(table) == [
        "method",
        "zero-shot",
        "1 shot",
        "16 shots",
        "parameters",
        "steps",
        "training",
        "memory",
    ]
    assert table.values.tolist() == [
        ["ZeroshotCLIP", "40.0 (n=1)", "–", "–", "0", "–", "–", "0.80 GB"],
        ["CoOp", "–", "48.0 ± 2.6", "–", "1,234", "50", "90 s", "1.20 GB"],
        ["SoftCPT NATA", "–", "47.5 ± 1.5", "61.0 ± 1.4 (n=2)", "1,234", "1,500", "90 s", "1.00 GB"],
    ]


def test_costs_are_the_mean_time_and_the_largest_memory_over_the_seeds():
    runs = [record(seed=seed, train_seconds=30.0 * seed, peak_memory_bytes=10**9 + seed) for seed in (1, 2)]
    row = summarise(results_frame(runs)).iloc[0]
    assert (row["train_seconds"], row["peak_memory_bytes"], row["steps"], row["device"]) == (45, 10**9 + 2, 1500, "cpu")
    older = [{key: value for key, value in run.items() if key not in ("steps", "device")} for run in runs]
    row = summarise(results_frame(older)).iloc[0]
    assert pd.isna(row["steps"]) and row["device"] == "" and row["sd"] == 0


def test_a_report_says_what_its_costs_are_of():
    on_cpu, unknown = cost_note(["cpu", "cpu"]), cost_note([""])
    assert "resident on a CPU (with PyTorch itself). " in on_cpu and on_cpu.endswith("Measured on: cpu.")
    assert "GPU" not in on_cpu
    assert "resident on a CPU (with PyTorch itself) and allocated on a GPU" in unknown and "Measured" not in unknown
    both = cost_note(["cpu, NVIDIA T4", "NVIDIA T4"])
    assert "and allocated on a GPU" in both and both.endswith("Measured on: NVIDIA T4, cpu.")
    assert "process, allocated on a GPU." in cost_note(["NVIDIA T4"])


def test_the_table_of_tasks_names_other_numbers_of_seeds_in_the_title():
    table = task_table(section_of(RUNS), 16)
    assert list(table) == ["task", "ZeroshotCLIP (n=1)", "SoftCPT NATA (n=2)"]
    assert table.values.tolist() == [
        ["shape", "35.0", "51.5 ± 2.1"],
        ["number of objects", "45.0", "70.5 ± 0.7"],
        [AVERAGE, "40.0", "61.0 ± 1.4"],
        ["training", "–", "90 s"],
        ["memory", "0.80 GB", "1.00 GB"],
    ]


def test_a_task_without_samples_and_a_run_on_all_images_have_their_places():
    runs = [record(shots=shots, values=(40.0, None), n=(30, 0), train_seconds=None) for shots in (-1, 4)]
    section = section_of(runs)
    assert list(shots_table(section))[:4] == ["method", "4 shots", "all images", "parameters"]
    assert shots_table(section)["training"].tolist() == ["–"]
    assert task_table(section, 4).iloc[:, 1].tolist() == ["40.0", "–", "40.0", "–", "1.00 GB"]
    accuracy_figure(summarise(results_frame(runs)))


def test_the_same_run_from_two_folders_is_an_error_that_names_both():
    first, second = {**RUNS[1], "path": "a/results.json"}, {**RUNS[1], "path": "b/results.json"}
    message = r"CoOp, Demo, 1 shots, seed 1\): a/results.json and b/results.json; report a folder .* TRAINER.LABEL"
    with pytest.raises(ValueError, match=message):
        results_frame([first, RUNS[0], second])


@pytest.mark.parametrize(
    "name, title",
    [
        ("ViT-B/16", "ViT-B/16"),
        ("models/tiny.npz", "tiny"),
        ("/my models/tiny.pt@quickgelu", "tiny"),
        ("/models/siglip", "siglip"),
        ("open_clip:ViT-L-14/datacomp_xl_s13b_b90k", "open_clip:ViT-L-14/datacomp_xl_s13b_b90k"),
        ("open_clip:ViT-L-14 /models/mine.safetensors", "open_clip:ViT-L-14 mine"),
        ("hf-hub:owner/model", "hf-hub:owner/model"),
    ],
)
def test_a_title_names_the_backbone_without_the_folders_of_its_file(name, title):
    assert backbone_title(name) == title


def test_other_test_sets_backbones_and_splits_are_other_sections():
    runs = [
        record(),
        record(n=(15, 600)),
        record(values=(40.0,), n=(30,)),
        record(split="val"),
        record(dataset="General10", backbone="ViT-B/16"),
    ]
    found = sections(summarise(results_frame(runs)))
    assert len(found) == 5
    assert section_title(found[-1][0]) == "General10, ViT-B/16, test set"
    assert found[0][0]["tested"] == "shape (15), number of objects (600, mean per class)"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "–"), (3.21, "3.2 s"), (90, "90 s"), (600, "10.0 min"), (9000, "2.5 h")]
)
def test_durations_read_well(seconds, text):
    assert duration(seconds) == text


MANY = [
    *RUNS,
    record("ProLIP", "", 1, 1, (60.0, 61.0)),
    record("ProLIP", "", 16, 1, (50.0, 51.0)),
    *(record("PLOT", f"v{i}", shots, 1, (20.0 + i, 30.0)) for i in range(5) for shots in (1, 16)),
    record("SoftCPT", "NATS", 1, 1, (90.0, 90.0)),
    record("SoftCPT", "NATS", 16, 1, (90.0, 90.0)),
    record("KgCoOp", "", 1, 1, (99.0, 99.0)),
]


def test_softcpt_and_its_best_rival_are_coloured_and_the_others_grey():
    section = section_of(MANY)
    stressed = highlights(section)
    # KgCoOp is better, but ran with one shot alone; SoftCPT's variants are no rivals of it.
    assert (stressed.hero, stressed.rival, stressed.rival_mean) == ("SoftCPT NATA", "ProLIP", 55.5)
    assert stressed.why == "Best rival, by the mean over the 2 numbers of shots: ProLIP (55.5)."
    shown = colors(section, stressed)
    assert {name for name, color in shown.items() if color != GREY} == {"SoftCPT NATA", "ProLIP", "ZeroshotCLIP"}
    without = highlights(section_of([run for run in MANY if run["trainer"] != "SoftCPT"]))
    assert (without.hero, without.rival) == ("ProLIP", "PLOT v4")
    assert highlights(section_of(RUNS[:1])).why == ""


def test_a_method_has_the_same_colour_in_all_pictures():
    for runs in (MANY, RUNS):
        section = section_of(runs)
        shown = colors(section, highlights(section))
        coloured = {name: color for name, color in shown.items() if color != GREY and name != "ZeroshotCLIP"}
        assert coloured == {name: color_of(name) for name in coloured} and "SoftCPT NATA" in coloured
        summary = summarise(results_frame(runs))
        for figure in (accuracy_figure(summary), tasks_figure(summary)):
            drawn = {to_hex(color).upper() for axes in figure.axes for color in drawn_colors(axes)}
            assert set(coloured.values()) <= drawn
    assert color_of("SoftCPT NATA") == color_of("softcpt-nata")


def drawn_colors(axes):
    lines = [line.get_color() for line in axes.lines]
    return lines + [color for collection in axes.collections for color in collection.get_edgecolor()]


def test_the_main_picture_ranks_the_methods_at_each_number_of_shots():
    figure = accuracy_figure(summarise(results_frame(RUNS)))
    assert [axes.get_title() for axes in figure.axes] == ["1 shot", "16 shots"]
    names = [[label.get_text() for label in axes.get_yticklabels()] for axes in figure.axes]
    assert names == [["ZeroshotCLIP", "SoftCPT NATA", "CoOp"], ["ZeroshotCLIP", "SoftCPT NATA"]], "from below"
    assert [text.get_text() for text in figure.axes[0].texts] == ["40.0", "47.5", "48.0"]


def test_with_one_number_of_shots_the_pictures_are_bars_from_zero_that_end_below_100():
    summary = summarise(results_frame([run for run in RUNS if run["shots"] < 2]))
    (axes,) = accuracy_figure(summary).axes
    assert [bar.get_width() for bar in axes.patches] == [40, 47.5, 48]
    assert axes.get_xlim()[0] == 0
    figure = tasks_figure(summary)
    assert [axes.get_title() for axes in figure.axes] == [AVERAGE, "shape", "number of objects"]
    assert all(axes.get_xlim() == (0, 100) and len(axes.patches) == 3 for axes in figure.axes)


def test_the_curves_are_named_at_their_ends_and_hold_the_means():
    figure = tasks_figure(summarise(results_frame(MANY)))
    assert [axes.get_title() for axes in figure.axes] == [AVERAGE, "shape", "number of objects"]
    large = figure.axes[0]
    assert {text.get_text() for text in large.texts} == {"SoftCPT NATA", "ProLIP", "ZeroshotCLIP"}
    assert [large.get_xscale(), large.get_xticks().tolist()] == ["log", [1, 16]]
    handles, labels = large.get_legend_handles_labels()
    assert list(handles[labels.index("SoftCPT NATA")].lines[0].get_ydata()) == [47.5, 61.0]
    assert not figure.axes[1].texts


def test_of_many_sections_the_first_are_drawn():
    runs = [{**record(), "dataset": f"d{i}"} for i in range(MOST_SECTIONS + 2)]
    assert len(accuracy_figure(summarise(results_frame(runs))).axes) == MOST_SECTIONS


def test_the_picture_of_halves_ranks_base_new_and_their_harmonic_mean():
    halves = {"base": 60.0, "new": 40.0}
    runs = [record(split=f"test-{half}-classes", values=(value,), n=(10,)) for half, value in halves.items()]
    figure = halves_figure(base_to_new_summary(base_to_new(runs)), "classes")
    assert [axes.get_title() for axes in figure.axes] == ["base classes", "new classes", "harmonic mean H"]
    assert [axes.texts[0].get_text() for axes in figure.axes] == ["60.0", "40.0", "48.0"]


def placed(run, path, **changes):
    return {**run, "path": path, **changes}


def test_an_evaluation_is_told_apart_from_the_training_whose_run_it_repeats():
    runs = [placed(RUNS[4], "out/test/results.json", loaded_from="out/run"), placed(RUNS[4], "out/run/results.json")]
    records, notes = told_apart(runs)
    assert [run["method"] for run in records] == ["SoftCPT NATA (evaluation)", "SoftCPT NATA"] and notes == []
    assert set(summarise(results_frame(records))["n"]) == {1}
    half = placed(RUNS[4], "x", loaded_from="out/run", split="test-new-classes")
    assert told_apart([half])[0][0]["method"] == "SoftCPT NATA", "the new half is never anything else"


def test_the_same_run_in_two_folders_is_kept_apart_and_named():
    runs = [placed(run, f"{folder}/demo/run{i}/results.json") for folder in "ba" for i, run in enumerate(RUNS[1:4])]
    records, notes = told_apart(runs)
    assert [run["method"] for run in records] == 3 * ["CoOp [b]"] + 3 * ["CoOp"]
    assert len(notes) == 1 and notes[0].startswith("CoOp [b]: 3 runs that are there twice, as b/demo/run0/results.json")
    assert told_apart(RUNS)[1] == []
    more = told_apart([placed(RUNS[1], f"x/{name}/results.json") for name in ("a", "b", "c")])[0]
    assert [run["method"] for run in more] == ["CoOp", "CoOp [b]", "CoOp [c]"]


def test_what_cannot_be_read_is_named_and_the_rest_is_reported(tmp_path):
    write_runs(tmp_path)
    for name, content in (("cut", "{"), ("other", '{"schema": 2}'), ("tasks/x", "[]")):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "results.json").write_text(content)
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "config.yaml").write_text("")
    records, left_out = readable_records(tmp_path)
    assert len(records) == len(RUNS) and len(left_out) == 3
    assert f"{tmp_path}/cut/results.json: not a JSON file" in left_out[0]
    assert f"{tmp_path}/other/results.json: schema is 2" in left_out[1]
    assert left_out[2] == f"without a results.json, so unfinished: 1 ({tmp_path}/begun)"


def test_report_end_to_end_from_another_folder(tmp_path):
    write_runs(tmp_path / "out", [*RUNS, record(dataset="Single", values=(70.0,), n=(10,))])
    done = run_report("out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    row = next(line for line in done.stdout.splitlines() if line.startswith("| SoftCPT NATA"))
    cells = [cell.strip() for cell in row.split("|")]
    costs = ["1,234", "1,500", "90 s", "1.00 GB"]
    assert cells == ["", "SoftCPT NATA", "–", "47.5 ± 1.5", "61.0 ± 1.4 (n=2)", *costs, ""]
    text = (tmp_path / "out" / "report.md").read_text()
    assert "## Demo, tiny_clip, test set" in text
    assert "## Single, tiny_clip, test set" in text
    assert "![Accuracy of every method](accuracy.png)" in text and "![Accuracy of every task](tasks.png)" in text
    assert {path.name for path in (tmp_path / "out").iterdir() if path.is_file()} == set(REPORT_FILES)
    numbers = pd.read_csv(tmp_path / "out" / "report.csv")
    row = numbers[(numbers["method"] == "CoOp") & (numbers["task"] == "shape")].iloc[0]
    assert (row["mean"], row["sd"], row["n"]) == (42, 2, 3)
    assert Image.open(tmp_path / "out" / "accuracy.png").width > 1000

    first = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir() if path.is_file()}
    run_report(tmp_path / "out", "--to", tmp_path / "elsewhere", cwd=os.sep)
    assert {path.name: path.read_bytes() for path in (tmp_path / "elsewhere").iterdir()} == first


def test_a_folder_without_finished_runs_is_one_clear_error(tmp_path):
    done = run_report(tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"error: {tmp_path}: no results.json below this folder, so no finished run to report\n"
    missing = run_report(tmp_path / "nowhere")
    assert (missing.returncode, missing.stderr) == (1, f"error: no folder {tmp_path / 'nowhere'}\n")
    assert not list(tmp_path.iterdir())


def test_the_benchmark_of_the_report_prints_its_seconds():
    script = REPORT.parent / "bench" / "report.py"
    done = subprocess.run([sys.executable, str(script), "--runs", "30"], capture_output=True, text=True, cwd="/")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("30 runs: ") and "report.html" in done.stdout
