"""Folders of models that lack a file, or whose config is damaged."""

import json

import pytest

from softcpt.backbones import load_clip

WEIGHTS = {
    "open_clip-vit": ("open_clip_model.safetensors", "none of open_clip_model.safetensors, open_clip_pytorch_model"),
    "transformers-clip": ("model.safetensors", "has no weights: none of model.safetensors, model.safetensors.index"),
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


def edit(path, *keys_and_value):
    *keys, last, value = keys_and_value
    content = json.loads(path.read_text())
    part = content
    for key in keys:
        part = part[key]
    part[last] = value
    path.write_text(json.dumps(content))


@pytest.mark.parametrize("family", ["transformers-clip", "transformers-siglip"])
@pytest.mark.parametrize(
    "keys, message",
    [
        (("text_config", "num_hidden_layers", 10**9), "num_hidden_layers is 1000000000, not a whole number from 1"),
        (("text_config", "vocab_size", True), "vocab_size is True, not a whole number"),
        (("vision_config", "num_attention_heads", 5), "hidden_size 64 is no multiple of num_attention_heads 5"),
        (("vision_config", "layer_norm_eps", [1]), r"layer_norm_eps is \[1\], not a number between 0 and 1"),
        (("vision_config", "hidden_act", {}), "hidden_act {} is not one of quick_gelu"),
        (("vision_config", 5), "holds no .* model of transformers"),
        (("model_type", {}), "of a model of type {}; legal are clip, siglip"),
    ],
)
def test_illegal_sizes_in_a_config_are_named(keys, message, family, copied):
    folder = copied(family)
    edit(folder / "config.json", *keys)
    with pytest.raises(ValueError, match=f"MODEL.BACKBONE.NAME: {folder}.*{message}"):
        load_clip(str(folder))


@pytest.mark.parametrize("facts", [{"image_mean": "5"}, {"image_std": [1, 0, 1]}, {"resample": []}])
def test_illegal_preprocessing_is_named(facts, copied):
    folder = copied("transformers-clip")
    (folder / "preprocessor_config.json").write_text(json.dumps(facts))
    with pytest.raises(ValueError, match=f"{folder}/preprocessor_config.json: {next(iter(facts))}"):
        load_clip(str(folder))


def test_nesting_without_end_is_one_error(copied):
    folder = copied("transformers-clip")
    (folder / "config.json").write_text("[" * 100_000)
    with pytest.raises(ValueError, match="config.json cannot be read as JSON"):
        load_clip(str(folder))


@pytest.mark.parametrize(
    "keys",
    [
        ("vision_cfg", "image_size", "x"),
        ("vision_cfg", "head_width", 5),
        ("embed_dim", "64"),
        ("embed_dim", 10**400),
        ("text_cfg", "layers", 0),
        ("text_cfg", "layers", -1),
        ("text_cfg", "layers", True),
        ("text_cfg", "heads", -2),
        ("vision_cfg", "layers", [2, 0]),
        ("vision_cfg", "patch_size", 1.5),
        ("vision_cfg", "image_size", None),
    ],
)
def test_sizes_that_open_clip_cannot_build_are_one_error(keys, copied):
    folder = copied("open_clip-vit")
    edit(folder / "open_clip_config.json", "model_cfg", *keys)
    with pytest.raises(ValueError, match=f"MODEL.BACKBONE.NAME: .*{folder}"):
        load_clip(str(folder))


@pytest.mark.parametrize(
    "key, value",
    [("std", True), ("std", [1, 0, 1]), ("mean", "abc"), ("mean", [0.5]), ("std", [1, float("nan"), 1])]
    + [("interpolation", 3), ("resize_mode", "longest"), ("resize_mode", [])],
)
def test_illegal_preprocessing_of_open_clip_is_named(key, value, copied):
    folder = copied("open_clip-vit")
    edit(folder / "open_clip_config.json", "preprocess_cfg", key, value)
    with pytest.raises(ValueError, match=f"{folder}/open_clip_config.json: preprocess_cfg.{key} is"):
        load_clip(str(folder))


def test_timm_tower_without_an_image_size_is_named(copied):
    folder = copied("open_clip-siglip")
    edit(folder / "open_clip_config.json", "model_cfg", "vision_cfg", "image_size", None)
    with pytest.raises(ValueError, match=f"MODEL.BACKBONE.NAME: .*{folder}.*image_size is None, not a number"):
        load_clip(str(folder))


@pytest.mark.parametrize("family", ["open_clip-siglip", "transformers-siglip"])
def test_tokenizer_whose_mark_has_no_token_is_refused(family, copied):
    folder = copied(family)
    edit(folder / "tokenizer_config.json", "eos_token", None)
    with pytest.raises(ValueError, match=f"the tokenizer of {folder} does not work"):
        load_clip(str(folder))


def test_tokenizer_that_marks_a_letter_as_the_end_is_named(copied):
    """Its [EOS] is also a token of the sentences with which a model is tried."""
    folder = copied("open_clip-siglip")
    path = folder / "tokenizer_config.json"
    facts = json.loads(path.read_text())
    special = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True}
    facts["added_tokens_decoder"] = {"11": {"content": "</s>", **special}, "2": {"content": "<unk>", **special}}
    path.write_text(json.dumps(facts))
    with pytest.raises(ValueError, match=f"{folder}"):
        load_clip(str(folder))


def test_image_size_that_a_tower_does_not_take_is_one_error(copied):
    """open_clip's own size is 224; the model of timm takes 32."""
    folder = copied("open_clip-siglip")
    path = folder / "open_clip_config.json"
    content = json.loads(path.read_text())
    del content["model_cfg"]["vision_cfg"]["image_size"]
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=f"MODEL.BACKBONE.NAME: .*{folder} encodes no image of 224x224 pixels"):
        load_clip(str(folder))
