"""scripts/export.py: what exported classifiers predict, and what is refused."""

import export
import miniatures
import numpy as np
import pytest
import torch
import toy
from dassl.utils import read_image
from methods import METHODS
from toy import TASKS

from softcpt.inference import load_classifier
from trainers import PromptTrainer
from trainers.finished.export import export_of
from trainers.finished.load import load_run
from trainers.finished.predictors import RunPredictor

REFUSED = {"CoCoOp": "its class features depend on the image", "PLOT": "to the regions of each image"}


def agree(run, path, pictures, backbone=toy.CLIP, atol=1e-5):
    """Check that run and export predict the same for all images and tasks; the classifier."""
    predictor, classifier = RunPredictor(load_run(run)), load_classifier(path, backbone, "cpu")
    images = torch.stack([predictor.transform(read_image(str(picture))) for picture in pictures])
    assert classifier.tasks == TASKS
    for task in TASKS:
        expected = predictor.scores(images, task)[""]
        found = classifier.predict_proba(pictures, task)
        torch.testing.assert_close(torch.from_numpy(found), expected, atol=atol, rtol=0)
        names = np.array(predictor.classes_[task], dtype=object)
        assert (classifier.predict(pictures, task) == names[expected.argmax(1)]).all()
    return classifier


@pytest.mark.parametrize("method", METHODS)
def test_every_method_exports_its_predictions_or_says_why_not(method, finished_run, pictures, tmp_path, capsys):
    run, path = finished_run(method), tmp_path / "model.safetensors"
    status = export.main([str(run), str(path)])
    if method in REFUSED:
        error = capsys.readouterr().err
        assert status == 2 and not path.exists() and error.startswith(f"error: {method} ") and REFUSED[method] in error
    else:
        assert status == 0 and str(path) in capsys.readouterr().out
        agree(run, path, pictures)


@pytest.mark.parametrize(
    "method, opts",
    [
        ("SoftCPT", ("TRAINER.SOFTCPT.BLEND", True)),
        ("SoftCPT", ("TRAINER.SOFTCPT.PREC", "amp")),
        ("CLIPLoRA", ("TRAINER.CLIPLORA.PREC", "bf16")),
        ("MaPLe", ("TRAINER.MAPLE.PREC", "amp")),
        ("ProLIP", ("TRAINER.PROLIP.PREC", "amp", "MODEL.BACKBONE.NAME", "scripts/demo/tiny_clip.npz")),
        ("LinearProbe", ("INPUT.RESIZE", "squash", "INPUT.OVERRIDE_MODEL", True)),
        ("LinearProbe", ("INPUT.RESIZE", "shortest:71", "INPUT.OVERRIDE_MODEL", True)),
    ],
)
def test_export_keeps_variant_precision_and_preprocessing(method, opts, finished_run, pictures, tmp_path):
    run, path = finished_run(method, *opts), tmp_path / "model.safetensors"
    assert export.main([str(run), str(path)]) == 0
    agree(run, path, pictures, None if "MODEL.BACKBONE.NAME" in opts else toy.CLIP)  # the demo's CLIP is found


@pytest.mark.parametrize("method, family", [("MaPLe", "pe"), ("CLIPLoRA", "eva"), ("CLIPLoRA", "pe"), ("ProLIP", "pe")])
def test_changes_to_timms_transformers_are_exported(
    method, family, finished_run, pictures, tmp_path, tmp_path_factory, capsys
):
    backbone = miniatures.make(f"open_clip-{family}", tmp_path_factory.getbasetemp() / "miniatures").name
    run, path = finished_run(method, "MODEL.BACKBONE.NAME", backbone), tmp_path / "model.safetensors"
    assert export.main([str(run), str(path)]) == 0, capsys.readouterr().err
    export_of = agree(run, path, pictures, backbone).export
    assert bool(export_of.prompts) == (method == "MaPLe") and bool(export_of.weights) == (method == "CLIPLoRA")


def test_unknown_logits_are_refused(finished_run, monkeypatch):
    run = finished_run("CoOp")
    trainer = load_run(run)
    monkeypatch.setattr(type(trainer), "logits", lambda self, x, text: 2 * PromptTrainer.logits(self, x, text))
    with pytest.raises(ValueError, match="CoOp is not exported: .* must override `head`"):
        export_of(trainer, run)


def test_new_task_is_exported_with_the_chosen_features(finished_run, pictures, tmp_path, capsys):
    (tmp_path / "names.txt").write_text("ink cap\nfly agaric\n")
    common = ["--classes", str(tmp_path / "names.txt"), "--task", "mushroom species recognition"]
    weights = {}
    for features in ("context", "zero-shot", "average"):
        path = tmp_path / f"{features}.safetensors"
        new = [*common, "--features", features]
        assert export.main([str(finished_run("SoftCPT")), str(path), *new]) == 0
        classifier = load_classifier(path, toy.CLIP, "cpu")
        assert classifier.predict(pictures).shape == (7,) and classifier.export.provenance["features"] == features
        weights[features] = classifier.zero_shot_weights()
    both = weights["context"] + weights["zero-shot"]
    torch.testing.assert_close(weights["average"], both / both.norm(dim=0))
    path = tmp_path / "lora.safetensors"
    assert export.main([str(finished_run("CLIPLoRA")), str(path), *common, "--features", "average"]) == 2
    assert "CLIPLoRA has no average; one of zero-shot" in capsys.readouterr().err
    assert export.main([str(finished_run("TaskRes")), str(path), *common, *ZERO]) == 2
    assert "TaskRes" in capsys.readouterr().err


ZERO = ("--features", "zero-shot")
BAD = {
    "features of a known task": (
        ["{run}", "{tmp}/model.safetensors", *ZERO],
        "--features: zero-shot is for a new task",
    ),
    "no run": (["{tmp}", "{tmp}/model.safetensors"], "config.yaml"),
    "suffix": (["{run}", "{tmp}/model.pt"], ".safetensors"),
    "folder": (["{run}", "{tmp}/no/model.safetensors"], "does not exist"),
    "onnx suffix": (["{run}", "{tmp}/model.safetensors", "--onnx", "{tmp}/model"], ".onnx"),
    "classes alone": (["{run}", "{tmp}/model.safetensors", "--classes", "{tmp}/names.txt"], "--task"),
    "no classes": (
        ["{run}", "{tmp}/model.safetensors", "--classes", "{tmp}/none.txt", "--task", "x", *ZERO],
        "none.txt",
    ),
    "features": (
        ["{run}", "{tmp}/model.safetensors", "--classes", "{tmp}/names.txt", "--task", "x"],
        "choose what describes the new task's classes",
    ),
    "twice": (
        ["{run}", "{tmp}/model.safetensors", "--classes", "{tmp}/names.txt", "--task", "x", *ZERO],
        "'elm' occurs twice",
    ),
    "key": (["{run}", "{tmp}/model.safetensors", "USE_CUD", "False"], "USE_CUDA"),
}


@pytest.mark.parametrize("what", BAD)
def test_invalid_input_is_a_one_line_error(what, finished_run, tmp_path, capsys):
    (tmp_path / "names.txt").write_text("elm\nelm\n")
    arguments, message = BAD[what]
    assert export.main([word.format(run=finished_run("SoftCPT"), tmp=tmp_path) for word in arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error and len(error.splitlines()) == 1, error
