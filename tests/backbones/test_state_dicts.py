"""State dicts as training scripts save them, and files whose reading would run code."""

import json
import os

import miniatures
import numpy as np
import pytest
import torch
import toy
from methods import relative

from softcpt.backbones import load_clip
from softcpt.backbones.state_dicts import plain_state_dict


class Evil:
    """Runs a command when it is unpickled."""

    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.fixture(scope="module")
def golden():
    with np.load(toy.GOLDEN / "tiny_vit.npz") as arrays:
        return {key: torch.from_numpy(value) for key, value in arrays.items() if value.dtype.kind in "fi"}


WRAPPED = {
    "DataParallel": lambda state: {f"module.{key}": value for key, value in state.items()},
    "compiled": lambda state: {f"_orig_mod.{key}": value for key, value in state.items()},
    "a model's attribute": lambda state: {f"model.clip.{key}": value for key, value in state.items()},
    "open_clip's checkpoints": lambda state: {
        "epoch": 3,
        "name": "x",
        "state_dict": {f"module.{key}": value for key, value in state.items()},
        "optimizer": {"state": {}},
    },
    "model": lambda state: {"model": state, "step": torch.Size([1])},
}


@pytest.mark.parametrize("kind", WRAPPED)
def test_wrapped_state_dict_is_the_same_clip(kind, golden, tmp_path):
    torch.save(WRAPPED[kind](golden), tmp_path / "clip.pt")
    assert load_clip(f"{tmp_path}/clip.pt@quickgelu").image_digest == load_clip(toy.CLIP).image_digest


@pytest.mark.parametrize(
    "saved, message",
    [
        (lambda state: {"model": state, "state_dict": state}, "several state dicts: state_dict, model; save the one"),
        (
            lambda state: {**{f"clip.{key}": value for key, value in state.items()}, "head.weight": torch.zeros(2)},
            r"no text_projection; its names begin with clip. \(\d+\), head. \(1\)",
        ),
        (lambda state: [state], "it holds a list, not a state dict"),
        (lambda state: {"model": {}}, "no text_projection"),
    ],
)
def test_state_dict_in_doubt_is_refused(saved, message, golden, tmp_path):
    torch.save(saved(golden), tmp_path / "clip.pt")
    with pytest.raises(ValueError, match=f"clip.pt holds no CLIP state dict .*{message}"):
        load_clip(f"{tmp_path}/clip.pt@quickgelu")


def test_names_that_only_some_have_stay():
    state = {"model.a": torch.zeros(1), "b": torch.zeros(1)}
    assert plain_state_dict(state) is state


@pytest.mark.parametrize("name", ["{}@quickgelu", "open_clip:ViT-L-16 {}"])
@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_pickled_model_is_refused_with_the_way_to_convert_it(name, legacy, tmp_path):
    path = tmp_path / "model.pt"
    torch.save(torch.nn.Linear(2, 2), path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(ValueError, match=r"pickled objects \(torch.nn.modules.linear.Linear\)") as error:
        load_clip(name.format(path))
    assert "If you trust it" in str(error.value) and "state_dict(), 'weights.pt')" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["{}@quickgelu", "open_clip:ViT-L-16 {}"])
def test_no_file_of_weights_runs_code(name, tmp_path, monkeypatch):
    """open_clip loads a file again with PyTorch's unsafe default after a TypeError, as PyTorch 2.4 raises for some."""
    own, calls = torch.load, []

    def load(*args, **options):
        calls.append(options)
        if options.get("weights_only"):
            raise TypeError("an older PyTorch")
        return own(*args, **{**options, "weights_only": False})

    path = tmp_path / "clip.pt"
    torch.save({"state_dict": Evil(f"touch {tmp_path}/run")}, path)
    monkeypatch.setattr(torch, "load", load)
    with pytest.raises(ValueError, match="clip.pt"):
        load_clip(name.format(path))
    assert all(options.get("weights_only") for options in calls) and not (tmp_path / "run").exists()


def long_clip():
    """A miniature with 248 positions as the clip package builds it, and its weights as Long-CLIP stores them: two
    tables of positions, of which the first counts for 20 tokens and the second for the others."""
    torch.manual_seed(0)
    model = miniatures.CLIP(64, 32, 2, 64, 16, 248, 49408, 64, 1, 3)
    with torch.no_grad():
        miniatures.enlarge(model)
        for parameter in model.parameters():
            parameter.copy_(parameter.half().float())
        first, second = 0.3 * torch.randn(2, 248, 64)
        for i in range(248):
            model.positional_embedding[i] = first[i] if i < 20 else second[i]
    state = {**model.state_dict(), "positional_embedding": first, "positional_embedding_res": second}
    return model, state


