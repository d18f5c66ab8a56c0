"""scripts/sweep.py from start to end, its flags, and its report."""

import os
import signal
import subprocess
import time

import pandas as pd
import pytest
import sweep
import torch
import toy
import yaml
from records import prompts, run_of, table_rows, without_costs
from warm_python import python

import train
from softcpt.evaluation.records import read_records, write_record
from softcpt.reports import HALVES_FILES, REPORT_FILES, write_report
from softcpt.reports.paper import paper_names, paper_table
from softcpt.reports.runs import named_records
from softcpt.reports.tables import results_frame, sections, summarise
from softcpt.sweeps import Method, plan, read_sweep
from softcpt.sweeps.jobs import benchmark_folder

ROOT = train.PROJECT_ROOT
TABLE1 = ROOT / "configs/sweeps/table1.yaml"


@pytest.mark.parametrize(
    "flags, message",
    [
        ("--steps 0", "--steps is 0; a number of steps is at least 1"),
        ("--steps 5 6", "--steps has 2 numbers; give one, or one for each of --shots"),
        ("--steps many", "invalid int value: 'many'"),
        ("--halves images", "invalid choice: 'images'"),
        ("--halves tasks --paper", "no numbers for --halves"),
    ],
)
def test_wrong_sweep_flags_are_errors(capsys, flags, message):
    with pytest.raises(SystemExit, match="2"):
        sweep.parse_args(["s.yaml", "--benchmark", "demo", *flags.split()])
    assert message in capsys.readouterr().err


def test_budgets_and_halves_have_their_own_report_folders():
    def folder(*flags):
        return sweep.parse_args(["s.yaml", "--benchmark", "demo", "--out", "/o", *flags]).to.as_posix()

    assert folder() == "/o/demo/s" and folder("--steps", "7") == "/o/demo/s-steps"
    assert folder("--halves", "tasks", "--steps", "7") == "/o/demo/s-steps-tasks"
    given = sweep.parse_args("s.yaml --benchmark demo --shots 1 16 --steps 3 4".split())
    assert given.steps == {1: 3, 16: 4} and sweep.parse_args("s.yaml --benchmark demo".split()).steps == {}


def test_sweep_selects_records_of_its_budget_and_halves(tmp_path):
    methods = [
        Method("a", "CoOp", variant="shared", new="tasks"),
        Method("z", "ZeroshotCLIP", shots=False, new="tasks"),
    ]
    kinds = {"epochs": {}, "steps": {"steps": {1: 50, 16: 9}}, "tasks": {"halves": "tasks"}}
    for i, kind in enumerate(kinds.values()):
        for job in plan(methods, "demo", [1, 4, 16], [1], **kind):
            job.folder(tmp_path).mkdir(parents=True, exist_ok=True)
            own = run_of(job.method.trainer, job.method.run_label, job.shots, 1, 50.0 + i, split=f"test{job.half}")
            write_record(job.folder(tmp_path) / "results.json", own)
    records = read_records(tmp_path)
    found = {name: named_records(records, methods, **kind) for name, kind in kinds.items()}
    shots = {name: sorted((run["method"], run["shots"]) for run in runs) for name, runs in found.items()}
    assert shots["epochs"] == [("a", 1), ("a", 4), ("a", 16), ("z", 0)]
    assert shots["steps"] == [("a", 1), ("a", 16), ("z", 0)]
    assert all("MAX_STEPS" in run["variant"] for run in found["steps"] if run["method"] == "a")
    assert shots["tasks"] == sorted(2 * [("a", 1), ("a", 4), ("a", 16), ("z", 0)])


def test_sigterm_interrupts_a_background_sweep():
    ignored = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a shell starts what it puts there
    try:
        with pytest.raises(KeyboardInterrupt), sweep.terminable():
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(1)
    finally:
        signal.signal(signal.SIGINT, ignored)


# -- the report ------------------------------------------------------------------------------------------------------


def write_runs(out, methods):
    for job in plan(methods, "general10", [1, 16], [1, 2], "vit_b16"):
        folder = job.folder(out)
        folder.mkdir(parents=True)
        own = run_of(job.method.trainer, job.method.run_label, job.shots, job.seed, 50.0 + job.seed)
        write_record(folder / "results.json", own)


