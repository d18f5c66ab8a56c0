"""ProtoNet: means of normalised features, and the fine-tuned scale."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from methods import TASK, build, cosine


def test_prototype_is_the_mean_of_normalised_features(toy_root, tmp_path):
    trainer = build(toy_root, tmp_path / "run", "ProtoNet")
    trainer.train()
    features, label = trainer.features_of(trainer.dm.dataset.train_x)
    logits = trainer.model_inference(features)
    for c in range(10):
        mean = sum(F.normalize(x, dim=0) for x in features[label == c])
        for b in (0, 7):
            expected = trainer.clip.logit_scale.exp().item() * cosine(features[b].tolist(), mean.tolist())
            assert logits[b, c].item() == pytest.approx(expected, rel=1e-4)
    assert trainer.n_params == 0


def test_fine_tuned_scale_minimises_the_leave_one_out_loss(toy_root, tmp_path):
    trainer = build(toy_root, tmp_path / "run", "ProtoNet", "FINE_TUNED", True)
    trainer.train()
    features, label = trainer.features_of(trainer.dm.dataset.train_x)
    x = F.normalize(features, dim=1)
    rows = []
    for b in range(len(x)):
        others = [i for i in range(len(x)) if i != b]
        means = [sum(x[i] for i in others if label[i] == c) for c in range(10)]
        rows.append([cosine(x[b].tolist(), mean.tolist()) for mean in means])
    leave_one_out = torch.tensor(rows).masked_fill(TASK != TASK[label].unsqueeze(1), -math.inf)
    losses = {s: F.cross_entropy(s * leave_one_out, label).item() for s in np.geomspace(1, 1000, 200)}
    scale = trainer.learned.log_scale.exp().item()
    assert F.cross_entropy(scale * leave_one_out, label).item() <= min(losses.values()) + 1e-4
    assert trainer.n_params == 1

    free = build(toy_root, tmp_path / "free", "ProtoNet")
    free.train()
    assert free.evaluator.task_results == trainer.evaluator.task_results


def test_fine_tuned_scale_needs_two_shots(toy_root, tmp_path):
    trainer = build(toy_root, tmp_path, "ProtoNet", "FINE_TUNED", True, opts=("DATASET.NUM_SHOTS", 1))
    with pytest.raises(ValueError, match="'rose' has only one: give at least 2 shots"):
        trainer.train()
