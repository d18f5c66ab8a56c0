"""config.json and tokenizers of transformers: the features are those of the library's own model, or refused."""

import json

import miniatures
import pytest
import torch
import toy
import transformers
from methods import relative
from safetensors.torch import load_file, save_file

from softcpt.backbones import load_clip

SENTENCES = ["a photo of a dog.", "rose", "707-320"]
CLASSES = {
    "transformers-clip": transformers.CLIPModel,
    "transformers-siglip": transformers.SiglipModel,
    "transformers-metaclip2": transformers.MetaClip2Model,
}


@pytest.fixture(params=CLASSES)
def family(request):
    return request.param


def change(folder, file="config.json", **changes):
    """Set keys of a JSON file; None in `changes` stays null."""
    content = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps({**content, **changes}))
    return content


def features(family, folder):
    """Text and image features of the library's own model and tokenizer of a folder."""
    model = CLASSES[family].from_pretrained(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    length = model.config.text_config.max_position_embeddings
    ids = tokenizer(SENTENCES, padding="max_length", max_length=length, return_tensors="pt").input_ids
    with torch.no_grad():
        text = miniatures._pooled(model.get_text_features(input_ids=ids))
        return text, miniatures._pooled(model.get_image_features(pixel_values=picture()))


def picture():
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def check(family, folder):
    """Compare with the library; our model."""
    clip, (text, image) = load_clip(str(folder)), features(family, folder)
    with torch.no_grad():
        assert relative(clip.encode_text(SENTENCES), text) < 1e-5
        assert relative(clip.encode_image(picture()), image) < 1e-5
    assert relative(text[:1], text[1:2]) > 1e-2
    return clip


def test_older_dicts_that_are_null_are_none(family, copied):
    folder = copied(family)
    change(folder, text_config_dict=None, vision_config_dict=None)
    check(family, folder)


@pytest.mark.parametrize("part", ["text_config", "vision_config"])
def test_older_dict_replaces_the_config_of_clip(part, family, copied):
    """It wins over the newer key, with the library's defaults for what it leaves out; SigLIP's class ignores it."""
    folder = copied(family)
    config = json.loads((folder / "config.json").read_text())
    kept = {key: config[part][key] for key in ("hidden_size", "num_hidden_layers", "num_attention_heads")}
    sizes = ("intermediate_size", "image_size", "patch_size", "vocab_size", "eos_token_id")
    kept |= {key: config[part][key] for key in sizes if key in config[part]}
    changed = {**config[part], "hidden_act": "gelu", "layer_norm_eps": 0.1}
    if family == "transformers-siglip":
        change(folder, **{f"{part}_dict": changed})
    else:
        change(folder, **{part: changed, f"{part}_dict": kept})
    clip = check(family, folder)
    tower = getattr(clip.config, "text" if part == "text_config" else "image").transformer
    assert tower.activation == ("gelu_tanh" if family == "transformers-siglip" else "quick_gelu") and tower.eps < 1e-4


def test_dict_alone_is_read(copied):
    folder = copied("transformers-clip")
    config = json.loads((folder / "config.json").read_text())
    moved = {f"{part}_dict": config.pop(part) for part in ("text_config", "vision_config")}
    (folder / "config.json").write_text(json.dumps({**config, **moved}))
    check("transformers-clip", folder)


def test_activation_and_projection_are_those_of_the_config(family, copied):
    folder = copied(family)
    config = json.loads((folder / "config.json").read_text())
    changes = {part: {**config[part], "hidden_act": "gelu"} for part in ("text_config", "vision_config")}
    change(folder, **changes, logit_scale_init_value=5.0)
    assert check(family, folder).config.text.transformer.activation == "gelu"


@pytest.mark.parametrize("size, patch", [(32, 10), (33, 16)])
def test_patches_need_not_fill_the_image(size, patch, family, tmp_path, copied):
    folder = copied(family)
    config = CLASSES[family].config_class.from_pretrained(folder)
    config.vision_config.image_size, config.vision_config.patch_size = size, patch
    model = CLASSES[family](config).eval()
    model.save_pretrained(folder)
    image = torch.randn(2, 3, size, size)
    with torch.no_grad():
        expected = miniatures._pooled(model.get_image_features(pixel_values=image))
        assert relative(load_clip(str(folder)).encode_image(image), expected) < 1e-5


def test_end_of_older_configs_is_the_largest_token(copied):
    folder = copied("transformers-clip")
    config = json.loads((folder / "config.json").read_text())
    change(folder, text_config={**config["text_config"], "eos_token_id": 2})
    check("transformers-clip", folder)


@pytest.mark.parametrize(
    "family, eos, message",
    [
        ("transformers-clip", 5, "eos_token_id is 5, but its tokenizer ends a text with the token 49407"),
        ("transformers-clip", [49407], r"text_config.eos_token_id is \[49407\], not the id of a token"),
        ("transformers-clip", None, "text_config.eos_token_id is None, not the id"),
        ("transformers-metaclip2", 5, "texts end with the token 2, but eos_token_id reads their features at 5"),
    ],
)
def test_end_that_no_text_has_is_refused(family, eos, message, copied):
    folder = copied(family)
    config = json.loads((folder / "config.json").read_text())
    change(folder, text_config={**config["text_config"], "eos_token_id": eos})
    with pytest.raises(ValueError, match=f"MODEL.BACKBONE.NAME: .*{message}"):
        load_clip(str(folder))


def with_vocabulary(folder, rows):
    """The text tower with so many rows of tokens."""
    state = load_file(folder / "model.safetensors")
    key = "text_model.embeddings.token_embedding.weight"
    old = state[key]
    state[key] = torch.cat([old, 0.3 * torch.randn(max(0, rows - len(old)), old.shape[1])])[:rows].contiguous()
    save_file(state, folder / "model.safetensors")
    config = json.loads((folder / "config.json").read_text())
    change(folder, text_config={**config["text_config"], "vocab_size": rows})


def test_rows_without_a_token_do_no_harm(family, copied):
    folder = copied(family)
    rows = json.loads((folder / "config.json").read_text())["text_config"]["vocab_size"] + 7
    with_vocabulary(folder, rows)
    check(family, folder)


def test_token_without_a_row_is_named(copied):
    folder = copied("transformers-siglip")
    ids = transformers.AutoTokenizer.from_pretrained(folder)(["a photo of a dog", "rose"]).input_ids
    with_vocabulary(folder, max(ids[0]) + 1)
    clip = load_clip(str(folder))
    assert len(clip.encode_text(["a photo of a dog"])) == 1
    with_vocabulary(folder, max(ids[0]))
    with pytest.raises(
        ValueError, match=rf"' has the token {max(ids[0])}, and the CLIP takes those below {max(ids[0])}"
    ):
        load_clip(str(folder)).encode_text(["a photo of a dog"])


def test_special_token_without_a_row_is_refused(copied):
    folder = copied("transformers-clip")
    with_vocabulary(folder, 49000)
    with pytest.raises(ValueError, match="puts the token 49406 around texts, and the CLIP takes those below 49,000"):
        load_clip(str(folder))


def test_added_word_has_its_own_token(copied):
    """As textual inversion adds it: CLIP's own tokenizer would spell the word."""
    folder = copied("transformers-clip")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["<my-dog>"])
    tokenizer.save_pretrained(folder)
    with_vocabulary(folder, 49409)
    clip = check("transformers-clip", folder)
    assert 49408 in clip.tokenizer.encode("a photo of <my-dog>")
    config = json.loads((folder / "config.json").read_text())
    change(folder, text_config={**config["text_config"], "eos_token_id": 2})
    clip = check("transformers-clip", folder)  # the feature is read at the largest token
    with pytest.raises(ValueError, match="'a <my-dog>' has the token 49408, and the CLIP takes those below 49,408"):
        clip.encode_text(["a <my-dog>"])


