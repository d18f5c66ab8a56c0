"""`load_clip`: names, files of OpenAI's layout, and what is refused."""

import hashlib
import os
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import plain
import pytest
import torch
import toy
from clip import clip
from clip.model import CLIP as ClipPackage
from safetensors.torch import save_file
from warm_python import python

from softcpt.backbones import load_clip, openai
from softcpt.backbones.draws import initial_draws, skip_draws
from softcpt.backbones.model import store_in_half
from softcpt.backbones.weights import find_path, licence_of, read_state_dict, restore_token_rows

ROOT = Path(__file__).resolve().parents[2]
TINY = toy.GOLDEN / "tiny_vit.npz"
NAME = f"{TINY}@quickgelu"
BARE = ["plain.pt", "nested.pth", "weights.safetensors", "weights.npz"]
FORMATS = [*(f"{name}@quickgelu" for name in BARE), "archive.pt", "saying.npz", "saying.safetensors"]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder with the tiny CLIP in every format."""
    folder, model = tmp_path_factory.mktemp("weights"), plain.reference()
    state = {key: value.contiguous() for key, value in model.state_dict().items()}
    torch.save(state, folder / "plain.pt")
    torch.save({"state_dict": state}, folder / "nested.pth")
    save_file({key: value.clone() for key, value in state.items()}, folder / "weights.safetensors")
    save_file(state, folder / "saying.safetensors", metadata={"activation": "quickgelu"})
    arrays = {key: value.numpy() for key, value in state.items()}
    np.savez(folder / "weights.npz", **arrays, meta=np.array("a note"))
    np.savez(folder / "saying.npz", **arrays, activation=np.array("quickgelu"))
    example = torch.zeros(1, 3, 32, 32), clip.tokenize("a")
    torch.jit.save(torch.jit.trace(model, example, check_trace=False), folder / "archive.pt")
    return folder


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_matches_the_clip_package(files, name):
    model, reference = load_clip(f"{files}/{name}"), plain.reference()
    assert not model.training and not any(p.requires_grad for p in model.parameters())
    assert all(p.dtype == torch.float32 for p in model.parameters())
    image = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(model.encode_image(image), reference.encode_image(image), rtol=1e-5, atol=1e-6)
    expected = reference.encode_text(clip.tokenize(["a dog.", "bark"]))
    torch.testing.assert_close(model.encode_text(["a dog.", "bark"]), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", BARE)
def test_bare_state_dict_needs_an_activation(files, name):
    with pytest.raises(ValueError, match=rf"{name}@quickgelu or .*{name}@gelu.*open_clip:ARCHITECTURE"):
        load_clip(f"{files}/{name}")


def test_archive_tells_its_activation(files, tmp_path):
    assert openai.declared_activation(files / "archive.pt") == "quick_gelu"
    model = ClipPackage(32, 32, 1, 64, 16, 77, 49408, 64, 1, 1).eval()
    for block in (*model.transformer.resblocks, *model.visual.transformer.resblocks):
        block.mlp.gelu = torch.nn.GELU()
    archive = torch.jit.trace(model, (torch.zeros(1, 3, 32, 32), clip.tokenize("a")), check_trace=False)
    torch.jit.save(archive, tmp_path / "gelu.pt")
    assert openai.declared_activation(tmp_path / "gelu.pt") == "gelu"


def test_unknown_activation_is_an_error(files):
    with pytest.raises(ValueError, match=r"ends in @relu; legal is @quickgelu or @gelu"):
        load_clip(f"{files}/plain.pt@relu")


def test_dropped_token_rows_are_restored_as_zeros():
    kept = read_state_dict(TINY)
    weight = restore_token_rows(kept)["token_embedding.weight"]
    assert weight.shape == (49408, 64)
    assert torch.equal(weight[kept["token_ids"]], kept["token_rows"])
    others = torch.ones(49408, dtype=torch.bool)
    others[kept["token_ids"]] = False
    assert (weight[others] == 0).all()


def test_relative_path_is_found_in_the_current_folder_or_the_project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_path("tests/golden/tiny_vit.npz") == TINY
    (tmp_path / "mine.npz").write_bytes(TINY.read_bytes())
    assert find_path("mine.npz") == tmp_path / "mine.npz"


@pytest.mark.parametrize("name, hint", [("ViT-B-16", "; did you mean ViT-B/16\\?"), ("RN51", "; did"), ("best", "\\.")])
def test_unknown_clip_suggests_the_nearest(name, hint):
    with pytest.raises(ValueError, match=rf"MODEL.BACKBONE.NAME: unknown CLIP '{name}'{hint}.* Legal: RN50, "):
        load_clip(name)


@pytest.mark.parametrize("name", ["nowhere/ViT-B-16.pt", "nowhere/ViT-B-16.pt@gelu", "my/folder"])
def test_missing_file_is_an_error(name):
    with pytest.raises(FileNotFoundError, match=f"no file {name.split('@')[0]} in"):
        load_clip(name)


def test_folder_without_a_config_is_an_error(tmp_path):
    with pytest.raises(ValueError, match=r"holds neither config.json \(transformers\) nor open_clip_config.json"):
        load_clip(str(tmp_path))


@pytest.mark.parametrize("suffix", [".pt", ".npz", ".safetensors"])
def test_file_without_a_clip_is_an_error(tmp_path, suffix):
    path = tmp_path / f"broken{suffix}"
    path.write_bytes(b"not a checkpoint at all")
    with pytest.raises(ValueError, match=f"broken{suffix} holds no CLIP"):
        load_clip(str(path))


def test_weights_of_another_network_are_an_error(tmp_path):
    torch.save(torch.nn.Linear(2, 2).state_dict(), tmp_path / "linear.pt")
    with pytest.raises(ValueError, match=r"linear.pt holds no CLIP state dict .*begin with weight \(1\), bias \(1\)"):
        load_clip(f"{tmp_path}/linear.pt@gelu")


def test_unknown_number_of_heads_is_an_error(tmp_path):
    model = ClipPackage(32, 32, 1, 1280, 16, 8, 49408, 64, 1, 1)
    torch.save(model.state_dict(), tmp_path / "wide.pt")
    with pytest.raises(ValueError, match=r"image tower 1280 wide, whose number of heads.*open_clip:ARCHITECTURE"):
        load_clip(f"{tmp_path}/wide.pt@gelu")


def test_log_names_file_digest_and_licence(tmp_path, caplog):
    path = tmp_path / "clip.npz"
    path.write_bytes(TINY.read_bytes())
    (tmp_path / "README.md").write_text("---\ntags: [clip]\nlicense: apache-2.0\n---\nA model.\n")
    assert licence_of(tmp_path) == "apache-2.0" and licence_of(tmp_path / "nowhere") == ""
    with caplog.at_level("INFO"):
        model = load_clip(f"{path}@quickgelu")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert f"from {path}, SHA-256 {digest}" in caplog.text and model.source["sha256"] == digest


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache folder, and a published model whose file has the contents b"weights"."""
    monkeypatch.setattr(openai, "CACHE_DIR", tmp_path / "cache")
    digest = hashlib.sha256(b"weights").hexdigest()
    monkeypatch.setitem(openai.FILES, "ViT-B/16", (digest, "ViT-B-16.pt"))
    return tmp_path / "cache"


