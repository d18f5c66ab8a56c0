"""TaskRes: t' = t + alpha x."""

import plain
import pytest
import torch
import torch.nn.functional as F
from methods import CLASSNAMES, TASK, TEMPLATES, batch_of, build, relative

import train


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
    with torch.no_grad():
        trainer.prompts.residual.normal_()
    residual = trainer.prompts.residual.detach().clone().requires_grad_()
    base = plain.zero_shot(CLASSNAMES, TEMPLATES)
    classifier = torch.stack([base[c] + 0.3 * residual[c] for c in range(10)])
    logits = trainer.clip.logit_scale.exp() * F.normalize(x, dim=1) @ F.normalize(classifier, dim=1).T
    torch.testing.assert_close(trainer.model_inference(batch["img"]), logits.detach(), rtol=1e-4, atol=1e-4)

    own = TASK == TASK[batch["label"]].unsqueeze(1)
    expected_loss = F.cross_entropy(logits.masked_fill(~own, -torch.inf), batch["label"])
    loss, _ = trainer.compute_loss(x, batch["label"])
    loss.backward()
    expected_loss.backward()
    assert loss.item() == pytest.approx(expected_loss.item(), rel=1e-4)
    assert relative(trainer.prompts.residual.grad, residual.grad) < 1e-3


def test_training_encodes_no_text(toy_root, tmp_path, monkeypatch):
    trainer = build(toy_root, tmp_path, "TaskRes")
    monkeypatch.setattr(trainer, "text_encoder", None)
    monkeypatch.setattr(trainer, "test", lambda split=None: 0.0)  # which compares with hand-made prompts
    trainer.train()


@pytest.mark.parametrize("name", ["rn50", "rn101", "vit_b16", "vit_b32", "tiny"])
def test_configs_are_valid(name):
    path = train.PROJECT_ROOT / "configs" / "trainers" / "TaskRes" / f"{name}.yaml"
    cfg = train.setup_cfg(train.parse_args(["--trainer", "TaskRes", "--config-file", str(path)]))
    assert (cfg.OPTIM.NAME, cfg.OPTIM.LR, cfg.DATALOADER.TRAIN_X.BATCH_SIZE) == ("adam", 0.002, 256)