def other_merges(folder):
    lines = (folder / "merges.txt").read_text().splitlines()
    (folder / "merges.txt").write_text("\n".join([lines[0], *lines[1:500]]) + "\n")


def other_vocabulary(folder):
    vocabulary = json.loads((folder / "vocab.json").read_text())
    vocabulary["dog</w>"], vocabulary["photo</w>"] = vocabulary["photo</w>"], vocabulary["dog</w>"]
    (folder / "vocab.json").write_text(json.dumps(vocabulary))


def other_file_in_front(folder):
    """tokenizer.json wins over the other two files, which are CLIP's."""
    other = folder / "other"
    other.mkdir()
    for name in ("vocab.json", "merges.txt", "tokenizer_config.json", "config.json"):
        (other / name).write_text((folder / name).read_text())
    other_merges(other)
    transformers.AutoTokenizer.from_pretrained(other).save_pretrained(other)
    (other / "tokenizer.json").rename(folder / "tokenizer.json")


@pytest.mark.parametrize("spoil", [other_merges, other_vocabulary, other_file_in_front], ids=lambda f: f.__name__)
def test_another_tokenizer_is_not_taken_for_clips(spoil, copied):
    folder = copied("transformers-clip")
    spoil(folder)
    clip = check("transformers-clip", folder)
    assert clip.config.tokenizer["kind"] == "transformers"
    assert clip.tokenizer.encode("a photo of a dog.") != load_clip(toy.CLIP).tokenizer.encode("a photo of a dog.")


