"""Exported classifiers: what they predict, what is refused, and what they need."""

import json
import subprocess
import sys

import export
import numpy as np
import pytest
import torch
import toy
from dassl.utils import read_image
from methods import METHODS
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import train
from backbones import Head
from finished.export import export_of
from finished.load import load_run
from finished.predictors import RunPredictor
from inference import load_classifier, read_export, write_export
from trainers import PromptTrainer

TASKS = ["flower recognition", "texture recognition", "aircraft model recognition"]
REFUSED = {"CoCoOp": "its class features depend on the image", "PLOT": "to the regions of each image"}


@pytest.fixture(scope="module")
def pictures(toy_root):
    return sorted(toy_root.glob("toy/*/images/test-*"))[:7]


@pytest.fixture(scope="module")
def model(finished_run, tmp_path_factory):
    """The export of a run of SoftCPT."""
    path = tmp_path_factory.mktemp("models") / "model.safetensors"
    assert export.main([str(finished_run("SoftCPT")), str(path)]) == 0
    return path


def agree(run, path, pictures, atol=1e-5):
    """Whether run and export predict the same of pictures, in every task; and the classifier."""
    predictor, classifier = RunPredictor(load_run(run)), load_classifier(path, device="cpu")
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
def test_every_method_is_exported_with_its_own_predictions_or_refused_with_the_reason(
    method, finished_run, pictures, tmp_path, capsys
):
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
    ],
)
def test_variants_precisions_and_preprocessing_come_along(method, opts, finished_run, pictures, tmp_path):
    run, path = finished_run(method, *opts), tmp_path / "model.safetensors"
    assert export.main([str(run), str(path)]) == 0
    agree(run, path, pictures)


def test_a_method_whose_logits_the_head_does_not_know_is_refused(finished_run, monkeypatch):
    run = finished_run("CoOp")
    trainer = load_run(run)
    monkeypatch.setattr(type(trainer), "logits", lambda self, x, text: 2 * PromptTrainer.logits(self, x, text))
    with pytest.raises(ValueError, match="CoOp is not exported: .* must override `head`"):
        export_of(trainer, run)


# -- as scikit-learn ---------------------------------------------------------------------------------------------------


def test_paths_images_and_tensors_in_batches_of_any_size_are_the_same(model, pictures):
    classifier, task = load_classifier(model, device="cpu"), TASKS[2]
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


def test_wrong_tasks_shapes_and_pictures_are_named(model, tmp_path):
    classifier = load_classifier(model, device="cpu")
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


def test_zero_shot_weights_are_open_clips_layout(model, finished_run, pictures, tmp_path):
    classifier = load_classifier(model, device="cpu")
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
        with pytest.raises(ValueError, match=f"'flower recognition' is no zero-shot classifier: .*{reason}"):
            load_classifier(path, device="cpu").zero_shot_weights(TASKS[0])


def test_a_head_is_what_a_loop_over_images_classes_and_keys_computes():
    torch.manual_seed(0)
    x, weight, bias, keys, labels = (
        *(torch.randn(*shape) for shape in ((4, 6), (3, 6), (3,), (5, 6))),
        torch.tensor([2, 0, 0, 1, 2]),
    )
    head = Head(weight, bias, 7.0, True, keys, labels, 1.5, 2.5)
    expected = torch.zeros(4, 3)
    for b in range(4):
        unit = x[b] / x[b].norm()
        for c in range(3):
            expected[b, c] = 7 * unit @ weight[c] + bias[c]
            for i in range(5):
                if labels[i] == c:
                    expected[b, c] += 1.5 * torch.exp(-2.5 * (1 - unit @ keys[i]))
    torch.testing.assert_close(head(x), expected)
    torch.testing.assert_close(Head(weight, normalised=False)(x), x @ weight.T)


# -- files -------------------------------------------------------------------------------------------------------------


def rewrite(path, to, change):
    """A copy of an export with other metadata."""
    with safe_open(path, "pt") as file:
        facts = json.loads(file.metadata()["classifier"])
    change(facts)
    save_file(load_file(path), to, {"classifier": json.dumps(facts)})


