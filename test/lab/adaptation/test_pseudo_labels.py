# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from minkowski_perception.lab.adaptation.pseudo_labels import (
    Choice,
    Thresholds,
    passing,
    sort_out,
)
from minkowski_perception.labels import LabelSet

LABELS = LabelSet(
    "three", ("road", "wall", "car"), ((0, 0, 0), (9, 9, 9), (255, 0, 0)), movable=("car",)
)
ROAD, WALL, CAR = 0, 1, 2
EVERYTHING = Choice(share=1.0, least=0.0, enough=1.0, growth=100.0)


def thresholds(choice, labels, confidence, own=None):
    found = Thresholds(len(LABELS), choice)
    labels = np.asarray(labels, np.uint8)
    half = len(labels) // 2  # in two frames
    own = labels if own is None else np.asarray(own, np.uint8)
    for part in (slice(None, half), slice(half, None)):
        found.add(labels[part], np.asarray(confidence)[part], own[part])
    return found.of_classes()


def test_each_class_has_the_threshold_that_its_most_confident_share_passes():
    rng = np.random.default_rng(0)
    labels = rng.choice(3, 3000, p=(0.9, 0.08, 0.02)).astype(np.uint8)
    confidence = rng.uniform(0.0, 1.0, 3000) * np.array([1.0, 0.8, 0.5])[labels]
    choice = Choice(share=0.3, least=0.0, enough=1.0, growth=100.0)

    least = thresholds(choice, labels, confidence)

    for k in range(3):
        of_class = np.sort(confidence[labels == k])[::-1]
        assert least[k] == pytest.approx(of_class[int(0.3 * len(of_class))], abs=0.02)


def test_thresholds_stay_between_the_least_confidence_and_the_one_that_is_enough():
    choice = Choice(share=0.5, least=0.6, enough=0.9, growth=100.0)

    least = thresholds(choice, [ROAD] * 4 + [WALL] * 4, [0.97, 0.96, 0.95, 0.94] + [0.4] * 4)

    assert least[:2] == pytest.approx([0.9, 0.6])


def test_a_class_without_voxels_passes_none():
    least = thresholds(EVERYTHING, [ROAD] * 4, [0.9] * 4)

    assert sort_out(np.array([CAR], np.uint8), np.array([1.0]), least).tolist() == [255]


def test_a_class_grows_no_more_than_is_allowed_and_its_most_confident_voxels_stay():
    labels = [ROAD] * 500 + [CAR] * 500
    own = [ROAD] * 900 + [CAR] * 100
    confidence = np.concatenate([np.full(500, 0.9), np.linspace(0.0, 0.999, 500)])

    choice = Choice(share=1.0, least=0.0, enough=1.0, growth=2.0)
    least = thresholds(choice, labels, confidence, own)
    kept = sort_out(np.array(labels, np.uint8), confidence, least)

    assert (kept == ROAD).sum() == 500
    assert (kept == CAR).sum() == pytest.approx(2.0 * 0.1 * 1000, abs=3)
    assert confidence[kept == CAR].min() > confidence[500:][(kept == 255)[500:]].max()


def test_unlabelled_voxels_do_not_count():
    least = thresholds(EVERYTHING, [ROAD, ROAD, 255, 255], [0.5, 0.7, 0.1, 0.1])

    assert least[ROAD] == pytest.approx(0.5)
    assert sort_out(np.array([255], np.uint8), np.array([0.0]), least).tolist() == [255]


def test_where_something_passes_the_mean_over_time_does_not_count():
    own = np.array([CAR, CAR, ROAD, ROAD, CAR], np.uint8)
    place = np.array([ROAD, ROAD, CAR, WALL, CAR], np.uint8)
    sure = np.array([True, False, True, True, True])

    assert passing(own, place, sure, LABELS).tolist() == [True, False, True, False, False]
