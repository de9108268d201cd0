# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from minkowski_perception.lab.evaluation.evaluation import FrameConfusions
from minkowski_perception.lab.evaluation.intervals import interval, miou_draws, miou_intervals
from minkowski_perception.metrics import ConfusionMatrix


def frame_of(sequence: str, seed: int, accuracy: float) -> FrameConfusions:
    draw = np.random.default_rng(seed)
    truth = draw.integers(0, 3, 300)
    wrong = draw.random(300) >= accuracy
    matrix = ConfusionMatrix(3)
    matrix.update(truth, np.where(wrong, (truth + 1) % 3, truth))
    return FrameConfusions(sequence, {"classes": matrix.counts})


def test_equal_frames_have_an_interval_of_no_width_at_the_miou():
    frames = [frame_of(name, 0, 0.8) for name in ("a", "a", "b")]
    matrix = ConfusionMatrix(3)
    matrix.counts += frames[0].counts["classes"]
    for ends in miou_intervals(frames, "classes").values():
        assert ends == pytest.approx((matrix.miou, matrix.miou))


def test_sequences_that_differ_give_a_wider_interval_than_their_frames():
    frames = [frame_of(str(s), 10 * s + i, 0.5 + 0.1 * s) for s in range(5) for i in range(10)]
    found = miou_intervals(frames, "classes")
    over_frames, over_sequences = found["frames"], found["sequences"]
    assert over_sequences[0] < over_frames[0] < over_frames[1] < over_sequences[1]


def test_a_single_frame_or_sequence_has_no_interval():
    frames = [frame_of("a", i, 0.8) for i in range(3)]
    assert miou_intervals(frames, "classes")["sequences"] is None
    assert miou_intervals(frames[:1], "classes")["frames"] is None


def test_draws_are_equal_for_models_on_the_same_frames():
    frames = [frame_of("a", i, 0.8) for i in range(20)]
    first, second = (miou_draws(frames, "classes", "frames") for _ in range(2))
    np.testing.assert_array_equal(first, second)
    low, high = interval(first)
    assert 0.02 < high - low < 0.1


def test_95_of_100_intervals_hold_the_true_accuracy():
    held = 0
    for trial in range(100):
        frames = [frame_of("a", 1000 * trial + i, 0.75) for i in range(30)]
        low, high = miou_intervals(frames, "classes")["frames"]
        held += low <= 0.6 <= high  # 0.75 / 1.25
    assert 85 <= held <= 100