def test_an_export_is_read_as_it_was_written(model, tmp_path):
    once = read_export(model)
    write_export(tmp_path / "again.safetensors", once)
    assert (tmp_path / "again.safetensors").read_bytes() == model.read_bytes()
    assert once.provenance["trainer"] == "SoftCPT" and once.provenance["dataset"] == "ToyTasks"
    assert once.tasks[2]["metric"] == "mean_per_class" and once.tasks[1]["template"] == "{} texture."


def test_another_schema_is_refused_by_name(model, tmp_path):
    path = tmp_path / "new.safetensors"
    rewrite(model, path, lambda facts: facts.update(schema=2))
    with pytest.raises(ValueError, match=r"new.safetensors: schema is 2, this version reads schema 1"):
        load_classifier(path)


def test_what_was_changed_in_the_file_is_noticed(model, tmp_path):
    path = tmp_path / "changed.safetensors"
    rewrite(model, path, lambda facts: facts["tasks"][0].update(name="weed recognition"))
    with pytest.raises(ValueError, match="changed.safetensors is damaged"):
        load_classifier(path)
    content = bytearray(model.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="changed.safetensors is damaged"):
        load_classifier(path)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.99])
def test_a_truncated_file_is_refused_by_name(model, tmp_path, share):
    path = tmp_path / "cut.safetensors"
    content = model.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match="cut.safetensors is no exported classifier, or it is truncated"):
        load_classifier(path)


