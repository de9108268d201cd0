# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import math
from dataclasses import replace

import numpy as np
import pytest

from minkowski_perception.frame import Frame
from minkowski_perception.lab.training.mixing import LaserMix, PolarMix
from minkowski_perception.motion.poses import pose_matrix

LOW, HIGH = math.radians(-25.0), math.radians(3.0)


class Draws:
    """Random generator that records its values for the oracles."""

    def __init__(self, seed):
        self._rng = np.random.default_rng(seed)
        self.choices, self.uniforms, self.randoms = [], [], []

    def choice(self, values):
        self.choices.append(self._rng.choice(values))
        return self.choices[-1]

    def uniform(self, low, high):
        self.uniforms.append(self._rng.uniform(low, high))
        return self.uniforms[-1]

    def random(self):
        self.randoms.append(self._rng.random())
        return self.randoms[-1]


def scan(seed, count=400, first_id=0):
    """Return points in all directions, also beyond all bands, with their index as intensity."""
    rng = np.random.default_rng(seed)
    points = rng.uniform(-20, 20, (count, 3)) * (1.0, 1.0, 0.4)
    ids = np.arange(first_id, first_id + count, dtype=np.float32)
    return Frame(points.astype(np.float32), intensity=ids, labels=rng.integers(0, 19, count))


def rows(frame):
    return sorted(
        (*(round(float(v), 4) for v in point), float(i), int(label))
        for point, i, label in zip(frame.points, frame.intensity, frame.labels, strict=True)
    )


def plain_laser_mix(ours, theirs, count):
    """Oracle of LaserMix, point by point, as in mmdetection3d."""
    edges = [HIGH + (LOW - HIGH) * i / count for i in range(count + 1)]
    kept = []
    for which, frame in enumerate((ours, theirs)):
        for row, point in enumerate(frame.points.astype(float)):
            pitch = math.atan2(point[2], math.hypot(point[0], point[1]))
            pitch = min(max(pitch, LOW + 1e-5), HIGH - 1e-5)
            for band in range(count):
                if edges[band + 1] < pitch <= edges[band] and band % 2 == which:
                    kept.append((which, row))
    return kept


@pytest.mark.parametrize("seed", range(6))
def test_laser_mix_alternates_between_bands_of_elevation(seed):
    ours, theirs = scan(seed), scan(seed + 100, first_id=1000)
    draws = Draws(seed)
    (mixed,) = LaserMix()([ours], [theirs], draws)
    (count,) = draws.choices
    assert count in (3, 4, 5, 6)
    expected = [
        (0, *point) if which == 0 else (1, *point)
        for which, row in plain_laser_mix(ours, theirs, count)
        for point in [rows((ours, theirs)[which].subset(np.arange(400) == row))[0]]
    ]
    assert rows(mixed) == sorted(point[1:] for point in expected)
    assert 0 < len(mixed) < 800


def test_a_band_includes_its_upper_edge_only():
    mix = LaserMix(bands=(2,), elevations=(-45.0, 45.0))
    edge = np.array([[1.0, 0.0, 0.0]], np.float32)  # elevation 0: of the lower band
    ours, theirs = Frame(edge, intensity=np.zeros(1)), Frame(edge, intensity=np.ones(1))
    (mixed,) = mix([ours], [theirs], np.random.default_rng(0))
    assert mixed.intensity.tolist() == [1.0]


def plain_polar_mix(ours, theirs, start, angles, classes):
    """Oracle of PolarMix, point by point, as in mmdetection3d; rows as from `rows`."""
    found = []
    for frame, other in ((ours, False), (theirs, True)):
        for row, (x, y, z) in enumerate(frame.points.astype(float)):
            value = (float(frame.intensity[row]), int(frame.labels[row]))
            yaw = -math.atan2(y, x)
            within = start is not None and start < yaw < start + math.pi
            if within == other:
                found.append((x, y, z, *value))
            if other and value[1] in classes:
                for angle in angles:
                    turned = (
                        x * math.cos(angle) - y * math.sin(angle),
                        x * math.sin(angle) + y * math.cos(angle),
                    )
                    found.append((*turned, z, *value))
    return sorted(found, key=lambda row: row[3:] + row[:3])


