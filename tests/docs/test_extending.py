"""A method and a data set of one's own: docs/extending.md as it is printed, and scripts/new_method.py.

Both are tried in a copy of the project, in a process of its own.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import new_method
import numpy as np
import pytest
from PIL import Image
from warm_python import python

import train

ROOT = train.PROJECT_ROOT


TEXT = (ROOT / "docs/extending.md").read_text()
FOLDERS = ("compat", "configs", "datasets", "softcpt", "trainers")
FILES = ("train.py", "pyproject.toml", "scripts/data.py", "scripts/demo/tiny_clip.npz")
FILES += ("scripts/lib/command.py", "scripts/lib/sentences.py", "scripts/export.py", "scripts/predict.py")
TESTS = ("conftest.py", "trainers/test_trainers.py", "golden/tiny_vit.npz")
TESTS += tuple(
    f"helpers/{name}.py"
    for name in ("host_waits", "lives", "methods", "second_autocast", "second_device", "surroundings", "toy")
)
PRECISIONS = ("fp32", "amp", "fp16", "bf16")

TRAIN = """
import json, sys, train
from softcpt.sweeps import plan, read_sweep
command, method, precisions = json.loads(sys.argv[1])
for precision in precisions:
    own = ["--output-dir", f"output/{precision}", f"TRAINER.{method}.PREC", precision]
    assert train.main([*command, *own]) == 0, precision
for job in plan(read_sweep("configs/sweeps/mine.yaml"), "my_tasks", [1], [1], "tiny"):
    train.setup_cfg(train.parse_args(job.arguments("data", "output/sweep")))
"""


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """The project without its tests and its demo, but for the demo's CLIP."""
    folder = tmp_path_factory.mktemp("project")
    ignore = shutil.ignore_patterns("__pycache__")
    for name in FOLDERS:
        shutil.copytree(ROOT / name, folder / name, ignore=ignore)
    for name in (*FILES, *(f"tests/{name}" for name in TESTS)):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    return folder


def run(folder, *command):
    env = {**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([python(), *command], cwd=folder, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def draw(folder: Path) -> None:
    """Ten pictures of each class, in the two layouts that the document describes."""
    rng, split = np.random.default_rng(0), {"train": [], "val": [], "test": []}
    for label, name in enumerate(("great_tit", "robin", "oak", "elm")):
        kind = "my_birds" if label < 2 else "my_leaves"
        for i in range(10):
            path = folder / kind / "images" / name / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(path)
            if kind == "my_leaves":
                part = "train" if i < 5 else "val" if i < 7 else "test"
                split[part].append([f"{name}/{i}.png", label - 2, name])
    (folder / "my_leaves/split_zhou_MyLeaves.json").write_text(json.dumps(split))


def commands() -> list[list[str]]:
    text = TEXT.replace("\\\n", " ")
    return [shlex.split(command) for command in re.findall(r"^    (python .*)$", text, re.M)]


def test_printed_files_and_commands_work_in_every_precision(copy):
    files = new_method.printed_files(TEXT)
    assert len(files) == 5
    for path, text in files.items():
        assert not (copy / path).exists(), path
        (copy / path).parent.mkdir(parents=True, exist_ok=True)
        (copy / path).write_text(text)
    draw(copy / "data")
    layout, check, training, sweep, contract = commands()
    assert layout[1] == "scripts/new_method.py" and contract[1:3] == ["-m", "pytest"]
    assert (
        sweep[1:3] == ["scripts/sweep.py", "configs/sweeps/mine.yaml"]
        and sweep[sweep.index("--benchmark") + 1] == "my_tasks"
    )
    assert run(copy, *check[1:]).rstrip().endswith("All right.")
    assert training[1] == "train.py"
    run(copy, "-c", TRAIN, json.dumps([training[2:], "TUNEDSCALE", PRECISIONS]))
    for precision in PRECISIONS:
        record = json.loads((copy / "output" / precision / "results.json").read_text())
        names = [(task["name"], task["metric"], task["n"]) for task in record["tasks"]]
        assert names == [("bird species recognition", "mean_per_class", 6), ("tree species recognition", "accuracy", 6)]
        assert record["epochs"] == 5 and record["n_params"] > 0
    log = (copy / "output/fp16/log.txt").read_text()
    assert "great tit" in (copy / "datasets/my_tasks.py").read_text() and "Finish training" in log


def test_generated_method_passes_all_tests(copy):
    paths = new_method.lay_out("MyMethod", copy)
    assert "trainers/my_method.py" in paths and "scripts/my_method/main.sh" in paths
    assert "configs/trainers/MyMethod/tiny.yaml" in paths and "tests/trainers/test_my_method.py" in paths
    printed = run(copy, "-m", "pytest", "-p", "no:cacheprovider", "tests", "-k", "MyMethod or zero_shot_clip")
    assert int(re.search(r"(\d+) passed", printed).group(1)) >= 14 and "failed" not in printed
    with pytest.raises(ValueError, match=r"trainers/my_method.py already exists"):
        new_method.lay_out("MyMethod", copy)


def test_configs_of_a_generated_method_name_its_script():
    files = new_method.files_of("CLIPAdapter2")
    assert {"trainers/clip_adapter2.py", "scripts/clip_adapter2/main.sh"} < set(files)
    text = files["configs/trainers/CLIPAdapter2/tiny.yaml"]
    assert text.startswith("# bash scripts/clip_adapter2/main.sh demo 16 ") and "CLIPADAPTER2:" in text
    assert not any("results.md" in text for text in files.values()), "nothing is measured yet"
    assert not [path for path, text in files.items() if re.search("TaskRes|TASKRES|taskres|TunedScale", text)]


@pytest.mark.parametrize("name", ["my_method", "My-Method", "X", "../Up", ""])
def test_invalid_method_name_is_refused(name, capsys):
    assert new_method.main([name]) == 2
    assert "a method's name is" in capsys.readouterr().err


def test_existing_method_is_not_overwritten(capsys):
    before = (ROOT / "trainers/softcpt.py").read_bytes()
    assert new_method.main(["SoftCPT"]) == 2 and "already" in capsys.readouterr().err
    assert (ROOT / "trainers/softcpt.py").read_bytes() == before
