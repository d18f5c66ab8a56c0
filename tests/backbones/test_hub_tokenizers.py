"""Tokenizers of models in huggingface_hub's cache, against open_clip's own."""

import json
import shutil

import huggingface_hub
import open_clip
import pytest
import small_tokenizers
import torch
from odd_names import NAMES

from backbones import load_clip, open_clip_models


@pytest.fixture
def folders(tmp_path_factory):
    return tmp_path_factory.getbasetemp() / "tokenizers"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A function of a repository and a folder: its files, in a cache of huggingface_hub of the test's own."""
    root = tmp_path / "hub"
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    for module in (huggingface_hub.constants, huggingface_hub.file_download):
        monkeypatch.setattr(module, "HF_HUB_CACHE", str(root), raising=False)

    def put(repo, folder):
        place = root / f"models--{repo.replace('/', '--')}"
        (place / "refs").mkdir(parents=True)
        (place / "refs" / "main").write_text("0" * 40)
        return shutil.copytree(folder, place / "snapshots" / ("0" * 40))

    put.root = root
    return put


def set_text(folder, **options):
    """Change options of the text tower in a folder's config."""
    path = folder / "open_clip_config.json"
    content = json.loads(path.read_text())
    content["model_cfg"]["text_cfg"].update(options)
    path.write_text(json.dumps(content))


def test_model_of_the_hub_has_the_tokenizer_that_its_config_names(copied, cache, folders):
    folder = copied("open_clip-siglip")
    set_text(folder, vocab_size=500, hf_tokenizer_name="other/words")
    model = open_clip.create_model(f"local-dir:{folder}", load_weights=False)
    torch.save(model.state_dict(), folder / "open_clip_pytorch_model.bin")
    (folder / "open_clip_model.safetensors").unlink()
    cache("someone/mini", folder)
    with pytest.raises(FileNotFoundError, match="tokenizer of .* is not on this machine.*hf download other/words"):
        load_clip("hf-hub:someone/mini")
    (cache("other/words", small_tokenizers.save("gemma", folders)) / "config.json").write_text("{}")
    own = open_clip.get_tokenizer("hf-hub:someone/mini", cache_dir=str(cache.root))
    texts = ["a photo of a Rose!", "the cat"]
    for name in ("hf-hub:someone/mini", "open_clip:hf-hub:someone/mini"):
        assert torch.equal(load_clip(name).tokenizer(texts, 64), own(texts))
    beside = load_clip(str(folder)).tokenizer(texts, 64)
    assert torch.equal(beside, open_clip.get_tokenizer(f"local-dir:{folder}")(texts)) and not torch.equal(
        beside, own(texts)
    )


@pytest.mark.parametrize("name", ["../words", "/words", "a/b/c"])
def test_tokenizer_is_no_path(name, copied, cache):
    folder = copied("open_clip-siglip")
    set_text(folder, hf_tokenizer_name=name)
    cache("someone/mini", folder)
    with pytest.raises(FileNotFoundError, match="Repo id must"):
        load_clip("hf-hub:someone/mini")


def test_model_of_the_hub_without_a_named_tokenizer_has_clips(copied, cache):
    cache("someone/mini", copied("open_clip-vit"))
    own = open_clip.get_tokenizer("hf-hub:someone/mini", cache_dir=str(cache.root))
    assert open_clip_models.load_tokenizer(
        f"local-dir:{cache.root}/models--someone--mini/snapshots/{'0' * 40}", 77, True
    )
    assert torch.equal(load_clip("hf-hub:someone/mini").tokenizer(NAMES[:50], 77), own(NAMES[:50]))
