"""scripts/plug_into.sh in a miniature CoOp checkout: it updates only its own files, and training works there."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import clip
import numpy as np
import pytest
import toy
from PIL import Image
from plug_into import files_to_add, plug

import train
from trainers.engine.config import default_cfg
from trainers.engine.settings import merge_file

ROOT = train.PROJECT_ROOT

PETS = """
import json
import os

from dassl.data.datasets import DATASET_REGISTRY, Datum, DatasetBase


@DATASET_REGISTRY.register()
class OxfordPets(DatasetBase):
    folder = "oxford_pets"

    def __init__(self, cfg):
        name = type(self).__name__
        print(f"the checkout's own {name}")
        folder = os.path.join(cfg.DATASET.ROOT, self.folder)
        with open(os.path.join(folder, f"split_zhou_{name}.json")) as file:
            split = json.load(file)
        parts = {
            part: [Datum(os.path.join(folder, path), label, classname=classname) for path, label, classname in rows]
            for part, rows in split.items()
        }
        shots = self.generate_fewshot_dataset(parts["train"], num_shots=cfg.DATASET.NUM_SHOTS)
        super().__init__(train_x=shots, val=parts["val"], test=parts["test"])
"""
FILES = {
    "train.py": "import datasets, trainers.coop\nprint(datasets.__file__, trainers.coop.__file__)\n",
    "datasets/__init__.py": "",
    "datasets/oxford_pets.py": PETS,
    "datasets/dtd.py": """
from dassl.data.datasets import DATASET_REGISTRY
from .oxford_pets import OxfordPets
from datasets.oxford_pets import OxfordPets as Same

assert OxfordPets is Same


@DATASET_REGISTRY.register()
class DescribableTextures(OxfordPets):
    folder = "dtd"
    template = "a surface, {}."
