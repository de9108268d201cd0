# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import sys
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from minkowski_perception.frame import Frame, upright
from minkowski_perception.lab.datasets.kitti import KittiSequence
from minkowski_perception.labels import UNLABELLED, LabelSet

pytest.importorskip("kiss_icp", reason="needs kiss-icp: pip install kiss-icp")

from minkowski_perception.motion.registration import MIN_POINTS, Registration

SECOND = 10**9
SPEED = 15.0  # m/s


def street(seed=0, points=6000):
    """Points on the ground, on facades and on poles along 200 m of the x axis."""
    draw = np.random.default_rng(seed)
    ground = draw.uniform([-50, -10, 0], [150, 10, 0], (points // 2, 3))
    fronts = draw.uniform([-50, 8, 0], [150, 9, 8], (points // 3, 3))
    # Facades step out every ten metres, so that motion along them is observable.
    fronts[:, 1] += (fronts[:, 0] // 10 % 2) * 2.0
    fronts[::2, 1] *= -1
    poles = np.repeat(draw.uniform([-50, -7, 0], [150, 7, 0], (points // 120, 3)), 20, axis=0)
    poles[:, 2] = draw.uniform(0, 5, len(poles))
    return np.concatenate([ground, fronts, poles])


def along(seconds, speed=SPEED, braking=0.0):
    """Pose on a winding drive along the street, 1.7 m above ground; it may brake at 0.5 s."""
    late = max(0.0, seconds - 0.5)
    pose = np.eye(4)
    pose[:3, 3] = speed * seconds - 0.5 * braking * late**2, 2.0 * np.sin(0.7 * seconds), 1.7
    heading = np.arctan2(1.4 * np.cos(0.7 * seconds), speed - braking * late)
    pose[:3, :3] = Rotation.from_rotvec([0, 0, heading]).as_matrix()
    return pose


def seen(world, pose, seconds, reach=60.0):
    """Frame of a world, all points measured at the stamp."""
    local = (world - pose[:3, 3]) @ pose[:3, :3]
    local = local[np.linalg.norm(local, axis=1) < reach]
    stamp = int((1000 + seconds) * SECOND)
    local += np.random.default_rng(stamp).normal(0.0, 0.01, local.shape)
    return Frame(local.astype(np.float32), stamp, "lidar")


def swept(world, way, seconds, duration=0.1, parts=50):
    """Frame of a world, measured in one revolution that starts behind the sensor."""
    turns = []
    for part in range(parts):
        time = duration * part / parts
        frame = seen(world, way(seconds + time), seconds)
        turn = 0.5 - np.arctan2(frame.points[:, 1], frame.points[:, 0]) / (2 * np.pi)
        frame = frame.subset((turn * parts).astype(int) == part)
        turns.append(replace(frame, time=np.full(len(frame), time, np.float32)))
    return Frame(
        np.concatenate([frame.points for frame in turns]),
        turns[0].stamp,
        "lidar",
        time=np.concatenate([frame.time for frame in turns]),
    )


def drive(times, way=along):
    world = street()
    return [seen(world, way(time), time) for time in times]


def truth(times, way=along):
    return [np.linalg.inv(way(times[0])) @ way(time) for time in times]


def errors(found, true):
    """Metres between positions."""
    return [np.linalg.norm(a[:3, 3] - b[:3, 3]) for a, b in zip(found, true, strict=True)]


TIMES = [0.1 * i for i in range(15)]


def test_poses_are_those_of_the_sensor_relative_to_the_first_frame():
    registration = Registration()
    found = [registration.locate(frame) for frame in drive(TIMES)]
    assert np.array_equal(found[0], np.eye(4))
    assert max(errors(found, truth(TIMES))) < 0.1
    for pose, true in zip(found, truth(TIMES), strict=True):
        assert pose.dtype == np.float64
        turned = Rotation.from_matrix(pose[:3, :3].T @ true[:3, :3]).magnitude()
        assert np.degrees(turned) < 0.3
    assert registration.coasted == 0


def test_the_first_pose_of_a_camera_is_upright():
    axes = upright("optical")[:3, :3]
    frames = [
        replace(frame, points=frame.points @ axes.astype(np.float32), frame_id="camera_optical")
        for frame in drive(TIMES[:4])
    ]
    registration = Registration()
    found = [registration.locate(frame) for frame in frames]
    assert np.array_equal(found[0][:3, :3], axes)
    assert max(errors(found, truth(TIMES[:4]))) < 0.1


def test_dropped_frames_do_not_reduce_accuracy():
    """A slow machine drops clouds, so steps between frames grow."""
    times = [TIMES[i] for i in (0, 1, 2, 6, 7, 10, 14)]
    registration = Registration()
    found = [registration.locate(frame) for frame in drive(times)]
    assert max(errors(found, truth(times))) < 0.1


def brake(seconds):
    return along(seconds, braking=10.0)


def test_frames_are_deskewed_before_registration():
    world = street()
    frames = [swept(world, brake, time) for time in TIMES]
    straight, skewed = Registration(), Registration(deskew=False)
    left = errors([straight.locate(frame) for frame in frames], truth(TIMES, brake))
    skew = errors([skewed.locate(frame) for frame in frames], truth(TIMES, brake))
    assert max(left) < 0.15
    assert skew[-1] > 0.3  # half a sweep times the change of speed is half a metre


def test_a_burst_of_two_frames_does_not_affect_velocity_or_map():
    world = street()
    times = [*TIMES[:8], TIMES[7] + 0.001, *TIMES[8:]]
    frames = [swept(world, along, time) for time in times]
    registration = Registration()
    found = [registration.locate(frame) for frame in frames]
    assert max(errors(found, truth(times))) < 0.15


def test_the_same_frames_give_identical_poses():
    first, again = Registration(), Registration()
    for frame in drive(TIMES):
        assert first.locate(frame).tobytes() == again.locate(frame).tobytes()


def test_points_without_a_return_do_not_matter():
    registration, other = Registration(), Registration()
    invalid = np.array([[np.nan, 1, 1], [np.inf, 0, 0], [0, 0, 0]] * 500, np.float32)
    for frame in drive(TIMES[:4]):
        holed = Frame(np.concatenate([invalid, frame.points, invalid]), frame.stamp, "lidar")
        assert np.array_equal(registration.locate(frame), other.locate(holed))


def test_poses_start_at_the_origin_after_a_reset():
    registration = Registration()
    for frame in drive(TIMES):
        registration.locate(frame)
    registration.reset()
    found = [registration.locate(frame) for frame in drive(TIMES)]
    assert np.array_equal(found[0], np.eye(4))
    assert max(errors(found, truth(TIMES))) < 0.1


@pytest.mark.parametrize("points", [0, MIN_POINTS - 1])
def test_frames_with_too_few_points_are_extrapolated_and_counted(points):
    frames = drive(TIMES)
    for i in (6, 7):
        frames[i] = frames[i].subset(np.arange(len(frames[i])) < points)
    registration = Registration()
    found = [registration.locate(frame) for frame in frames]
    assert registration.coasted == 2
    assert max(errors(found, truth(TIMES))) < 0.2


def test_a_stream_that_begins_without_returns_is_registered_later():
    frames = drive(TIMES)
    registration = Registration()
    assert np.array_equal(
        registration.locate(replace(frames[0], points=frames[0].points * 0)), np.eye(4)
    )
    found = [registration.locate(frame) for frame in frames[1:]]
    assert max(errors(found, truth(TIMES[1:]))) < 0.1
    assert registration.coasted == 1


def leaving(seconds):
    return along(seconds, speed=5.0, braking=-20.0)


def test_a_robot_that_leaves_a_narrow_room_is_tracked_without_a_jump():
    world = street()
    frames = [seen(world, leaving(t), t, 10.0 if t < 0.55 else 60.0) for t in TIMES]
    registration = Registration()
    found = [registration.locate(frame) for frame in frames]
    assert max(errors(found, truth(TIMES, leaving))) < 0.1


def test_a_sensor_that_is_uncovered_is_tracked_with_its_new_range():
    world = street(points=40_000)
    frames = [seen(world, leaving(t), t, 6.0 if t < 0.55 else 60.0) for t in TIMES]
    registration = Registration()
    found = [registration.locate(frame) for frame in frames]
    since = np.linalg.inv(found[6])
    assert max(errors([since @ pose for pose in found[6:]], truth(TIMES[6:], leaving))) < 0.1


def test_an_invalid_result_of_kiss_icp_is_not_used(monkeypatch):
    frames = drive(TIMES)
    registration = Registration()
    found = [registration.locate(frame) for frame in frames[:5]]
    with monkeypatch.context() as broken:

        def diverge(odometry, points, times):
            odometry.last_pose = np.full((4, 4), np.nan)

        broken.setattr("kiss_icp.kiss_icp.KissICP.register_frame", diverge)
        found.append(registration.locate(frames[5]))
    found += [registration.locate(frame) for frame in frames[6:]]
    assert registration.coasted == 1
    assert max(errors(found, truth(TIMES))) < 0.2


def test_without_kiss_icp_the_error_names_the_package_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "kiss_icp.kiss_icp", None)
    with pytest.raises(ImportError, match="pip install kiss-icp"):
        Registration()


GROUND = ("road", "parking", "sidewalk", "other-ground", "terrain", "sidewalk-terrain")


def labels_found_again(frames, poses, ground):
    """Share of labelled points whose label the nearest point of the next frame has, within 0.2 m.

    Points on the ground do not count: their rings move with the sensor.
    """
    found = []
    for frame, following, here, there in zip(frames, frames[1:], poses, poses[1:], strict=False):
        kept, known = (~np.isin(each.labels, ground) for each in (frame, following))
        motion = np.linalg.inv(there) @ here
        points = frame.points[kept][::7] @ motion[:3, :3].T + motion[:3, 3]
        distance, nearest = cKDTree(following.points[known]).query(points)
        same = frame.labels[kept][::7] == following.labels[known][nearest]
        found.append(np.mean(same & (distance < 0.2)))
    return np.mean(found)


@pytest.mark.parametrize(
    ("folder", "labels", "period", "share"),
    # The share is high for a dense LiDAR, lower for 32 beams or 2 Hz.
    [
        ("semantickitti_00/sequences/00", "semantickitti19", 0.1, 0.9),
        ("nuscenes_scene_a/sequences/a", "urban10", 0.5, 0.6),
        ("ika_vlp32/sequences/00", "urban10", 0.1, 0.6),
    ],
)
def test_registration_agrees_with_the_poses_of_recorded_drives(
    shared_data, folder, labels, period, share
):
    label_set = LabelSet.load(labels)
    frames = list(KittiSequence(shared_data / folder, label_set, period))
    registration = Registration()
    found = [registration.locate(frame) for frame in frames]
    given = [np.linalg.inv(frames[0].pose) @ frame.pose for frame in frames]
    path = np.linalg.norm(np.diff([pose[:3, 3] for pose in given], axis=0), axis=1).sum()
    assert np.linalg.norm(found[-1][:3, 3] - given[-1][:3, 3]) < 0.02 * path

    ground = [i for i, name in enumerate(label_set.names) if name in GROUND] + [UNLABELLED]
    through_poses = labels_found_again(frames, found, ground)
    assert through_poses > share
    assert through_poses > 0.98 * labels_found_again(frames, given, ground)
    standing = [np.eye(4)] * len(frames)
    assert through_poses > 1.5 * labels_found_again(frames, standing, ground)


def test_a_standing_vehicle_does_not_move(shared_data):
    frames = list(KittiSequence(shared_data / "pandaset/sequences/002"))
    registration = Registration()
    for frame in frames:
        pose = registration.locate(frame)
        given = np.linalg.inv(frames[0].pose) @ frame.pose
        assert np.linalg.norm(pose[:3, 3] - given[:3, 3]) < 0.02
