"""Heat maps of tasks: the order, and figures of any size."""

import numpy as np
import pytest
import torch

from softcpt.reports.interpretation import change_figure, ordered, similarity_entry, similarity_figure
from softcpt.reports.leave_one_out import SAME, Gains
from softcpt.reports.pictures import png
from trainers.finished.contexts import cosines


def test_similar_rows_are_ordered_together():
    groups = [0, 1, 0, 2, 1, 0]
    rng = np.random.default_rng(0)
    x = np.eye(3)[groups] + 0.05 * rng.normal(size=(6, 3))
    similarity = cosines(torch.tensor(x)).numpy()
    order = ordered(similarity)
    assert sorted(order) == list(range(6))
    runs = [groups[i] for i in order]
    assert sum(a != b for a, b in zip(runs, runs[1:])) == 2
    assert order[0] < order[-1]
    assert ordered(similarity) == order
    shuffled = [3, 0, 5, 1, 4, 2]
    again = [shuffled[i] for i in ordered(similarity[np.ix_(shuffled, shuffled)])]
    assert again in (order, order[::-1])


@pytest.mark.parametrize("n", [2, 30])
def test_heatmaps_are_drawn_for_any_number_of_tasks(n):
    similarity = cosines(torch.randn(n, 8, generator=torch.Generator().manual_seed(2))).numpy()
    names = [f"task number {i}" for i in range(n)]
    entry = similarity_entry(similarity, names)
    first, second = (png(similarity_figure(entry, "a title"), dpi=50) for _ in range(2))
    assert first == second
    nothing = np.full((n, n), np.nan)
    assert png(change_figure(Gains(dict.fromkeys(SAME, 1), names, nothing, nothing, nothing)), dpi=50)


def test_heatmap_has_the_order_and_numbers_of_the_entry():
    figure = similarity_figure(similarity_entry(np.array([[1, 0.1, 0.8], [0.1, 1, 0.2], [0.8, 0.2, 1]]), "abc"), "")
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] in (["a", "c", "b"], ["b", "c", "a"])
    assert sorted(text.get_text() for text in axes.texts) == ["0.10", "0.10", "0.20", "0.20", "0.80", "0.80"]
    assert ordered(np.ones((1, 1))) == [0] and not ordered(np.zeros((0, 0)))
