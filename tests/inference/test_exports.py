"""The file of an exported classifier: reading, damage, and other files."""

import json
import os
from pathlib import Path

import pytest
import torch
import toy
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from softcpt.backbones import load_clip, openai, published
from softcpt.backbones.weights import PROJECT_ROOT, sha256_of
from softcpt.inference import load_classifier, read_export, write_export
from softcpt.inference.exports import digest_of


def rewrite(path, to, change):
    """A copy of an export with other metadata."""
    with safe_open(path, "pt") as file:
        facts = json.loads(file.metadata()["classifier"])
    change(facts)
    save_file(load_file(path), to, {"classifier": json.dumps(facts)})


def test_export_is_read_as_written(model, tmp_path):
    once = read_export(model)
    write_export(tmp_path / "again.safetensors", once)
    assert (tmp_path / "again.safetensors").read_bytes() == model.read_bytes()
    assert once.provenance["trainer"] == "SoftCPT" and once.provenance["dataset"] == "ToyTasks"
    assert once.tasks[2]["metric"] == "mean_per_class" and once.tasks[1]["template"] == "{} texture."


def test_other_schema_is_refused(model, tmp_path):
    path = tmp_path / "new.safetensors"
    rewrite(model, path, lambda facts: facts.update(schema=2))
    with pytest.raises(ValueError, match=r"new.safetensors: schema is 2, this version reads schema 1"):
        load_classifier(path)


def test_changed_export_is_detected(model, tmp_path):
    path = tmp_path / "changed.safetensors"
    rewrite(model, path, lambda facts: facts["tasks"][0].update(name="weed recognition"))
    with pytest.raises(ValueError, match="changed.safetensors is damaged"):
        load_classifier(path)


def test_older_export_turns_pictures_as_it_did(model, tmp_path):
    """It does not say whether its run turned them; a newer one does."""

    def without(facts):
        del facts["upright"], facts["digest"]
        facts["digest"] = digest_of(facts, load_file(model))

    rewrite(model, tmp_path / "older.safetensors", without)
    assert read_export(model).upright is False and read_export(tmp_path / "older.safetensors").upright is True

    def odd(facts):
        del facts["digest"]
        facts["upright"] = "no"
        facts["digest"] = digest_of(facts, load_file(model))

    rewrite(model, tmp_path / "odd.safetensors", odd)
    with pytest.raises(ValueError, match="odd.safetensors: upright is 'no', neither true nor false"):
        read_export(tmp_path / "odd.safetensors")


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "other.safetensors"
    path.write_bytes(b"cut off")
    with pytest.raises(ValueError, match="other.safetensors is not an exported classifier, or it is truncated"):
        load_classifier(path)
    save_file({"x": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match="other.safetensors is a safetensors file, but not an exported classifier"):
        load_classifier(path)
    with pytest.raises(FileNotFoundError, match="none.safetensors"):
        load_classifier(tmp_path / "none.safetensors")


def signed(facts, tensors, path):
    """Write an export with these contents and the digest that matches."""
    facts = {key: value for key, value in facts.items() if key != "digest"}
    facts["digest"] = digest_of(facts, tensors)
    save_file(tensors, path, {"classifier": json.dumps(facts)})
    return path


def contents(path):
    with safe_open(path, "pt") as file:
        return json.loads(file.metadata()["classifier"]), load_file(path)


@pytest.mark.parametrize("precision", [None, "bf16", "fp16", "fp32"])
def test_older_export_in_half_has_the_digest_of_its_stored_tower(model, pictures, tmp_path, precision):
    facts, tensors = contents(model)
    facts["precision"] = "bf16"
    expected = load_classifier(signed(facts, tensors, tmp_path / "new.safetensors"), toy.CLIP, "cpu", precision)
    facts["backbone"]["image_digest"] = load_clip(toy.CLIP, torch.bfloat16).stored_digest()
    older = load_classifier(signed(facts, tensors, tmp_path / "older.safetensors"), toy.CLIP, "cpu", precision)
    answers = [one.decision_function(pictures, toy.TASKS[0]) for one in (older, expected)]
    assert (answers[0] == answers[1]).all()
    with pytest.raises(ValueError, match="their image towers differ"):
        load_classifier(tmp_path / "older.safetensors", f"{toy.GOLDEN}/tiny_vit.npz@gelu", "cpu", precision)


@pytest.mark.parametrize("name", ["{}/clip", "open_clip:{}/clip", "open_clip:ViT-B-32 {}/clip.pt", "clip", "../clip"])
def test_path_inside_an_export_is_not_followed(name, model, tmp_path, monkeypatch):
    """A folder beside an export would be read before anything of it is compared."""
    facts, tensors = contents(model)
    facts["backbone"]["name"] = name.format(tmp_path)
    (tmp_path / "clip").mkdir()
    (tmp_path / "clip.pt").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("softcpt.inference.tower.load_clip", lambda *_: pytest.fail("a file was read"))
    with pytest.raises(FileNotFoundError, match="x.safetensors needs the CLIP '.*clip.*not a published one: name its"):
        load_classifier(signed(facts, tensors, tmp_path / "x.safetensors"))


def test_published_clips_are_found_by_name_or_contents(tmp_path, monkeypatch):
    demo = PROJECT_ROOT / "scripts/demo/tiny_clip.npz"
    assert published("/elsewhere/tiny_clip.npz", sha256_of(demo)) == str(demo)
    assert published("x.npz@gelu", sha256_of(demo)) == f"{demo}@gelu"
    for name in (
        "ViT-B/16",
        "hf-hub:owner/model",
        "open_clip:hf-hub:owner/model",
        "open_clip:ViT-B-32/laion2b_s34b_b79k",
    ):
        assert published(name, "0" * 64) == name
    for digest, name in openai.PUBLISHED.items():
        assert published("/mine/clip.pt", digest) == name
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x").mkdir()
    for name in ("x", "open_clip:x", "hf-hub:../x", "hf-hub:a/b/../../x", "tests/golden/tiny_vit.npz", ""):
        assert published(name, "0" * 64) == ""


def test_path_that_is_not_utf8_is_refused_before_it_is_written(model, tmp_path):
    """safetensors could not open it again."""
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.safetensors"))
    with pytest.raises(ValueError, match=r"caf\\udce9.safetensors: the path of an export must be in UTF-8"):
        write_export(path, read_export(model))
    assert not path.exists()
    path.write_bytes(model.read_bytes())
    with pytest.raises(ValueError, match="must be in UTF-8"):
        read_export(path)