def no_network(url, path, hash_prefix):
    Path(path).touch()  # what an interrupted download leaves
    raise OSError("no network")


def test_failed_download_says_where_to_put_the_file(cache, monkeypatch):
    monkeypatch.setattr(torch.hub, "download_url_to_file", no_network)
    with pytest.raises(FileNotFoundError, match=r"put it there.*MODEL.BACKBONE.NAME path/to/ViT-B-16.pt"):
        load_clip("ViT-B/16")
    assert not list(cache.iterdir())


def test_home_that_cannot_be_written_is_named(cache, monkeypatch):
    monkeypatch.setattr(torch.hub, "download_url_to_file", no_network)
    cache.touch()  # nor can root make a folder there
    with pytest.raises(FileNotFoundError, match=rf"be put at {cache}/ViT-B-16.pt \(File exists\)\. Fetch h"):
        load_clip("ViT-B/16")
    monkeypatch.setattr(openai, "CACHE_DIR", Path("~/.cache/clip"))
    with pytest.raises(FileNotFoundError, match=r"\(this user has no home folder; HOME sets one\)\. Fetch https:"):
        load_clip("ViT-B/16")
    assert not Path("~").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may look into every folder")
def test_home_of_another_user_is_named(cache):
    cache.mkdir(mode=0)
    with pytest.raises(FileNotFoundError, match=rf"be put at {cache}/ViT-B-16.pt \(Permission denied\)\. Fetch h"):
        load_clip("ViT-B/16")
    cache.chmod(0o755)


