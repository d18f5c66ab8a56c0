"""LoRA adapters beside a model of transformers: what `from_pretrained` makes of them with PEFT, merged by hand here.

With PEFT installed, its own model is the oracle, too.
"""

import json
import math

import pytest
import torch
import transformers
from methods import relative
from safetensors.torch import load_file, save_file

from softcpt.backbones import load_clip

FAMILIES = ("transformers-clip", "transformers-siglip")
LAYERS = {  # of the text and of the image tower
    "text_model.encoder.layers.0.self_attn.q_proj": (64, 64),
    "text_model.encoder.layers.1.mlp.fc1": (96, 64),
    "vision_model.encoder.layers.0.self_attn.v_proj": (64, 64),
    "vision_model.encoder.layers.1.mlp.fc2": (64, 96),
}
CONFIG = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj", "fc1", "fc2"]}


@pytest.fixture(params=FAMILIES)
def folder(request, copied):
    return copied(request.param)


def adapt(folder, ranks=None, prefix="base_model.model.", suffix="safetensors", more=None, **options):
    """Write an adapter of random factors; returns them, {layer: (B, A)}."""
    draw, factors, tensors = torch.Generator().manual_seed(0), {}, dict(more or {})
    for name, (out, inner) in LAYERS.items():
        rank = (ranks or {}).get(name, 4)
        b, a = (0.2 * torch.randn(*shape, generator=draw) for shape in ((out, rank), (rank, inner)))
        factors[name] = b, a
        tensors |= {f"{prefix}{name}.lora_A.weight": a, f"{prefix}{name}.lora_B.weight": b}
    if suffix == "safetensors":
        save_file(tensors, folder / "adapter_model.safetensors")
    else:
        torch.save(tensors, folder / "adapter_model.bin")
    (folder / "adapter_config.json").write_text(json.dumps({**CONFIG, **options}))
    return factors


def by_hand(folder, factors, scale):
    """The model of a folder that has W + scale B A, added number by number in float64, and no adapter."""
    state = load_file(folder / "model.safetensors")
    for name, (b, a) in factors.items():
        product = torch.zeros(len(b), a.shape[1], dtype=torch.float64)
        for k in range(len(a)):
            product += torch.outer(b[:, k].double(), a[k].double())
        state[f"{name}.weight"] = (state[f"{name}.weight"].double() + scale[name] * product).float()
    other = folder.parent / "merged"
    other.mkdir()
    for path in folder.iterdir():
        if path.is_file() and not path.name.startswith("adapter"):
            (other / path.name).write_bytes(path.read_bytes())
    save_file(state, other / "model.safetensors")
    return load_clip(str(other))


def agree(model, other):
    image = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        texts = model.encode_text(["a dog", "rose"]), other.encode_text(["a dog", "rose"])
        return max(relative(*texts), relative(model.encode_image(image), other.encode_image(image)))


@pytest.mark.parametrize(
    "options, scale",
    [
        ({}, 2.0),
        ({"lora_alpha": 3, "lora_dropout": 0.5, "peft_version": "0.21"}, 0.75),
        ({"use_rslora": True}, 4.0),
        ({"fan_in_fan_out": True, "init_lora_weights": "gaussian"}, 2.0),
        ({"target_modules": "all-linear"}, 2.0),
        ({"target_modules": r".*\.(q_proj|v_proj|fc\d)"}, 2.0),
        ({"alpha_pattern": {"fc1": 16, "layers.1.mlp.fc2": 1}}, {"mlp.fc1": 4.0, "mlp.fc2": 0.25}),
    ],
)
def test_product_is_added_to_the_weights(options, scale, folder):
    plain = load_clip(str(folder))
    factors = adapt(folder, **options)
    scales = {name: 2.0 for name in LAYERS} if isinstance(scale, dict) else dict.fromkeys(LAYERS, scale)
    for end, value in scale.items() if isinstance(scale, dict) else ():
        scales |= {name: value for name in LAYERS if name.endswith(end)}
    adapted = load_clip(str(folder))
    assert agree(adapted, by_hand(folder, factors, scales)) < 1e-5 < 0.01 < agree(adapted, plain)
    assert adapted.source["sha256"] != plain.source["sha256"]


def test_ranks_of_single_modules(folder):
    ranks = {"text_model.encoder.layers.1.mlp.fc1": 2}
    factors = adapt(folder, ranks, rank_pattern={"fc1": 2}, use_rslora=True)
    scales = {name: 8 / math.sqrt(len(a)) for name, (_, a) in factors.items()}
    assert agree(load_clip(str(folder)), by_hand(folder, factors, scales)) < 1e-5


@pytest.mark.parametrize("form", [{"prefix": ""}, {"suffix": "bin"}])
def test_other_forms_of_the_file(form, folder):
    factors = adapt(folder, **form)
    assert agree(load_clip(str(folder)), by_hand(folder, factors, dict.fromkeys(LAYERS, 2.0))) < 1e-5
    assert agree(load_clip(f"{folder}/model.safetensors"), load_clip(str(folder))) == 0


