"""Folders of transformers: their settings are used, and what does not fit is refused."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from softcpt.backbones import load_clip


@pytest.fixture(params=["transformers-clip", "transformers-siglip"])
def folder(request, copied):
    return copied(request.param)


@pytest.fixture
def clip_folder(copied):
    return copied("transformers-clip")


def change(path, *parts, **changes):
    """Change keys of a JSON file, or of the parts named."""
    content = json.loads(path.read_text()) if path.is_file() else {}
    for part in [content[part] for part in parts] or [content]:
        part.update(changes)
    path.write_text(json.dumps(content))


def same(model, other):
    return all(torch.equal(value, other.state_dict()[key]) for key, value in model.state_dict().items())


def test_weights_file_can_be_named_or_in_the_older_format(folder):
    expected = load_clip(str(folder))
    assert same(load_clip(f"{folder}/model.safetensors"), expected)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    assert same(load_clip(str(folder)), expected)


def test_half_weights_are_loaded_as_fp32(folder):
    state = {key: value.half() for key, value in load_file(folder / "model.safetensors").items()}
    save_file(state, folder / "model.safetensors")
    model = load_clip(str(folder))
    assert all(p.dtype == torch.float32 for p in model.parameters())


def test_activation_comes_from_the_config(clip_folder):
    found = {}
    for activation in ("quick_gelu", "gelu"):
        change(clip_folder / "config.json", "text_config", "vision_config", hidden_act=activation)
        found[activation] = load_clip(str(clip_folder))
        assert found[activation].config.text.transformer.activation == activation
    assert found["gelu"].image_digest != found["quick_gelu"].image_digest


def test_preprocessing_comes_from_the_folder(folder):
    facts = {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6], "resample": 2, "do_center_crop": False}
    facts["size"] = {"height": 32, "width": 32}
    change(folder / "preprocessor_config.json", **facts)
    found = load_clip(str(folder)).preprocessing
    assert (found.mean, found.std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    assert (found.interpolation, found.resize) == ("bilinear", "squash")


def test_clip_does_not_need_transformers(clip_folder, without_package):
    expected = load_clip(str(clip_folder)).encode_text(["a dog."])
    without_package("transformers")
    assert torch.equal(load_clip(str(clip_folder)).encode_text(["a dog."]), expected)


def test_siglip_tokenizer_needs_transformers(miniature, without_package):
    name = miniature("transformers-siglip").name
    without_package("transformers")
    with pytest.raises(ValueError, match=f"the tokenizer of {name} .*pip install -r requirements-transformers.txt"):
        load_clip(name)


def test_unknown_model_type_is_refused(folder):
    change(folder / "config.json", model_type="bert")
    with pytest.raises(ValueError, match="config.json is of a model of type 'bert'; legal are clip, siglip"):
        load_clip(str(folder))


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"num_hidden_layers": 3}, "Missing key"),
        ({"intermediate_size": 128}, "size mismatch"),
        ({"hidden_act": "relu6"}, "'relu6' is not one of quick_gelu, gelu"),
    ],
)
def test_mismatched_weights_are_an_error(folder, changes, message):
    change(folder / "config.json", "text_config", **changes)
    with pytest.raises(ValueError, match=f"{folder}/model.safetensors holds no .*{message}"):
        load_clip(str(folder))