def test_report_has_the_sweeps_methods_in_order(tmp_path):
    methods = read_sweep(TABLE1)
    write_runs(tmp_path, methods)
    wanted = [methods[0], methods[12], methods[3]]  # zero-shot, SoftCPT-NATA, CoOp-CA
    text = write_report(tmp_path, tmp_path / "report", wanted)
    first = text[text.index("| method") :].split("\n\n")[0].splitlines()[2:]
    assert [line.split("|")[1].strip() for line in first] == ["ZS-CLIP", "SoftCPT-NATA", "CoOp-CA"]
    assert {run["method"] for run in named_records(read_records(tmp_path), methods)} == {m.label for m in methods}
    with pytest.raises(ValueError, match="no finished run of this sweep"):
        write_report(tmp_path, tmp_path, [Method("x", "MaPLe")])


def test_papers_numbers_stand_beside_the_measured_ones():
    runs = [{**run_of("CoOp", "separate-shared", 16, seed, 50.0 + seed), "method": "my CoOp"} for seed in (1, 2, 3)]
    runs += [run_of("ZeroshotCLIP", "", 0, 1, 58.0), {**run_of("MaPLe", "", 3, 1, 60.0), "method": "SoftCPT-NATA"}]
    runs += [{**run, "shots": 1} for run in runs[:3]]
    runs += [run_of("SoftCPT", "NATA_TASK_FEATURES-learned_OPTIM.MAX_STEPS-50", 16, 1, 70.0)]
    names = paper_names(runs, "General10")
    assert names == {
        "my CoOp": "CoOp-CA",
        "ZeroshotCLIP": "ZS-CLIP",
        "SoftCPT NATA_TASK_FEATURES-learned_OPTIM.MAX_STEPS-50": "SoftCPT*",
    }
    four = [run_of("PLOT", "separate-4-prompts", 1, 1, 5.0)]
    assert paper_names(four, "General10") == {} and set(paper_names(four, "RS8").values()) == {"PLOT"}
    paper = pd.read_csv(ROOT / "configs/sweeps/paper_table.csv")
    section = sections(summarise(results_frame(runs)))[0][1]
    table = paper_table(section, paper[paper["benchmark"] == "General10"], names)
    rows = {row["method"]: row for row in table.to_dict("records")}
    assert rows["my CoOp"]["16 shots"] == "52.0 ± 1.0 (n=3)" and rows["my CoOp"]["16 shots, paper"] == "74.0 ± 0.2"
    assert rows["my CoOp"]["zero-shot, paper"] == "–" and rows["my CoOp"]["parameters, paper"] == "81,920"
    assert rows["my CoOp"]["training, paper"] == "49.5 min"
    assert rows["ZeroshotCLIP"]["zero-shot, paper"] == "58.3" and rows["ZeroshotCLIP"]["16 shots, paper"] == "–"
    assert rows["SoftCPT-NATA"]["16 shots, paper"] == "–", "a label alone is no method"


# -- a sweep ---------------------------------------------------------------------------------------------------------


