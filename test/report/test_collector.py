# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import numpy as np
import pytest
from pages import CAR, GROUND, LABELS, WALL, scene

from minkowski_perception.accounting import DropReason
from minkowski_perception.frame import Frame
from minkowski_perception.report.collector import (
    FARTHEST,
    MOST_POINTS,
    RIGHT,
    UNKNOWN,
    WRONG,
    Collector,
    EvenlySpaced,
    Interval,
    Timeline,
    Worst,
)


def collect(count, choice=None, scores=None):
    collector = Collector(LABELS, LABELS, choice)
    for number in range(count):
        score = np.nan if scores is None else scores[number]
        collector.add(*scene(number, 20), seconds=0.1, score=score)
    return collector


@pytest.mark.parametrize(
    ("count", "kept"), [(0, []), (4, [0, 1, 2, 3]), (5, [0, 2, 4]), (17, [0, 8, 16])]
)
def test_clouds_are_kept_at_even_distances_and_no_more_than_may_be(count, kept):
    collector = collect(count, EvenlySpaced(4))
    assert [cloud.number for cloud in collector.clouds] == kept


def test_the_worst_clouds_are_kept_and_come_first():
    scores = [0.5, 0.1, np.nan, 0.9, 0.3, 0.1]
    collector = collect(6, Worst(3), scores)
    assert [cloud.number for cloud in collector.clouds] == [1, 5, 4]


def test_intervals_are_joined_and_lose_nothing():
    timeline = Timeline(4)
    for number in range(11):
        dropped = number % 3 == 0
        timeline.add(
            Interval(number, 0.1 * number, not dropped, dropped, latency=0.1, slowest=number)
        )
    assert [interval.number for interval in timeline.intervals] == [0, 4, 8]
    assert sum(interval.clouds for interval in timeline.intervals) == 7
    assert [interval.dropped for interval in timeline.intervals] == [2, 1, 1]
    assert [interval.slowest for interval in timeline.intervals] == [3, 7, 10]


def test_points_without_a_measurement_or_far_away_are_counted_but_not_shown():
    points = np.array([[1, 0, 0], [np.nan, 0, 0], [0, 0, 0], [2 * FARTHEST, 0, 0]], np.float32)
    collector = Collector(LABELS)
    collector.add(Frame(points), np.array([CAR, 255, 255, 255], np.uint8), {})
    (cloud,) = collector.clouds
    np.testing.assert_array_equal(cloud.coordinates, points[:1])
    assert cloud.points == 4
    assert cloud.counts["label"][[CAR, 255]].tolist() == [1, 3]
    assert collector.timeline.intervals[0].labels[255] == 3


def test_large_clouds_are_thinned():
    collector = Collector(LABELS)
    collector.add(*scene(0, MOST_POINTS + 5000))
    (cloud,) = collector.clouds
    assert MOST_POINTS - 2 <= len(cloud.coordinates) <= MOST_POINTS
    assert {len(column) for column in cloud.columns.values()} == {len(cloud.coordinates)}


def test_agreement_says_where_labels_equal_the_truth():
    frame, _, outputs = scene(0, 4)
    frame = replace(frame, labels=np.array([GROUND, WALL, CAR, 255]))
    collector = Collector(LABELS, LABELS)
    collector.add(frame, np.array([GROUND, CAR, 255, CAR], np.uint8), outputs)
    (cloud,) = collector.clouds
    np.testing.assert_array_equal(cloud.columns["agreement"], [RIGHT, WRONG, WRONG, UNKNOWN])


def test_an_optical_frame_without_a_pose_is_shown_upright():
    collector = Collector(LABELS)
    collector.add(Frame([[0, 0, 5]], 0, "camera_optical_frame"), np.zeros(1, np.uint8), {})
    (cloud,) = collector.clouds
    np.testing.assert_allclose(cloud.pose[:3, :3] @ cloud.coordinates[0], [5, 0, 0])


def test_the_first_cause_of_each_reason_is_kept():
    collector = Collector(LABELS)
    for cause in ("first", "second"):
        collector.drop(DropReason.NO_POSE, ValueError(cause))
    collector.drop(DropReason.MALFORMED, "x" * 1000)
    assert collector.causes[DropReason.NO_POSE] == "first"
    assert len(collector.causes[DropReason.MALFORMED]) == 300
    assert sum(interval.dropped for interval in collector.timeline.intervals) == 3
