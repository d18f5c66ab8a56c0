"""The file of an exported classifier: reading, damage, and other files."""

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from inference import load_classifier, read_export, write_export
from inference.exports import digest_of


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
