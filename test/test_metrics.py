# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minkowski_perception.metrics import ConfusionMatrix

LABEL = st.sampled_from([0, 1, 2, 3, 200, 255])


def iou_from_sets(pairs: list[tuple[int, int]], label: int) -> float:
    """Intersection over union as its words say, over sets of point numbers."""
    scored = {i: pair for i, pair in enumerate(pairs) if pair[0] < 4}
    true = {i for i, (truth, _) in scored.items() if truth == label}
    predicted = {i for i, (_, prediction) in scored.items() if prediction == label}
    return len(true & predicted) / len(true | predicted) if true else math.nan


@given(st.lists(st.tuples(LABEL, LABEL), max_size=60))
def test_iou_is_that_of_the_sets_of_points(pairs):
    truth, prediction = np.array(pairs, dtype=np.uint8).reshape(-1, 2).T
    matrix = ConfusionMatrix(4)
    matrix.update(truth, prediction)

    expected = [iou_from_sets(pairs, label) for label in range(4)]

    np.testing.assert_allclose(matrix.iou, expected)
    scored = [(t, p) for t, p in pairs if t < 4]
    if scored:
        assert matrix.miou == pytest.approx(np.nanmean(expected))
        assert matrix.accuracy == pytest.approx(sum(t == p for t, p in scored) / len(scored))
    else:
        assert math.isnan(matrix.miou)
        assert math.isnan(matrix.accuracy)


def test_points_left_unlabelled_are_misses():
    matrix = ConfusionMatrix(2)
    matrix.update(np.array([0, 0, 1]), np.array([0, 255, 1]))

    np.testing.assert_allclose(matrix.iou, [0.5, 1.0])
    assert matrix.accuracy == pytest.approx(2 / 3)


def test_several_clouds_count_as_one_large_one():
    draw = np.random.default_rng(0)
    truth, prediction = draw.integers(0, 6, (2, 300))
    whole, parts = ConfusionMatrix(5), ConfusionMatrix(5)
    whole.update(truth, prediction)
    for rows in np.array_split(np.arange(300), 7):
        parts.update(truth[rows], prediction[rows])

    np.testing.assert_array_equal(parts.counts, whole.counts)


def test_truth_and_prediction_must_have_the_same_points():
    with pytest.raises(ValueError, match=r"\[3\], \[2\]"):
        ConfusionMatrix(2).update(np.zeros(3, int), np.zeros(2, int))