@pytest.mark.parametrize("seed", range(6))
def test_polar_mix_swaps_a_half_turn_and_pastes_objects_three_times(seed):
    ours, theirs, draws = scan(seed), scan(seed + 100, first_id=1000), Draws(seed)
    classes = tuple(range(8))
    (mixed,) = PolarMix(classes)([ours], [theirs], draws)
    swapped = draws.randoms[0] < 0.5
    start, *turns = draws.uniforms if swapped else (None, *draws.uniforms)
    assert start is None or -math.pi <= start < 0.0
    assert 0.0 <= turns[0] < 2 * math.pi / 3 <= turns[1] < 4 * math.pi / 3
    expected = plain_polar_mix(ours, theirs, start, [0.0, *turns], classes)
    found = np.column_stack([mixed.points, mixed.intensity, mixed.labels])
    found = sorted(found.tolist(), key=lambda row: row[3:] + row[:3])
    assert len(found) == len(expected)
    order = lambda row: (row[3], round(row[0], 2), round(row[1], 2))  # noqa: E731
    np.testing.assert_allclose(sorted(found, key=order), sorted(expected, key=order), atol=1e-4)


def test_swap_and_paste_of_polar_mix_can_be_left_out():
    ours, theirs = scan(1), scan(2, first_id=1000)
    (same,) = PolarMix((0, 1), swap=0.0, paste=0.0)([ours], [theirs], np.random.default_rng(0))
    assert rows(same) == rows(ours)


def test_objects_pasted_into_an_organised_cloud_leave_it_without_rows():
    ours, theirs = replace(scan(1), height=4), scan(2)
    (mixed,) = PolarMix((0,), swap=0.0)([ours], [theirs], np.random.default_rng(0))
    assert len(mixed) > len(ours)
    assert mixed.height == 1


def moving_clip(count, speed, first_id=0):
    """Return a clip of a wall, with a sensor that moves along x and turns."""
    rng = np.random.default_rng(7)
    wall = rng.uniform(-10, 10, (300, 3)) * (1.0, 1.0, 0.1)
    frames = []
    for i in range(count):
        half = 0.05 * i * np.sign(speed)
        pose = pose_matrix((speed * i, 0.0, 0.0), (0.0, 0.0, np.sin(half), np.cos(half)))
        seen = ((wall - pose[:3, 3]) @ pose[:3, :3]).astype(np.float32)
        ids = np.arange(first_id, first_id + 300, dtype=np.float32)
        frames.append(Frame(seen, intensity=ids, labels=np.full(300, 3), pose=pose))
    return frames


@pytest.mark.parametrize("mix", [LaserMix((3,)), PolarMix((3,), swap=0.0)])
def test_static_points_of_the_other_clip_stay_static(mix):
    mixed = mix(moving_clip(3, 1.0), moving_clip(3, -2.0, 1000), np.random.default_rng(0))
    assert len(mixed) == 3

    def positions(frame):
        """Positions of each point of the other clip, copies in their order."""
        world = frame.points @ frame.pose[:3, :3].T + frame.pose[:3, 3]
        found = {}
        for position, number in zip(world, frame.intensity.tolist(), strict=True):
            if number >= 1000:
                found.setdefault(number, []).append(position)
        return found

    first, last = positions(mixed[0]), positions(mixed[2])
    both = first.keys() & last.keys()
    assert len(both) > 10
    for number in both:
        np.testing.assert_allclose(first[number], last[number], atol=1e-4)


def test_a_shorter_other_clip_repeats_its_oldest_frame():
    ours, theirs = moving_clip(3, 1.0), moving_clip(1, 1.0, 1000)
    mixed = LaserMix((3,))(ours, theirs, np.random.default_rng(0))
    assert all((frame.intensity >= 1000).any() for frame in mixed)
