"""An exported classifier, used like one of scikit-learn, and what it needs."""

import subprocess

import numpy as np
import pytest
import torch
import toy
from PIL import Image
from toy import TASKS
from warm_python import python

import train
from softcpt.inference import load_classifier, write_export
from trainers.finished.export import export_of
from trainers.finished.load import load_run


def test_paths_images_and_tensors_give_the_same_scores(model, pictures):
    classifier, task = load_classifier(model, toy.CLIP, "cpu"), TASKS[2]
    expected = classifier.decision_function(pictures, task)
    assert expected.shape == (7, 5) and expected.dtype == np.float32
    images = [Image.open(picture) for picture in pictures]
    tensor = torch.stack([classifier.transform(image.convert("RGB")) for image in images])
    for same in (images, tensor, [str(picture) for picture in pictures]):
        np.testing.assert_allclose(classifier.decision_function(same, task, batch_size=3), expected, atol=1e-4)
    np.testing.assert_allclose(
        classifier.predict_proba(images[0], task), torch.tensor(expected[:1]).softmax(1), atol=1e-6
    )
    np.testing.assert_allclose(classifier.predict_proba(tensor, task).sum(1), 1, atol=1e-6)
    assert classifier.predict([], task).shape == (0,) and classifier.predict_proba(tensor[:0], task).shape == (0, 5)
    assert classifier.classes_[task].tolist() == toy.CLASSES["ToyAircraft"]


def test_arrays_are_images(model, pictures):
    classifier, task = load_classifier(model, toy.CLIP, "cpu"), TASKS[2]
    expected = classifier.decision_function(pictures, task)
    arrays = [np.asarray(Image.open(picture).convert("RGB")) for picture in pictures]
    opaque = [np.dstack([pixels, np.full(pixels.shape[:2], 255, np.uint8)]) for pixels in arrays]
    for same in (arrays, opaque, np.stack(arrays), np.array([str(picture) for picture in pictures])):
        assert (classifier.decision_function(same, task) == expected).all()
    assert (classifier.decision_function(arrays[0], task) == classifier.decision_function(pictures[0], task)).all()
    grey = np.asarray(Image.open(pictures[0]).convert("L"))
    assert (classifier.predict_proba(grey, task) == classifier.predict_proba(Image.fromarray(grey), task)).all()
    mixed = [arrays[0], pictures[1], Image.open(pictures[2])]
    np.testing.assert_allclose(classifier.decision_function(mixed, task), expected[:3], atol=1e-4)
    for wrong, message in (
        (arrays[0] / 255, r"shape \(32, 32, 3\) and dtype float64 is no image: \(H, W\), .* of uint8 are"),
        ([arrays[0], arrays[1].astype(np.uint16)], r"shape \(32, 32, 3\) and dtype uint16 is no image"),
        (arrays[0].transpose(2, 0, 1), r"shape \(3, 32, 32\) and dtype uint8 is no image"),
        ([3], "int is no image: paths, Pillow images and arrays of uint8 are"),
    ):
        with pytest.raises(ValueError, match=message):
            classifier.predict(wrong, task)


def test_invalid_input_is_named(model, tmp_path):
    classifier = load_classifier(model, toy.CLIP, "cpu")
    with pytest.raises(ValueError, match="several tasks; name one of flower recognition, "):
        classifier.predict([])
    with pytest.raises(ValueError, match="did you mean 'flower recognition'"):
        classifier.predict([], "flower recognitoin")
    with pytest.raises(ValueError, match=r"shape \(2, 3, 8, 8\), expected \(B, 3, 32, 32\)"):
        classifier.predict(torch.zeros(2, 3, 8, 8), TASKS[0])
    with pytest.raises(OSError, match="rose.png"):
        classifier.predict([tmp_path / "rose.png"], TASKS[0])
    with pytest.raises(ValueError, match="precision: 'half' is not legal"):
        load_classifier(model, precision="half")


def test_zero_shot_weights_have_open_clips_layout(model, finished_run, pictures, tmp_path):
    classifier = load_classifier(model, toy.CLIP, "cpu")
    weights = classifier.zero_shot_weights(TASKS[0])  # (E, C)
    assert weights.shape == (classifier.export.heads[0].weight.shape[1], 3)
    torch.testing.assert_close(weights.norm(dim=0), torch.ones(3))
    images = torch.stack([classifier.transform(Image.open(picture).convert("RGB")) for picture in pictures])
    features = classifier.features(images)
    features /= features.norm(dim=-1, keepdim=True)
    logits = classifier.logit_scale(TASKS[0]) * features @ weights
    np.testing.assert_allclose(logits, classifier.decision_function(images, TASKS[0]), atol=1e-4)
    for method, reason in (
        ("LinearProbe", "not normalised"),
        ("LPPlusPlus", "have biases"),
        ("TipAdapter", "a cache of training images"),
        ("MaPLe", "image tower is changed"),
    ):
        path = tmp_path / f"{method}.safetensors"
        write_export(path, export_of(load_run(finished_run(method)), finished_run(method)))
        with pytest.raises(ValueError, match=f"'flower recognition' is not a zero-shot classifier: .*{reason}"):
            load_classifier(path, toy.CLIP, "cpu").zero_shot_weights(TASKS[0])


def test_other_backbone_is_refused_unless_it_is_the_same(model, pictures, tmp_path):
    with pytest.raises(ValueError, match="tiny_vit.npz@quickgelu .SHA-256 .*, not on scripts/demo/tiny_clip.npz"):
        load_classifier(model, backbone="scripts/demo/tiny_clip.npz")
    with pytest.raises(ValueError, match="their image towers differ"):
        load_classifier(model, backbone=f"{toy.GOLDEN}/tiny_vit.npz@gelu")
    with pytest.raises(ValueError, match="their image towers differ"):  # in any precision
        load_classifier(model, backbone=f"{toy.GOLDEN}/tiny_vit.npz@gelu", precision="bf16")
    (tmp_path / "moved.npz").write_bytes((toy.GOLDEN / "tiny_vit.npz").read_bytes())
    moved = load_classifier(model, backbone=f"{tmp_path}/moved.npz@quickgelu", device="cpu")
    own = load_classifier(model, toy.CLIP, "cpu")
    assert (moved.predict(pictures, TASKS[0]) == own.predict(pictures, TASKS[0])).all()
    with pytest.raises(FileNotFoundError, match="name it with `backbone`"):
        load_classifier(model, backbone="nowhere.npz")


NEEDS_NEITHER = """
import sys
from softcpt.inference import load_classifier
classifier = load_classifier(sys.argv[1], sys.argv[2], "cpu")
print(*classifier.predict(sys.argv[3:], task="flower recognition"), sep="|")
loaded = {name.split(".")[0] for name in sys.modules}
assert not loaded & {"dassl", "trainers", "datasets", "train", "scripts"}, loaded  # of others see test_wheel.py
"""


def test_export_needs_neither_dassl_nor_trainers(model, pictures):
    command = [python(), "-c", NEEDS_NEITHER, str(model), toy.CLIP, *map(str, pictures)]
    done = subprocess.run(command, cwd=train.PROJECT_ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    expected = load_classifier(model, toy.CLIP, "cpu").predict(pictures, "flower recognition")
    assert done.stdout.strip().split("|") == expected.tolist()
