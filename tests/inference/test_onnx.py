"""Exported classifiers as ONNX models."""

import json

import export
import miniatures
import numpy as np
import pytest
import torch
import toy
from PIL import Image
from toy import TASKS

from softcpt.inference import load_classifier
from softcpt.inference.onnx_model import EXPORTS

needs_export = pytest.mark.skipif(not EXPORTS, reason="this PyTorch exports no dynamic shapes")


@needs_export
@pytest.mark.parametrize(
    "method, opts",
    [
        ("TipAdapter", ()),
        ("ProLIP", ("TRAINER.PROLIP.PREC", "amp", "MODEL.BACKBONE.NAME", "scripts/demo/tiny_clip.npz")),
    ],
    ids=["TipAdapter", "ProLIP-ResNet"],
)
def test_onnx_matches_pytorch_for_any_batch(method, opts, finished_run, pictures, tmp_path, capsys):
    onnx, runtime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    run, path, file = finished_run(method, *opts), tmp_path / "model.safetensors", tmp_path / "model.onnx"
    assert export.main([str(run), str(path), "--onnx", str(file)]) == 0
    assert "differ from PyTorch's by" in capsys.readouterr().out
    assert sorted(tmp_path.iterdir()) == [file, path]
    classifier = load_classifier(path, toy.CLIP if method == "TipAdapter" else None, "cpu", "fp32")
    session = runtime.InferenceSession(file, providers=["CPUExecutionProvider"])
    facts = json.loads({entry.key: entry.value for entry in onnx.load(file).metadata_props}["classifier"])
    assert [task["name"] for task in facts["tasks"]] == TASKS
    assert (
        facts["tasks"][0]["output"] == "flower_recognition"
        and facts["tasks"][0]["classnames"] == toy.CLASSES["ToyFlower"]
    )
    images = torch.stack([classifier.transform(Image.open(picture).convert("RGB")) for picture in pictures])
    for count in (1, 4, 7):
        found = session.run([task["output"] for task in facts["tasks"]], {"image": images[:count].numpy()})
        for name, logits in zip(TASKS, found):
            np.testing.assert_allclose(logits, classifier.decision_function(images[:count], name), atol=1e-3)


@pytest.mark.slow
@needs_export
@pytest.mark.parametrize(
    "method, family", [("CoOp", "transformers-siglip"), ("MaPLe", "open_clip-pe"), ("ProLIP", "open_clip-pe")]
)
def test_other_libraries_towers_become_onnx(method, family, finished_run, tmp_path, tmp_path_factory, capsys):
    """Batches of several sizes are compared with PyTorch before the file is written."""
    pytest.importorskip("onnxruntime"), pytest.importorskip("onnxscript")
    backbone = miniatures.make(family, tmp_path_factory.getbasetemp() / "miniatures").name
    run, file = finished_run(method, "MODEL.BACKBONE.NAME", backbone), tmp_path / "model.onnx"
    assert export.main([str(run), str(tmp_path / "model.safetensors"), "--onnx", str(file)]) == 0
    assert "differ from PyTorch's by" in capsys.readouterr().out and file.is_file()


@needs_export
def test_wrong_onnx_model_is_not_written(model, tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime")
    from softcpt.inference import onnx_model

    monkeypatch.setattr(onnx_model, "quick_gelu", torch.relu)
    with pytest.raises(ValueError, match="no ONNX model is written: its logits, .*, differ from PyTorch's by"):
        onnx_model.write_onnx(tmp_path / "model.onnx", load_classifier(model, toy.CLIP, "cpu"))
    assert not list(tmp_path.iterdir())


def test_missing_onnx_package_is_named(model, tmp_path, without_package):
    from softcpt.inference import onnx_model

    without_package("onnxscript")
    with pytest.raises(ValueError, match="need the package onnxscript .*pip install -r requirements-onnx.txt"):
        onnx_model.write_onnx(tmp_path / "model.onnx", load_classifier(model, toy.CLIP, "cpu"))
