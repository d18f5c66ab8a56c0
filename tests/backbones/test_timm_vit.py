"""Prompts and low-rank updates in timm's vision transformers, against the same computed by hand from timm's modules."""

import copy
import threading
from functools import partial

import pytest
import timm
import torch
from methods import relative
from open_clip.timm_model import TimmModel
from timm.models.eva import Eva
from timm.models.vision_transformer import ParallelThingsBlock, VisionTransformer
from torch import nn

from softcpt.backbones import Tuning, config
from softcpt.backbones.image import OpenClipTower
from softcpt.backbones.model import store_in_half
from trainers.parts.low_rank import LowRankUpdate

W, E, LAYERS, M = 32, 24, 3, 2
SIZES = {"img_size": 32, "patch_size": 8, "embed_dim": W, "depth": LAYERS, "num_heads": 4, "num_classes": E}
ROPE = {"use_rot_pos_emb": True, "ref_feat_shape": (4, 4)}
PE = {**ROPE, "attn_type": "rope", "use_pre_transformer_norm": True, "rope_grid_offset": 1.0}
TRUNKS = {
    "SigLIP": partial(VisionTransformer, class_token=False, global_pool="map"),
    "class token before its norm": partial(VisionTransformer, pre_norm=True),
    "registers and normalised queries": partial(
        VisionTransformer, reg_tokens=2, no_embed_class=True, init_values=0.5, qk_norm=True
    ),
    "mean of the patches": partial(VisionTransformer, global_pool="avg"),
    "EVA": partial(Eva, global_pool="token"),  # one matrix of queries, keys and values, its bias in two parts
    "EVA-02": partial(Eva, global_pool="token", qkv_fused=False, swiglu_mlp=True, scale_mlp=True, **ROPE),
    "EVA-02 with norms behind": partial(Eva, global_pool="token", use_post_norm=True),
    "PE": partial(Eva, global_pool="map", **PE),
    "PE without a class token": partial(Eva, global_pool="map", class_token=False, **PE),
    "rotations by halves": partial(Eva, global_pool="avg", rope_rotate_half=True, **ROPE),
    "rotations of each layer": partial(Eva, global_pool="token", rope_type="mixed", attn_type="rope", **ROPE),
}


class Tower(nn.Module):
    """As open_clip wraps timm's models."""

    def __init__(self, trunk):
        super().__init__()
        self.trunk, self.head = trunk, nn.Sequential()

    def forward(self, image):
        return self.head(self.trunk(image))


def wrapped(tower):
    return OpenClipTower(config.OpenClipTower({}, False, (32, 32), E), tower.eval().requires_grad_(False))


def drawn(tower):
    """With weights as large as trained ones, so that what training adds shows in the features."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in tower.parameters():
            noise = torch.randn_like(parameter)
            parameter.copy_(noise / parameter[0].numel() ** 0.5 if parameter.dim() > 1 else parameter + 0.2 * noise)
    return wrapped(tower)


@pytest.fixture(params=TRUNKS)
def tower(request):
    return drawn(Tower(TRUNKS[request.param](**SIZES)))


@pytest.fixture
def image():
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def prompts_of(count):
    generator = torch.Generator().manual_seed(2)
    return [torch.randn(M, W, generator=generator).requires_grad_(True) for _ in range(count)]


def updates_of(tower):
    torch.manual_seed(3)
    updates = [LowRankUpdate(W, 2, 0.5, dropout=0.0) for _ in range(tower.depth)]
    for update in updates:
        nn.init.normal_(update.b)
    return updates


def with_prompts(trunk, image, prompts):
    """By hand, with the prompts before the patches: there timm itself leaves tokens unrotated."""
    trunk = copy.deepcopy(trunk)
    for block in trunk.blocks:
        block.attn.num_prefix_tokens = trunk.num_prefix_tokens + M
    x = trunk._pos_embed(trunk.patch_embed(image))
    x, rope = x if isinstance(trunk, Eva) else (x, None)
    front, patches = x[:, : trunk.num_prefix_tokens], x[:, trunk.num_prefix_tokens :]
    x = trunk.norm_pre(torch.cat([front, prompts[0].expand(len(x), -1, -1), patches], dim=1))
    for i, block in enumerate(trunk.blocks):
        front, tokens, patches = x.split([front.shape[1], M, patches.shape[1]], dim=1)
        if i < len(prompts) and i > 0:
            tokens = prompts[i].expand(len(x), -1, -1)
        x = torch.cat([front, tokens, patches], dim=1)
        x = block(x) if rope is None else block(x, rope=rope[i] if getattr(trunk, "rope_mixed", False) else rope)
    front, _, patches = x.split([front.shape[1], M, patches.shape[1]], dim=1)
    return trunk.forward_head(trunk.norm(torch.cat([front, patches], dim=1)))


def with_updates(tower, image, updates):
    """The library's tower with W + gamma B A in place of each W."""
    weights = {}
    for i, update in enumerate(updates):
        product = update.scale * update.b @ update.a  # (3, W, W)
        attention, prefix = tower.trunk.blocks[i].attn, f"trunk.blocks.{i}.attn."
        if attention.qkv is not None:
            weights[f"{prefix}qkv.weight"] = attention.qkv.weight + product.flatten(0, 1)
        else:
            for name, added in zip(("q_proj", "k_proj", "v_proj"), product):
                weights[f"{prefix}{name}.weight"] = attention.get_submodule(name).weight + added
    return torch.func.functional_call(tower, weights, image)


