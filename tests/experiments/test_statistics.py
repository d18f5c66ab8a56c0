"""The paired tests, against enumerations of all signs and numbers worked out by hand."""

import itertools

import numpy as np
import pandas as pd
import pytest
from records import record

from softcpt.reports.joint_training import joint_table, pairs
from softcpt.reports.statistics import (
    against_all,
    at_each_shots,
    compare,
    comparison_note,
    comparison_table,
    differences,
    holm,
    values_of,
)
from softcpt.reports.tables import AVERAGE, results_frame


def values(first, second, n_tasks=None):
    """One value per task of each of the methods a and b."""
    index = pd.Index([f"task {i}" for i in range(len(first))], name="task")
    columns = pd.MultiIndex.from_tuples([("a", 1, 1), ("b", 1, 1)], names=["method", "shots", "seed"])
    return pd.DataFrame(np.array([first, second], dtype=float).T, index=index, columns=columns)


def p_by_enumeration(found):
    """The share of all sign patterns whose rank sum is at least as far from the mean as the one found."""
    found = [value for value in found if value]
    order = sorted(abs(value) for value in found)
    ranks = [np.mean([i + 1 for i, other in enumerate(order) if other == abs(value)]) for value in found]
    sums = [sum(r for r, plus in zip(ranks, signs) if plus) for signs in itertools.product((0, 1), repeat=len(found))]
    mine, middle = sum(r for r, value in zip(ranks, found) if value > 0), sum(ranks) / 2
    return np.mean([abs(one - middle) >= abs(mine - middle) - 1e-9 for one in sums])


@pytest.mark.parametrize("found", [[1, 2, 3, 4], [5, -1, 3, 2, -4, 6, 0.5], [1, 1, -1, 2, 2, 3], [0, 0, 1, -2, 3]])
def test_p_matches_an_enumeration_of_all_signs(found):
    test = compare(values(found, [0] * len(found)), "a", "b")
    assert test.p == pytest.approx(p_by_enumeration(found))
    assert test.smallest_p == 2 ** (1 - sum(value != 0 for value in found))
    wins, losses = (sum(sign * value > 0 for value in found) for sign in (1, -1))
    assert (test.n, test.wins, test.ties, test.losses) == (len(found), wins, found.count(0), losses)


def test_effect_and_difference_by_hand():
    test = compare(values([3, 0, 5], [1, 1, 1]), "a", "b")  # differences 2, -1, 4 with the ranks 2, 1, 3
    assert test.difference == pytest.approx(5 / 3) and test.effect == pytest.approx((2 - 1 + 3) / 6)
    level = compare(values([1, 2], [1, 2 + 1e-12]), "a", "b")
    assert (level.p, level.effect, level.ties, level.smallest_p) == (1.0, 0.0, 2, 1.0)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0] and holm([]) == []


RUNS = (
    record("CoOp", "", 1, 1, (40.0, 50.0)),
    record("CoOp", "", 1, 2, (44.0, 54.0)),
    record("CoOp", "", 4, 1, (50.0, 60.0)),
    record("SoftCPT", "NATA", 1, 1, (42.0, 49.0)),
    record("SoftCPT", "NATA", 1, 2, (48.0, 55.0)),
    record("SoftCPT", "NATA", 1, 3, (90.0, 90.0)),
    record("SoftCPT", "NATA", 16, 1, (95.0, 95.0)),
    record("ZeroshotCLIP", "", 0, 1, (30.0, 40.0)),
)


def test_only_runs_with_equal_shots_and_seed_are_paired():
    table = values_of(results_frame(RUNS))
    assert differences(table, "SoftCPT NATA", "CoOp").to_dict() == {"shape": 3.0, "number of objects": 0.0}
    assert compare(table, "SoftCPT NATA", "CoOp", 4) is None
    with pytest.raises(ValueError, match="no method 'CoOb' to compare; there are: CoOp, SoftCPT NATA, ZeroshotCLIP"):
        differences(table, "CoOb", "CoOp")


def test_zero_shot_is_compared_at_all_shots_and_seeds():
    table = values_of(results_frame(RUNS))
    found = differences(table, "CoOp", "ZeroshotCLIP")  # of 1 shot 42 - 30, of 4 shots 50 - 30
    assert found.to_dict() == {"shape": 16.0, "number of objects": 16.0}
    assert (differences(table, "ZeroshotCLIP", "CoOp") == -found).all()
    assert differences(table, "CoOp", "ZeroshotCLIP", 4).to_dict() == {"shape": 20.0, "number of objects": 20.0}
    assert [test.b for test in against_all(table, "CoOp")] == ["SoftCPT NATA", "ZeroshotCLIP"]


def test_table_says_what_few_tasks_allow():
    tests = at_each_shots(values_of(results_frame(RUNS)), "CoOp", "ZeroshotCLIP")
    assert [test.shots for test in tests] == [1, 4, None]
    table = comparison_table(tests)
    assert table["shots"].tolist() == ["1 shot", "4 shots", "all"] and table["A - B"].tolist()[1] == "+20.0"
    assert "the smallest p that the test can give is 0.500, and 1.000 for the first of 3" in comparison_note(tests)
    assert "no difference here can be significant" in comparison_note(tests)
    level = record("CoOp", "", 1, 1, (40.0, 45.0)), record("ZeroshotCLIP", "", 0, 1, (35.0, 45.0))
    tests = at_each_shots(values_of(results_frame(level)), "CoOp", "ZeroshotCLIP")
    assert "With 2 tasks, 1 of them level, the smallest p that the test can give is 1.000" in comparison_note(tests)


def test_joint_and_separate_training_are_compared_per_task():
    runs = [
        {**record("CoOp", variant, 4, seed, found), "method": f"CoOp {variant}"}
        for variant, seed, found in (
            ("shared", 1, (40.0, 50.0)),
            ("shared", 2, (44.0, 54.0)),
            ("separate-shared", 1, (30.0, 51.0)),
            ("separate-shared", 2, (36.0, 57.0)),
            ("separate-shared", 3, (99.0, 99.0)),
        )
    ]
    (pair,) = pairs(runs, "coop")
    table = joint_table(results_frame(runs), pair, 4)
    assert list(table) == ["task", "CoOp shared (joint)", "CoOp separate-shared", "joint - separate"]
    assert table.values.tolist() == [
        ["shape", "42.0 ± 2.8", "33.0 ± 4.2", "+9.0 ± 1.4"],
        ["number of objects", "52.0 ± 2.8", "54.0 ± 4.2", "-2.0 ± 1.4"],
        [AVERAGE, "47.0 ± 2.8", "43.5 ± 4.2", "+3.5 ± 1.4"],
    ]
    with pytest.raises(ValueError, match="no method 'PLOT' that was trained both .*SEPARATE=1 .*there are: CoOp sep"):
        pairs(runs, "PLOT")
