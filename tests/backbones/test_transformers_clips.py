"""Folders of Chinese-CLIP and AltCLIP: what is read of them, and what is refused."""

import json

import pytest
import torch
from methods import relative
from safetensors.torch import load_file, save_file

from backbones import load, load_clip

FAMILIES = ("transformers-chinese-clip", "transformers-altclip")


@pytest.fixture(params=FAMILIES)
def folder(request, copied):
    return copied(request.param)


def test_files_of_earlier_versions_are_read(folder):
    expected = load_clip(str(folder)).encode_text(["a dog."])
    state = load_file(folder / "model.safetensors")
    state = {key.replace("vision_model.encoder.layer.", "vision_model.encoder.layers."): x for key, x in state.items()}
    where = "text_model.roberta." if "altclip" in str(folder) else "text_model."
    state[f"{where}embeddings.position_ids"] = torch.arange(80)[None]
    save_file(state, folder / "model.safetensors")
    assert relative(load_clip(str(folder)).encode_text(["a dog."]), expected) < 1e-6


def test_shared_copy_holds_the_tower(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(load, "SHARED_FROM", 0)
    expected = load_clip(str(folder), shared=tmp_path / "shared").encode_text(["a dog.", "rose"])
    monkeypatch.setattr(load, "_read", lambda *args: pytest.fail("the file of weights was read again"))
    assert torch.equal(load_clip(str(folder), shared=tmp_path / "shared").encode_text(["a dog.", "rose"]), expected)


@pytest.mark.parametrize(
    "part, changes, message",
    [
        ("text_config", {"is_decoder": True}, "is_decoder is True, not False"),
        ("text_config", {"hidden_size": "64"}, "hidden_size is '64', which is not legal"),
        ("text_config", {"num_hidden_layers": 3}, "Missing key"),
        ("vision_config", {"image_size": None}, "image_size is None, not a whole number"),
        ("vision_config", {"hidden_act": "relu6"}, "hidden_act 'relu6' is not one of"),
    ],
)
def test_config_that_does_not_fit_is_refused(folder, part, changes, message):
    path = folder / "config.json"
    content = json.loads(path.read_text())
    content[part].update(changes)
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=f"MODEL.BACKBONE.NAME: {folder}/model.safetensors.*{message}"):
        load_clip(str(folder))


def test_texts_are_no_longer_than_the_positions(folder):
    path = folder / "config.json"
    content = json.loads(path.read_text())
    content["text_config"]["max_position_embeddings"] = 50
    path.write_text(json.dumps(content))
    state = load_file(folder / "model.safetensors")
    (key,) = (key for key in state if key.endswith("embeddings.position_embeddings.weight"))
    save_file({**state, key: state[key][:50].clone()}, folder / "model.safetensors")
    clip = load_clip(str(folder))
    assert clip.text.context_length == (48 if "altclip" in str(folder) else 50)
    assert clip.encode_text(["a " * 20]).isfinite().all()


def test_tower_needs_transformers(folder, without_package):
    without_package("transformers")
    with pytest.raises(ValueError, match="text tower of transformers .*pip install -r requirements-transformers.txt"):
        load_clip(str(folder))
