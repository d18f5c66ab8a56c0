"""The methods' scripts with a stand-in for train.py that records its calls, and what calls them in bash."""

import os
import shutil
import signal
import subprocess
import sys

import pytest
from sweep_calls import folder_of, settings_of, sweeps_calls
from waiting import wait_for

import train
from scripts.lib import methods
from scripts.lib.method_calls import method_scripts, trainer_of
from softcpt.sweeps import read_sweep

ROOT = train.PROJECT_ROOT


def test_one_run_per_seed_in_its_own_folder(call):
    status, calls, _ = call("scripts/softcpt/main.sh", "demo", "16", SEEDS="1 7")
    assert status == 0 and len(calls) == 2
    out = call.folder / "results/demo/SoftCPT/tiny_16shots/NATA/seed7"
    assert f"--output-dir {out} " in calls[1] and "--seed 7 " in calls[1] and f"--root {ROOT}/data " in calls[1]
    assert "--config-file configs/trainers/SoftCPT/tiny.yaml" in calls[1]
    assert "DATASET.NUM_SHOTS 16" in calls[1] and "TRAINER.SOFTCPT.VARIANT NATA" in calls[1]


def test_finished_runs_are_skipped_and_unfinished_ones_restarted(call):
    call.status = 3  # cut off: no results.json
    assert call("scripts/coop/main.sh", "demo", "1", SEEDS="1")[0] == 3
    call.status = 0
    assert len(call("scripts/coop/main.sh", "demo", "1", SEEDS="1")[1]) == 1
    status, calls, output = call("scripts/coop/main.sh", "demo", "1", SEEDS="1")
    assert (status, calls) == (0, []) and "done before" in output


def test_failing_run_stops_the_script(call):
    call.status = 3
    status, calls, _ = call("scripts/softcpt/main.sh", "demo", "1", SEEDS="1 2 3")
    assert status == 3 and len(calls) == 1
    status, calls, _ = call("scripts/coop/main.sh", "demo", "4", SEEDS="1", SEPARATE="1")
    assert status == 3 and len(calls) == 1, "the first task"
    status, calls, _ = call("scripts/base2new.sh", "coop", "demo", "4", SEEDS="1")
    assert status == 3 and len(calls) == 1


def test_missing_data_stops_a_script_before_its_first_run(call):
    call.lacking = "DemoShape: no folder"
    status, calls, output = call("scripts/coop/main.sh", "demo", "1", SEEDS="1 2")
    assert (status, calls) == (1, []) and output.endswith("data or weights are missing:\n  DemoShape: no folder\n")
    for seed in (1, 2):
        call.finish(call.folder / f"results/demo/CoOp/tiny_1shots/shared/seed{seed}")
    assert call("scripts/coop/main.sh", "demo", "1", SEEDS="1 2")[0] == 0, "finished runs need no data"


def test_zero_shot_is_one_run_without_shots(call):
    for before in ((), ("0",), ("16",), ("-1",)):  # a number, as other methods' scripts have, changes nothing
        for after, config in (((), "tiny"), (("tiny_vit",), "tiny_vit")):
            name = f"results{len(before)}{len(after)}{before}"
            _, calls, _ = call("scripts/zeroshot/main.sh", "demo", *before, *after, OUT=name)
            assert len(calls) == 1 and f"/ZeroshotCLIP/{config}_0shots/default/seed1" in calls[0]
            assert "DATASET.NUM_SHOTS 0 " in calls[0]
    status, calls, output = call("scripts/zeroshot/main.sh", "demo", "tinny")
    assert status == 2 and not calls and "ZeroshotCLIP has no config tinny" in output
    assert "usage: bash scripts/zeroshot/main.sh DATASET [CFG] [KEY VALUE ...]" in output


