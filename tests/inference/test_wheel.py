"""`pip install .`: the wheel holds softcpt alone, which is enough for an export, without the checkout."""

import importlib.metadata
import json
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest
import torch
import toy
from packaging.requirements import Requirement

import train
from softcpt import load_classifier

ROOT = train.PROJECT_ROOT
OLDER = toy.GOLDEN / "export_of_0.2.0.safetensors"  # by commit 214eeb8, MaPLe after an epoch on the toy tasks
ABSENT = ("clip", "dassl", "yacs", "open_clip", "transformers", "pandas", "trainers", "compat", "train", "scripts")
# Reads {"export": ..., "backbone": ..., "images": [...]}; prints what it finds as JSON.
PREDICT = f"""
import importlib.util, json, sys

import datasets

from softcpt import load_classifier
from softcpt.backbones import load_clip

given = json.load(sys.stdin)
classifier = load_classifier(given["export"], given["backbone"], "cpu")
scores = [classifier.decision_function(given["images"], task).tolist() for task in classifier.tasks]
try:
    load_clip(given["backbone"]).encode_text(["a dog"])
except ValueError as error:
    message = str(error)
found = [name for name in {ABSENT} if importlib.util.find_spec(name)]
print(json.dumps({{"scores": scores, "error": message, "found": found, "datasets": datasets.__doc__}}))
"""


@pytest.fixture(scope="session")
def checkout(tmp_path_factory):
    """A copy of what setuptools may look at."""
    pytest.importorskip("setuptools", minversion="77")  # older ones do not know this form of the license field
    folder = tmp_path_factory.mktemp("wheel") / "checkout"
    for name in ("softcpt", "trainers", "datasets", "configs"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in [*ROOT.glob("requirements*.txt"), *(ROOT / name for name in ("pyproject.toml", "train.py", "LICENSE"))]:
        shutil.copy(path, folder)
    return folder


def built(checkout, kind):
    command = f"from setuptools import build_meta as build; print(build.{kind}('.'))"
    done = subprocess.run([sys.executable, "-c", command], cwd=checkout, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return checkout / done.stdout.splitlines()[-1]


@pytest.fixture(scope="session")
def wheel(checkout):
    return built(checkout, "build_wheel")


def needed(requirements):
    """The names of the distributions that `requirements` need, theirs included."""
    waiting, found = list(requirements), set()
    while waiting:
        requirement = Requirement(waiting.pop())
        applies = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        if applies and requirement.name.lower() not in found:
            found.add(requirement.name.lower())
            waiting += importlib.metadata.requires(requirement.name) or []
    return found


@pytest.fixture(scope="session")
def python(wheel, tmp_path_factory):
    """The Python of an environment with the wheel, what it needs, and another package `datasets`."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True)
    (site,) = folder.glob("lib/python*/site-packages")
    with zipfile.ZipFile(wheel) as file:  # what pip does with a wheel of Python alone
        file.extractall(site)
        metadata = next(name for name in file.namelist() if name.endswith("/METADATA"))
        lines = file.read(metadata).decode().splitlines()
    requirements = [line.removeprefix("Requires-Dist: ") for line in lines if line.startswith("Requires-Dist: ")]
    for name in needed(requirements):
        distribution = importlib.metadata.distribution(name)
        for top in {path.parts[0] for path in distribution.files} - {"..", "__pycache__"}:
            if not (site / top).exists():
                (site / top).symlink_to(distribution.locate_file(top))
    (site / "datasets.py").write_text('"""Hugging Face\'s"""\n')
    return folder / "bin/python"


@pytest.mark.parametrize("which", ["own", "older"])
def test_export_predicts_without_the_checkout(which, model, pictures, python, tmp_path):
    export = model if which == "own" else OLDER
    given = {"export": str(export), "backbone": toy.CLIP, "images": list(map(str, pictures))}
    done = subprocess.run(
        [python, "-c", PREDICT], cwd=tmp_path, env={}, input=json.dumps(given), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["found"] == [] and found["datasets"] == "Hugging Face's"
    assert "CLIP's tokenizer needs the package clip" in found["error"] and "softcpt[clip]" in found["error"]
    classifier = load_classifier(export, toy.CLIP, "cpu")
    for task, scores in zip(classifier.tasks, found["scores"], strict=True):
        expected = torch.from_numpy(classifier.decision_function(pictures, task))
        torch.testing.assert_close(torch.tensor(scores), expected, rtol=1e-4, atol=1e-5)


def test_export_of_an_older_version_predicts_as_it_did():
    classifier = load_classifier(OLDER, toy.CLIP, "cpu")
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    then = [[-2.044522, -0.276073, 1.601166], [-1.911077, -0.660522, 1.085993]]
    found = torch.from_numpy(classifier.decision_function(images, "flower recognition"))
    torch.testing.assert_close(found, torch.tensor(then), rtol=1e-4, atol=1e-5)


def test_wheel_holds_the_library_and_its_data(checkout, wheel):
    own = {path.relative_to(checkout).as_posix() for path in (checkout / "softcpt").rglob("*") if path.is_file()}
    with zipfile.ZipFile(wheel) as file:
        names = {name for name in file.namelist() if ".dist-info/" not in name}
    assert names == {name for name in own if "__pycache__" not in name}
    assert {Path(name).suffix for name in names} > {".py", ".txt", ".html"}


def test_every_group_is_an_extra(wheel):
    with zipfile.ZipFile(wheel) as file:
        text = file.read(next(name for name in file.namelist() if name.endswith("/METADATA"))).decode()
    extras = {line.split(": ")[1].replace("-", "_") for line in text.splitlines() if line.startswith("Provides-Extra")}
    groups = {path.stem.partition("-")[2] for path in ROOT.glob("requirements-*.txt")}
    assert extras == groups - {"wheel", "test"}


def test_editable_install_finds_the_checkout(checkout):
    with zipfile.ZipFile(built(checkout, "build_editable")) as file:
        (name,) = [name for name in file.namelist() if ".dist-info/" not in name]
        content = file.read(name).decode().strip()
    assert name.endswith(".pth") and content == str(checkout)