def test_sweep_at_equal_steps_on_halves(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    toy.draw_folders(tmp_path / "data", ("a", "b", "c", "d"))
    methods = [
        {"label": "zero", "trainer": "ZeroshotCLIP", "shots": False, "new": "tasks"},
        {"label": "alone", "trainer": "CoOp", "variant": "shared", "separate": True, "new": "classes"},
        {"label": "rows", "trainer": "TaskRes"},
        {"label": "soft", "trainer": "SoftCPT", "new": "tasks"},
        {"label": "wrong", "trainer": "CoOp", "variant": "wrong", "opts": {"OPTIM.LR": "fast"}, "new": "classes"},
    ]
    (tmp_path / "s.yaml").write_text(yaml.safe_dump({"methods": methods}))
    flags = "--config tiny --data data --out out --shots 1 --seeds 1 --jobs 1 --steps 3 --halves classes".split()
    command = [python(), str(ROOT / "scripts/sweep.py"), "s.yaml", "--benchmark", "folder", *flags]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    assert "rows is left out: it cannot be tested on new classes" in done.stderr
    assert "2 of 10 runs failed:\n  wrong, 1 shot, seed 1, base-classes: exit status 2" in done.stderr
    assert "wrong, 1 shot, seed 1, new-classes: it was not trained" in done.stderr
    rows = table_rows(done.stdout)
    assert rows[0] == ["method", "base", "new", "H", "parameters", "steps", "training", "memory"]
    assert [row[0] for row in rows[1:4]] == ["zero", "alone", "soft"]
    assert [row[5] for row in rows[1:4]] == ["–", "6", "3"], "of a run on each of two tasks, and of a joint one"
    assert all(row[7].endswith(" GB") for row in rows[1:4])

    place = benchmark_folder("folder", str(tmp_path / "data"))
    found = {(run["trainer"], run["split"]): run for run in read_records(tmp_path / "out" / place)}
    assert len(found) == 6
    for trainer, steps in (("CoOp", 6), ("SoftCPT", 3)):
        base, new = (found[trainer, f"test-{half}-classes"] for half in ("base", "new"))
        assert base["steps"] == new["steps"] == steps and base["epochs"] == new["epochs"] == 3
        assert base["train_seconds"] > 0 and new["train_seconds"] is None and "OPTIM.MAX_STEPS-3" in base["variant"]
    assert {path.name for path in (tmp_path / "out" / place / "s-steps-classes").iterdir()} == set(HALVES_FILES)
    again = subprocess.run([*command, "--dry-run"], cwd=tmp_path, capture_output=True, text=True)
    assert again.stdout.count("train.py") == again.stdout.count("LR fast") == 2


def test_sweep_makes_the_same_runs_as_train(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    toy.draw_folders(tmp_path / "data")
    short = {"OPTIM.MAX_EPOCH": 2}
    methods = [
        {"label": "zero", "trainer": "ZeroshotCLIP", "shots": False},
        {"label": "alone", "trainer": "CoOp", "variant": "shared", "separate": True, "opts": short},
        {"label": "soft", "trainer": "SoftCPT", "opts": short},
        {"label": "wrong", "trainer": "CoOp", "variant": "wrong", "opts": {"OPTIM.LR": "fast"}},
    ]
    (tmp_path / "s.yaml").write_text(yaml.safe_dump({"methods": methods}))
    arguments = "s.yaml --benchmark folder --config tiny --data data --out out --shots 1 --seeds 1 --jobs 1".split()
    command = [python(), str(ROOT / "scripts/sweep.py"), *arguments]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    assert "1 of 5 runs failed:\n  wrong, 1 shot, seed 1: exit status 2" in done.stderr
    assert "error: OPTIM.LR: 'fast' does not fit" in done.stderr
    assert [row[0] for row in table_rows(done.stdout)[1:4]] == ["zero", "alone", "soft"]
    out = tmp_path / "out" / benchmark_folder("folder", str(tmp_path / "data"))
    assert {path.name for path in (out / "s").iterdir()} == set(REPORT_FILES)
    merged = without_costs(out / "CoOp/tiny_1shots/separate-shared_OPTIM.MAX_EPOCH-2/seed1/results.json")
    parts = [without_costs(path) for path in sorted(out.glob("CoOp/**/tasks/*/results.json"))]
    assert [task["name"] for task in merged["tasks"]] == ["cold things", "warm things"]
    assert merged["tasks"] == [part["tasks"][0] for part in parts]
    assert merged["n_params"] == sum(part["n_params"] for part in parts)

    jobs = plan(read_sweep(tmp_path / "s.yaml"), "folder", [1], [1], "tiny", data=str(tmp_path / "data"))
    job = next(job for job in jobs if job.method.label == "soft")
    monkeypatch.chdir(ROOT)  # paths in the configs are relative to it
    assert train.main(job.arguments(str(tmp_path / "data"), str(tmp_path / "here"))) == 0
    there, here = (job.folder(tmp_path / name) for name in ("out", "here"))
    assert without_costs(there / "results.json") == without_costs(here / "results.json")
    assert (there / "shots.json").read_text() == (here / "shots.json").read_text()
    assert all(torch.equal(value, prompts(here)[key]) for key, value in prompts(there).items())

    summary = done.stderr.split("1 of 5 runs failed:")[1]
    assert "exit status 2: error: OPTIM.LR: 'fast' does not fit" in summary, "what went wrong stands there"
    assert [path.parent.parent.name for path in out.rglob("failure.txt")] == ["wrong_OPTIM.LR-fast"]
    assert not list(out.rglob("seed1.*")) and not list(out.rglob("running.json"))

    again = subprocess.run([*command, "--dry-run"], cwd=tmp_path, capture_output=True, text=True)
    assert again.returncode == 0 and again.stdout.count("train.py") == 1 and "wrong" in again.stdout
    (out / "SoftCPT/tiny_4shots/OPTIM.MAX_EPOCH-2/seed1").mkdir(parents=True)
    write_record(
        out / "SoftCPT/tiny_4shots/OPTIM.MAX_EPOCH-2/seed1/results.json",
        run_of("SoftCPT", "OPTIM.MAX_EPOCH-2", 4, 1, 9.0),
    )
    only = subprocess.run([*command, "--only", "method=soft"], cwd=tmp_path, capture_output=True, text=True)
    assert only.returncode == 0, only.stderr
    assert "| soft" in only.stdout and "| alone" not in only.stdout and "4 shots" not in only.stdout
    status = subprocess.run([*command, "--status"], cwd=tmp_path, capture_output=True, text=True)
    assert "wrong, 1 shot, seed 1: exit status 2: error: OPTIM.LR" in status.stdout