def test_wrong_arguments_print_the_usage(call):
    for arguments in (["scripts/softcpt/main.sh"], ["scripts/softcpt/main.sh", "demo"]):
        status, calls, output = call(*arguments)
        assert status == 2 and not calls and "usage: bash scripts/softcpt/main.sh DATASET SHOTS" in output
    status, _, output = call("scripts/coop/main.sh", "demo", "1", VARIANT="MT")
    assert status == 2 and "shared, per-task, per-class" in output
    status, calls, output = call("scripts/coop/main.sh", "demo", "1", SEEDS="1 x")
    assert (status, calls, output) == (2, [], "error: SEEDS=1 x: seeds are numbers, separated by spaces\n")


@pytest.mark.parametrize(
    "arguments, message",
    [
        ("demo sixteen", "SHOTS is sixteen; it is a number, at least 1, or -1 for all images"),
        ("demmo 16", "no data set demmo"),
        ("demo 16 tinny", "CoOp has no config tinny; CFG is one of rn101 "),
        ("demo 16 tiny LR 0.1", "LR is no config key such as OPTIM.LR"),
        ("demo 16 OPTIM.LR", "CoOp has no config OPTIM.LR"),
    ],
)
def test_invalid_arguments_are_named_above_the_usage(call, arguments, message):
    status, calls, output = call("scripts/coop/main.sh", *arguments.split())
    assert status == 2 and not calls
    assert f"error: {message}" in output and "usage: bash scripts/coop/main.sh DATASET SHOTS" in output
    for shots in ("0", "-7", "016", "1.5", ""):
        status, calls, output = call("scripts/coop/main.sh", "demo", shots)
        assert status == 2 and not calls and f"error: SHOTS is {shots}; it is a number, at least 1, or -1" in output
        status, calls, output = call("scripts/base2new.sh", "coop", "demo", shots)
        assert status == 2 and not calls and f"error: SHOTS is {shots}; it is a number" in output


@pytest.mark.parametrize("csc, variant", [("False", ""), ("True", "VARIANT=per-class ")])
def test_coops_argument_order_is_translated(call, csc, variant):
    status, calls, output = call("scripts/coop/main.sh", *f"demo tiny end 8 16 {csc}".split())
    assert status == 2 and not calls and "usage: bash scripts/coop/main.sh DATASET SHOTS" in output
    ours = "scripts/coop/main.sh demo 16 tiny TRAINER.COOP.N_CTX 8 TRAINER.COOP.CLASS_TOKEN_POSITION end"
    assert f"That call here: {variant}bash {ours}\n" in output
    status, calls, output = call(*ours.split(), SEEDS="1")
    assert status == 0 and calls[0].endswith("TRAINER.COOP.N_CTX 8 TRAINER.COOP.CLASS_TOKEN_POSITION end")


def test_finished_run_shows_its_number(call):
    folder = call.folder / "results/demo/CoOp/tiny_1shots/shared/seed1"
    call.finish(folder, 71.6849)
    status, calls, output = call("scripts/coop/main.sh", "demo", "1", SEEDS="1")
    assert (status, calls) == (0, []) and f"done before: {folder} (71.7 %, the mean over its tasks)\n" in output


OF_THEIR_CLASSES = ("taskres", "linear_probe", "tip_adapter", "tip_adapter_f", "lp_plus_plus")


@pytest.mark.parametrize("command", ["{}/main.sh demo 4", "base2new.sh {} demo 4"])
@pytest.mark.parametrize(
    "method, instead",
    [
        ("plot", "; PROMPTS sets its number of prompts, TRAINER.PLOT.N"),
        ("zeroshot", "; TRAINER.ZEROSHOTCLIP.ENSEMBLE True averages several templates"),
        *((method, "") for method in ("cocoop", "maple", "promptsrc", "clip_lora", "prolip", *OF_THEIR_CLASSES)),
    ],
)
def test_method_without_variants_refuses_one(call, method, instead, command):
    command = f"scripts/{command.format(method)}".split()
    status, calls, output = call(*command, VARIANT="NATA")
    if command[0] == "scripts/base2new.sh" and method in OF_THEIR_CLASSES:
        assert status == 2 and not calls  # they cannot go from base to new anyway
    else:
        assert (status, calls, output) == (2, [], f"error: VARIANT=NATA: {method} has no variants{instead}\n")


