# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from minkowski_perception.frame import OPTICAL_AXES, Frame
from minkowski_perception.lab.datasets.catalogue import open_dataset
from minkowski_perception.motion.level import Level, ground_normal

UP = np.array([0.0, 0.0, 1.0])


def street(seed=0, height=1.7, slope=0.0, reach=25.0):
    """Points of flat ground with rough walls on both sides, from a sensor above it."""
    rng = np.random.default_rng(seed)
    ground = np.column_stack([rng.uniform(-reach, reach, (6000, 2)), rng.normal(0.0, 0.03, 6000)])
    walls = np.column_stack(
        [
            rng.uniform(-reach, reach, 4000),
            rng.choice([-9.0, 9.0], 4000) + rng.normal(0.0, 0.3, 4000),
            rng.uniform(0.0, 6.0, 4000),
        ]
    )
    points = np.concatenate([ground, walls])
    points[:, 2] += slope * np.maximum(points[:, 0], 0.0) - height
    return points


def hall():
    """Points of a hall from a sensor on a table, which hides most of the floor."""
    rng = np.random.default_rng(0)
    ceiling = np.column_stack([rng.uniform(-15, 15, (3000, 2)), np.full(3000, 1.9)])
    floor = np.column_stack([rng.uniform(5, 15, (2000, 2)), np.full(2000, -0.9)])
    return np.concatenate([ceiling, floor])


def turned(points, roll=0.0, pitch=0.0, stamp=0, **columns):
    """The cloud of a sensor that is turned by these degrees."""
    turn = Rotation.from_euler("xy", (roll, pitch), degrees=True).as_matrix()
    return Frame((points @ turn.T).astype(np.float32), stamp, "lidar", **columns)


def watched(frames):
    """A level that has seen frames, and the index of the one that showed a tilt, or None."""
    level = Level()
    shown = [i for i, frame in enumerate(frames) if level.observe(frame)]
    assert len(shown) <= 1
    return level, shown[0] if shown else None


@pytest.mark.parametrize(
    ("roll", "pitch", "tilt"),
    [(20, 0, 20), (0, -15, 15), (10, 10, 14.1), (180, 0, 180), (180, 20, 160)],
)
def test_a_tilted_sensor_is_found_and_its_clouds_are_turned_upright(roll, pitch, tilt):
    level, shown = watched([turned(street(i), roll, pitch) for i in range(8)])
    assert shown == 4
    assert level.tilt("lidar") == pytest.approx(tilt, abs=0.5)
    points = street(9)
    upright = level.apply(turned(points, roll, pitch))
    # Headings are free; heights and distances are those of the street.
    np.testing.assert_allclose(upright.points[:, 2], points[:, 2], atol=0.3)
    assert ground_normal(upright) @ UP > np.cos(np.radians(1.0))


@pytest.mark.parametrize(
    "points",
    [
        pytest.param(turned(street(), pitch=6.0).points, id="a slope of six degrees"),
        pytest.param(street(slope=0.3), id="a ramp of 17 degrees ahead"),
        pytest.param(street(reach=6.0), id="a small room"),
        pytest.param(street()[6000:], id="no ground"),
        pytest.param(street()[:50], id="few points"),
        pytest.param(np.zeros((0, 3)), id="no points"),
        pytest.param(hall(), id="a hall with a ceiling larger than what is seen of its floor"),
    ],
)
def test_clouds_that_show_no_clear_tilt_stay_as_they_are(points):
    frame = Frame(np.asarray(points, np.float32), frame_id="lidar")
    level, shown = watched([frame] * 25)
    assert shown is None
    assert level.apply(frame) is frame


def test_clouds_that_disagree_show_nothing():
    tilts = [10, 20, 30, 15, 25] * 4
    assert watched([turned(street(), tilt) for tilt in tilts])[1] is None


def test_a_mount_is_looked_for_at_the_start_of_a_stream_and_kept():
    level = Level()
    level.begin()
    for _ in range(20):
        assert not level.observe(Frame(np.zeros((0, 3)), frame_id="lidar"))
    assert not any(level.observe(turned(street(), 20.0)) for _ in range(10))  # too late
    level.begin()
    assert sum(level.observe(turned(street(), 20.0)) for _ in range(10)) == 1
    found = level.found["lidar"].copy()
    level.begin()
    assert not any(level.observe(turned(street(), 0.0)) for _ in range(10))
    np.testing.assert_array_equal(level.found["lidar"], found)
    assert level.tilt("other") == 0.0


def test_poses_are_turned_with_the_points():
    level, _ = watched([turned(street(i), 20.0) for i in range(5)])
    motion = np.eye(4)
    motion[:3, :3] = Rotation.from_euler("z", 30, degrees=True).as_matrix()
    motion[:3, 3] = (5.0, 1.0, 0.2)
    frame = turned(street(), 20.0, pose=motion)
    after = level.apply(frame)
    turn = level.found["lidar"]
    np.testing.assert_allclose(
        after.odometry_points, frame.odometry_points @ turn.T, atol=1e-4, rtol=0
    )


def test_the_axes_of_optical_frames_stay():
    points = street()
    level = Level()
    frames = []
    for i in range(5):
        tilted = turned(street(i), pitch=20.0)
        frames.append(replace(tilted, points=tilted.points @ OPTICAL_AXES, frame_id="eye_optical"))
    assert [level.observe(frame) for frame in frames] == [False] * 4 + [True]
    upright = level.apply(frames[0])
    np.testing.assert_allclose((upright.points @ OPTICAL_AXES.T)[:, 2], street(0)[:, 2], atol=0.3)
    assert len(upright) == len(points)


@pytest.mark.parametrize(
    ("dataset", "folder"),
    [("nuscenes", "nuscenes_scene_a"), ("ika", "ika_vlp32")],
)
def test_real_streets_are_found_however_the_sensor_hangs(shared_data, dataset, folder):
    sequence = next(iter(open_dataset(dataset, shared_data / folder).sequences.values()))
    frames = [sequence[i] for i in range(8)]
    assert watched([replace(frame, pose=None) for frame in frames])[1] is None
    for roll in (20.0, 180.0):
        level, shown = watched([turned(frame.points, roll) for frame in frames])
        assert shown is not None
        assert level.tilt("lidar") == pytest.approx(roll, abs=4.0)
