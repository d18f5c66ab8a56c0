"""Which method a report tells to pick: by validation shots, never by the test."""

import math

import pytest
from records import record, table_rows, write_runs

from scripts import report
from softcpt.reports import recommendation, write_report
from softcpt.reports.picking import ZERO_SHOT, Candidate, mean_and_error, pick, validation_frame


def run(trainer, values, tests=(50.0, 50.0), seed=1, n=40, zero=None, shots=4, **changes):
    """A run over two tasks with the metrics `values` on n validation shots each, and `tests` on test images."""
    own = [{"val": value, "val_n": n} | ({} if zero is None else {"val_zero_shot": zero}) for value in values]
    tasks = [
        {"name": name, "metric": "accuracy", "value": test, "n": 100, **more}
        for name, test, more in zip(("shape", "day"), tests, own)
    ]
    return record(trainer, "", shots, seed, tasks=tasks, **{"steps": None, **changes})


def rows_of(text):
    return [row for row in table_rows(text) if row[0].endswith(" shots")]


def test_pick_is_the_best_on_validation_not_on_the_test(tmp_path):
    write_runs(tmp_path / "runs", [
        run("CoOp", (90.0, 90.0), tests=(20.0, 20.0), train_seconds=30.0),
        run("TaskRes", (60.0, 60.0), tests=(99.0, 99.0), zero=30.0, train_seconds=1.0),
    ])  # fmt: skip
    text = recommendation(tmp_path / "runs")
    (row,) = rows_of(text)
    assert row[:2] == ["4 shots", "CoOp"] and row[2].startswith("90.0 ±") and row[3] == "80" and row[4] == "30 s"
    assert row[-1] == "–"  # TaskRes is far behind, and so is zero-shot
    assert "which to pick" in text and not (tmp_path / "runs/report.md").exists()
    assert "### Which to pick" in write_report(tmp_path / "runs", tmp_path / "to")
    assert "Which to pick" in (tmp_path / "to/report.html").read_text()


def test_level_methods_are_named_the_cheapest_first_and_zero_shot_costs_nothing(tmp_path):
    write_runs(tmp_path, [
        run("CoOp", (70.0, 72.0), train_seconds=30.0),
        run("TaskRes", (70.0, 70.0), zero=69.0, train_seconds=1.0),
        run("ProLIP", (70.0, 71.0), train_seconds=5.0),
    ])  # fmt: skip
    (row,) = rows_of(recommendation(tmp_path))
    assert row[1] == "CoOp"
    assert row[-1] == f"{ZERO_SHOT} (69.0, –), TaskRes (70.0, 1.0 s), ProLIP (70.5, 5.0 s)"


def test_method_that_chose_on_these_images_must_lead_clearly(tmp_path):
    write_runs(tmp_path / "near", [run("CoOp", (70.0, 70.0)), run("LinearProbe", (75.0, 75.0), chosen_on="val")])
    write_runs(tmp_path / "far", [run("CoOp", (50.0, 50.0)), run("LinearProbe", (94.0, 95.0), chosen_on="val")])
    for folder, best in {"near": "CoOp", "far": "LinearProbe"}.items():
        text = recommendation(tmp_path / folder)
        assert rows_of(text)[0][1] == best and "(LinearProbe) are read too well" in text
    write_runs(tmp_path / "alone", [run("LinearProbe", (60.0, 60.0), chosen_on="val")])
    assert rows_of(recommendation(tmp_path / "alone"))[0][1] == "LinearProbe"


def test_error_is_binomial_per_task_over_all_seeds():
    records = [run("CoOp", (50.0, 100.0), seed=seed, n=10) for seed in (1, 2)]
    value, se = mean_and_error(validation_frame(records), "value")
    shares = [(10 + 1) / 22, (20 + 1) / 22]  # Laplace's correction of 10 and 20 right of 20
    assert value == 75 and se == pytest.approx(100 * math.sqrt(sum(p * (1 - p) / 20 for p in shares)) / 2)


def test_level_is_one_standard_error_of_the_difference():
    best = Candidate("best", 70.0, 3.0, 100, False, 9.0, 1.0)
    others = [Candidate(str(gap), 70.0 - gap, 4.0, 100, False, 1.0, 1.0) for gap in (4.9, 5.1)]
    assert pick([best, *others]) == (best, others[:1])  # hypot(3, 4) = 5


def test_evaluations_and_methods_without_all_tasks_are_no_candidates(tmp_path):
    part = run("KgCoOp", (99.0, 99.0))
    del part["tasks"][1]["val_n"]
    write_runs(tmp_path, [run("CoOp", (70.0, 70.0)), run("CoOp", (70.0, 70.0), loaded_from="elsewhere"), part])
    (row,) = rows_of(recommendation(tmp_path))
    assert row[1] == "CoOp" and row[-1] == "–"


def test_new_classes_are_picked_by_h_of_both_halves(tmp_path):
    runs = []
    for trainer, base, new in (("CoOp", 90.0, 20.0), ("KgCoOp", 70.0, 70.0)):
        runs.append(run(trainer, (base, base), split="test-base-classes"))
        runs.append(run(trainer, (new, new), split="test-new-classes", loaded_from="base", train_seconds=None))
    write_runs(tmp_path, runs)
    text = recommendation(tmp_path)
    last = text[text.index("which to pick for new classes") :]
    (row,) = rows_of(last)
    assert row[1] == "KgCoOp" and row[2].startswith("70.0 ±") and row[3] == "160" and row[4] == "90 s"


def test_without_validation_shots_nothing_is_recommended(tmp_path, capsys):
    write_runs(tmp_path / "runs", [record("CoOp", "", 4)])
    assert "Which to pick" not in write_report(tmp_path / "runs", tmp_path / "to")
    assert report.main([str(tmp_path / "runs"), "--recommend"]) == 1
    assert "no run has results on validation shots" in capsys.readouterr().err
