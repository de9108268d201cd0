# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
from minkowski_perception.node.load_shedding import FULL, WITHOUT_CRF, LoadShedding

LEVELS = (FULL, WITHOUT_CRF)


def feed(shedding, latency, count):
    """Number of clouds until the level changes, or None if it does not."""
    return next((i for i in range(1, count + 1) if shedding.add(latency)), None)


def test_without_a_budget_no_load_is_shed():
    shedding = LoadShedding(0.0, LEVELS)
    assert feed(shedding, 9.0, 1000) is None
    assert shedding.level == FULL


def test_a_median_above_the_budget_sheds_load_and_one_slow_cloud_does_not():
    shedding = LoadShedding(0.1, LEVELS)
    for latency in [0.05] * 20 + [5.0] + [0.05] * 20:
        assert not shedding.add(latency)
    assert feed(shedding, 0.2, 100) is not None
    assert shedding.level == WITHOUT_CRF


def test_the_last_level_is_never_left_downwards():
    shedding = LoadShedding(0.1, LEVELS)
    assert feed(shedding, 0.2, 100) == 10
    assert feed(shedding, 0.2, 1000) is None
    assert shedding.level == WITHOUT_CRF


def test_load_is_restored_when_there_is_room_but_not_just_below_the_budget():
    shedding = LoadShedding(0.1, LEVELS)
    feed(shedding, 0.2, 100)
    assert feed(shedding, 0.09, 1000) is None
    assert feed(shedding, 0.05, 1000) is not None
    assert shedding.level == FULL


def test_a_level_that_fails_is_restored_ever_more_rarely():
    shedding = LoadShedding(0.1, LEVELS)
    feed(shedding, 0.2, 100)
    waits = []
    for _ in range(3):
        waits.append(feed(shedding, 0.05, 10_000))
        feed(shedding, 0.2, 100)
    assert waits[0] < waits[1] < waits[2]


def test_a_single_level_never_changes():
    assert feed(LoadShedding(0.1, (FULL,)), 0.2, 1000) is None
