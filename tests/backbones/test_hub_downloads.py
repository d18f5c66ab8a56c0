"""`data.py weights`: what is downloaded of a published CLIP."""

import json

import huggingface_hub
import pytest

from softcpt.backbones import openai
from softcpt.backbones.hub import fetch

SMALL = ("*.json", "*.txt", "*.model", "README.md", "LICENSE*", "adapter_model.safetensors", "adapter_model.bin")


@pytest.fixture
def online(monkeypatch, tmp_path):
    """A hub of {repository: files}; records what is downloaded from it."""
    repos, got = {}, {}

    def snapshot_download(repo, allow_patterns):
        got.setdefault(repo, []).extend(allow_patterns)
        (tmp_path / repo).mkdir(parents=True, exist_ok=True)
        cfg = {"embed_dim": 8, "vision_cfg": {}, "text_cfg": {"hf_tokenizer_name": "someone/words"}}
        if "open_clip_config.json" in repos.get(repo, ()):
            (tmp_path / repo / "open_clip_config.json").write_text(json.dumps({"model_cfg": cfg}))
        return str(tmp_path / repo)

    def list_repo_files(repo):
        if repo not in repos:
            raise OSError(f"404 {repo}\nsee the documentation")
        return repos[repo]

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    monkeypatch.setattr(huggingface_hub, "list_repo_files", list_repo_files)
    return repos, got


@pytest.mark.parametrize(
    "files, expected",
    [
        (("config.json", "model.safetensors", "pytorch_model.bin", "tf_model.h5"), "model.safetensors"),
        (("config.json", "pytorch_model.bin"), "pytorch_model.bin"),
        (("open_clip_config.json", "open_clip_pytorch_model.bin", "config.json", "model.safetensors"),
         "open_clip_pytorch_model.bin"),
        (("config.json", "open_clip_pytorch_model.bin", "model.safetensors"), "model.safetensors"),
    ],
)  # fmt: skip
def test_fetch_takes_the_weights_of_one_library_and_all_small_files(hub, online, tmp_path, files, expected):
    repos, got = online
    repos["someone/model"] = files
    for name in ("someone/model", "hf-hub:someone/model"):
        assert fetch(name, None) == tmp_path / "someone/model"
    assert ("someone/words" in got) == ("open_clip_config.json" in files)
    assert set(got["someone/model"]) == {*SMALL, expected}


def test_fetch_of_a_tag_takes_its_tokenizer_too(hub, online, tmp_path):
    repos, got = online
    repos["timm/ViT-B-16-SigLIP"] = ("open_clip_config.json", "open_clip_model.safetensors", "tokenizer.json")
    repos["timm/ViT-L-16-SigLIP-256"] = repos["timm/ViT-B-16-SigLIP"]
    assert fetch("open_clip:ViT-L-16-SigLIP-256/webli", None) == tmp_path / "timm/ViT-L-16-SigLIP-256"
    assert set(got) == {"timm/ViT-L-16-SigLIP-256", "timm/ViT-B-16-SigLIP", "someone/words"}
    assert "open_clip_model.safetensors" not in got["timm/ViT-B-16-SigLIP"]


def test_fetch_of_a_tag_with_an_address_downloads_it(tags, hub, tmp_path, monkeypatch):
    monkeypatch.setattr(openai, "CACHE_DIR", tmp_path / "clip")
    tags(laion={"url": "https://models/mini-laion.pt"})
    asked = []
    path = fetch("open_clip:mini/laion", lambda *args: asked.append(args))
    assert asked == [("https://models/mini-laion.pt", str(path))] and path == tmp_path / "clip" / "mini-laion.pt"


@pytest.mark.parametrize(
    "name, message",
    [
        ("nobody/nothing", "hub does not give nobody/nothing: 404 nobody/nothing see the documentation"),
        ("someone/other", "someone/other holds no CLIP that this project reads"),
        ("ViT-B-99", "'ViT-B-99' is no published CLIP; legal are RN50"),
        ("open_clip:ViT-B-32", "is no published CLIP"),
        ("ViT-B-32/laion2b_s34b_b79k", "is a model of open_clip: write open_clip:ViT-B-32/laion2b_s34b_b79k"),
        ("open_clip:ViTamin-S/datacomp1b", "jienengchen/ViTamin-S holds none of pytorch_model.safetensors"),
    ],
)
def test_fetch_says_in_one_line_why_not(hub, online, name, message):
    online[0]["someone/other"] = online[0]["jienengchen/ViTamin-S"] = ("model.safetensors",)
    with pytest.raises((ValueError, OSError), match=message):
        fetch(name, None)
