"""Names of CLIPs: architectures, tags, files and folders of open_clip, and models in the hub's cache."""

import json
import shutil

import open_clip
import pytest
import torch

from softcpt.backbones import load_clip, open_clip_files, openai, published, why_not_here
from softcpt.backbones.find import find_source

HALF = {"mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25)}


@pytest.fixture
def weights(copied, tmp_path):
    """A file of weights of "mini", alone in its folder."""
    (tmp_path / "alone").mkdir()
    return shutil.copy(copied("open_clip-vit") / "open_clip_model.safetensors", tmp_path / "alone" / "mini.safetensors")


# -- an architecture and a file ----------------------------------------------------------------------------------------


def test_file_of_an_architecture_without_tags_has_the_librarys_defaults(tags, weights, miniature):
    tags()
    model, expected = load_clip(f"open_clip:mini {weights}"), load_clip(miniature("open_clip-vit").name)
    assert all(torch.equal(value, expected.state_dict()[key]) for key, value in model.state_dict().items())
    assert model.preprocessing == expected.preprocessing


def test_file_has_the_facts_that_all_tags_share(tags, weights):
    shared = {**HALF, "interpolation": "bilinear", "resize_mode": "squash", "quick_gelu": True}
    tags(one={"url": "https://models/one.pt", **shared}, two={"hf_hub": "someone/two/", **shared})
    model = load_clip(f"open_clip:mini {weights}")
    assert (model.preprocessing.mean, model.preprocessing.std) == (HALF["mean"], HALF["std"])
    assert (model.preprocessing.interpolation, model.preprocessing.resize) == ("bilinear", "squash")
    assert model.config.text.transformer.activation == model.config.image.transformer.activation == "quick_gelu"


@pytest.mark.parametrize(
    "key, value", [("mean", (0, 0, 0)), ("interpolation", "bilinear"), ("resize_mode", "squash"), ("quick_gelu", True)]
)
def test_file_is_refused_where_tags_differ_with_a_name_for_each_kind(tags, weights, key, value):
    tags(one={"hf_hub": "someone/one/"}, like_one={"url": "https://x/1.pt"}, two={"hf_hub": "someone/two/", key: value})
    with pytest.raises(ValueError, match="open_clip's mini has weights of 2 kinds") as error:
        load_clip(f"open_clip:mini {weights}")
    assert f"'open_clip:mini/one {weights}' ({key} " in str(error.value)
    assert f"'open_clip:mini/two {weights}' ({key} {value})" in str(error.value) and "like_one" not in str(error.value)
    one, two = (load_clip(f"open_clip:mini/{tag} {weights}") for tag in ("one", "two"))
    assert (one.preprocessing == two.preprocessing) == (key == "quick_gelu")
    assert {model.config.image.transformer.activation for model in (one, two)} == (
        {"gelu", "quick_gelu"} if key == "quick_gelu" else {"gelu"}
    )


def test_published_architectures_agree_with_their_tags_or_are_refused(tmp_path):
    """For every architecture of open_clip: a file has what each tag says, or is refused."""
    file, refused = tmp_path / "weights.pt", []
    file.touch()
    for name in open_clip.list_models():
        every = [open_clip.get_pretrained_cfg(name, tag) for tag in open_clip.list_pretrained_tags_by_model(name)]
        try:
            _, _, facts = open_clip_files.locate(f"{name} {file}")
        except ValueError:
            refused.append(name)
            continue
        for tag in every:
            assert all(facts.get(key) == tag.get(key) for key in open_clip_files.FACTS), name
    assert {"ViT-B-16", "ViT-B-32", "ViT-L-14", "ViT-H-14"} <= set(refused) and len(refused) < 10


def test_corrupt_weights_are_an_error(tags, tmp_path):
    tags()
    (tmp_path / "broken.pt").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="broken.pt does not hold the weights of open_clip:mini"):
        load_clip(f"open_clip:mini {tmp_path}/broken.pt")


