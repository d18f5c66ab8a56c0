"""LinearProbe: the search of C, and scikit-learn's regression on raw features."""

import numpy as np
import pytest
import torch
from methods import TASK, build
from sklearn.linear_model import LogisticRegression

from softcpt.tasks import Task
from trainers.linear_probe import GRID, search_c
from trainers.parts.validation import metric_of


@pytest.mark.parametrize("peak", [-6.0, -3.3, 0.0, 1.7, 2.6])
def test_search_of_c_tries_seven_powers_and_halves(peak):
    tried = []

    def score(log_c):
        assert log_c not in tried  # no fit is made twice
        tried.append(log_c)
        return -abs(log_c - peak)

    found = search_c(score, 8)
    assert tuple(tried[:7]) == GRID and len(tried) <= 7 + 2 + 8
    start = min(GRID, key=lambda value: abs(value - peak))
    low, high = start - 1, start + 1
    for _ in range(8):  # the interval as in the protocol
        left, right = -abs(low - peak), -abs(high - peak)
        best = high if left < right else low
        low, high = ((low + high) / 2, high) if left < right else (low, (low + high) / 2)
    assert found == best
    assert abs(found - min(max(peak, start - 1), start + 1)) < 0.02
    assert search_c(lambda log_c: 1.0, 8) == 5.0  # the first of equal powers, and the lower end


def test_probe_is_a_logistic_regression_on_raw_features(toy_root, tmp_path):
    trainer = build(toy_root, tmp_path / "run", "LinearProbe", "C", 0.5)
    trainer.train()
    features, label = trainer.features_of(trainer.dm.dataset.train_x)
    for t, n in enumerate((3, 2, 5)):
        mine = TASK[label] == t
        model = LogisticRegression(C=0.5, max_iter=1000).fit(features[mine].numpy(), label[mine].numpy())
        logits = trainer.model_inference(features)[mine][:, t == TASK]
        assert logits.shape[1] == n
        probabilities = torch.from_numpy(model.predict_proba(features[mine].numpy()))
        torch.testing.assert_close(logits.softmax(1), probabilities.float(), rtol=1e-3, atol=1e-4)
    assert trainer.n_params == 10 * 33
    opts = ("DATASET.TASKS", "ToyTexture", "DATASET.SUBSAMPLE_CLASSES", "base")
    single = build(toy_root, tmp_path / "single", "LinearProbe", opts=opts)
    single.train()
    assert not single.learned.weight.any(), "one class has no weights"


def test_search_uses_the_metric_of_the_task():
    prediction, label = np.array([0, 0, 0, 1, 2]), np.array([0, 0, 0, 0, 2])
    assert metric_of(Task("x", ("a", "b", "c")), prediction, label) == pytest.approx(0.8)
    assert metric_of(Task("x", ("a", "b", "c"), "mean_per_class"), prediction, label) == pytest.approx((0.75 + 1) / 2)
