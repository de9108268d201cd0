# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
from minkowski_perception.node.load_shedding import FULL, WITHOUT_CRF, LoadShedding

LEVELS = (FULL, WITHOUT_CRF)


def feed(shedding, latency, count):
    """Return the number of clouds until the level changes; None if it does not."""
    return next((i for i in range(1, count + 1) if shedding.add(latency)), None)


def test_without_a_budget_the_level_stays():
    shedding = LoadShedding(0.0, LEVELS)
    assert feed(shedding, 9.0, 1000) is None
    assert shedding.level == FULL


def test_a_median_above_the_budget_lowers_the_level_but_one_slow_cloud_does_not():
    shedding = LoadShedding(0.1, LEVELS)
    for latency in [0.05] * 20 + [5.0] + [0.05] * 20:
        assert not shedding.add(latency)
    assert feed(shedding, 0.2, 100) is not None
    assert shedding.level == WITHOUT_CRF


def test_there_is_no_level_below_the_last():
    shedding = LoadShedding(0.1, LEVELS)
    assert feed(shedding, 0.2, 100) == 10
    assert feed(shedding, 0.2, 1000) is None
    assert shedding.level == WITHOUT_CRF


def test_the_level_is_restored_well_below_the_budget_but_not_just_below_it():
    shedding = LoadShedding(0.1, LEVELS)
    feed(shedding, 0.2, 100)
    assert feed(shedding, 0.09, 1000) is None
    assert feed(shedding, 0.05, 1000) is not None
    assert shedding.level == FULL


def test_the_wait_grows_after_each_restored_level_that_fails():
    shedding = LoadShedding(0.1, LEVELS)
    feed(shedding, 0.2, 100)
    waits = []
    for _ in range(3):
        waits.append(feed(shedding, 0.05, 10_000))
        feed(shedding, 0.2, 100)
    assert waits[0] < waits[1] < waits[2]


def test_a_single_level_never_changes():
    assert feed(LoadShedding(0.1, (FULL,)), 0.2, 1000) is None
