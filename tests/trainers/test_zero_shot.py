"""Zero-shot CLIP: one template for each task, and the ensemble."""

import plain
import torch
import torch.nn.functional as F
from methods import CLASSNAMES, TEMPLATES, build

from softcpt.prompts.zero_shot import ENSEMBLE


def test_methods_share_cached_features(toy_root, tmp_path):
    counts = []
    for name in ("CoOp", "KgCoOp", "CoCoOp", "ZeroshotCLIP", "PLOT"):
        build(toy_root, tmp_path / name, name).test()
        counts.append(len(list((tmp_path / "features").glob("*.safetensors"))))
    assert counts == [2, 2, 2, 2, 4]  # of the test images and of the validation shots; PLOT's are local features


def test_zero_shot_uses_the_template_of_each_task(toy_root, tmp_path):
    trainer = build(toy_root, tmp_path, "ZeroshotCLIP")
    torch.testing.assert_close(trainer.text_features(), plain.zero_shot(CLASSNAMES, TEMPLATES), rtol=1e-5, atol=1e-6)


def test_ensemble_is_the_mean_of_normalised_features(toy_root, tmp_path):
    trainer = build(toy_root, tmp_path, "ZeroshotCLIP", "ENSEMBLE", True)
    assert trainer.variant == "ensemble" and len(ENSEMBLE) == 7
    features = [F.normalize(plain.zero_shot(CLASSNAMES, [t] * 10), dim=1) for t in ENSEMBLE]
    features.append(F.normalize(plain.zero_shot(CLASSNAMES, TEMPLATES), dim=1))
    expected = F.normalize(sum(features) / 8, dim=1)
    torch.testing.assert_close(trainer.text_features(), expected, rtol=1e-5, atol=1e-6)
    rows = torch.tensor([1, 4, 9])
    torch.testing.assert_close(trainer.text_features(rows), expected[rows], rtol=1e-5, atol=1e-6)
