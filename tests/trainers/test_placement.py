"""Training on a second device, which refuses what a GPU refuses: no tensor stays behind on the CPU. The whole life of
each method there is in test_trainers.py."""

import json

import host_waits
import miniatures
import pytest
import second_device
import toy
from methods import METHODS

from scripts.lib.train_run import TrainRun
from trainers import PromptTrainer

pytestmark = second_device.NEEDS
SHORT = ("DATASET.TASKS", ",".join(toy.TASKS[:2]), "DATASET.NUM_SHOTS", 1, "OPTIM.MAX_EPOCH", 1)
FAMILIES = ("openai-resnet", "open_clip-siglip", "open_clip-coca", "open_clip-eva", "transformers-altclip")
KINDS = ("SoftCPT", "CLIPLoRA", "PLOT", "TipAdapter")  # of text, of both towers, of local features, of no gradient
MOST_ARE_SLOW = [name if name in KINDS else pytest.param(name, marks=pytest.mark.slow) for name in METHODS]


@pytest.fixture
def train(toy_root, tmp_path):
    """A function of a method and config pairs, which trains on the device; the run folder."""

    def run(method, *opts, name="run"):
        toy.finish(toy.arguments(toy_root, tmp_path / name, method, *SHORT, *opts))
        return tmp_path / name

    with second_device.used():
        yield run


def results(folder):
    record = json.loads((folder / "results.json").read_text())
    return {task["name"]: task["value"] for task in record["tasks"]}


@pytest.mark.parametrize("method", MOST_ARE_SLOW)
def test_training_there_ends_with_the_results_of_the_cpu(method, finished_run, toy_root, tmp_path):
    """The device computes with the CPU's kernels, so the same draws give the same results."""
    pairs = ("OPTIM.MAX_EPOCH", 1, "DATASET.NUM_SHOTS", 2, "TRAINER.PLOT.THRESH", 0.0)
    with second_device.used():
        toy.finish(toy.arguments(toy_root, tmp_path / "run", method, *pairs))
    assert results(tmp_path / "run") == results(finished_run(method))


@pytest.mark.parametrize("method", MOST_ARE_SLOW)
@pytest.mark.parametrize("precision", ["amp", "fp16"])
def test_half_precision(method, precision, train):
    train(method, f"TRAINER.{method.upper()}.PREC", precision)


@pytest.mark.parametrize(
    "family", [f if f in FAMILIES else pytest.param(f, marks=pytest.mark.slow) for f in miniatures.FAMILIES]
)
@pytest.mark.parametrize("method", ["SoftCPT", pytest.param("CoOp", marks=pytest.mark.slow)])
def test_family_of_clips(family, method, train, tmp_path_factory):
    backbone = miniatures.make(family, tmp_path_factory.getbasetemp() / "miniatures").name
    train(method, "MODEL.BACKBONE.NAME", backbone)


def test_cached_features_and_views(train):
    """The second run reads what the first has written."""
    opts = ("FEATURES.TRAIN_VIEWS", 2, "INPUT.TRANSFORMS", ("center_crop", "normalize"))
    first, second = (train("SoftCPT", *opts, name=name) for name in ("first", "second"))
    assert results(first) == results(second)
    train("SoftCPT", "FEATURES.TEST_CACHE", False, "TEST.FINAL_MODEL", "best_val", name="uncached")


def test_run_of_a_sweep(train, toy_root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the call goes to another folder, and this puts it back
    assert TrainRun(toy.arguments(toy_root, tmp_path / "run", "CoOp", *SHORT), tmp_path / "run")() == 0
    assert json.loads((tmp_path / "run" / "results.json").read_text())["device"] == "second"


def test_waits_of_a_step_name_their_lines(train):
    with host_waits.per_step(PromptTrainer) as counts:
        train("CoOp")
    assert host_waits.total(counts, "read") > 0 and host_waits.total(counts, "copy") > 0
    assert all(wait.place for wait in counts)
    print(host_waits.table(counts))
