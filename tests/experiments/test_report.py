"""scripts/report.py: which runs it takes, and what it writes."""

import subprocess
from pathlib import Path

import pandas as pd
import report
from PIL import Image
from records import RUNS, record, write_runs
from warm_python import python

from softcpt.reports import REPORT_FILES
from softcpt.reports.runs import readable_records, told_apart
from softcpt.reports.tables import results_frame, summarise


def placed(run, path, **changes):
    return {**run, "path": path, **changes}


def test_evaluations_are_told_apart_from_training():
    runs = [placed(RUNS[4], "out/test/results.json", loaded_from="out/run"), placed(RUNS[4], "out/run/results.json")]
    records, notes = told_apart(runs)
    assert [run["method"] for run in records] == ["SoftCPT NATA (evaluation)", "SoftCPT NATA"] and notes == []
    assert set(summarise(results_frame(records))["n"]) == {1}
    half = placed(RUNS[4], "x", loaded_from="out/run", split="test-new-classes")
    assert told_apart([half])[0][0]["method"] == "SoftCPT NATA", "the new half is always an evaluation"


def test_duplicate_runs_are_kept_apart_and_named():
    runs = [placed(run, f"{folder}/demo/run{i}/results.json") for folder in "ba" for i, run in enumerate(RUNS[1:4])]
    records, notes = told_apart(runs)
    assert [run["method"] for run in records] == 3 * ["CoOp [b]"] + 3 * ["CoOp"]
    assert len(notes) == 1 and notes[0].startswith(
        "CoOp [b]: runs that are in two folders, 3 in all, e.g. b/demo/run0/results.json"
    )
    assert told_apart(RUNS)[1] == []
    more = told_apart([placed(RUNS[1], f"x/{name}/results.json") for name in ("a", "b", "c")])[0]
    assert [run["method"] for run in more] == ["CoOp", "CoOp [b]", "CoOp [c]"]


def test_unreadable_runs_are_named_and_the_rest_reported(tmp_path):
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
    assert left_out[2] == f"unfinished runs, without a results.json: 1 ({tmp_path}/begun)"


def test_report_end_to_end(tmp_path, monkeypatch, capsys):
    write_runs(tmp_path / "out", [*RUNS, record(dataset="Single", values=(70.0,), n=(10,))])
    monkeypatch.chdir(tmp_path)
    assert report.main(["out"]) == 0
    row = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("| SoftCPT NATA"))
    cells = [cell.strip() for cell in row.split("|")]
    costs = ["1,234", "1,500", "90 s", "1.00 GB"]
    assert cells == ["", "SoftCPT NATA", "–", "47.5 ± 1.5", "61.0 ± 1.4 (n=2)", *costs, ""]
    text = (tmp_path / "out" / "report.md").read_text()
    assert "## Demo, tiny_clip, test set" in text and "## Single, tiny_clip, test set" in text
    assert "![Accuracy of every method](accuracy.png)" in text and "![Accuracy of every task](tasks.png)" in text
    assert {path.name for path in (tmp_path / "out").iterdir() if path.is_file()} == set(REPORT_FILES)
    numbers = pd.read_csv(tmp_path / "out" / "report.csv")
    row = numbers[(numbers["method"] == "CoOp") & (numbers["task"] == "shape")].iloc[0]
    assert (row["mean"], row["sd"], row["n"]) == (42, 2, 3)
    assert Image.open(tmp_path / "out" / "accuracy.png").width > 1000

    first = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir() if path.is_file()}
    assert report.main([str(tmp_path / "out"), "--to", str(tmp_path / "elsewhere")]) == 0
    assert {path.name: path.read_bytes() for path in (tmp_path / "elsewhere").iterdir()} == first


def test_folder_without_finished_runs_is_an_error(tmp_path, capsys):
    assert report.main([str(tmp_path)]) == 1
    message = f"error: {tmp_path}: no results.json below this folder, so no finished run to report\n"
    assert capsys.readouterr() == ("", message)
    assert report.main([str(tmp_path / "nowhere")]) == 1
    assert capsys.readouterr().err == f"error: no folder {tmp_path / 'nowhere'}\n" and not list(tmp_path.iterdir())


def test_report_benchmark_prints_its_seconds():
    script = Path(report.__file__).parent / "bench" / "report.py"
    done = subprocess.run([python(), str(script), "--runs", "30"], capture_output=True, text=True, cwd="/")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("30 runs: ") and "report.html" in done.stdout
