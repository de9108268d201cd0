# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
from collections import Counter

import numpy as np
import pytest

from minkowski_perception.lab.training.clip_size import ClipSize


def test_shorter_clips_occur_at_their_share():
    size, rng = ClipSize(3, shorter=0.5), np.random.default_rng(0)
    lengths = Counter(len(size.draw(rng)) for _ in range(3000))
    assert lengths[3] / 3000 == pytest.approx(0.5 + 0.5 / 3, abs=0.03)
    assert lengths[1] / 3000 == pytest.approx(0.5 / 3, abs=0.03)


def test_a_single_length_and_stride_draw_two_numbers_at_most():
    # Trainings of earlier versions draw the same clips.
    size, rng, again = ClipSize(3, stride=2), np.random.default_rng(5), np.random.default_rng(5)
    for _ in range(50):
        length = 3 if again.random() < 0.6 else int(again.integers(1, 4))
        assert list(size.draw(rng)) == [2 * i for i in range(length)]
    assert rng.random() == again.random()


def test_lengths_and_strides_occur_at_their_shares():
    size = ClipSize({2: 2.0, 5: 1.0, 8: 1.0}, stride={1: 3.0, 3: 1.0})
    rng = np.random.default_rng(0)
    drawn = Counter(size.draw(rng) for _ in range(4000))
    assert drawn.keys() == {range(0, n * s, s) for n in (2, 5, 8) for s in (1, 3)}
    for length, share in ((2, 0.5), (5, 0.25), (8, 0.25)):
        found = [drawn[range(0, length * s, s)] / 4000 for s in (1, 3)]
        assert found == pytest.approx([0.75 * share, 0.25 * share], abs=0.03)


@pytest.mark.parametrize(
    ("size", "longest", "span"),
    [
        (ClipSize(1), 1, 1),
        (ClipSize(3, stride=2), 3, 5),
        (ClipSize({2: 1.0, 8: 0.1}, stride={1: 1.0, 3: 0.1}), 8, 22),
    ],
    ids=str,
)
def test_the_span_is_that_of_the_longest_clip_at_the_largest_stride(size, longest, span):
    assert (size.longest, size.span) == (longest, span)
