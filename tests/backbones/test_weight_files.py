"""Files of weights in parts, cut off, or not fetched."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from miniatures import TRANSFORMERS
from safetensors.torch import load_file, save_file

from softcpt.backbones import load_clip
from softcpt.backbones.weights import read_state_dict

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:1234\nsize 605247071\n"


def same(model, other):
    return all(torch.equal(value, other.state_dict()[key]) for key, value in model.state_dict().items())


def shard(folder, suffix="safetensors"):
    """Cut the weights of a folder into three files with an index, as transformers does; the index."""
    state = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    stem, write = ("model", save_file) if suffix == "safetensors" else ("pytorch_model", torch.save)
    names = {key: f"{stem}-{i % 3 + 1:05}-of-00003.{suffix}" for i, key in enumerate(sorted(state))}
    for file in set(names.values()):
        write({key: state[key] for key in names if names[key] == file}, folder / file)
    index = folder / f"{stem}.{suffix}.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": names}))
    return index


@pytest.mark.parametrize("family", TRANSFORMERS)
@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_shards_are_the_same_model(suffix, family, copied):
    folder = copied(family)
    expected = load_clip(str(folder))
    index = shard(folder, suffix)
    for name in (folder, index):
        assert same(load_clip(str(name)), expected)


def test_shards_that_the_library_writes(copied):
    from transformers import CLIPModel

    folder = copied("transformers-clip")
    model, expected = CLIPModel.from_pretrained(folder), load_clip(str(folder))
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="4MB")
    assert (folder / "model.safetensors.index.json").is_file() and not (folder / "model.safetensors").is_file()
    assert same(load_clip(str(folder)), expected)


def test_one_file_wins_over_shards_and_safetensors_over_bin(copied):
    """As in transformers."""
    folder = copied("transformers-clip")
    whole = load_file(folder / "model.safetensors")
    for suffix, scale in (("bin", 2.0), ("safetensors", 3.0)):
        save_file({**whole, "logit_scale": torch.tensor(scale)}, folder / "model.safetensors")
        shard(folder, suffix)
        assert load_clip(str(folder)).logit_scale == scale
    save_file(whole, folder / "model.safetensors")
    assert load_clip(str(folder)).logit_scale == whole["logit_scale"]


def test_hash_is_of_all_shards(copied, tmp_path, monkeypatch):
    monkeypatch.setattr("softcpt.backbones.load.SHARED_FROM", 0)
    folder = copied("transformers-clip")
    index = shard(folder)
    before = load_clip(str(folder), shared=tmp_path / "copies")
    part = folder / json.loads(index.read_text())["weight_map"]["logit_scale"]
    save_file({**load_file(part), "logit_scale": torch.tensor(5.0)}, part)
    after = load_clip(str(folder), shared=tmp_path / "copies")
    assert after.logit_scale == 5 != before.logit_scale and after.source["sha256"] != before.source["sha256"]


BAD = {
    "elsewhere": (
        lambda names: "../model.safetensors",
        r"names the file '../model.safetensors'; only .safetensors and",
    ),
    "absolute": (lambda names: "/etc/x.bin", "names the file '/etc/x.bin'; only .safetensors and .bin files beside it"),
    "backslash": (lambda names: "..\\x.bin", "names the file .*; only"),
    "another kind": (lambda names: "config.json", "names the file 'config.json'; only"),
    "no text": (lambda names: 5, "names the file 5; only"),
    "missing": (lambda names: "x.safetensors", "names the file x.safetensors, which is not there; fetch them with git"),
    "other file": (lambda names: names["visual_projection.weight"], "lacks logit_scale, which model.safetensors.index"),
}


@pytest.mark.parametrize("case", BAD)
def test_index_is_not_trusted(case, copied):
    change, message = BAD[case]
    folder = copied("transformers-clip")
    index = shard(folder)
    names = json.loads(index.read_text())["weight_map"]
    if case == "other file":
        assert names["visual_projection.weight"] != names["logit_scale"]
    index.write_text(json.dumps({"weight_map": {**names, "logit_scale": change(names)}}))
    with pytest.raises(ValueError, match=f"MODEL.BACKBONE.NAME: {folder}.*{message}"):
        load_clip(str(folder))


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"weight_map": {}}', POINTER])
def test_damaged_index_is_one_line(content, copied):
    folder = copied("transformers-clip")
    shard(folder).write_text(content)
    with pytest.raises(ValueError, match=f"MODEL.BACKBONE.NAME: {folder}.*index.json (has no|cannot)") as error:
        load_clip(str(folder))
    assert "\n" not in str(error.value)


def folder_of(miniature):
    return Path(miniature.name.removeprefix("open_clip:").removesuffix("/clip.safetensors@quickgelu"))


def cut(path, share=0.6):
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])


WHOLE = {
    "pointer": (
        lambda path: path.write_text(POINTER),
        "it is a pointer of Git LFS, not its contents: fetch them with gi",
    ),
    "cut off": (
        cut,
        r"it breaks off after [\d,]+ (of [\d,]+ )?bytes; fetch them .*git lfs pull .* or with hf download",
    ),
    "empty": (lambda path: path.write_bytes(b""), "it is empty"),
    "web page": (lambda path: path.write_text("<!DOCTYPE html><html>not found</html>"), "it is a web page"),
}
PLACES = {
    "OpenAI's layout": ("openai-vit", "clip.safetensors", "{}@quickgelu"),
    "open_clip": ("open_clip-vit", "open_clip_model.safetensors", "open_clip:{folder}"),
    "transformers": ("transformers-clip", "model.safetensors", "{folder}"),
}


@pytest.mark.parametrize("state", WHOLE)
@pytest.mark.parametrize("place", PLACES)
def test_file_that_is_not_whole_is_one_line(place, state, miniature, tmp_path):
    (family, file, name), (spoil, message) = PLACES[place], WHOLE[state]
    folder = shutil.copytree(folder_of(miniature(family)), tmp_path / "model")
    spoil(folder / file)
    with pytest.raises(ValueError, match=f"MODEL.BACKBONE.NAME.*{file}.*{message}") as error:
        load_clip(name.format(folder / file, folder=folder))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("suffix", ["pt", "bin", "npz", "safetensors"])
@pytest.mark.parametrize("state", WHOLE)
def test_every_kind_of_file_says_why_it_is_not_whole(state, suffix, tmp_path):
    spoil, message = WHOLE[state]
    path, tensors = tmp_path / f"clip.{suffix}", {"a": torch.randn(1000), "b": torch.randn(100)}
    if suffix == "npz":
        np.savez(path, **{key: value.numpy() for key, value in tensors.items()})
    else:
        (save_file if suffix == "safetensors" else torch.save)(tensors, path)
    assert read_state_dict(path).keys() == tensors.keys()
    spoil(path)
    with pytest.raises(ValueError, match=f"clip.{suffix}: {message}"):
        read_state_dict(path)


@pytest.mark.parametrize("share", [0.0001, 0.001, 0.99])
def test_safetensors_file_is_cut_off_anywhere(share, tmp_path):
    path = tmp_path / "clip.safetensors"
    save_file({f"layer {i}": torch.randn(1000) for i in range(100)}, path)
    cut(path, share)
    with pytest.raises(ValueError, match="it breaks off after"):
        read_state_dict(path)


@pytest.mark.parametrize("family, file", [("siglip", "spiece.model"), ("metaclip2", "tokenizer.json")])
def test_pointer_in_place_of_a_tokenizer_is_named(family, file, copied):
    folder = copied(f"transformers-{family}")
    assert (folder / file).is_file()
    (folder / file).write_text(POINTER)
    with pytest.raises(
        (ValueError, OSError), match=f"{folder}.*(pointers of Git LFS.*{file}|{file}.*pointer of Git LFS)"
    ):
        load_clip(str(folder))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("family", ["transformers-clip", "open_clip-vit", "openai-vit"])
def test_weights_that_are_not_finite_are_refused(family, value, miniature, tmp_path):
    source = folder_of(miniature(family))
    folder = shutil.copytree(source, tmp_path / "model")
    weights = next(folder.glob("*.safetensors"))
    state = load_file(weights)
    key = next(key for key in state if key.endswith("token_embedding.weight"))
    state[key][7, 3] = value
    save_file(state, weights)
    with pytest.raises(
        ValueError, match=f"{weights}: 1 of [\\d,]+ numbers of text.token_embedding.weight are nan or inf"
    ):
        load_clip(miniature(family).name.replace(str(source), str(folder)))


def test_large_numbers_whose_sum_is_not_finite_are_legal():
    from softcpt.backbones.model import check_finite

    model = torch.nn.Linear(4, 4)
    model.weight.data.fill_(3e38)
    check_finite(model, "x")
    model.weight.data[0, 0] = float("nan")
    with pytest.raises(ValueError, match="x: 1 of 16 numbers of weight are nan or infinite"):
        check_finite(model, "x")
