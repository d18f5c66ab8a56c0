"""How much each task gains from each other task."""

import json
import math

import numpy as np
import pytest
from records import LEFT_OUT, table_rows

from softcpt.reports.leave_one_out import as_json, gains_of, gains_table


def test_changes_pair_runs_of_one_seed():
    (gains,) = gains_of(LEFT_OUT)
    assert gains.tasks == ["a", "b", "c"] and gains.method["variant"] == "NATA"
    nan = math.nan
    expected = [[nan, (-2 - 4) / 2, (1 + 2) / 2], [-10, nan, 0], [nan, nan, nan]]
    np.testing.assert_allclose(gains.change, expected)
    np.testing.assert_array_equal(gains.n, [[0, 2, 2], [1, 0, 1], [0, 0, 0]])
    assert gains.deviation[0, 1] == pytest.approx(math.sqrt(2)) and np.isnan(gains.deviation[1, 0])
    plain = json.loads(json.dumps(as_json(gains), allow_nan=False))
    assert plain["change"][1] == [-10.0, None, 0.0]
    assert table_rows(gains_table(gains))[2] == ["b", "-10.0", "–", "+0.0", "-5.0"]


def test_methods_shots_and_data_sets_have_separate_gains():
    others = [{**run, "shots": 16} for run in LEFT_OUT] + [{**run, "loaded_from": "elsewhere"} for run in LEFT_OUT]
    halves = [{**run, "split": "test-base-classes"} for run in LEFT_OUT]
    assert [gains.method["shots"] for gains in gains_of([*LEFT_OUT, *others, *halves])] == [16, 4]


def test_unpaired_or_duplicate_runs_are_errors():
    with pytest.raises(ValueError, match="leave_one_out.yaml"):
        gains_of(LEFT_OUT[:2])
    with pytest.raises(ValueError, match="are of the same run: trainer SoftCPT, variant NATA"):
        gains_of([*LEFT_OUT, LEFT_OUT[0]])
