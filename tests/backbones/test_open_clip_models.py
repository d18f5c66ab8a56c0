"""open_clip's models: names, files, and what is refused."""

import json

import huggingface_hub
import miniatures
import open_clip
import pytest
import torch

from backbones import load_clip, openai

SMALL = {"embed_dim": 64, "vision_cfg": miniatures.VISION, "text_cfg": miniatures.TEXT}
COCA = {"width": 64, "heads": 2, "layers": 1, "context_length": 77, "vocab_size": 49408}


@pytest.fixture
def folder(copied):
    return copied("open_clip-vit")


@pytest.fixture
def mini(folder, monkeypatch):
    """An architecture "mini", known to open_clip by name, with two tags."""
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "mini", SMALL)
    tags = {
        "laion": {"url": "https://models/mini-laion.pt", "mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25)},
        "hub": {"hf_hub": "someone/mini/", "quick_gelu": True},
    }
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "mini", tags)
    return folder / "open_clip_model.safetensors"


def write_config(folder, **changes):
    path = folder / "open_clip_config.json"
    content = json.loads(path.read_text())
    content["model_cfg"].update(changes)
    path.write_text(json.dumps(content))


def test_architecture_and_file_load(mini):
    model = load_clip(f"open_clip:mini {mini}")
    expected = load_clip(f"open_clip:{mini.parent}")
    assert all(torch.equal(value, expected.state_dict()[key]) for key, value in model.state_dict().items())
    assert model.preprocessing.interpolation == "bicubic"


def test_folder_needs_no_prefix(folder):
    assert load_clip(str(folder)).image_digest == load_clip(f"open_clip:{folder}").image_digest


def test_tag_is_read_from_the_open_clip_cache(mini, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(openai, "CACHE_DIR", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"open_clip's mini .*are in no cache.*create_model\('mini'"):
        load_clip("open_clip:mini/laion")
    torch.save(open_clip.factory.load_state_dict(str(mini)), tmp_path / "mini-laion.pt")
    with caplog.at_level("INFO"):
        model = load_clip("open_clip:mini/laion")
    assert model.preprocessing.mean == (0.5, 0.5, 0.5) and model.preprocessing.std == (0.25, 0.25, 0.25)
    assert f"CLIP open_clip:mini/laion (open_clip) from {tmp_path}/mini-laion.pt, SHA-256" in caplog.text


def cache_of(files, repo):
    """A stand-in for huggingface_hub's function, over a cache that holds the `files` of one repository."""

    def try_to_load_from_cache(repo_id, filename, **_):
        path = files / filename
        return str(path) if repo_id == repo and path.is_file() else None

    return try_to_load_from_cache


def test_hub_tag_is_read_from_the_hub_cache(mini, monkeypatch):
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *args, **_: None)
    with pytest.raises(FileNotFoundError, match=r"hub of open_clip's mini \(someone/mini/\) are in no cache"):
        load_clip("open_clip:mini/hub")
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", cache_of(mini.parent, "someone/mini"))
    model = load_clip("open_clip:mini/hub")
    assert model.config.text.transformer.activation == model.config.image.transformer.activation == "quick_gelu"


def test_hub_name_is_read_from_the_hub_cache(folder, monkeypatch, caplog):
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *args, **_: None)
    with pytest.raises(FileNotFoundError, match="hf-hub:someone/mini is not in huggingface_hub's cache.*hf download"):
        load_clip("hf-hub:someone/mini")
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", cache_of(folder, "someone/mini"))
    (folder / "README.md").write_text("---\nlicense: mit\n---\n")
    with caplog.at_level("INFO"):
        load_clip("hf-hub:someone/mini")
    assert ", licence mit" in caplog.text


@pytest.mark.parametrize(
    "name, message",
    [
        ("open_clip:ViT-B-61/openai", "no architecture 'ViT-B-61'; the nearest are .*ViT-B-16"),
        ("open_clip:ViT-B-16/laion2b_s34b_b88", "no weights 'laion2b_s34b_b88'; the nearest are laion2b_s34b_b88k"),
        ("open_clip:ViT-B-16", "ViT-B-16 has no weights ''; one of openai"),
        ("open_clip:", "no architecture ''"),
        ("open_clip:nowhere/else", "no architecture 'nowhere'"),
    ],
)
def test_unknown_architecture_or_tag_suggests_the_nearest(name, message):
    with pytest.raises(ValueError, match=f"MODEL.BACKBONE.NAME: open_clip.*{message}"):
        load_clip(name)


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


def test_corrupt_weights_are_an_error(mini, tmp_path):
    (tmp_path / "broken.pt").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="broken.pt does not hold the weights of open_clip:mini"):
        load_clip(f"open_clip:mini {tmp_path}/broken.pt")


@pytest.mark.parametrize(
    "changes, reason",
    [
        ({"multimodal_cfg": COCA, "custom_text": True}, "CoCa's text tower"),
        ({"text_cfg": {**miniatures.TEXT, "embed_cls": True}, "custom_text": True}, "CoCa's text tower"),
        ({"text_cfg": {**miniatures.TEXT, "pool_type": "none"}, "custom_text": True}, "pooled by 'none'"),
    ],
)
def test_unsupported_text_tower_is_refused(folder, changes, reason):
    write_config(folder, **changes)
    model = open_clip.create_model(f"local-dir:{folder}", load_weights=False)
    torch.save(model.state_dict(), folder / "open_clip_pytorch_model.bin")
    (folder / "open_clip_model.safetensors").unlink()
    with pytest.raises(ValueError, match=f"MODEL.BACKBONE.NAME: .*{folder} is not supported: .*{reason}"):
        load_clip(str(folder))


def test_hf_text_tower_is_refused(folder, monkeypatch):
    class HFTextEncoder(torch.nn.Module):
        transformer = torch.nn.Identity()

    monkeypatch.setattr(open_clip.CLIP, "text", HFTextEncoder(), raising=False)
    with pytest.raises(ValueError, match="is not supported: its text tower is a Identity of transformers"):
        load_clip(str(folder))


def test_unknown_model_parts_are_refused(folder, monkeypatch):
    own = open_clip.CLIP.encode_image
    monkeypatch.setattr(open_clip.CLIP, "encode_image", lambda self, image, **kw: own(self, image, **kw) + 0.1)
    with pytest.raises(ValueError, match="its image features differ from those of its own library by"):
        load_clip(str(folder))


@pytest.mark.parametrize("name", ["open_clip:ViT-B-16/openai", "hf-hub:someone/model"])
def test_missing_open_clip_names_the_requirements(without_package, name):
    without_package("open_clip")
    with pytest.raises(ValueError, match="need the package open_clip_torch .*requirements-open_clip.txt"):
        load_clip(name)


def test_other_models_do_not_need_open_clip(without_package):
    without_package("open_clip")
    assert load_clip("tests/golden/tiny_vit.npz@quickgelu")