@pytest.mark.parametrize("script", ["base2new", *method_scripts()])
def test_script_hands_its_words_to_python(call, script):
    path = "scripts/base2new.sh" if script == "base2new" else f"scripts/{script}/main.sh"
    status, calls, output = call.in_bash(path, "demo", "1", "--test-again", "a b", "")
    assert (status, calls) == (0, [f"{ROOT}/scripts/lib/methods.py {script} demo 1 --test-again a b "]), output
    assert script == "base2new" or (ROOT / "configs/trainers" / trainer_of(script) / "vit_b16.yaml").is_file()


@pytest.mark.parametrize("end, status", [("exit 3", 3), ("kill -9 $$", 137), ("", 0)])
def test_status_of_a_run_is_that_of_its_process(tmp_path, monkeypatch, end, status):
    (tmp_path / "python").write_text(f'#!/usr/bin/env bash\n[ "$*" = "train.py a b" ] || exit 9\n{end}\n')
    (tmp_path / "python").chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assert methods.train(["a", "b"]) == status


@pytest.mark.waits
def test_ctrl_c_leaves_the_last_word_to_train(tmp_path):
    stand_in = '#!/usr/bin/env bash\ntrap "echo goes on; exit 130" INT\ntouch "$0.ready"\nwhile :; do sleep 0.1; done\n'
    (tmp_path / "python").write_text(stand_in)
    (tmp_path / "python").chmod(0o755)
    code = "import sys; from scripts.lib import methods; sys.executable = sys.argv[1]; sys.exit(methods.train(['x']))"
    command, pipes = [sys.executable, "-c", code, str(tmp_path / "python")], {"stdout": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, start_new_session=True, **pipes)
    wait_for((tmp_path / "python.ready").exists, 60)
    os.killpg(process.pid, signal.SIGINT)
    assert (*process.communicate(timeout=30), process.returncode) == ("goes on\n", "", 130)


def test_quoted_tilde_is_the_home_folder(call):
    home = call.folder / "home"
    home.mkdir()
    status, calls, _ = call("scripts/coop/main.sh", "demo", "4", SEEDS="1", OUT="~/my runs", DATA="~", HOME=str(home))
    assert status == 0 and f"--root {home} " in calls[0]
    assert f"--output-dir {home}/my runs/demo/CoOp/" in calls[0] and not list(call.folder.rglob("~*"))
    _, calls, _ = call("scripts/coop/main.sh", "demo", "4", SEEDS="1", DATA="a~/~b", HOME=str(home))
    assert f"--root {call.folder}/a~/~b " in calls[0]
    status, calls, output = call("scripts/coop/main.sh", "demo", "4", OUT="~/my runs", HOME="")
    assert (status, calls, output) == (2, [], "error: ~/my runs: HOME is not set\n")


@pytest.mark.parametrize(
    "method",
    [method for name in ("table1", "demo") for method in read_sweep(ROOT / f"configs/sweeps/{name}.yaml")],
    ids=lambda method: method.label,
)
def test_scripts_and_sweeps_make_the_same_calls(call, method):
    trailing, variables = settings_of(method)
    variables |= {"SEPARATE": "1"} if method.separate else {}
    script = f"scripts/{folder_of(method)}/main.sh"
    status, calls, output = call(script, "demo", "4", *trailing, SEEDS="1", **variables)
    assert status == 0, output
    trained = [line for line in calls if line.startswith("train.py")]
    assert trained == sweeps_calls(method, call.folder / "results")


