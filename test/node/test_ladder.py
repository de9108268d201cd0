# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
from minkowski_perception.node.ladder import FULL, WITHOUT_CRF, Ladder

RUNGS = (FULL, WITHOUT_CRF)


def feed(ladder, latency, count):
    """Number of clouds until the ladder steps, or None if it does not."""
    return next((i for i in range(1, count + 1) if ladder.add(latency)), None)


def test_without_a_budget_the_ladder_stays_at_its_top():
    ladder = Ladder(0.0, RUNGS)
    assert feed(ladder, 9.0, 1000) is None
    assert ladder.rung == FULL


def test_a_median_above_the_budget_leads_one_step_down_and_one_slow_cloud_does_not():
    ladder = Ladder(0.1, RUNGS)
    for latency in [0.05] * 20 + [5.0] + [0.05] * 20:
        assert not ladder.add(latency)
    assert feed(ladder, 0.2, 100) is not None
    assert ladder.rung == WITHOUT_CRF


def test_the_lowest_step_is_never_left_downwards():
    ladder = Ladder(0.1, RUNGS)
    assert feed(ladder, 0.2, 100) == 10
    assert feed(ladder, 0.2, 1000) is None
    assert ladder.rung == WITHOUT_CRF


def test_room_leads_up_again_and_a_latency_just_below_the_budget_does_not():
    ladder = Ladder(0.1, RUNGS)
    feed(ladder, 0.2, 100)
    assert feed(ladder, 0.09, 1000) is None
    assert feed(ladder, 0.05, 1000) is not None
    assert ladder.rung == FULL


def test_a_step_up_that_does_not_hold_is_tried_ever_more_rarely():
    ladder = Ladder(0.1, RUNGS)
    feed(ladder, 0.2, 100)
    waits = []
    for _ in range(3):
        waits.append(feed(ladder, 0.05, 10_000))
        feed(ladder, 0.2, 100)
    assert waits[0] < waits[1] < waits[2]


def test_a_ladder_of_one_step_has_nowhere_to_go():
    assert feed(Ladder(0.1, (FULL,)), 0.2, 1000) is None