# -- folders -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def squashed(copied):
    """A folder of open_clip's whose config states another preprocessing."""
    folder = copied("open_clip-vit")
    config = json.loads((folder / "open_clip_config.json").read_text())
    config["preprocess_cfg"] = {"mean": [0.5] * 3, "std": [0.5] * 3, "resize_mode": "squash"}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    return folder


def test_weights_in_a_folder_keep_its_config(tags, squashed):
    tags()
    file = squashed / "open_clip_model.safetensors"
    expected = load_clip(str(squashed)).preprocessing
    assert expected.resize == "squash" and load_clip(str(file)).preprocessing == expected
    for name in (f"{file}@quickgelu", f"{squashed}@gelu"):
        with pytest.raises(ValueError, match="has a config, which states its activation and preprocessing: leave out"):
            load_clip(name)
    with pytest.raises(ValueError, match=f"has a config beside it.*: name {squashed}"):
        load_clip(f"open_clip:mini {file}")


@pytest.mark.parametrize("name", ["open_clip_pytorch_model.pth", "model.safetensors", "model.pth", "mine.safetensors"])
def test_folder_may_hold_weights_under_the_librarys_other_names(squashed, name):
    expected = load_clip(str(squashed))
    own = squashed / "open_clip_model.safetensors"
    if name.endswith("safetensors"):
        own.rename(squashed / name)
    else:
        torch.save(open_clip.factory.load_state_dict(str(own)), squashed / name)
        own.unlink()
    assert load_clip(str(squashed)).image_digest == expected.image_digest
    assert open_clip.factory._find_checkpoint_in_dir(squashed) == str(find_source(str(squashed)).path)


def test_folder_with_several_unknown_files_of_weights_is_refused(squashed):
    own = squashed / "open_clip_model.safetensors"
    shutil.copy(own, squashed / "b.safetensors")
    own.rename(squashed / "a.safetensors")
    with pytest.raises(ValueError, match=r"holds 2 files that may be its weights: a.safetensors, b.safetensors"):
        load_clip(str(squashed))


# -- tags and the hub --------------------------------------------------------------------------------------------------


