"""Folders of Chinese-CLIP and AltCLIP: what is read of them, and what is refused."""

import json

import pytest
import torch
import transformers
from methods import relative
from safetensors.torch import load_file, save_file

from softcpt.backbones import load, load_clip

FAMILIES = ("transformers-chinese-clip", "transformers-altclip")


@pytest.fixture(params=FAMILIES)
def folder(request, copied):
    return copied(request.param)


def test_files_of_earlier_versions_are_read(folder):
    expected = load_clip(str(folder)).encode_text(["a dog."])
    state = load_file(folder / "model.safetensors")
    state = {key.replace("vision_model.encoder.layer.", "vision_model.encoder.layers."): x for key, x in state.items()}
    where = "text_model.roberta." if "altclip" in str(folder) else "text_model."
    state[f"{where}embeddings.position_ids"] = torch.arange(80)[None]
    save_file(state, folder / "model.safetensors")
    assert relative(load_clip(str(folder)).encode_text(["a dog."]), expected) < 1e-6


def test_shared_copy_holds_the_tower(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(load, "SHARED_FROM", 0)
    expected = load_clip(str(folder), shared=tmp_path / "shared").encode_text(["a dog.", "rose"])
    monkeypatch.setattr(load, "_read", lambda *args: pytest.fail("the file of weights was read again"))
    assert torch.equal(load_clip(str(folder), shared=tmp_path / "shared").encode_text(["a dog.", "rose"]), expected)


@pytest.mark.parametrize(
    "part, changes, message",
    [
        ("text_config", {"is_decoder": True}, "is_decoder is True, not False"),
        ("text_config", {"hidden_size": "64"}, "hidden_size is '64', which is not legal"),
        ("text_config", {"num_hidden_layers": 3}, "Missing key"),
        ("vision_config", {"image_size": None}, "image_size is None, not a whole number"),
        ("vision_config", {"hidden_act": "relu6"}, "hidden_act 'relu6' is not one of"),
        ("vision_config", {"num_channels": 1}, "vision_config.num_channels is 1, not 3"),
    ],
)
def test_config_that_does_not_fit_is_refused(folder, part, changes, message):
    path = folder / "config.json"
    content = json.loads(path.read_text())
    content[part].update(changes)
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=f"MODEL.BACKBONE.NAME: {folder}/model.safetensors.*{message}"):
        load_clip(str(folder))


def test_quantised_weights_are_refused(folder):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "quantization_config": {"bits": 8}}))
    with pytest.raises(ValueError, match="quantization_config is .*, which is not supported"):
        load_clip(str(folder))


@torch.no_grad()
@pytest.mark.parametrize("part", ["text_config", "vision_config"])
def test_dicts_of_older_configs_replace_the_newer_keys(folder, part):
    path, image, texts = folder / "config.json", torch.randn(2, 3, 32, 32), ["a dog.", "a rose"]
    content = json.loads(path.read_text())
    content[f"{part}_dict"] = {**content[part], "hidden_act": "gelu_new", "num_attention_heads": 4}
    path.write_text(json.dumps(content))
    library = transformers.AltCLIPModel if "altclip" in str(folder) else transformers.ChineseCLIPModel
    own = library.from_pretrained(folder).eval()
    tokens = transformers.AutoTokenizer.from_pretrained(folder)(texts, padding=True, return_tensors="pt")
    clip = load_clip(str(folder))
    expected = own.get_text_features(tokens.input_ids, attention_mask=tokens.attention_mask)
    assert relative(clip.encode_text(texts), getattr(expected, "pooler_output", expected)) < 1e-5
    expected = own.get_image_features(image)
    assert relative(clip.encode_image(image), getattr(expected, "pooler_output", expected)) < 1e-5


@torch.no_grad()
def test_adapter_beside_the_weights_is_merged(folder):
    """Its names are those of the library's modules, of which AltCLIP's files have another spelling."""
    draw, state, tensors = torch.Generator().manual_seed(0), load_file(folder / "model.safetensors"), {}
    between = "roberta.encoder.layers" if "altclip" in str(folder) else "encoder.layer"
    for name in (f"text_model.{between}.1.attention.self.query", "vision_model.encoder.layers.0.self_attn.v_proj"):
        b, a = (0.2 * torch.randn(*shape, generator=draw) for shape in ((64, 4), (4, 64)))
        tensors |= {f"base_model.model.{name}.lora_A.weight": a, f"base_model.model.{name}.lora_B.weight": b}
        (key,) = (
            key for key in state if key.replace(".layers.", ".layer.") == f"{name}.weight".replace("layers", "layer")
        )
        state[key] = state[key] + 2 * b @ a
    (folder / "merged").mkdir()
    for path in [path for path in folder.iterdir() if path.is_file()]:
        (folder / "merged" / path.name).write_bytes(path.read_bytes())
    save_file(state, folder / "merged" / "model.safetensors")
    save_file(tensors, folder / "adapter_model.safetensors")
    options = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["query", "v_proj"]}
    (folder / "adapter_config.json").write_text(json.dumps(options))
    clip, merged, image = load_clip(str(folder)), load_clip(str(folder / "merged")), torch.randn(1, 3, 32, 32)
    assert relative(clip.encode_text(["a dog"]), merged.encode_text(["a dog"])) < 1e-5
    assert relative(clip.encode_image(image), merged.encode_image(image)) < 1e-5


def test_folder_without_a_vocabulary_is_refused(folder):
    """transformers then makes a tokenizer to which every word is unknown, or fails."""
    for path in folder.iterdir():
        if path.name not in ("config.json", "model.safetensors"):
            path.unlink()
    with pytest.raises(
        (ValueError, FileNotFoundError), match=f"MODEL.BACKBONE.NAME: .*{folder}.*(knows no|no tokenizer)"
    ):
        load_clip(str(folder))


def test_tokenizer_that_ends_no_text_is_refused(folder):
    path = folder / "tokenizer.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "post_processor": None}))
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "tokenizer_class": "PreTrainedTokenizerFast"}))
    with pytest.raises(ValueError, match="its tokenizer has no .EOS."):
        load_clip(str(folder))


def test_texts_are_no_longer_than_the_positions(folder):
    path = folder / "config.json"
    content = json.loads(path.read_text())
    content["text_config"]["max_position_embeddings"] = 50
    path.write_text(json.dumps(content))
    state = load_file(folder / "model.safetensors")
    (key,) = (key for key in state if key.endswith("embeddings.position_embeddings.weight"))
    save_file({**state, key: state[key][:50].clone()}, folder / "model.safetensors")
    clip = load_clip(str(folder))
    assert clip.text.context_length == (48 if "altclip" in str(folder) else 50)
    assert clip.encode_text(["a " * 20]).isfinite().all()


def test_tower_needs_transformers(folder, without_package):
    without_package("transformers")
    with pytest.raises(ValueError, match="text tower of transformers .*pip install -r requirements-transformers.txt"):
        load_clip(str(folder))