def test_two_tables_of_positions_are_long_clips(tmp_path):
    model, state = long_clip()
    torch.save(state, tmp_path / "longclip-B.pt")
    clip = load_clip(f"{tmp_path}/longclip-B.pt@quickgelu")
    texts = ["a dog", "a photo of a " + "very " * 60 + "small dog", "x 1 " * 120]
    ids = clip.tokenizer(texts, 248)
    assert clip.text.context_length == 248 and [row.argmax().item() for row in ids] == [3, 67, 241]
    image = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert relative(clip.encode_text(texts), model.encode_text(ids)) < 1e-5
        assert relative(clip.encode_image(image), model.encode_image(image)) < 1e-5
    del state["positional_embedding_res"]
    torch.save(state, tmp_path / "first.pt")
    first = load_clip(f"{tmp_path}/first.pt@quickgelu").encode_text(texts)
    assert (
        relative(first[:1], clip.encode_text(texts)[:1])
        < 1e-5
        < 1e-2
        < relative(first[1:], clip.encode_text(texts)[1:])
    )


def test_tables_of_positions_of_two_sizes_are_refused(tmp_path):
    _, state = long_clip()
    torch.save({**state, "positional_embedding": torch.zeros(77, 64)}, tmp_path / "longclip-B.pt")
    with pytest.raises(
        ValueError, match=r"longclip-B.pt holds .*its tables of positions are \(77, 64\) and \(248, 64\)"
    ):
        load_clip(f"{tmp_path}/longclip-B.pt@quickgelu")


def poison_tokenizer(folder):
    """Make a folder's tokenizer a class of Python code beside it, which leaves a file "run" when it is imported."""
    (folder / "evil.py").write_text(
        f"open({str(folder / 'run')!r}, 'w')\nfrom transformers import SiglipTokenizer\n"
        "class Evil(SiglipTokenizer):\n    pass\n"
    )
    path = folder / "tokenizer_config.json"
    content = json.loads(path.read_text())
    code = {"auto_map": {"AutoTokenizer": ["evil.Evil", None]}, "tokenizer_class": "Evil"}
    path.write_text(json.dumps({**content, **code}))


def set_model_cfg(folder, section, **changes):
    path = folder / "open_clip_config.json"
    content = json.loads(path.read_text())
    content["model_cfg"][section].update(changes)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize("trust", [True, False], ids=["trusting config", "silent config"])
@pytest.mark.parametrize("family", ["open_clip-siglip", "transformers-siglip"])
def test_no_folder_runs_code_beside_its_weights(family, trust, copied, monkeypatch):
    folder = copied(family)
    poison_tokenizer(folder)
    if trust and family == "open_clip-siglip":
        set_model_cfg(folder, "text_cfg", tokenizer_kwargs={"clean": "canonicalize", "trust_remote_code": True})
    monkeypatch.setattr("builtins.input", lambda *_: "y")  # transformers may ask whether to run it
    with pytest.raises((ValueError, OSError), match=str(folder)):
        load_clip(str(folder))
    assert not (folder / "run").exists()


@pytest.mark.parametrize(
    "section, changes, message",
    [
        ("text_cfg", {"tokenizer_kwargs": {"trust_remote_code": True}}, "tokenizer_kwargs.trust_remote_code is not kn"),
        ("text_cfg", {"act_kwargs": {"inplace": 1}}, "text_cfg.act_kwargs.inplace is not known"),
        (
            "text_cfg",
            {"hf_model_name": "../other/folder"},
            "hf_model_name '../other/folder' is no name of a repository",
        ),
        ("text_cfg", {"contxt_length": 77}, "did you mean context_length"),
        ("text_cfg", {"layers": 10**9}, "text_cfg.layers is 1000000000, not a plain value of a legal size"),
        ("text_cfg", {"tokenizer_kwargs": "x"}, "text_cfg.tokenizer_kwargs is 'x', not a plain"),
        ("vision_cfg", {"timm_model_name": "hf-hub:some/model"}, "timm_model_name 'hf-hub:some/model' is no model"),
        ("vision_cfg", {"timm_model_name": "local-dir:/tmp"}, "timm_model_name 'local-dir:/tmp' is no model of timm"),
        ("vision_cfg", {"width": {}}, "vision_cfg.width is {}, not a plain value"),
    ],
)
def test_only_known_keys_reach_a_library(section, changes, message, copied):
    folder = copied("open_clip-vit")
    set_model_cfg(folder, section, **changes)
    with pytest.raises(ValueError, match=f"MODEL.BACKBONE.NAME: .*{folder}.*{message}"):
        load_clip(str(folder))


def test_tag_is_the_published_one_in_every_folder(copied, tmp_path, monkeypatch):
    """A folder called like it in the current folder is not read."""
    copied("open_clip-vit").rename(tmp_path / "openai")
    (tmp_path / "ViT-B-16").mkdir()
    (tmp_path / "openai").rename(tmp_path / "ViT-B-16" / "openai")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *args, **_: None)
    monkeypatch.setattr("softcpt.backbones.openai.CACHE_DIR", tmp_path / "cache")
    with pytest.raises(FileNotFoundError, match="are in no cache of this machine"):
        load_clip("open_clip:ViT-B-16/openai")
