# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minkowski_perception.frame import Frame
from minkowski_perception.labels import UNLABELLED, LabelSet
from minkowski_perception.metrics import (
    Calibration,
    ConfusionMatrix,
    Flicker,
    same_places,
    standing_still,
)

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


@given(st.lists(st.tuples(LABEL, LABEL), max_size=60))
def test_precision_and_recall_are_shares_of_what_was_said_and_of_what_is_so(pairs):
    truth, prediction = np.array(pairs, dtype=np.uint8).reshape(-1, 2).T
    matrix = ConfusionMatrix(4)
    matrix.update(truth, prediction)

    scored = [pair for pair in pairs if pair[0] < 4]
    for label in range(4):
        is_so = [p == label for t, p in scored if t == label]
        was_said = [t == label for t, p in scored if p == label]
        np.testing.assert_allclose(matrix.recall[label], np.mean(is_so) if is_so else np.nan)
        expected = np.mean(was_said) if was_said else np.nan
        np.testing.assert_allclose(matrix.precision[label], expected)


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


SURE = st.floats(0.0, 1.0, width=32)


def calibration_error_by_hand(pairs: list[tuple[float, bool]], bins: int) -> float:
    """Sum over bins of their share of the points times |accuracy - mean confidence|."""
    error = 0.0
    for i in range(bins):
        end = i == bins - 1
        members = [(c, r) for c, r in pairs if i / bins <= c and (c < (i + 1) / bins or end)]
        if members:
            confidence = math.fsum(c for c, _ in members) / len(members)
            accuracy = sum(r for _, r in members) / len(members)
            error += len(members) / len(pairs) * abs(accuracy - confidence)
    return error


@given(st.lists(st.tuples(SURE, st.booleans()), min_size=1, max_size=60), st.integers(1, 12))
def test_the_calibration_error_is_that_of_its_definition(pairs, bins):
    calibration = Calibration(bins)
    confidence = np.array([c for c, _ in pairs], dtype=np.float32)
    right = np.array([r for _, r in pairs])
    half = len(pairs) // 2
    calibration.update(confidence[:half], right[:half])
    calibration.update(confidence[half:], right[half:])

    assert calibration.points.sum() == len(pairs)
    assert calibration.right.sum() == right.sum()
    assert calibration.expected_error == pytest.approx(
        calibration_error_by_hand(pairs, bins), abs=1e-9
    )


def test_who_is_as_often_right_as_sure_is_calibrated_and_who_is_always_sure_is_not():
    draw = np.random.default_rng(0)
    sure = draw.random(100_000).astype(np.float32)
    right = draw.random(100_000) < sure
    honest, boastful = Calibration(), Calibration()
    assert math.isnan(honest.expected_error)
    honest.update(sure, right)
    boastful.update(np.ones_like(sure), right)

    assert honest.expected_error < 0.02
    assert boastful.expected_error == pytest.approx(1 - right.mean())


def test_flicker_is_the_share_of_changed_labels_over_all_pairs():
    flicker = Flicker()
    assert math.isnan(flicker.share)
    flicker.update(np.array([1, 2, 3]), np.array([1, 2, 4]))
    flicker.update(np.array([5]), np.array([5]))
    assert (flicker.changed, flicker.compared, flicker.share) == (1, 4, 0.25)


def some_frame(draw: np.random.Generator, count: int) -> Frame:
    turn = draw.uniform(-np.pi, np.pi)
    pose = np.eye(4)
    pose[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    pose[:3, 3] = draw.uniform(-50, 50, 3)
    places = draw.uniform(0, 1, (count, 3))
    points = (places - pose[:3, 3]) @ pose[:3, :3]
    return Frame(points.astype(np.float32), labels=draw.integers(0, 3, count), pose=pose)


def pairs_by_hand(before: Frame, now: Frame, still_before, still_now, radius: float) -> list:
    """Each point with each other one, as the words say."""
    pairs = []
    for j in np.flatnonzero(still_now):
        here = now.pose[:3, :3] @ now.points[j].astype(float) + now.pose[:3, 3]
        nearest, least = -1, math.inf
        for i in np.flatnonzero(still_before):
            there = before.pose[:3, :3] @ before.points[i].astype(float) + before.pose[:3, 3]
            if (away := math.dist(here, there)) < least:
                nearest, least = i, away
        if least <= radius and before.labels[nearest] == now.labels[j]:
            pairs.append((nearest, j))
    return pairs


@pytest.mark.parametrize("seed", range(5))
def test_same_places_are_those_that_a_search_by_hand_finds(seed):
    draw = np.random.default_rng(seed)
    before, now = some_frame(draw, 60), some_frame(draw, 50)
    still = draw.random(60) < 0.8, draw.random(50) < 0.8

    pairs = same_places(before, now, *still, radius=0.2)

    expected = pairs_by_hand(before, now, *still, 0.2)
    assert 5 < len(expected) < still[1].sum()
    assert list(zip(*pairs, strict=True)) == expected


def test_no_places_are_the_same_where_nothing_stands_still():
    frame = some_frame(np.random.default_rng(0), 10)
    still, moving = np.ones(10, bool), np.zeros(10, bool)
    for masks in ((moving, still), (still, moving)):
        assert [len(rows) for rows in same_places(frame, frame, *masks)] == [0, 0]
    rows = same_places(frame, frame, still, still)
    assert [r.tolist() for r in rows] == [list(range(10))] * 2


def test_a_frame_without_a_pose_is_in_its_own_frame():
    points = np.zeros((1, 3), np.float32)
    first, second = (Frame(points + x, labels=np.zeros(1, int)) for x in (0.0, np.float32(0.05)))
    still = np.ones(1, bool)
    assert len(same_places(first, second, still, still, 0.1)[0]) == 1
    assert len(same_places(first, second, still, still, 0.01)[0]) == 0


def test_where_nobody_tells_what_moves_nothing_that_could_stands_still():
    kitti = LabelSet.load("semantickitti19")
    car, road = kitti.names.index("car"), kitti.names.index("road")
    labels = np.array([car, car, road, UNLABELLED], dtype=np.uint8)
    told = np.array([True, False, False, False])

    assert standing_still(labels, None, kitti).tolist() == [False, False, True, False]
    assert standing_still(labels, told, kitti).tolist() == [False, True, True, False]
