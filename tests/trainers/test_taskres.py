"""TaskRes: t' = t + alpha x."""

import plain
import pytest
import torch
import torch.nn.functional as F
from methods import CLASSNAMES, TEMPLATES, batch_of, build, check_loss, task_cross_entropy


@pytest.mark.parametrize("template", ["", "a toy {}."])
def test_it_starts_as_zero_shot_clip(toy_root, tmp_path, template):
    trainer = build(toy_root, tmp_path, "TaskRes", "TEMPLATE", template)
    expected = plain.zero_shot(CLASSNAMES, [template] * 10 if template else TEMPLATES)
    torch.testing.assert_close(trainer.text_features().detach(), expected, rtol=1e-4, atol=1e-5)
    rows = torch.tensor([1, 5, 8])
    torch.testing.assert_close(trainer.text_features(rows).detach(), expected[rows], rtol=1e-4, atol=1e-5)
    assert trainer.n_params == 10 * 32


def test_classifier_is_text_feature_plus_scaled_residual(toy_root, tmp_path):
    trainer = build(toy_root, tmp_path, "TaskRes", "ALPHA", 0.3)
    batch = batch_of(trainer)
    x = trainer.image_features(batch["img"])
    torch.nn.init.normal_(trainer.learned.residual)
    base = plain.zero_shot(CLASSNAMES, TEMPLATES)
    classifier = torch.stack([base[c] + 0.3 * trainer.learned.residual[c] for c in range(10)])
    logits = trainer.clip.logit_scale.exp() * F.normalize(x, dim=1) @ F.normalize(classifier, dim=1).T
    torch.testing.assert_close(trainer.model_inference(batch["img"]), logits.detach(), rtol=1e-4, atol=1e-4)
    check_loss(trainer, batch, task_cross_entropy(logits, batch["label"]))


def test_training_encodes_no_text(toy_root, tmp_path, monkeypatch):
    trainer = build(toy_root, tmp_path, "TaskRes")
    monkeypatch.setattr(trainer, "text_encoder", None)
    monkeypatch.setattr(trainer, "test", lambda split=None: 0.0)  # which compares with hand-made prompts
    trainer.train()
