# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import pytest

from minkowski_perception.node.load_shedding import (
    FULL,
    HALF_CLOUDS,
    HALF_POINTS,
    SHORT_AVERAGING,
    WITHOUT_CRF,
    LoadShedding,
    levels,
)

LEVELS = (FULL, WITHOUT_CRF)


def feed(shedding, latency, count, superseded=0):
    """Return the number of clouds until the level changes; None if it does not."""
    return next((i for i in range(1, count + 1) if shedding.add(latency, superseded)), None)


def test_without_limits_the_level_stays():
    shedding = LoadShedding(LEVELS)
    assert feed(shedding, 9.0, 1000, superseded=5) is None
    assert shedding.level is FULL


def test_a_median_above_the_budget_lowers_the_level_but_one_slow_cloud_does_not():
    shedding = LoadShedding(LEVELS, budget=0.1)
    for latency in [0.05] * 20 + [5.0] + [0.05] * 20:
        assert not shedding.add(latency)
    assert feed(shedding, 0.2, 100) is not None
    assert shedding.level is WITHOUT_CRF
    assert shedding.reason == "latency 0.125 s, budget 0.1 s"


def test_superseded_clouds_lower_the_level_too():
    shedding = LoadShedding(LEVELS, max_superseded=0.4)
    assert feed(shedding, 9.0, 100) is None
    for i in range(100):
        assert not shedding.add(9.0, superseded=int(i % 10 == 0))
    assert feed(shedding, 9.0, 100, superseded=1) is not None
    assert shedding.reason == "41% of the clouds superseded, limit 40%"


def test_there_is_no_level_below_the_last():
    shedding = LoadShedding(LEVELS, budget=0.1)
    assert feed(shedding, 0.2, 100) == 10
    assert feed(shedding, 0.2, 1000) is None
    assert shedding.level is WITHOUT_CRF


def test_the_level_is_restored_well_below_the_budget_but_not_just_below_it():
    shedding = LoadShedding(LEVELS, budget=0.1)
    feed(shedding, 0.2, 100)
    assert feed(shedding, 0.09, 1000) is None
    assert feed(shedding, 0.05, 1000) is not None
    assert shedding.level is FULL


def test_the_wait_grows_after_each_restored_level_that_fails():
    shedding = LoadShedding(LEVELS, budget=0.1)
    feed(shedding, 0.2, 100)
    waits = []
    for _ in range(3):
        waits.append(feed(shedding, 0.05, 10_000))
        feed(shedding, 0.2, 100)
    assert waits[0] < waits[1] < waits[2]


def test_a_machine_at_its_limit_settles_on_a_level():
    """Each level costs less; the second best one keeps the budget, the best one does not."""
    costs = {FULL.name: 0.15, SHORT_AVERAGING.name: 0.07}
    shedding = LoadShedding(levels(has_crf=True, averaging=10), budget=0.1)
    changes = sum(shedding.add(costs[shedding.level.name]) for _ in range(100_000))
    assert changes < 2 * 100_000 / 3200 + 20
    assert sum(shedding.add(costs[shedding.level.name]) for _ in range(3000)) <= 2


def test_a_single_level_never_changes():
    assert feed(LoadShedding((FULL,), budget=0.1), 0.2, 1000) is None


@pytest.mark.parametrize(
    ("has_crf", "averaging", "expected"),
    [
        (True, 10, [FULL, SHORT_AVERAGING, WITHOUT_CRF, HALF_POINTS, HALF_CLOUDS]),
        (False, 10, [FULL, SHORT_AVERAGING, HALF_POINTS, HALF_CLOUDS]),
        (False, 1, [FULL, HALF_POINTS, HALF_CLOUDS]),
    ],
)
def test_a_model_has_the_levels_that_make_a_difference(has_crf, averaging, expected):
    assert levels(has_crf, averaging) == expected
