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
    pair_still_points,
    still_points,
)

LABEL = st.sampled_from([0, 1, 2, 3, 200, 255])


def iou_from_sets(pairs: list[tuple[int, int]], label: int) -> float:
    """Intersection over union of sets of point numbers."""
    scored = {i: pair for i, pair in enumerate(pairs) if pair[0] < 4}
    true = {i for i, (truth, _) in scored.items() if truth == label}
    predicted = {i for i, (_, prediction) in scored.items() if prediction == label}
    return len(true & predicted) / len(true | predicted) if true else math.nan


@given(st.lists(st.tuples(LABEL, LABEL), max_size=60))
def test_iou_equals_the_one_computed_with_sets(pairs):
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
def test_precision_and_recall_follow_their_definition(pairs):
    truth, prediction = np.array(pairs, dtype=np.uint8).reshape(-1, 2).T
    matrix = ConfusionMatrix(4)
    matrix.update(truth, prediction)

    scored = [pair for pair in pairs if pair[0] < 4]
    for label in range(4):
        recalled = [p == label for t, p in scored if t == label]
        precise = [t == label for t, p in scored if p == label]
        np.testing.assert_allclose(matrix.recall[label], np.mean(recalled) if recalled else np.nan)
        expected = np.mean(precise) if precise else np.nan
        np.testing.assert_allclose(matrix.precision[label], expected)


def test_unlabelled_points_are_misses():
    matrix = ConfusionMatrix(2)
    matrix.update(np.array([0, 0, 1]), np.array([0, 255, 1]))

    np.testing.assert_allclose(matrix.iou, [0.5, 1.0])
    assert matrix.accuracy == pytest.approx(2 / 3)


def test_several_updates_count_like_one_large_one():
    draw = np.random.default_rng(0)
    truth, prediction = draw.integers(0, 6, (2, 300))
    whole, parts = ConfusionMatrix(5), ConfusionMatrix(5)
    whole.update(truth, prediction)
    for rows in np.array_split(np.arange(300), 7):
        parts.update(truth[rows], prediction[rows])

    np.testing.assert_array_equal(parts.counts, whole.counts)


def test_truth_and_prediction_of_different_length_are_refused():
    with pytest.raises(ValueError, match=r"\[3\], \[2\]"):
        ConfusionMatrix(2).update(np.zeros(3, int), np.zeros(2, int))


CONFIDENCE = st.floats(0.0, 1.0, width=32)


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


@given(st.lists(st.tuples(CONFIDENCE, st.booleans()), min_size=1, max_size=60), st.integers(1, 12))
def test_expected_calibration_error_follows_its_definition(pairs, bins):
    calibration = Calibration(bins)
    confidence = np.array([c for c, _ in pairs], dtype=np.float32)
    correct = np.array([r for _, r in pairs])
    half = len(pairs) // 2
    calibration.update(confidence[:half], correct[:half])
    calibration.update(confidence[half:], correct[half:])

    assert calibration.points.sum() == len(pairs)
    assert calibration.correct.sum() == correct.sum()
    assert calibration.expected_error == pytest.approx(
        calibration_error_by_hand(pairs, bins), abs=1e-9
    )


def test_calibrated_confidence_has_a_small_error_and_overconfidence_a_large_one():
    draw = np.random.default_rng(0)
    confidence = draw.random(100_000).astype(np.float32)
    correct = draw.random(100_000) < confidence
    calibrated, overconfident = Calibration(), Calibration()
    assert math.isnan(calibrated.expected_error)
    calibrated.update(confidence, correct)
    overconfident.update(np.ones_like(confidence), correct)

    assert calibrated.expected_error < 0.02
    assert overconfident.expected_error == pytest.approx(1 - correct.mean())


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
    world = draw.uniform(0, 1, (count, 3))
    points = (world - pose[:3, 3]) @ pose[:3, :3]
    return Frame(points.astype(np.float32), labels=draw.integers(0, 3, count), pose=pose)


