"""Exports with a valid digest whose contents are not legal: one line that names the file and the key or tensor."""

import json

import pytest
import torch
import toy
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from softcpt.backbones import Head
from softcpt.backbones.config import Preprocessing
from softcpt.inference import Export, load_classifier, write_export
from softcpt.inference.exports import digest_of

NAN, INF = float("nan"), float("inf")
FACTS = {
    "no tasks": (lambda f: f.update(tasks=[], heads=[]), "it has no tasks"),
    "a head less": (lambda f: f["heads"].pop(), "it has 3 tasks, but 2 heads"),
    "a task is a text": (lambda f: f["tasks"].__setitem__(1, "x"), "tasks.1 is no object"),
    "no template": (lambda f: f["tasks"][0].pop("template"), "tasks.0 is missing, or has of another type: template"),
    "no classes": (lambda f: f["tasks"][0].update(classnames=[]), r"tasks.0.classnames \[\] are not at least one text"),
    "a class is a number": (lambda f: f["tasks"][0]["classnames"].__setitem__(0, 7), "tasks.0.classnames .*one text"),
    "one name": (lambda f: f["tasks"][1].update(name=f["tasks"][0]["name"]), "two of its tasks have one name"),
    "scale": (lambda f: f["heads"][2].update(scale="10"), "heads.2.scale is '10', not a finite number"),
    "huge": (lambda f: f["heads"][2].update(alpha=1e200), "heads.2.alpha is 1e"),
    "no beta": (lambda f: f["heads"][0].pop("beta"), "heads.0.beta is None, not a finite number"),
    "normalised": (lambda f: f["heads"][0].update(normalised=1), "heads.0 is missing, or has of another type: normal"),
    "sha256": (lambda f: f["backbone"].update(sha256=None), "backbone.sha256 is no text"),
    "digits": (lambda f: f["backbone"].update(sha256="a\n"), r"backbone.sha256 is 'a\\n', not hexadecimal digits"),
    "size": (lambda f: f["preprocessing"].update(size=[32, 0]), r"preprocessing.size is \[32, 0\], not two"),
    "size of a text": (lambda f: f["preprocessing"].update(size="32"), "preprocessing.size is '32', not two"),
    "size of another CLIP": (lambda f: f["preprocessing"].update(size=[64, 64]), r"size is \(64, 64\), its CLIP takes"),
    "std": (lambda f: f["preprocessing"].update(std=[1, 0, 1]), "preprocessing.std is .*, not three .* above 0"),
    "tiny std": (lambda f: f["preprocessing"].update(std=[1e-44] * 3), "std is .*, not three .* above 0.000001"),
    "mean": (lambda f: f["preprocessing"].update(mean=[1, 2]), "preprocessing.mean is .*, not three finite numbers"),
    "resize": (lambda f: f["preprocessing"].update(resize="crop"), "preprocessing.resize is 'crop', not one of short"),
    "resize to less": (lambda f: f["preprocessing"].update(resize="shortest:9"), "'shortest:9' leaves fewer pixels"),
    "interpolation": (lambda f: f["preprocessing"].update(interpolation=3), "interpolation is 3, not one of bicubic"),
    "another key": (lambda f: f["preprocessing"].update(x=1), "preprocessing has not the keys size, mean"),
    "precision": (lambda f: f.update(precision="int8"), "precision is 'int8'"),
}


def changed(tensors, name, value):
    if value is None:
        del tensors[name]
    else:
        tensors[name] = value(tensors[name]) if callable(value) else value


def spoilt(x, value):
    x = x.clone()
    x.view(-1)[0] = value
    return x


