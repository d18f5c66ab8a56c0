"""open_clip's models: names, files, and what is refused."""

import json
import logging

import miniatures
import open_clip
import pytest
import torch

from softcpt.backbones import load_clip


@pytest.fixture
def folder(copied):
    return copied("open_clip-vit")


def write_config(folder, **changes):
    path = folder / "open_clip_config.json"
    content = json.loads(path.read_text())
    content["model_cfg"].update(changes)
    path.write_text(json.dumps(content))


def test_folder_needs_no_prefix(folder):
    assert load_clip(str(folder)).image_digest == load_clip(f"open_clip:{folder}").image_digest


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"embed_dim": 48}, "size mismatch"),
        ({"vision_cfg": {**miniatures.VISION, "layers": 3}}, "Missing key"),
        ({"vision_cfg": {**miniatures.VISION, "image_size": 64}}, r"positional_embedding has shape \(5, 64\), not"),
        ({"text_cfg": {**miniatures.TEXT, "context_length": 64}}, r"positional_embedding has shape \(77, 64\), not"),
    ],
)
def test_mismatched_weights_are_an_error(folder, changes, message):
    write_config(folder, **changes)
    with pytest.raises(ValueError, match=f"open_clip_model.safetensors does not hold the weights of .*{message}"):
        load_clip(f"open_clip:{folder}")


@pytest.mark.parametrize(
    "changes, reason",
    [
        ({"text_cfg": {**miniatures.TEXT, "pool_type": "none"}, "custom_text": True}, "pooled by 'none'"),
        ({"text_cfg": {**miniatures.TEXT, "block_type": "custom"}, "custom_text": True}, "blocks of the kind Custom"),
    ],
)
def test_unsupported_text_tower_is_refused(folder, changes, reason):
    write_config(folder, **changes)
    model = open_clip.create_model(f"local-dir:{folder}", load_weights=False)
    torch.save(model.state_dict(), folder / "open_clip_pytorch_model.bin")
    (folder / "open_clip_model.safetensors").unlink()
    with pytest.raises(ValueError, match=f"MODEL.BACKBONE.NAME: .*{folder} is not supported: .*{reason}"):
        load_clip(str(folder))


def test_image_tower_that_also_returns_its_tokens_gives_features(folder):
    expected = load_clip(str(folder))
    write_config(folder, vision_cfg={**miniatures.VISION, "output_tokens": True})
    image = torch.randn(1, 3, 32, 32)
    assert torch.equal(load_clip(str(folder)).encode_image(image), expected.encode_image(image))


def test_unknown_model_parts_are_refused(folder, monkeypatch):
    own = open_clip.CLIP.encode_image
    monkeypatch.setattr(open_clip.CLIP, "encode_image", lambda self, image, **kw: own(self, image, **kw) + 0.1)
    with pytest.raises(ValueError, match="its image features differ from those of its own library by"):
        load_clip(str(folder))


def test_other_models_do_not_need_open_clip(without_package):
    without_package("open_clip")
    assert load_clip("tests/golden/tiny_vit.npz@quickgelu")


def test_log_does_not_say_that_the_weights_are_random(copied, caplog):
    folder = copied("open_clip-vit")
    (folder / "open_clip_model.safetensors").rename(folder / "mine.safetensors")
    caplog.clear()
    load_clip(str(folder))
    warnings = [record for record in caplog.records if record.name == "root" and record.levelno >= logging.WARNING]
    assert not warnings
