# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from minkowski_perception.frame import Frame
from minkowski_perception.lab.training.augment import Augmentation
from minkowski_perception.lab.training.composition import read_augmentation
from minkowski_perception.schema import SchemaError


def frame(value=1.0, count=50):
    points = np.random.default_rng(0).uniform(1, 5, (count, 3)) * value
    return Frame(points.astype(np.float32), labels=np.full(count, int(value)))


def another():
    return [frame(3.0)]


def varied(parts, seed=0):
    return read_augmentation(parts, "augmentation")(
        [frame()], np.random.default_rng(seed), another
    )


def test_parts_are_applied_in_order():
    scale, crop = {"scale": {"factor": [2.0, 2.0]}}, {"crop": {"reach": 8.0}}
    (cropped_last,), (cropped_first,) = varied([scale, crop]), varied([crop, scale])
    assert 0.0 < cropped_last.points.max() <= 8.0
    assert cropped_first.points.max() > 8.0


def test_a_part_is_applied_to_its_share_of_the_clips():
    parts = [{"scale": {"factor": [2.0, 2.0], "share": 0.3}}]
    scaled = [varied(parts, s)[0].points.max() > 5.0 for s in range(400)]
    assert np.mean(scaled) == pytest.approx(0.3, abs=0.06)


def test_the_parts_before_a_mix_vary_its_other_clip_too():
    parts = [{"scale": {"factor": [10.0, 10.0]}}, {"polar_mix": {"classes": [3], "swap": 0.0}}]
    (mixed,) = varied(parts)
    pasted = mixed.points[mixed.labels == 3]
    assert len(pasted) == 3 * 50
    np.testing.assert_allclose(pasted[:50], 10.0 * frame(3.0).points, rtol=1e-5)


def test_one_of_draws_one_of_its_parts():
    parts = [{"one_of": [{"scale": {"factor": [2.0, 2.0]}}, {"scale": {"factor": [4.0, 4.0]}}]}]
    factors = [float(varied(parts, s)[0].points[0, 0] / frame().points[0, 0]) for s in range(100)]
    assert {round(f) for f in factors} == {2, 4}
    assert 30 < sum(f < 3 for f in factors) < 70


def test_a_mapping_holds_the_settings_of_the_lidar_part():
    settings = {"jitter": 0.1, "tilt": 1.0}
    expected = Augmentation(**settings)([frame()], np.random.default_rng(4))[0]
    for value in (settings, [{"lidar": settings}]):
        assert np.array_equal(varied(value, 4)[0].points, expected.points)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([{"warp": {}}], r"augmentation\[0\].warp: unknown name; valid: lidar, rotate"),
        ([{"scale": {"by": 2}}], "scale.by: unknown key; valid: factor"),
        ([{"jitter": {"sigma": "much"}}], "jitter.sigma: must be a finite number, not 'much'"),
        ([{"jitter": {"share": 2}}], "share: must be 0 to 1, not 2"),
        ([{"one_of": []}], "must be a list of parts"),
        ([{"flip": {"axes": ["t"]}}], "must be one of x, y, z, not 't'"),
        ([{"polar_mix": {}}], "polar_mix.classes: missing"),
        ([{"elastic": {"spacing": [1.0]}}], "2 magnitudes do not fit 1 spacings"),
        ("strong", "must be a list of parts, not 'strong'"),
    ],
)
def test_invalid_parts_are_refused(value, message):
    with pytest.raises(SchemaError, match=message):
        read_augmentation(value, "augmentation")
