# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from minkowski_perception.report.thinning import take_evenly, thin


@pytest.mark.parametrize("most", [1, 10, 500, 999])
def test_about_as_many_points_are_kept_as_may_be(most):
    ranges = np.random.default_rng(0).uniform(0.1, 100.0, 1000).astype(np.float32)
    rows = thin(ranges, most)
    assert most - 2 <= len(rows) <= most
    assert (np.diff(rows) > 0).all()
    np.testing.assert_array_equal(rows, thin(ranges, most))


def test_few_points_are_all_kept():
    np.testing.assert_array_equal(thin(np.ones(5), 5), np.arange(5))
    assert len(thin(np.ones(0), 5)) == 0


def test_far_points_are_kept_more_often_than_near_ones():
    ranges = np.repeat([2.0, 20.0], 1000)
    kept = ranges[thin(ranges, 400)]
    assert (kept == 20.0).sum() == pytest.approx(10 * (kept == 2.0).sum(), rel=0.1)


def test_points_that_are_rare_and_far_are_all_kept():
    ranges = np.where(np.arange(1000) % 100 == 0, 400.0, 1.0)
    kept = ranges[thin(ranges, 100)]
    assert (kept == 400.0).sum() == 10
    assert len(kept) >= 98


def test_rows_are_taken_evenly():
    np.testing.assert_array_equal(take_evenly(10, 5), [0, 2, 4, 6, 8])
    np.testing.assert_array_equal(take_evenly(3, 5), [0, 1, 2])
    assert len(take_evenly(1_000_003, 1000)) == 1000
