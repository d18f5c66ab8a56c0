"""Loading CLIP from names and files."""

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
import toy
from clip import clip
from safetensors.torch import save_file

from trainers.modules import clip_model
from trainers.modules.clip_model import check_input_size, load_clip, read_state_dict, restore_token_rows, store_in_half

TINY = toy.GOLDEN / "tiny_vit.npz"


@pytest.fixture(scope="module")
def reference():
    return load_clip(str(TINY))


@pytest.fixture(scope="module")
def files(tmp_path_factory, reference):
    folder = tmp_path_factory.mktemp("weights")
    state = {key: value.contiguous() for key, value in reference.state_dict().items()}
    torch.save(state, folder / "plain.pt")
    torch.save({"state_dict": state}, folder / "nested.pth")
    save_file({key: value.clone() for key, value in state.items()}, folder / "weights.safetensors")
    np.savez(folder / "weights.npz", **{key: value.numpy() for key, value in state.items()}, meta=np.array("a note"))
    example = torch.zeros(1, 3, 32, 32), clip.tokenize("a")
    torch.jit.save(torch.jit.trace(reference, example, check_trace=False), folder / "archive.pt")
    return folder


@pytest.mark.parametrize("name", ["plain.pt", "nested.pth", "weights.safetensors", "weights.npz", "archive.pt"])
def test_every_format_gives_the_same_frozen_model(files, reference, name):
    model = load_clip(str(files / name))
    assert not model.training
    for key, value in reference.state_dict().items():
        assert torch.equal(model.state_dict()[key], value), key
        assert value.dtype in (torch.float32, torch.int64)
    assert not any(p.requires_grad for p in model.parameters())


def test_dropped_token_rows_come_back_as_zeros():
    kept = read_state_dict(TINY)
    weight = restore_token_rows(kept)["token_embedding.weight"]
    assert weight.shape == (49408, 64)
    assert torch.equal(weight[kept["token_ids"]], kept["token_rows"])
    others = torch.ones(49408, dtype=torch.bool)
    others[kept["token_ids"]] = False
    assert (weight[others] == 0).all()


def test_a_relative_path_counts_from_the_current_folder_then_from_the_project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert clip_model.find_weights("tests/golden/tiny_vit.npz") == TINY
    (tmp_path / "mine.npz").write_bytes(TINY.read_bytes())
    assert clip_model.find_weights("mine.npz") == tmp_path / "mine.npz"


def test_an_unknown_name_is_an_error_with_the_nearest_one():
    with pytest.raises(ValueError, match=r"MODEL.BACKBONE.NAME: unknown CLIP 'ViT-B-16'; did you mean ViT-B/16\?"):
        load_clip("ViT-B-16")


def test_a_missing_file_is_an_error():
    with pytest.raises(FileNotFoundError, match="no file nowhere/ViT-B-16.pt"):
        load_clip("nowhere/ViT-B-16.pt")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache folder, and a published model whose file has the contents b"weights"."""
    monkeypatch.setattr(clip_model, "CACHE_DIR", tmp_path / "cache")
    digest = hashlib.sha256(b"weights").hexdigest()
    monkeypatch.setitem(clip._MODELS, "ViT-B/16", f"https://models/{digest}/ViT-B-16.pt")
    return tmp_path / "cache"


def no_network(url, root):
    (Path(root) / "ViT-B-16.pt").touch()  # what an interrupted download leaves
    raise OSError("no network")


def test_a_known_name_without_network_says_where_to_put_the_file(cache, monkeypatch):
    monkeypatch.setattr(clip, "_download", no_network)
    with pytest.raises(FileNotFoundError, match=r"put it there.*MODEL.BACKBONE.NAME path/to/ViT-B-16.pt"):
        load_clip("ViT-B/16")
    assert not list(cache.iterdir())


def test_a_file_of_the_cache_is_used_without_network_and_another_one_named_and_kept(cache, monkeypatch):
    monkeypatch.setattr(clip, "_download", no_network)
    cache.mkdir()
    file = cache / "ViT-B-16.pt"
    file.write_bytes(b"weights")
    assert clip_model.find_weights("ViT-B/16") == file
    file.write_bytes(b"my own weights")
    found, expected = (hashlib.sha256(content).hexdigest() for content in (b"my own weights", b"weights"))
    message = rf"{file} is not .*{found}, not {expected}\. Remove it .*MODEL.BACKBONE.NAME {file}"
    with pytest.raises(ValueError, match=message):
        load_clip("ViT-B/16")
    assert [path.read_bytes() for path in cache.iterdir()] == [b"my own weights"]


def test_two_downloads_at_a_time_do_not_touch_each_others_file(cache, monkeypatch):
    begun = threading.Barrier(2, timeout=20)

    def download(url, root):
        path = Path(root) / "ViT-B-16.pt"
        assert not path.exists()
        path.write_bytes(b"wei")
        begun.wait()
        assert not (cache / "ViT-B-16.pt").exists()
        begun.wait()
        path.write_bytes(b"weights")
        return str(path)

    monkeypatch.setattr(clip, "_download", download)
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(clip_model.find_weights, ["ViT-B/16"] * 2))
    assert found == [cache / "ViT-B-16.pt"] * 2 and [path.read_bytes() for path in cache.iterdir()] == [b"weights"]


@pytest.mark.parametrize("suffix", [".pt", ".npz", ".safetensors"])
def test_a_file_that_holds_no_clip_is_an_error_that_names_it(tmp_path, suffix):
    path = tmp_path / f"broken{suffix}"
    path.write_bytes(b"not a checkpoint at all")
    with pytest.raises(ValueError, match=f"broken{suffix} holds no CLIP"):
        load_clip(str(path))


def test_an_input_size_that_does_not_fit_is_an_error_with_both_sizes(reference):
    check_input_size((32, 32), reference)
    with pytest.raises(ValueError, match=r"INPUT.SIZE: \(224, 224\).*\(32, 32\)"):
        check_input_size((224, 224), reference)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_storing_in_half_keeps_norms_and_embeddings_in_fp32(dtype):
    model = load_clip(str(TINY))
    store_in_half(model, dtype)
    halved = {key for key, value in model.state_dict().items() if value.dtype == dtype}
    assert {
        "text_projection",
        "visual.proj",
        "visual.conv1.weight",
        "transformer.resblocks.0.attn.in_proj_weight",
    } <= halved
    assert model.ln_final.weight.dtype == model.token_embedding.weight.dtype == torch.float32