def test_other_files_are_refused_by_name(tmp_path):
    path = tmp_path / "other.safetensors"
    save_file({"x": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match="other.safetensors is a safetensors file, but no exported classifier"):
        load_classifier(path)
    with pytest.raises(FileNotFoundError, match="none.safetensors"):
        load_classifier(tmp_path / "none.safetensors")


def test_another_backbone_is_refused_and_the_same_in_another_place_taken(model, pictures, tmp_path):
    with pytest.raises(ValueError, match="tiny_vit.npz@quickgelu .SHA-256 .*, not on scripts/demo/tiny_clip.npz"):
        load_classifier(model, backbone="scripts/demo/tiny_clip.npz")
    with pytest.raises(ValueError, match="their image towers differ"):
        load_classifier(model, backbone=f"{toy.GOLDEN}/tiny_vit.npz@gelu")
    with pytest.raises(ValueError, match="their image towers differ"):  # a precision of which no digest is known
        load_classifier(model, backbone=f"{toy.GOLDEN}/tiny_vit.npz@gelu", precision="bf16")
    (tmp_path / "moved.npz").write_bytes((toy.GOLDEN / "tiny_vit.npz").read_bytes())
    moved = load_classifier(model, backbone=f"{tmp_path}/moved.npz@quickgelu", device="cpu")
    own = load_classifier(model, device="cpu")
    assert (moved.predict(pictures, TASKS[0]) == own.predict(pictures, TASKS[0])).all()
    with pytest.raises(FileNotFoundError, match="name it with `backbone`"):
        load_classifier(model, backbone="nowhere.npz")


NEEDS_NEITHER = """
import sys
from inference import load_classifier
classifier = load_classifier(sys.argv[1], device="cpu")
print(*classifier.predict(sys.argv[2:], task="flower recognition"), sep="|")
loaded = {name.split(".")[0] for name in sys.modules}
assert not loaded & {"dassl", "trainers", "datasets", "evaluation", "train", "finished"}, loaded
"""


def test_an_export_needs_neither_dassl_nor_the_trainers(model, pictures):
    command = [sys.executable, "-c", NEEDS_NEITHER, str(model), *map(str, pictures)]
    done = subprocess.run(command, cwd=train.PROJECT_ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    expected = load_classifier(model, device="cpu").predict(pictures, "flower recognition")
    assert done.stdout.strip().split("|") == expected.tolist()


# -- new tasks and ONNX ------------------------------------------------------------------------------------------------


def test_a_new_task_is_exported_as_what_features_says(finished_run, pictures, tmp_path, capsys):
    (tmp_path / "names.txt").write_text("ink cap\nfly agaric\n")
    common = ["--classes", str(tmp_path / "names.txt"), "--task", "mushroom species recognition"]
    weights = {}
    for features in ("context", "zero-shot", "average"):
        path = tmp_path / f"{features}.safetensors"
        new = [*common, "--features", features]
        assert export.main([str(finished_run("SoftCPT")), str(path), *new]) == 0
        classifier = load_classifier(path, device="cpu")
        assert classifier.predict(pictures).shape == (7,) and classifier.export.provenance["features"] == features
        weights[features] = classifier.zero_shot_weights()
    both = weights["context"] + weights["zero-shot"]
    torch.testing.assert_close(weights["average"], both / both.norm(dim=0))
    path = tmp_path / "lora.safetensors"
    assert export.main([str(finished_run("CLIPLoRA")), str(path), *common, "--features", "average"]) == 2
    assert "CLIPLoRA has no average; one of zero-shot" in capsys.readouterr().err
    assert export.main([str(finished_run("TaskRes")), str(path), *common, *ZERO]) == 2
    assert "TaskRes" in capsys.readouterr().err


@pytest.mark.parametrize(
    "method, opts",
    [
        ("SoftCPT", ()),
        ("TipAdapter", ()),
        ("ProLIP", ("TRAINER.PROLIP.PREC", "amp", "MODEL.BACKBONE.NAME", "scripts/demo/tiny_clip.npz")),
    ],
    ids=["SoftCPT", "TipAdapter", "ProLIP-ResNet"],
)
def test_the_onnx_model_says_what_pytorch_does_for_any_batch(method, opts, finished_run, pictures, tmp_path, capsys):
    onnx, runtime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    run, path, file = finished_run(method, *opts), tmp_path / "model.safetensors", tmp_path / "model.onnx"
    assert export.main([str(run), str(path), "--onnx", str(file)]) == 0
    assert "differ from PyTorch's by" in capsys.readouterr().out
    assert sorted(tmp_path.iterdir()) == [file, path]
    classifier = load_classifier(path, device="cpu", precision="fp32")
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


def test_an_onnx_model_that_computes_something_else_is_not_written(model, tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime")
    from inference import onnx_model

    monkeypatch.setattr(onnx_model, "quick_gelu", torch.relu)
    with pytest.raises(ValueError, match="not written: its logits differ from PyTorch's by"):
        onnx_model.write_onnx(tmp_path / "model.onnx", load_classifier(model, device="cpu"))
    assert not list(tmp_path.iterdir())


def test_a_missing_onnx_package_is_named(model, tmp_path, without_package):
    from inference import onnx_model

    without_package("onnxscript")
    with pytest.raises(ValueError, match="need the package onnxscript: pip install -r requirements-onnx.txt"):
        onnx_model.write_onnx(tmp_path / "model.onnx", load_classifier(model, device="cpu"))


ZERO = ("--features", "zero-shot")
BAD = {
    "features of a known task": (["{run}", "{tmp}/model.safetensors", *ZERO], "--features: zero-shot is of a new task"),
    "no run": (["{tmp}", "{tmp}/model.safetensors"], "config.yaml"),
    "suffix": (["{run}", "{tmp}/model.pt"], ".safetensors"),
    "folder": (["{run}", "{tmp}/no/model.safetensors"], "not there"),
    "onnx suffix": (["{run}", "{tmp}/model.safetensors", "--onnx", "{tmp}/model"], ".onnx"),
    "classes alone": (["{run}", "{tmp}/model.safetensors", "--classes", "{tmp}/names.txt"], "--task"),
    "no classes": (
        ["{run}", "{tmp}/model.safetensors", "--classes", "{tmp}/none.txt", "--task", "x", *ZERO],
        "none.txt",
    ),
    "features": (
        ["{run}", "{tmp}/model.safetensors", "--classes", "{tmp}/names.txt", "--task", "x"],
        "choose what the new task's classes are made of",
    ),
    "twice": (
        ["{run}", "{tmp}/model.safetensors", "--classes", "{tmp}/names.txt", "--task", "x", *ZERO],
        "'elm' occurs twice",
    ),
    "key": (["{run}", "{tmp}/model.safetensors", "USE_CUD", "False"], "USE_CUDA"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_input_is_one_clear_error(what, finished_run, tmp_path, capsys):
    (tmp_path / "names.txt").write_text("elm\nelm\n")
    arguments, message = BAD[what]
    assert export.main([word.format(run=finished_run("SoftCPT"), tmp=tmp_path) for word in arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error and len(error.splitlines()) == 1, error