def test_saved_tokenizer_json_is_clips_own(copied):
    """transformers 5 saves tokenizer.json alone."""
    folder = copied("transformers-clip")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    (folder / "vocab.json").unlink(), (folder / "merges.txt").unlink()
    tokenizer.save_pretrained(folder)
    assert (folder / "tokenizer.json").is_file() and not (folder / "vocab.json").exists()
    assert check("transformers-clip", folder).config.tokenizer == {"kind": "clip-transformers"}


@pytest.mark.parametrize(
    "family, part, changes, message",
    [
        ("transformers-clip", "vision_config", {"image_size": [32, 48]}, r"image_size is \[32, 48\], not a whole numb"),
        ("transformers-clip", "vision_config", {"num_channels": 1}, "vision_config.num_channels is 1, not 3"),
        ("transformers-clip", "vision_config", {"hidden_act": None}, "hidden_act None is not one of"),
        ("transformers-siglip", "text_config", {"projection_size": 48}, "text features are 48 wide .*its images 64"),
        ("transformers-siglip", "text_config", {"projection_size": 0}, "projection_size is 0, not a whole number"),
        ("transformers-siglip", "vision_config", {"vision_use_head": False}, "has no head"),
        ("transformers-clip", None, {"quantization_config": {"bits": 4}}, "quantization_config is .*not supported"),
        ("transformers-clip", None, {"transformers_weights": "x.safetensors"}, "transformers_weights is 'x.safetens"),
        ("transformers-clip", None, {"text_config_dict": 5}, "text_config_dict is 5, not a JSON object"),
        ("transformers-clip", None, {"projection_dim": None}, "projection_dim is None, not a whole number"),
        ("transformers-siglip", None, {"model_type": "siglip2"}, "type 'siglip2': .*NaFlex.*google/siglip2-base-patch"),
        ("transformers-clip", None, {"model_type": "clip_text_model"}, "half of a CLIP for text alone. .* for images"),
        ("transformers-clip", None, {"model_type": "siglip_vision_model"}, "half of a CLIP for images alone"),
    ],
)
def test_what_changes_the_computation_is_refused_by_name(family, part, changes, message, copied):
    folder = copied(family)
    config = json.loads((folder / "config.json").read_text())
    change(folder, **({part: {**config[part], **changes}} if part else changes))
    with pytest.raises(ValueError, match=f"MODEL.BACKBONE.NAME: {folder}.*{message}"):
        load_clip(str(folder))


@pytest.mark.parametrize("half, part", [("CLIPTextModel", "text_config"), ("CLIPVisionModel", "vision_config")])
def test_half_of_a_clip_is_one_line(half, part, copied, tmp_path):
    config = getattr(transformers.CLIPConfig.from_pretrained(copied("transformers-clip")), part)
    getattr(transformers, f"{half}WithProjection")(config).save_pretrained(tmp_path / "half")
    with pytest.raises(ValueError, match=r"half/config.json is of a model of type '.*': the half of a CLIP") as error:
        load_clip(str(tmp_path / "half"))
    assert "\n" not in str(error.value)
