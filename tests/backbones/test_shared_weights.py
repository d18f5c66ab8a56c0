"""The copies of a large model's weights that the runs of a sweep share."""

import os

import pytest
import torch
import toy

from softcpt.backbones import load, load_clip

NAME = f"{toy.GOLDEN}/tiny_vit.npz@quickgelu"
IMAGE = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def share_small_models(monkeypatch):
    monkeypatch.setattr(load, "SHARED_FROM", 0)


def features(model):
    return model.encode_image(IMAGE.to(model.visual.conv1.weight.dtype)), model.encode_text(["a dog.", "bark"])


def assert_same(model, other):
    assert all(torch.equal(a, b) for a, b in zip(features(model), features(other)))
    assert {k: v.dtype for k, v in model.state_dict().items()} == {k: v.dtype for k, v in other.state_dict().items()}


@pytest.fixture
def no_reading(monkeypatch):
    """A function that makes every later reading of a file of weights fail."""

    def forbid():
        monkeypatch.setattr(load, "_read", lambda *args: pytest.fail("the file of weights was read again"))

    return forbid


def test_second_run_maps_the_shared_copy(tmp_path, no_reading):
    first = load_clip(NAME, shared=tmp_path)
    (copy,) = tmp_path.iterdir()
    assert copy.name.startswith("clip-") and copy.suffix == ".safetensors"
    no_reading()
    second = load_clip(NAME, shared=tmp_path)
    assert_same(first, second)
    assert_same(second, load_clip(NAME, shared=tmp_path))
    assert second.source == first.source and second.source["sha256"]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_each_precision_has_its_own_copy(tmp_path, dtype, no_reading):
    load_clip(NAME, shared=tmp_path)
    half, digest = load_clip(NAME, dtype, tmp_path), load_clip(NAME).image_digest
    assert len(list(tmp_path.iterdir())) == 2
    no_reading()
    again = load_clip(NAME, dtype, tmp_path)
    assert again.visual.conv1.weight.dtype == dtype and again.text.ln_final.weight.dtype == torch.float32
    assert torch.equal(again.visual.conv1.weight, half.visual.conv1.weight)
    assert again.image_digest == half.image_digest == digest  # of the file's weights


def test_small_files_are_not_copied(tmp_path, monkeypatch):
    monkeypatch.setattr(load, "SHARED_FROM", 1 << 30)
    load_clip(NAME, shared=tmp_path)
    assert not list(tmp_path.iterdir())


def flipped(content):
    return content[:-5] + bytes([content[-5] ^ 1]) + content[-4:]


@pytest.mark.parametrize(
    "damage, message",
    [
        (flipped, "is damaged"),
        (lambda content: b"", "cannot be used"),
        (lambda content: b"no safetensors", "cannot be used"),
        (lambda content: b"\x10\0\0\0\0\0\0\0{}              ", "cannot be used"),
    ],
)
def test_damaged_copy_is_rebuilt(tmp_path, caplog, damage, message):
    kept = [x.clone() for x in features(load_clip(NAME, shared=tmp_path))]
    (copy,) = tmp_path.iterdir()
    copy.write_bytes(damage(copy.read_bytes()))
    assert all(torch.equal(a, b) for a, b in zip(features(load_clip(NAME, shared=tmp_path)), kept))
    assert f"{copy} {message}" in caplog.text
    caplog.clear()
    load_clip(NAME, shared=tmp_path)
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


def test_changed_weights_get_a_new_copy(tmp_path):
    weights = tmp_path / "mine.npz"
    weights.write_bytes((toy.GOLDEN / "tiny_vit.npz").read_bytes())
    load_clip(f"{weights}@quickgelu", shared=tmp_path / "shared")
    os.utime(weights, (1, 1))
    load_clip(f"{weights}@quickgelu", shared=tmp_path / "shared")
    load_clip(f"{weights}@gelu", shared=tmp_path / "shared")
    assert len(list((tmp_path / "shared").iterdir())) == 3


def test_another_tokenizer_beside_the_weights_gets_a_new_copy(tmp_path, copied):
    folder = copied("transformers-clip")
    assert load_clip(str(folder), shared=tmp_path / "shared").tokenizer.by_word
    merges = (folder / "merges.txt").read_text().splitlines()
    (folder / "merges.txt").write_text("\n".join([merges[0], *merges[2:]]))
    assert not load_clip(str(folder), shared=tmp_path / "shared").tokenizer.by_word


def test_unwritable_folder_keeps_weights_private(tmp_path, caplog):
    (tmp_path / "file").write_text("not a folder")
    model = load_clip(NAME, shared=tmp_path / "file")
    assert "the weights are not shared" in caplog.text
    assert_same(model, load_clip(NAME))
