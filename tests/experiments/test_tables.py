"""Tables of results, against numbers worked out by hand."""

import pandas as pd
import pytest
from records import RUNS, record, section_of

from softcpt.reports.plots import accuracy_figure
from softcpt.reports.tables import (
    AVERAGE,
    results_frame,
    sections,
    shots_table,
    summarise,
    task_table,
    zero_shot_methods,
)
from softcpt.reports.texts import backbone_title, cost_note, duration, section_title


def test_means_and_deviations_by_hand():
    summary = summarise(results_frame(RUNS))
    coop = summary[(summary["method"] == "CoOp") & (summary["shots"] == 1)].set_index("task")
    # shape: 40, 44, 42: mean 42, s.d. sqrt((4 + 4 + 0) / 2) = 2; average: 45, 49, 50: mean 48, s.d. sqrt(14 / 2)
    assert coop.loc["shape", ["mean", "sd", "n"]].tolist() == [42, 2, 3]
    assert coop.loc[AVERAGE, ["mean", "sd", "n"]].tolist() == pytest.approx([48, 7**0.5, 3])
    zero_shot = summary[summary["method"] == "ZeroshotCLIP"].set_index("task")
    assert zero_shot.loc[AVERAGE, "mean"] == 40
    assert pd.isna(zero_shot.loc[AVERAGE, "sd"])
    assert zero_shot_methods(summary) == ["ZeroshotCLIP"]


def test_shots_table_starts_with_zero_shot_and_ends_with_costs():
    table = shots_table(section_of(RUNS))
    assert list(table) == ["method", "zero-shot", "1 shot", "16 shots", "parameters", "steps", "training", "memory"]
    assert table.values.tolist() == [
        ["ZeroshotCLIP", "40.0 (n=1)", "–", "–", "0", "–", "–", "0.80 GB"],
        ["CoOp", "–", "48.0 ± 2.6", "–", "1,234", "50", "90 s", "1.20 GB"],
        ["SoftCPT NATA", "–", "47.5 ± 1.5", "61.0 ± 1.4 (n=2)", "1,234", "1,500", "90 s", "1.00 GB"],
    ]


def test_costs_are_mean_time_and_peak_memory_over_seeds():
    runs = [record(seed=seed, train_seconds=30.0 * seed, peak_memory_bytes=10**9 + seed) for seed in (1, 2)]
    row = summarise(results_frame(runs)).iloc[0]
    assert (row["train_seconds"], row["peak_memory_bytes"], row["steps"], row["device"]) == (45, 10**9 + 2, 1500, "cpu")
    older = [{key: value for key, value in run.items() if key not in ("steps", "device")} for run in runs]
    row = summarise(results_frame(older)).iloc[0]
    assert pd.isna(row["steps"]) and row["device"] == "" and row["sd"] == 0


def test_cost_note_names_the_devices():
    on_cpu, unknown = cost_note(["cpu", "cpu"]), cost_note([""])
    assert "resident on a CPU (with PyTorch itself). " in on_cpu and on_cpu.endswith("Measured on: cpu.")
    assert "GPU" not in on_cpu
    assert "resident on a CPU (with PyTorch itself) and allocated on a GPU" in unknown and "Measured" not in unknown
    both = cost_note(["cpu, NVIDIA T4", "NVIDIA T4"])
    assert "and allocated on a GPU" in both and both.endswith("Measured on: NVIDIA T4, cpu.")
    assert "process, allocated on a GPU." in cost_note(["NVIDIA T4"])


def test_task_table_names_unusual_numbers_of_seeds():
    table = task_table(section_of(RUNS), 16)
    assert list(table) == ["task", "ZeroshotCLIP (n=1)", "SoftCPT NATA (n=2)"]
    assert table.values.tolist() == [
        ["shape", "35.0", "51.5 ± 2.1"],
        ["number of objects", "45.0", "70.5 ± 0.7"],
        [AVERAGE, "40.0", "61.0 ± 1.4"],
        ["training", "–", "90 s"],
        ["memory", "0.80 GB", "1.00 GB"],
    ]


def test_missing_values_and_all_images_have_their_places():
    runs = [record(shots=shots, values=(40.0, None), n=(30, 0), train_seconds=None) for shots in (-1, 4)]
    section = section_of(runs)
    assert list(shots_table(section))[:4] == ["method", "4 shots", "all images", "parameters"]
    assert shots_table(section)["training"].tolist() == ["–"]
    assert task_table(section, 4).iloc[:, 1].tolist() == ["40.0", "–", "40.0", "–", "1.00 GB"]
    accuracy_figure(summarise(results_frame(runs)))


def test_duplicate_run_is_an_error_naming_both():
    first, second = {**RUNS[1], "path": "a/results.json"}, {**RUNS[1], "path": "b/results.json"}
    message = r"CoOp, Demo, 1 shot, seed 1\): a/results.json and b/results.json; report a folder .* TRAINER.LABEL"
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
def test_backbone_title_has_no_folders(name, title):
    assert backbone_title(name) == title


def test_different_test_sets_backbones_and_splits_are_sections():
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
def test_durations_are_readable(seconds, text):
    assert duration(seconds) == text