def check_equal(found, expected, learned):
    assert relative(found.detach(), expected.detach()) < 1e-5
    direction = torch.randn(found.shape, generator=torch.Generator().manual_seed(4))
    gradients = [torch.autograd.grad((x * direction).sum(), learned) for x in (found, expected)]
    for ours, theirs in zip(*gradients):
        assert theirs.abs().max() > 0 and relative(ours, theirs) < 1e-4


@pytest.mark.parametrize("depth", [1, 2, LAYERS])
def test_prompts_are_tokens_beside_the_patches(tower, image, depth):
    prompts = prompts_of(depth)
    assert (tower.not_tunable, tower.width, tower.depth) == ("", W, LAYERS)
    expected = tower.tower.head(with_prompts(tower.tower.trunk, image, prompts))
    check_equal(tower(image, Tuning(prompts)), expected, prompts)
    assert relative(tower(image).detach(), expected.detach()) > 1e-3


def test_updates_are_of_queries_keys_and_values(tower, image):
    updates = updates_of(tower)
    learned = [p for update in updates for p in update.parameters()]
    expected = with_updates(tower.tower, image, updates)
    check_equal(tower(image, Tuning(updates=updates)), expected, learned)
    with torch.no_grad():  # merged
        assert relative(tower(image, Tuning(updates=updates)), expected.detach()) < 1e-5
    assert relative(tower(image), expected.detach()) > 1e-3
    assert all(p.grad is None and not p.requires_grad for p in tower.parameters())


def test_untrained_updates_and_no_tuning_are_the_librarys_tower(tower, image):
    updates = [LowRankUpdate(W, 2, 0.5, dropout=0.5) for _ in range(LAYERS)]
    expected = tower.tower(image)
    assert torch.equal(tower(image), expected) and torch.equal(tower(image, Tuning([])), expected)
    assert torch.equal(tower(image, Tuning(updates=updates)), expected)
    with torch.no_grad():
        assert torch.equal(tower(image, Tuning(updates=updates)), expected)


def test_prompts_and_updates_work_together(tower, image):
    prompts, updates = prompts_of(2), updates_of(tower)
    merged = copy.deepcopy(tower)
    for i, update in enumerate(updates):
        for name, part in tower.attention_weights(i).items():
            merged.get_parameter(name).data = update.merged(tower.get_parameter(name), part).detach()
    found = tower(image, Tuning(prompts, updates))
    assert relative(found.detach(), merged(image, Tuning(prompts)).detach()) < 1e-5


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_tuning_in_half_precision_stays_near_fp32(tower, image, dtype):
    prompts, updates = prompts_of(2), updates_of(tower)
    expected = tower(image, Tuning(prompts, updates)).detach()
    half = copy.deepcopy(tower)
    store_in_half(half, dtype)
    for model in (tower, half):
        with torch.autocast("cpu", dtype):
            found = model(image, Tuning(prompts, updates))
        assert torch.cosine_similarity(found.float(), expected, dim=-1).min() > 0.98
        gradients = torch.autograd.grad(found.float().sum(), [*prompts, *(update.b for update in updates)])
        assert all(g.dtype == torch.float32 and g.isfinite().all() and g.any() for g in gradients)


