"""The cache of image features: what it keeps, when it is rebuilt, and that it never fails a run."""

import hashlib
import logging
import os

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from two_ranks import on_two_ranks

from softcpt.backbones.weights import digest_of
from softcpt.images.feature_cache import FeatureCache


class Source:
    """Counts how often it is computed."""

    def __init__(self, value=None):
        self.value, self.calls = torch.arange(6.0).view(3, 2) if value is None else value, 0

    def __call__(self):
        self.calls += 1
        return self.value


def test_features_are_computed_once(tmp_path):
    source = Source()
    for _ in range(2):
        assert torch.equal(FeatureCache(tmp_path / "new").get({"a": 1}, (3, -1), source), source.value)
    assert source.calls == 1
    FeatureCache(tmp_path / "new").get({"a": 2}, (3, -1), source)
    assert source.calls == 2 and len(list((tmp_path / "new").iterdir())) == 2


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_features_keep_their_dtype(tmp_path, dtype):
    source = Source(torch.randn(2, 3).to(dtype))
    FeatureCache(tmp_path).get({}, (2, -1), source)
    assert torch.equal(FeatureCache(tmp_path).get({}, (2, -1), source), source.value) and source.calls == 1


def metadata_of(path):
    with safe_open(path, "pt") as file:
        return file.metadata()


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)


ONES = {"features": torch.ones(3, 2)}
DAMAGE = {
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-5]),
    "empty": lambda path: path.write_bytes(b""),
    "another shape": lambda path: save_file({"features": torch.zeros(4, 2)}, path, metadata_of(path)),
    "another key": lambda path: save_file(ONES, path, {"digest": "of something else"}),
    "other tensors": lambda path: save_file({"weights": torch.zeros(3, 2)}, path),
    "a flipped bit": flip_a_bit,
    "no digest of the values": lambda path: save_file(ONES, path, {"digest": metadata_of(path)["digest"]}),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_invalid_cache_file_is_rebuilt(tmp_path, damage, caplog):
    source = Source()
    FeatureCache(tmp_path).get({}, (3, -1), source)
    (path,) = tmp_path.iterdir()
    DAMAGE[damage](path)
    with caplog.at_level(logging.WARNING):
        assert torch.equal(FeatureCache(tmp_path).get({}, (3, -1), source), source.value)
    assert source.calls == 2 and "rebuilt" in caplog.text and str(path) in caplog.text
    FeatureCache(tmp_path).get({}, (3, -1), source)
    assert source.calls == 2 and list(tmp_path.iterdir()) == [path]


def test_unwritable_folder_turns_the_cache_off(tmp_path, caplog):
    (tmp_path / "file").touch()
    cache, source = FeatureCache(tmp_path / "file" / "features"), Source()
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert torch.equal(cache.get({}, (3, -1), source), source.value)
    assert source.calls == 1 and caplog.text.count("the feature cache is off, and features are kept in memory") == 1
    assert torch.equal(cache.get({"other": 1}, (2, -1), Source(torch.zeros(2, 2))), torch.zeros(2, 2))
    assert torch.equal(cache.get({}, (3, -1), source), source.value) and source.calls == 1


def test_ranks_keep_in_memory_what_the_first_cannot_write(tmp_path):
    (tmp_path / "file").touch()

    def twice():
        cache, source = FeatureCache(tmp_path / "file" / "features"), Source()
        return [cache.get({}, (3, -1), source).tolist() for _ in range(2)], source.calls

    assert on_two_ranks(twice, tmp_path) == 2 * [(2 * [Source().value.tolist()], 1)]


def test_file_of_an_earlier_version_is_read(tmp_path, caplog):
    source = Source()
    FeatureCache(tmp_path).get({}, (3, -1), source)
    (path,) = tmp_path.iterdir()
    digest = hashlib.blake2b(source.value.numpy().tobytes(), digest_size=16).hexdigest()
    for values, calls in ((source.value, 1), (source.value + 1, 2)):  # whole, damaged
        save_file({"features": values}, path, {"digest": metadata_of(path)["digest"], "payload": digest})
        assert torch.equal(FeatureCache(tmp_path).get({}, (3, -1), source), source.value) and source.calls == calls


def test_full_disk_turns_the_cache_off(tmp_path, caplog, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    cache, source = FeatureCache(tmp_path), Source()
    assert torch.equal(cache.get({}, (3, -1), source), source.value)
    assert "the feature cache is off" in caplog.text and not list(tmp_path.iterdir())
    assert torch.equal(cache.get({}, (3, -1), source), source.value) and source.calls == 1


def test_digest_depends_on_the_weights():
    layer = torch.nn.Linear(2, 2)
    before = digest_of(layer.state_dict())
    assert digest_of(layer.state_dict()) == before
    layer.weight.data[0, 0] += 1
    assert digest_of(layer.state_dict()) != before