""",
    "datasets/needs_more.py": "import a_package_that_nobody_has\n",
    "trainers/__init__.py": "",
    "trainers/coop.py": "",
    "configs/datasets/oxford_pets.yaml": 'DATASET:\n  NAME: "OxfordPets"\n',
}
CLASSES = {"OxfordPets": ("oxford_pets", ["rose", "Spitfire"]), "DescribableTextures": ("dtd", ["banded", "rose"])}


@pytest.fixture
def checkout(tmp_path):
    for name, text in FILES.items():
        (tmp_path / "CoOp" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "CoOp" / name).write_text(text)
    shutil.copytree(Path(clip.__file__).parent, tmp_path / "CoOp/clip", ignore=shutil.ignore_patterns("__pycache__"))
    with open(tmp_path / "CoOp/clip/__init__.py", "a") as file:
        file.write("\nprint('clip of the checkout')\n")
    return tmp_path / "CoOp"


def contents(folder):
    """{path: bytes} of all files, bytecode left out."""
    paths = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def script(*arguments):
    command = ["bash", ROOT / "scripts/plug_into.sh", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHON": sys.executable})


def draw(root):
    rng = np.random.default_rng(0)
    for name, (folder, classes) in CLASSES.items():
        (root / folder).mkdir(parents=True)
        split = {"train": [], "val": [], "test": []}
        for part, label, i in np.ndindex(3, 2, 3):
            part, file = list(split)[part], f"{part}-{label}-{i}.png"
            Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(root / folder / file)
            split[part].append([file, label, classes[label]])
        (root / folder / f"split_zhou_{name}.json").write_text(json.dumps(split))
    return root


def test_several_tasks_train_in_the_checkout(checkout, tmp_path):
    before = contents(checkout)
    own = [subprocess.run([sys.executable, "train.py"], cwd=checkout, capture_output=True, text=True).stdout]
    done = script(checkout)
    assert done.returncode == 0 and "none of CoOp's changed" in done.stdout
    after = contents(checkout)
    assert {name: after[name] for name in before} == before
    added = after.keys() - before.keys()
    assert {"train_softcpt.py", "softcpt/MANIFEST.json", "softcpt/trainers/softcpt.py"} < added
    assert {name.split("/")[0] for name in added} == {"train_softcpt.py", "softcpt"}

    settings = toy.arguments("", "", "SoftCPT", "OPTIM.MAX_EPOCH", 1)
    settings = settings[settings.index("DATASET.NAME") + 2 :]
    configs = ["--dataset-config-file", checkout / "softcpt/configs/datasets/general10.yaml"]
    flags = ["--root", draw(tmp_path / "data"), "--seed", "1", "--trainer", "SoftCPT", "--output-dir", tmp_path / "run"]
    tasks = ["DATASET.TASKS", "OxfordPets,DescribableTextures", "DATASET.NUM_SHOTS", "1"]
    command = [sys.executable, checkout / "train_softcpt.py", *flags, *configs, *settings, *tasks]
    done = subprocess.run(list(map(str, command)), cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "the checkout's own OxfordPets" in done.stdout and "clip of the checkout" in done.stdout
    assert "datasets/needs_more.py is left out: No module named 'a_package_that_nobody_has'" in done.stderr
    record = json.loads((tmp_path / "run/results.json").read_text())
    found = [(task["name"], task["metric"], task["n"]) for task in record["tasks"]]
    assert found == [("texture recognition", "accuracy", 6), ("pet breed recognition", "mean_per_class", 6)]
    assert len(json.loads((tmp_path / "run/shots.json").read_text())["texture recognition"]["train"]) == 2

    own.append(subprocess.run([sys.executable, "train.py"], cwd=checkout, capture_output=True, text=True).stdout)
    assert own[0] == own[1] and str(checkout / "datasets") in own[0] and str(checkout / "trainers") in own[0]
    assert script(checkout, "--remove").returncode == 0
    assert contents(checkout) == before and not (checkout / "softcpt").exists()


def test_everything_but_the_demo_is_added():
    names = files_to_add().keys()
    assert not [name for name in names if name.endswith(("tiny.yaml", "demo.yaml", ".pyc", ".npz"))]
    for name in ("general10", "plant6", "rs8", "fashion20"):
        assert f"softcpt/configs/datasets/{name}.yaml" in names
    assert {f"softcpt/configs/trainers/{name}/rn50.yaml" for name in ("SoftCPT", "CoOp", "PLOT")} <= names
    assert {"softcpt/compat/dassl/engine/trainer.py", "softcpt/configs/recipes.yaml"} <= names


def test_plugged_in_configs_have_no_bases(tmp_path):
    files = {name: text for name, text in files_to_add().items() if "/configs/trainers/" in name}
    assert len(files) > 50
    for name, text in files.items():
        (tmp_path / "own.yaml").write_bytes(text)
        own, plugged = default_cfg(), default_cfg()
        merge_file(own, str(ROOT / Path(name).relative_to("softcpt")))
        plugged.merge_from_file(str(tmp_path / "own.yaml"))
        assert b"_BASE_" not in text and plugged == own, name


def test_second_run_updates_only_its_own_files(checkout):
    plug(checkout, {"train_softcpt.py": b"1", "softcpt/a.py": b"1", "softcpt/old/b.py": b"1"})
    (checkout / "softcpt/mine.txt").write_text("mine")
    before = {name: content for name, content in contents(checkout).items() if "softcpt" not in name}
    written, removed = plug(checkout, {"train_softcpt.py": b"1", "softcpt/a.py": b"2", "softcpt/c.py": b"2"})
    assert (written, removed) == (["softcpt/a.py", "softcpt/c.py"], ["softcpt/old/b.py"])
    after = contents(checkout)
    assert after["softcpt/a.py"] == b"2" and after["softcpt/mine.txt"] == b"mine"
    assert not (checkout / "softcpt/old").exists() and before.items() <= after.items()
    assert plug(checkout, {}) == ([], ["train_softcpt.py", "softcpt/a.py", "softcpt/c.py"])
    assert [path.name for path in (checkout / "softcpt").iterdir()] == ["mine.txt"]


def test_foreign_or_changed_files_are_refused(checkout):
    (checkout / "train_softcpt.py").write_text("someone else's")
    with pytest.raises(ValueError, match="train_softcpt.py exists already and is not this project's; nothing was"):
        plug(checkout, {"softcpt/a.py": b"1", "train_softcpt.py": b"1"})
    assert not (checkout / "softcpt").exists()
    (checkout / "train_softcpt.py").write_text("1")  # the same content, as after an interrupted first run
    plug(checkout, {"softcpt/a.py": b"1", "train_softcpt.py": b"1"})
    (checkout / "softcpt/a.py").write_text("edited")
    for wanted in ({"softcpt/a.py": b"2", "train_softcpt.py": b"2"}, {}):
        with pytest.raises(ValueError, match="a.py was changed since; nothing was written"):
            plug(checkout, wanted)
    assert (checkout / "train_softcpt.py").read_text() == "1"


def test_manifest_outside_the_checkout_is_refused(checkout):
    (checkout / "softcpt").mkdir()
    for text in ('{"files": {"softcpt/../train.py": "0"}}', '{"files": {"train.py": "0"}}', "[]", "{"):
        (checkout / "softcpt/MANIFEST.json").write_text(text)
        with pytest.raises(ValueError, match="MANIFEST.json"):
            plug(checkout, {})
    assert (checkout / "train.py").exists()


def test_folder_that_is_not_a_checkout_is_refused(tmp_path):
    done = script(tmp_path)
    assert (
        done.returncode == 2 and "is not a CoOp checkout: it has no train.py, datasets, trainers, clip" in done.stderr
    )
    assert script(tmp_path / "nowhere").returncode == 2 and not list(tmp_path.iterdir())
