"""Folders of models that lack a file, or whose config is damaged."""

import pytest

from backbones import load_clip

WEIGHTS = {
    "open_clip-vit": ("open_clip_model.safetensors", "none of open_clip_model.safetensors, open_clip_pytorch_model"),
    "transformers-clip": ("model.safetensors", "has no weights: none of model.safetensors, pytorch_model.bin"),
}


@pytest.mark.parametrize("family", WEIGHTS)
def test_folder_without_weights_is_an_error(family, copied):
    folder, (file, message) = copied(family), WEIGHTS[family]
    (folder / file).unlink()
    with pytest.raises(FileNotFoundError, match=message):
        load_clip(str(folder))


@pytest.mark.parametrize(
    "family, files, message",
    [
        ("open_clip-siglip", ("open_clip_config.json", "open_clip_model.safetensors"), "{} is not on this machine"),
        ("transformers-siglip", ("config.json", "model.safetensors"), "MODEL.BACKBONE.NAME: {} has no tokenizer"),
    ],
)
def test_missing_tokenizer_is_an_error(family, files, message, copied):
    folder = copied(family, only=files)
    with pytest.raises(FileNotFoundError, match=message.format(folder)):
        load_clip(str(folder))


@pytest.mark.parametrize(
    "family, file, content",
    [("open_clip-vit", "open_clip_config.json", text) for text in ("{", "[]", "{}", '{"model_cfg": {"embed_dim": 64}}')]
    + [(f"transformers-{kind}", "config.json", text) for kind in ("clip", "siglip") for text in ("{", "[]")],
)
def test_damaged_config_is_an_error(family, file, content, copied):
    folder = copied(family)
    (folder / file).write_text(content)
    with pytest.raises(ValueError, match=str(folder)):
        load_clip(str(folder))