def test_other_threads_see_the_tower_unchanged(image):
    tower = drawn(Tower(TRUNKS["SigLIP"](**SIZES)))
    seen = []

    def update(x, weight, bias, part):
        thread = threading.Thread(target=lambda: seen.append(tower(image)))
        thread.start(), thread.join()
        return 2 * nn.functional.linear(x, weight, bias)

    changed = tower(image, Tuning(updates=[update] * LAYERS))
    assert len(seen) == LAYERS and all(torch.equal(x, tower(image)) for x in seen)
    assert not torch.allclose(changed, tower(image))


def test_mobile_clips_vit_behind_a_few_convolutions_is_plain(image):
    trunk = timm.create_model("vit_base_mci_224", img_size=32, depth=1, num_classes=E)
    tower = drawn(Tower(trunk))
    assert (tower.not_tunable, tower.width, tower.depth) == ("", 768, 1)
    prompt = torch.randn(M, 768)
    assert relative(tower(image, Tuning([prompt])), with_prompts(trunk, image, [prompt])) < 1e-5


REFUSED = {
    "vitamin_small_224": "it is a hybrid: timm's VisionTransformer behind convolutional stages (MbConvStages)",
    "vit_tiny_r_s16_p8_224": "it is a hybrid: timm's VisionTransformer behind convolutional stages (",
    "fastvit_t8": "it is timm's FastVit, which is no plain vision transformer",
    "convnext_atto": "it is timm's ConvNeXt, which is no plain vision transformer",
    "swin_tiny_patch4_window7_224": "it is timm's SwinTransformer, which is no plain vision transformer",
    "vit_relpos_small_patch16_224": "it is timm's VisionTransformerRelPos, which is no plain",
    "parallel": "it is timm's VisionTransformer with blocks of the kind ParallelThingsBlock",
    "grouped": "it is timm's Eva, whose queries, keys and values are not as wide as its tokens",
}


@pytest.mark.parametrize("name", REFUSED)
def test_other_trunks_are_refused_with_the_reason(name):
    own = {
        "parallel": partial(VisionTransformer, block_fn=ParallelThingsBlock),
        "grouped": partial(Eva, attn_type="rope", qkv_fused=False, num_kv_heads=2),
    }
    with torch.device("meta"):
        trunk = own[name](**SIZES) if name in own else timm.create_model(name)
    tower = wrapped(Tower(trunk))
    assert tower.not_tunable.startswith(REFUSED[name]) and tower.depth == 0


def test_trunk_of_an_older_timm_is_refused():
    trunk = TRUNKS["EVA"](**SIZES)
    del trunk.norm_pre
    assert wrapped(Tower(trunk)).not_tunable.startswith("it is the Eva of another version of timm, without norm_pre")


HEADS = {
    "linear map of the trunk": ("fastvit_t8", "avg", ""),
    "linear map behind it": ("convnext_atto", "", "linear"),
    "perceptron behind it": ("convnext_atto", "", "mlp"),
}


@pytest.mark.parametrize("kind", HEADS)
def test_features_are_a_linear_map_of_the_unprojected(kind, image):
    name, pool, proj = HEADS[kind]
    tower = drawn(TimmModel(name, E, 32, pool=pool, proj=proj, proj_bias=True))
    with torch.no_grad():
        weight, bias = tower.projection_weights()
        assert not tower.no_projection and weight.shape[1] == E
        assert relative(tower.unprojected(image) @ weight + bias, tower.tower(image)) < 1e-5


def test_plain_trunks_end_with_their_own_linear_map(tower, image):
    weight, bias = tower.projection_weights()
    assert weight.shape == (W, E)
    assert relative(tower.unprojected(image) @ weight + bias, tower.tower(image)) < 1e-5


def test_trunk_without_a_classifier_has_no_projection():
    tower = wrapped(Tower(TRUNKS["SigLIP"](**{**SIZES, "num_classes": 0})))
    assert tower.no_projection == "it is timm's VisionTransformer, whose features do not come from a linear map"
