"""Heat maps of tasks: the order, and figures of any size."""

import numpy as np
import pytest
import torch

from softcpt.interpretation.heatmaps import change_figure, ordered, similarity_figure
from softcpt.interpretation.pictures import png
from trainers.finished.contexts import cosines


def test_similar_rows_are_ordered_together():
    groups = [0, 1, 0, 2, 1, 0]
    rng = np.random.default_rng(0)
    x = np.eye(3)[groups] + 0.05 * rng.normal(size=(6, 3))
    similarity = cosines(torch.tensor(x)).numpy()
    order, tree = ordered(similarity)
    assert sorted(order) == list(range(6)) and len(tree) == 5
    runs = [groups[i] for i in order]
    assert sum(a != b for a, b in zip(runs, runs[1:])) == 2
    assert order[0] < order[-1]
    assert ordered(similarity)[0] == order
    shuffled = [3, 0, 5, 1, 4, 2]
    again = [shuffled[i] for i in ordered(similarity[np.ix_(shuffled, shuffled)])[0]]
    assert again in (order, order[::-1])


@pytest.mark.parametrize("n", [1, 2, 30])
def test_heatmaps_are_drawn_for_any_number_of_tasks(n):
    similarity = cosines(torch.randn(n, 8, generator=torch.Generator().manual_seed(2))).numpy()
    names = [f"task number {i}" for i in range(n)]
    first, second = (png(similarity_figure(similarity, names, "a title"), dpi=50) for _ in range(2))
    assert first == second
    assert png(change_figure(np.full((n, n), np.nan), names, names, "nothing"), dpi=50)
    assert not ordered(np.zeros((0, 0)))[0]