def test_tag_is_read_from_the_open_clip_cache(tags, weights, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(openai, "CACHE_DIR", tmp_path)
    tags(laion={"url": "https://models/mini-laion.pt", **HALF})
    with pytest.raises(FileNotFoundError, match=r"are in no cache.*data.py weights open_clip:mini/laion"):
        load_clip("open_clip:mini/laion")
    torch.save(open_clip.factory.load_state_dict(str(weights)), tmp_path / "mini-laion.pt")
    with caplog.at_level("INFO"):
        model = load_clip("open_clip:mini/laion")
    assert model.preprocessing.mean == (0.5, 0.5, 0.5) and model.preprocessing.std == (0.25, 0.25, 0.25)
    assert f"CLIP open_clip:mini/laion (open_clip) from {tmp_path}/mini-laion.pt, SHA-256" in caplog.text


def test_hub_tag_is_read_from_the_hub_cache(tags, hub, copied):
    tags(hub={"hf_hub": "someone/mini/", "quick_gelu": True})
    with pytest.raises(FileNotFoundError, match=r"hub of open_clip's mini \(someone/mini/\) are in no cache"):
        load_clip("open_clip:mini/hub")
    hub("someone/mini", copied("open_clip-vit"))
    model = load_clip("open_clip:mini/hub")
    assert model.config.text.transformer.activation == model.config.image.transformer.activation == "quick_gelu"


@pytest.mark.parametrize("name", ["someone/mini", "hf-hub:someone/mini", "open_clip:hf-hub:someone/mini"])
def test_hub_name_of_open_clip_is_read_from_the_hub_cache(hub, copied, name, caplog):
    with pytest.raises(FileNotFoundError, match="weights someone/mini, or .*hf download someone/mini"):
        load_clip(name)
    folder = copied("open_clip-vit")
    (folder / "README.md").write_text("---\nlicense: mit\n---\n")
    hub("someone/mini", folder)
    with caplog.at_level("INFO"):
        assert load_clip(name).image_digest == load_clip(str(folder)).image_digest
    assert f"CLIP {name} (open_clip)" in caplog.text and ", licence mit" in caplog.text
    assert why_not_here(name) == ""


@pytest.mark.parametrize("name", ["google/mini-siglip", "hf-hub:google/mini-siglip"])
def test_hub_name_of_transformers_is_read_from_the_hub_cache(hub, copied, name):
    assert "hf download google/mini-siglip" in why_not_here(name)
    folder = copied("transformers-siglip")
    hub("google/mini-siglip", folder)
    model, expected = load_clip(name), load_clip(str(folder))
    assert model.image_digest == expected.image_digest and model.preprocessing == expected.preprocessing
    assert model.tokenizer(["a photo of a dog."], 64).equal(expected.tokenizer(["a photo of a dog."], 64))
    assert published(name, "0" * 64) == "hf-hub:google/mini-siglip"


def test_hub_model_that_both_libraries_read_is_open_clips_if_its_weights_are_there(hub, copied):
    folder = copied("transformers-clip")
    own = copied("open_clip-vit")
    shutil.copy(own / "open_clip_config.json", folder)
    there = hub("someone/both", folder)
    assert find_source("someone/both").family == "transformers"
    shutil.copy(own / "open_clip_model.safetensors", there)
    assert find_source("someone/both").family == "open_clip"


def test_path_goes_before_a_model_of_the_hub(hub, copied, tmp_path, monkeypatch):
    hub("models/mine", copied("transformers-siglip"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    copied("open_clip-vit").rename(tmp_path / "models" / "mine")
    assert find_source("models/mine").family == "open_clip"
    assert find_source("hf-hub:models/mine").family == "transformers"


def test_activation_behind_a_model_of_the_hub_is_refused(hub, copied):
    hub("someone/mini", copied("transformers-clip"))
    for name in ("someone/mini", "hf-hub:someone/mini"):
        with pytest.raises(ValueError, match=f"{name} has a config, which states its activation.*leave out @quickgelu"):
            load_clip(f"{name}@quickgelu")


def test_model_of_the_hub_may_be_called_almost_as_one_of_openais(hub, copied):
    with pytest.raises(ValueError, match="unknown CLIP 'timm/ViT-B-16'; did you mean ViT-B/16?"):
        find_source("timm/ViT-B-16")
    hub("timm/ViT-B-16", copied("transformers-clip"))
    assert find_source("timm/ViT-B-16").family == "transformers"


def test_shard_that_is_not_there_is_told_before_a_run(copied):
    folder = copied("transformers-clip")
    (folder / "model.safetensors").rename(folder / "model-1-of-2.safetensors")
    index = {"weight_map": {"logit_scale": "model-1-of-2.safetensors", "x": "model-2-of-2.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "names the file model-2-of-2.safetensors, which is not there" in why_not_here(str(folder))


def test_tag_without_prefix_is_a_hint(hub):
    with pytest.raises(ValueError, match="is a model of open_clip: write open_clip:ViT-B-32/laion2b_s34b_b79k"):
        load_clip("ViT-B-32/laion2b_s34b_b79k")


def test_path_that_is_not_there_says_so_without_the_hubs_package(without_package):
    without_package("huggingface_hub")
    with pytest.raises(FileNotFoundError, match="no file models/none in"):
        load_clip("models/none")


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


@pytest.mark.parametrize("name", ["open_clip:ViT-B-16/openai", "hf-hub:someone/model"])
def test_missing_open_clip_names_the_requirements(hub, copied, without_package, name):
    hub("someone/model", copied("open_clip-vit"))
    without_package("open_clip")
    with pytest.raises(ValueError, match="need the package open_clip_torch .*requirements-open_clip.txt"):
        load_clip(name)