def test_separate_run_merges_last_and_skips_finished_tasks(call):
    folder = call.folder / "results/demo/CoOp/tiny_4shots/separate-shared/seed1"
    call.finish(folder / "tasks/air")
    status, calls, output = call("scripts/coop/main.sh", "demo", "4", SEEDS="1", SEPARATE="1")
    assert status == 0 and f"done before: {folder}/tasks/air" in output
    assert [line.split()[0] for line in calls] == ["train.py", "merge"]
    assert calls[-1] == f"merge {folder}: ['sea animals', 'air'], all" and f"merged {folder}:\n" in output
    status, calls, output = call("scripts/coop/main.sh", "demo", "4", SEEDS="1", SEPARATE="1")
    assert (status, calls) == (0, []) and f"done before: {folder}" in output


def test_separate_refuses_what_it_cannot_do(call):
    status, calls, output = call("scripts/coop/main.sh", "demo", "4", "tiny", "DATASET.TASKS", "base", SEPARATE="1")
    assert status == 2 and not calls and "DATASET.TASKS cannot be given" in output
    status, calls, output = call("scripts/coop/main.sh", "demo", "4", SEPARATE="yes")
    assert status == 2 and not calls and "SEPARATE=yes is not one of 0, 1" in output


def test_demo_renders_sweeps_and_predicts(call):
    status, calls, _ = call("scripts/demo.sh", SEEDS="1 5", JOBS="3", DATA="pictures")
    assert status == 0 and len(calls) == 3
    assert calls[0] == f"{ROOT}/scripts/demo/render.py --out {call.folder}/pictures/demo"
    assert calls[1] == (
        f"{ROOT}/scripts/sweep.py {ROOT}/configs/sweeps/demo.yaml --benchmark demo --seeds 1 5 --jobs 3 "
        f"--data {call.folder}/pictures --out {call.folder}/results --to {call.folder}/results/demo"
    )
    run, image = f"{call.folder}/results/demo/SoftCPT/tiny_16shots/NATA/seed1", "pictures/demo/sign/images/red disc"
    task = "--task coloured road sign recognition --top 3"
    assert calls[2] == f"{ROOT}/scripts/predict.py {run} {call.folder}/{image}/test_000.png {task}"


def test_ctrl_c_during_imports_is_one_line():
    code = f"{sys.executable} -c 'import scripts.lib.command; raise KeyboardInterrupt'; exit $?"
    done = subprocess.run(["bash", "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "interrupted\n")


def test_setup_refuses_an_unsuitable_python(tmp_path):
    env = {**os.environ, "PYTHON": str(tmp_path / "no-python")}
    done = subprocess.run(["bash", ROOT / "scripts/setup.sh"], capture_output=True, text=True, env=env)
    assert done.returncode == 1 and "does not satisfy" in done.stderr


@pytest.mark.parametrize("absent", [(), ("packaging",), ("packaging", "pip")], ids=["packaging", "pips", "neither"])
@pytest.mark.parametrize(
    "requirements, status",
    [(None, 0), ("torch\n", 0), ("torch>=2\nyacs >= 0.1  # a comment\n\nsetuptools<9999\n", 0)]
    + [(line, 1) for line in ("torch>=99", "torch<2.0.1", "a-package-that-nobody-has", "torch\nsetuptools<1")],
)
def test_setup_compares_versions_with_or_without_packaging(tmp_path, absent, requirements, status):
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts/setup.sh", tmp_path / "scripts")
    for path in ROOT.glob("requirements*.txt"):  # the first names others
        shutil.copy(path, tmp_path)
    if requirements:
        (tmp_path / "requirements.txt").write_text(requirements)
    (tmp_path / "sitecustomize.py").write_text(f"import sys\nsys.modules.update(dict.fromkeys({absent!r}))\n")
    env = {**os.environ, "PYTHON": sys.executable, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(["bash", tmp_path / "scripts/setup.sh"], capture_output=True, text=True, env=env)
    assert done.returncode == status, done.stderr
    assert (done.stdout.strip() == sys.executable) == (status == 0) and not (tmp_path / ".venv").exists()