def test_names_and_files_are_the_clip_packages():
    assert {name: openai.URL.format(*file) for name, file in openai.FILES.items()} == clip._MODELS


def test_user_without_a_home_folder_has_the_other_clips(monkeypatch):
    """A container's user without HOME and without an entry in the system's list."""
    code = (
        "import os, pwd\n"
        "def unknown(number): raise KeyError(number)\n"
        "pwd.getpwuid = pwd.getpwnam = unknown\n"
        "from softcpt.backbones import load_clip, openai\n"
        f"load_clip('{TINY}@quickgelu'), print(openai.CACHE_DIR)\n"
        "load_clip('~nobody/ViT-B-16.pt')"
    )
    monkeypatch.delenv("HOME")
    done = subprocess.run([python(), "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "~/.cache/clip\n"
    assert "FileNotFoundError: MODEL.BACKBONE.NAME: no file ~nobody/ViT-B-16.pt" in done.stderr.splitlines()[-1]


def test_cached_file_is_verified_and_never_replaced(cache, monkeypatch):
    monkeypatch.setattr(torch.hub, "download_url_to_file", no_network)
    cache.mkdir()
    file = cache / "ViT-B-16.pt"
    file.write_bytes(b"weights")
    assert openai.published_file("ViT-B/16") == file
    file.write_bytes(b"my own weights")
    found, expected = (hashlib.sha256(content).hexdigest() for content in (b"my own weights", b"weights"))
    message = rf"{file} is not .*{found}, not {expected}\. Remove it .*MODEL.BACKBONE.NAME {file}"
    with pytest.raises(ValueError, match=message):
        load_clip("ViT-B/16")
    assert [path.read_bytes() for path in cache.iterdir()] == [b"my own weights"]


def test_concurrent_downloads_do_not_interfere(cache, monkeypatch):
    begun = threading.Barrier(2, timeout=20)

    def download(url, path, hash_prefix):
        path = Path(path)
        assert not path.exists()
        path.write_bytes(b"wei")
        begun.wait()
        assert not (cache / "ViT-B-16.pt").exists()
        begun.wait()
        path.write_bytes(b"weights")

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(openai.published_file, ["ViT-B/16"] * 2))
    assert found == [cache / "ViT-B-16.pt"] * 2 and [path.read_bytes() for path in cache.iterdir()] == [b"weights"]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_store_in_half_keeps_norms_and_embeddings_in_fp32(dtype):
    model = load_clip(NAME)
    store_in_half(model, dtype)
    halved = {key for key, value in model.state_dict().items() if value.dtype == dtype}
    assert {"text.projection", "visual.conv1.weight", "text.blocks.0.attn.in_proj_weight"} <= halved
    assert model.text.ln_final.weight.dtype == model.text.token_embedding.weight.dtype == torch.float32


@pytest.mark.parametrize("path", [TINY, ROOT / "scripts" / "demo" / "tiny_clip.npz"], ids=["ViT", "ResNet"])
def test_skip_draws_matches_the_clip_package(path):
    """Prompts then start from the same numbers as in the public code."""
    torch.manual_seed(1)
    plain.reference.__wrapped__(path)
    expected = torch.randn(4)
    torch.manual_seed(1)
    skip_draws(initial_draws(load_clip(f"{path}@quickgelu")))
    assert torch.equal(torch.randn(4), expected)


def test_loading_draws_no_random_numbers():
    before = torch.get_rng_state()
    load_clip(NAME)
    assert torch.equal(torch.get_rng_state(), before)


def test_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "clip.pt")
    for name in (f"{tmp_path}/clip.pt", f"{tmp_path}/clip.pt@gelu", f"open_clip:ViT-L-16 {tmp_path}/clip.pt"):
        with pytest.raises(ValueError, match="MODEL.BACKBONE.NAME: .*clip.pt is neither a file nor a folder"):
            load_clip(name)