TENSORS = {
    "NaN": ("heads.1.weight", lambda x: spoilt(x, NAN), r"heads.1.weight has 1 of \d+ values that are not finite"),
    "infinite": ("heads.1.weight", lambda x: spoilt(x, INF), "heads.1.weight has 1 of"),
    "whole numbers": ("heads.0.weight", lambda x: x.long(), "heads.0.weight holds torch.int64, not floating-point"),
    "flat": ("heads.0.weight", lambda x: x.flatten(), r"heads.0.weight has shape \(\d+,\), not \(3, "),
    "a number": ("heads.0.weight", torch.tensor(1.0), r"heads.0.weight has shape \(\), not \(3, 0\)"),
    "a row less": ("heads.2.weight", lambda x: x[1:], r"heads.2.weight has shape \(4, 32\), not \(5, 32\)"),
    "a column less": (
        "heads.2.weight",
        lambda x: x[:, 1:].contiguous(),
        r"heads.2.weight has shape \(5, 31\), not \(5, 32\)",
    ),
    "none": ("heads.1.weight", None, "it has no tensor heads.1.weight"),
    "a head more": ("heads.3.weight", torch.ones(2, 64), "heads.3.weight belongs to none of the 3 tasks"),
    "bias": ("heads.0.bias", torch.ones(4), r"heads.0.bias has shape \(4,\), not \(3\)"),
    "keys alone": ("heads.0.keys", torch.ones(4, 64), "heads.0 has only one of keys and labels"),
    "unknown": ("evil", torch.ones(1), "the tensor 'evil' is not one of an export"),
    "prompts from 1": ("prompts.1", torch.ones(2, 64), r"prompts are numbered \[1\], not from 0"),
    "prompt": ("prompts.0", torch.ones(2, 3, 64), r"prompts.0 has shape \(2, 3, 64\), not \(any, 64\)"),
    "prompt of no shape": ("prompts.0", torch.tensor(1.0), r"prompts.0 has shape \(\), not \(any, any\)"),
    "other digits": ("prompts.\u0660", torch.ones(2, 64), "the tensor 'prompts.\u0660' is not one of an export"),
    "a zero more": ("heads.00.weight", torch.ones(3, 32), "the tensor 'heads.00.weight' is not one of an export"),
    "narrow prompt": ("prompts.0", torch.ones(2, 9), r"1 prompts \(2, 9\) for 2 x 64"),
    "projection": ("projection.weight", torch.ones(9, 32), r"projection.weight is \(9, 32\), its tower's \(64, 32\)"),
    "bias alone": ("projection.bias", torch.ones(64), "projection.bias comes without projection.weight"),
    "weights": ("weights.ln_post.weight", torch.ones(9), r"weights.ln_post.weight is \(9,\), its tower's are \(64,\)"),
    "unknown weights": ("weights.x", torch.ones(9), "its image tower has no weights x"),
}


def rewritten(path, facts, tensors):
    """An export of these contents and the digest that matches."""
    facts = {key: value for key, value in facts.items() if key != "digest"}
    save_file(tensors, path, {"classifier": json.dumps({**facts, "digest": digest_of(facts, tensors)})})
    return path


def contents(path):
    with safe_open(path, "pt") as file:
        return json.loads(file.metadata()["classifier"]), load_file(path)


@pytest.mark.parametrize("what", [*FACTS, *TENSORS])
def test_illegal_contents_are_one_line(what, model, tmp_path):
    facts, tensors = contents(model)
    if what in FACTS:
        change, message = FACTS[what]
        change(facts)
    else:
        name, value, message = TENSORS[what]
        changed(tensors, name, value)
    with pytest.raises(ValueError, match=message) as error:
        load_classifier(rewritten(tmp_path / "x.safetensors", facts, tensors), toy.CLIP, "cpu")
    assert str(error.value).startswith(f"{tmp_path}/x.safetensors") and "\n" not in str(error.value)


def test_answers_that_are_no_numbers_are_an_error(model, pictures, tmp_path):
    """Finite weights may give "nan %" all the same."""
    facts, tensors = contents(model)
    tensors["projection.weight"] = torch.full((64, 32), 3e38)
    classifier = load_classifier(rewritten(tmp_path / "x.safetensors", facts, tensors), toy.CLIP, "cpu")
    for answer in (classifier.predict, classifier.predict_proba, classifier.decision_function):
        with pytest.raises(ValueError, match="the answer for image 0 is not a number, .* 2 of 2 images.*x.safetensors"):
            answer(pictures[:4], "flower recognition", batch_size=2)


def test_projection_in_double_precision_is_read(model, pictures, tmp_path):
    facts, tensors = contents(model)
    weight = torch.randn(64, 32, generator=torch.Generator().manual_seed(0))
    found = []
    for kind in (torch.float32, torch.float64):
        tensors["projection.weight"] = weight.to(kind)
        classifier = load_classifier(rewritten(tmp_path / "x.safetensors", facts, tensors), toy.CLIP, "cpu")
        found.append(classifier.decision_function(pictures[:2], "flower recognition"))
    assert (found[0] == found[1]).all()


def test_cache_of_other_classes_is_refused(tmp_path):
    own = {"name": "ViT-B/16", "sha256": "0" * 64, "image_digest": "0" * 32}
    task = {"name": "a", "template": "{}", "metric": "accuracy", "classnames": ["x", "y"]}
    for labels in (torch.tensor([0, 2]), torch.tensor([-1, 0])):
        head = Head(torch.ones(2, 3), keys=torch.ones(2, 3), labels=labels)
        write_export(tmp_path / "x.safetensors", Export([task], [head], Preprocessing((32, 32)), own))
        with pytest.raises(ValueError, match="x.safetensors is no legal export: heads.0.labels are not all"):
            load_classifier(tmp_path / "x.safetensors")
