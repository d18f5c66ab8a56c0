"""CoCa's image tower against open_clip's own."""

import json

import miniatures
import open_clip
import pytest
import torch
from methods import relative
from safetensors.torch import save_file

from softcpt.backbones import load_clip
from softcpt.backbones.config import ClipConfig
from softcpt.backbones.model import store_in_half


@pytest.fixture
def coca_image(copied):
    """(the library's model, ours) with CoCa's image tower: a pool of learned queries, of which the first counts."""
    folder = copied("open_clip-vit")
    content = json.loads((folder / "open_clip_config.json").read_text())
    pool = {"attentional_pool": True, "attn_pooler_heads": 4, "attn_pooler_queries": 3}
    content["model_cfg"]["vision_cfg"] = {**miniatures.VISION, "width": 96, **pool}
    (folder / "open_clip_config.json").write_text(json.dumps(content))
    torch.manual_seed(0)
    with torch.no_grad():
        model = miniatures.enlarge(open_clip.create_model(f"local-dir:{folder}", load_weights=False))
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    return model, load_clip(str(folder))


def test_cocas_image_tower_is_this_projects(coca_image):
    library, clip = coca_image
    image, tower = torch.randn(2, 3, 32, 32), clip.visual
    expected = library.encode_image(image)
    assert relative(clip.encode_image(image), expected) < 1e-5
    weight, bias = tower.projection_weights()
    assert bias is None and relative(tower.unprojected(image) @ weight, expected) < 1e-5
    assert (tower.not_tunable, tower.width, tower.depth, weight.shape) == ("", 96, 2, (64, 64))
    assert tower.no_local_features.startswith("its features are pooled by query")
    assert ClipConfig.from_dict(json.loads(json.dumps(clip.config.to_dict()))) == clip.config


def test_cocas_image_tower_is_stored_in_half(coca_image):
    library, clip = coca_image
    image = torch.randn(2, 3, 32, 32)
    store_in_half(clip, torch.bfloat16)
    assert {value.dtype for key, value in clip.visual.pool.attn.named_parameters()} == {torch.bfloat16}
    with torch.autocast("cpu", torch.bfloat16):
        found = clip.encode_image(image).float()
    assert torch.cosine_similarity(found, library.encode_image(image)).min() > 0.98
