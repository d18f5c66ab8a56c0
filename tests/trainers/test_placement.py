"""Training on a second device, which refuses what a GPU refuses: no tensor stays behind on the CPU. The whole life of
each method there is in test_trainers.py."""

import json

import host_waits
import miniatures
import pytest
import second_device
import toy
from methods import LEARNING, METHODS, build, steps_of_an_epoch

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


# -- where the host waits ----------------------------------------------------------------------------------------------


def later_steps(root, folder, name, dataset, *opts):
    """The waits of each step after the first two, between two printed lines, and the number of tasks in its batch."""
    opts = ("TRAIN.PRINT_FREQ", 1000, "DATALOADER.TRAIN_X.BATCH_SIZE", 4, *opts)
    found = []
    with second_device.used():
        for step, batch in steps_of_an_epoch(build(root, folder, name, dataset=dataset, opts=opts)):
            with host_waits.recorded() as waits:
                step()
            found.append((waits, len(set(batch["domain"].tolist()))))
    assert len(found) > 4
    return found[2:]


@pytest.mark.parametrize("dataset", ["ToyTasks", "ToySingle"])
@pytest.mark.parametrize("name", LEARNING)
def test_step_never_waits(name, dataset, toy_root, tmp_path):
    """Nor for its copies. PLOT reads after every tenth iteration of a task whether it has converged."""
    opts = ("TRAINER.PLOT.THRESH", 0.0, "TRAINER.PLOT.MAX_ITER", 20)
    for waits, tasks in later_steps(toy_root, tmp_path, name, dataset, *opts):
        assert len(waits) == (2 * tasks if name == "PLOT" else 0), waits


@pytest.mark.parametrize(
    "options",
    [
        ("CLASS_SAMPLE_RATE", 0.3),
        ("VARIANT", "CSTS", "KNOWLEDGE_WEIGHT", 2.0),
        ("VARIANT", "CATA", "CLASS_TOKEN_POSITION", "middle", "SCHEDULE", "released"),
        ("TASK_FEATURES", "learned", "BLEND", True),
    ],
)
def test_step_of_a_variant_never_waits(options, toy_root, tmp_path):
    keys = (f"TRAINER.SOFTCPT.{key}" for key in options[::2])
    opts = [item for pair in zip(keys, options[1::2]) for item in pair]
    for waits, _ in later_steps(toy_root, tmp_path, "SoftCPT", "ToyTasks", *opts):
        assert not waits


def test_step_on_cached_views_never_waits(toy_root, tmp_path):
    for waits, _ in later_steps(toy_root, tmp_path, "SoftCPT", "ToyTasks", "FEATURES.TRAIN_VIEWS", 2):
        assert not waits


def test_printed_line_reads_what_its_steps_have_logged(train):
    """Ten batches and a line after every third: whether the losses are finite, and their values."""
    with host_waits.per_step(PromptTrainer) as counts:
        train("CoOp", "DATASET.NUM_SHOTS", 4, "DATALOADER.TRAIN_X.BATCH_SIZE", 2, "TRAIN.PRINT_FREQ", 3)
    assert host_waits.total(counts, "read") == pytest.approx((3 + 4) / 10)  # of the last step only the values
    assert {wait.place.split(":")[0] for wait in counts} == {
        "trainers/engine/divergence.py",
        "compat/dassl/engine/trainer.py",
    }
    print(host_waits.table(counts))


def test_first_step_that_diverges_is_named_before_anything_is_saved(toy_root, tmp_path, monkeypatch):
    """It is noticed later than on a CPU, at the end of the epoch."""
    compute_loss, images = PromptTrainer.compute_loss, []

    def diverging(self, image, label):
        loss, terms = compute_loss(self, image, label)
        return (loss * float("nan") if self.batch_idx in (1, 2) else loss), terms

    def recorded(self, batch):
        images.append(batch["impath"])
        return step(self, batch)

    step = PromptTrainer.forward_backward
    monkeypatch.setattr(PromptTrainer, "compute_loss", diverging)
    monkeypatch.setattr(PromptTrainer, "forward_backward", recorded)
    opts = ("DATALOADER.TRAIN_X.BATCH_SIZE", 4, "TRAIN.PRINT_FREQ", 1000)
    with second_device.used(), pytest.raises(FloatingPointError, match="the loss is nan in epoch 1, step 2 "):
        build(toy_root, tmp_path / "run", "CoOp", opts=opts).train()
    facts = json.loads((tmp_path / "run/failure.json").read_text())
    assert (facts["step"], facts["images"], facts["gradient_norm_before"]) == (2, images[1], None)
    assert len(images) > 3 and not list(tmp_path.glob("run/**/*.pth.tar*"))