def test_modules_to_save_take_the_place_of_the_models(folder):
    plain, norm = load_clip(str(folder)), torch.randn(64)
    adapt(
        folder, more={"base_model.model.vision_model.post_layernorm.weight": norm}, modules_to_save=["post_layernorm"]
    )
    adapted = load_clip(str(folder))
    assert torch.equal(adapted.visual.ln_post.weight, norm) and not torch.equal(plain.visual.ln_post.weight, norm)


def test_adapter_is_part_of_a_shared_copy(folder, tmp_path, monkeypatch):
    """A copy that was made without it, or with another, is not used."""
    monkeypatch.setattr("softcpt.backbones.load.SHARED_FROM", 0)
    found = [load_clip(str(folder), shared=tmp_path / "copies")]
    for alpha in (8, 9):
        adapt(folder, lora_alpha=alpha)
        found.append(load_clip(str(folder), shared=tmp_path / "copies"))
    assert len({model.image_digest for model in found}) == 3
    assert load_clip(str(folder), shared=tmp_path / "copies").image_digest == found[-1].image_digest


REFUSED = {
    "another method": ({"peft_type": "IA3"}, "peft_type is 'IA3'; only LORA is supported"),
    "biases": ({"bias": "all"}, "bias is 'all'; only none is supported"),
    "DoRA": ({"use_dora": True}, "use_dora is True, which is not supported"),
    "some layers": ({"layers_to_transform": [0]}, r"layers_to_transform is \[0\], which is not supported"),
    "unknown key": ({"use_something_new": 1}, "use_something_new is 1, which is not supported"),
    "PiSSA": ({"init_lora_weights": "pissa"}, "init_lora_weights 'pissa' may change the base model"),
    "not a target": ({"target_modules": ["k_proj"]}, "self_attn.q_proj is no module .* that target_modules names"),
    "another rank": ({"r": 8}, "has the rank 4, but r is 8"),
    "no number": ({"lora_alpha": "8"}, "lora_alpha is '8', not a number"),
    "expression": ({"rank_pattern": {"(a+)+$": 4}}, "only names of modules are supported as patterns"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_merged_is_refused_by_name(case, copied):
    folder, (options, message) = copied("transformers-clip"), REFUSED[case]
    adapt(folder, **options)
    match = f"MODEL.BACKBONE.NAME: {folder}/model.safetensors .*its adapter adapter_model.safetensors .*{message}"
    with pytest.raises(ValueError, match=match):
        load_clip(str(folder))


def test_tensors_that_fit_no_linear_map_are_refused(copied):
    folder, tensor = copied("transformers-siglip"), torch.zeros(4, 4)
    for name, message in {
        "text_model.embeddings.token_embedding.lora_embedding_A": "which is not of a linear map",
        "vision_model.head.attention.out_proj.lora_A.weight": "in which PEFT's adapters have no effect",
        "vision_model.embeddings.patch_embedding.lora_A.weight": "is no linear map with its two factors",
    }.items():
        adapt(folder, more={f"base_model.model.{name}": tensor}, target_modules="all-linear")
        with pytest.raises(ValueError, match=message):
            load_clip(str(folder))


def test_adapter_without_its_base_model_is_one_line(copied, tmp_path):
    alone = tmp_path / "adapter"
    alone.mkdir()
    adapt(alone, base_model_name_or_path="openai/clip-vit-base-patch32")
    match = f"{alone} holds only an adapter .* of the model 'openai/clip-vit-base-patch32'. Put adapter_config.json and"
    with pytest.raises(FileNotFoundError, match=match):
        load_clip(str(alone))
    folder = copied("transformers-clip")
    (folder / "adapter_config.json").write_text(json.dumps(CONFIG))
    with pytest.raises(ValueError, match="adapter_config.json is there, but none of adapter_model.safetensors"):
        load_clip(str(folder))


@pytest.mark.parametrize(
    "options",
    [
        {"target_modules": ["q_proj", "fc2"], "use_rslora": True},
        {
            "target_modules": ["k_proj"],
            "alpha_pattern": {"layers.0.self_attn.k_proj": 3},
            "rank_pattern": {"k_proj": 2},
        },
        {"target_modules": r".*layers.*\.(v_proj|fc1)", "modules_to_save": ["final_layer_norm"]},
    ],
)
@pytest.mark.parametrize("family", FAMILIES)
def test_features_are_those_of_peft(family, options, copied):
    peft, folder = pytest.importorskip("peft"), copied(family)
    library = transformers.CLIPModel if family == "transformers-clip" else transformers.SiglipModel
    adapted = peft.get_peft_model(library.from_pretrained(folder), peft.LoraConfig(r=4, lora_alpha=8, **options))
    for name, parameter in adapted.named_parameters():
        if "lora_" in name or "modules_to_save" in name:
            parameter.data += 0.1 * torch.randn(parameter.shape)
    adapted.save_pretrained(folder)
    clip, own = load_clip(str(folder)), library.from_pretrained(folder).eval()
    image = torch.randn(2, 3, 32, 32)
    ids = clip.tokenizer(["a dog", "rose"], clip.text.context_length)
    with torch.no_grad():
        assert relative(clip.text(ids, clip.tokenizer.eos), own.get_text_features(input_ids=ids).pooler_output) < 1e-5
        assert relative(clip.encode_image(image), own.get_image_features(pixel_values=image).pooler_output) < 1e-5