def pairs_by_hand(before: Frame, now: Frame, still_before, still_now, radius: float) -> list:
    """Compare every point with every other one."""
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
def test_pairs_equal_those_of_a_brute_force_search(seed):
    draw = np.random.default_rng(seed)
    before, now = some_frame(draw, 60), some_frame(draw, 50)
    still = draw.random(60) < 0.8, draw.random(50) < 0.8

    pairs = pair_still_points(before, now, *still, radius=0.2)

    expected = pairs_by_hand(before, now, *still, 0.2)
    assert 5 < len(expected) < still[1].sum()
    assert list(zip(*pairs, strict=True)) == expected


def test_there_are_no_pairs_if_nothing_stands_still():
    frame = some_frame(np.random.default_rng(0), 10)
    still, moving = np.ones(10, bool), np.zeros(10, bool)
    for masks in ((moving, still), (still, moving)):
        assert [len(rows) for rows in pair_still_points(frame, frame, *masks)] == [0, 0]
    rows = pair_still_points(frame, frame, still, still)
    assert [r.tolist() for r in rows] == [list(range(10))] * 2


def test_points_without_a_pose_are_paired_in_the_sensor_frame():
    points = np.zeros((1, 3), np.float32)
    first, second = (Frame(points + x, labels=np.zeros(1, int)) for x in (0.0, np.float32(0.05)))
    still = np.ones(1, bool)
    assert len(pair_still_points(first, second, still, still, 0.1)[0]) == 1
    assert len(pair_still_points(first, second, still, still, 0.01)[0]) == 0


def test_without_truth_about_motion_no_movable_class_counts_as_still():
    kitti = LabelSet.load("semantickitti19")
    car, road = kitti.names.index("car"), kitti.names.index("road")
    labels = np.array([car, car, road, UNLABELLED], dtype=np.uint8)
    moving = np.array([True, False, False, False])

    assert still_points(labels, None, kitti).tolist() == [False, False, True, False]
    assert still_points(labels, moving, kitti).tolist() == [False, True, True, False]


def official_scores(truth, prediction, classes):
    """SemanticKITTI's evaluator, np_ioueval.py: class 0 is unlabelled and ignored in the truth.

    Its confusion has rows of predictions and columns of truth.
    """
    confusion = np.zeros((classes + 1, classes + 1), np.int64)
    np.add.at(confusion, (prediction, truth), 1)
    confusion[:, 0] = 0
    hits = np.diag(confusion)
    false_positives = confusion.sum(axis=1) - hits
    misses = confusion.sum(axis=0) - hits
    iou = hits / (hits + false_positives + misses + 1e-15)
    included = range(1, classes + 1)
    accuracy = hits[1:].sum() / (confusion[1:].sum() + 1e-15)
    return iou[1:], iou[included].mean(), accuracy


@given(st.integers(0, 2**32 - 1), st.integers(2, 19), st.booleans())
def test_iou_equals_that_of_the_evaluator_of_semantickitti(seed, classes, all_labelled):
    draw = np.random.default_rng(seed)
    kept = draw.permutation(classes)[: draw.integers(1, classes + 1)]
    truth = draw.choice(np.append(kept, UNLABELLED), 200).astype(np.uint8)
    prediction = draw.integers(0, classes, 200).astype(np.uint8)
    if not all_labelled:
        prediction[draw.random(200) < 0.2] = UNLABELLED
    matrix = ConfusionMatrix(classes)
    matrix.update(truth, prediction)

    def official(labels):
        return np.where(labels == UNLABELLED, 0, labels.astype(np.int64) + 1)

    iou, mean, accuracy = official_scores(official(truth), official(prediction), classes)
    present = np.isin(np.arange(classes), truth)
    if not present.any():
        assert np.isnan(matrix.miou_of_all)
        return
    np.testing.assert_allclose(matrix.iou[present], iou[present], atol=1e-12)
    assert np.isnan(matrix.iou[~present]).all()
    assert matrix.miou_of_all == pytest.approx(mean, abs=1e-12)
    if all_labelled:
        assert matrix.accuracy == pytest.approx(accuracy, abs=1e-12)
    predicted = np.isin(np.arange(classes), prediction[truth != UNLABELLED])
    assert matrix.miou_with_predicted == pytest.approx(iou[present | predicted].mean(), abs=1e-12)
    np.testing.assert_array_equal(matrix.absent > 0, predicted & ~present)
