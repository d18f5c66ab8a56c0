"""Fixtures of the tests of exports and predictions."""

import shutil

import export
import pytest
import toy


@pytest.fixture(scope="session")
def pictures(toy_root):
    """The paths of seven test pictures of the toy tasks."""
    return sorted(toy_root.glob("toy/*/images/test-*"))[:7]


@pytest.fixture(scope="session")
def model(finished_run, tmp_path_factory):
    """The export of a run of SoftCPT."""
    path = tmp_path_factory.mktemp("models") / "model.safetensors"
    assert export.main([str(finished_run("SoftCPT")), str(path)]) == 0
    return path


@pytest.fixture(scope="session")
def flowers(toy_root, tmp_path_factory):
    """The flowers' nine test images, in a folder for each class."""
    folder = tmp_path_factory.mktemp("flowers")
    for path in (toy_root / "toy/flower/images").glob("test-*"):
        to = folder / "some" / toy.CLASSES["ToyFlower"][int(path.name.split("-")[1])]
        to.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, to / path.name)
    return folder


@pytest.fixture(scope="session")
def run(finished_run):
    """A finished run of CoOp over the three tasks."""
    return finished_run("CoOp")
