# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from scipy.spatial import cKDTree

pytest.importorskip("open3d", exc_type=ImportError)

from minkowski_perception.frame import Frame
from minkowski_perception.lab.simulation.camera import get_camera
from minkowski_perception.lab.simulation.indoor import simulate_indoor
from minkowski_perception.lab.simulation.lidar import get_lidar
from minkowski_perception.lab.simulation.rooms import KINDS, Room
from minkowski_perception.labels import UNLABELLED, LabelSet

LABELS = LabelSet.load("indoor8")
CAMERA = "xtion_qvga"


def columns(frame: Frame) -> list[bytes]:
    arrays = (frame.points, frame.colour, frame.labels, frame.moving, frame.pose)
    return [array.tobytes() for array in arrays]


def in_room(frame: Frame) -> np.ndarray:
    return frame.points @ frame.pose[:3, :3].T + frame.pose[:3, 3]


def test_equal_seeds_give_equal_bytes_and_other_seeds_other_bytes():
    first, again = (list(simulate_indoor(5, CAMERA, 2)) for _ in range(2))
    other = next(simulate_indoor(6, CAMERA, 1))
    assert [columns(frame) for frame in first] == [columns(frame) for frame in again]
    assert columns(first[0])[0] != columns(other)[0]


@pytest.mark.parametrize("kind", KINDS)
def test_frames_are_organised_coloured_clouds_in_the_optical_frame(kind):
    camera = get_camera(CAMERA)
    frames = list(simulate_indoor(1, camera, 3, kind=kind, mount_height=1.2))
    assert np.diff([frame.stamp for frame in frames]).tolist() == [100_000_000] * 2
    for frame in frames:
        assert frame.frame_id == "camera_depth_optical_frame"
        assert frame.points.shape == (camera.width * camera.height, 3)
        assert frame.colour.shape == frame.points.shape
        assert frame.colour.dtype == frame.labels.dtype == np.uint8
        assert frame.intensity is None
        valid = frame.valid
        assert 0.3 < valid.mean() < 1.0
        assert set(frame.labels[valid]) <= set(range(len(LABELS)))
        assert set(frame.labels[~valid]) <= {UNLABELLED}
        assert not frame.moving[~valid].any()
        depth = frame.points[valid, 2]
        assert camera.min_depth <= depth.min() <= depth.max() <= camera.max_depth
        np.testing.assert_allclose(frame.pose[:3, :3] @ frame.pose[:3, :3].T, np.eye(3), atol=1e-9)
        assert frame.pose[2, 3] == pytest.approx(1.2, abs=0.05)
        assert frame.pose[2, 1] < -0.5  # y of the optical frame points down


def test_floor_and_ceiling_are_level_at_the_heights_of_the_room():
    for seed in range(6):
        height = Room(seed).size[2]
        for frame in simulate_indoor(seed, CAMERA, 2):
            z = in_room(frame)[:, 2]
            near = frame.points[:, 2] < 3.0
            for name, level in (("floor", 0.0), ("ceiling", height)):
                there = z[near & (frame.labels == LABELS.names.index(name))]
                if len(there) > 500 and name == "floor":
                    assert np.median(there) == pytest.approx(level, abs=0.02)
                assert (np.abs(there - level) < 0.5).all()


def test_every_class_occurs_in_several_rooms():
    seen = np.zeros(256, dtype=int)
    for seed in range(16):
        frame = next(simulate_indoor(seed, CAMERA, 1))
        seen += np.bincount(frame.labels, minlength=256) >= 50
    rare = {name: int(seen[i]) for i, name in enumerate(LABELS.names) if seen[i] < 3}
    assert not rare


def test_colour_does_not_reveal_the_class():
    """A nearest-neighbour classifier of colours is hardly better than a random guess."""
    colours, labels = [], []
    for seed in range(24):
        frame = next(simulate_indoor(seed, CAMERA, 1))
        for label in range(len(LABELS)):
            there = np.flatnonzero(frame.labels == label)[::97]
            colours.append(np.column_stack([frame.colour[there], np.full(len(there), seed)]))
            labels.append(np.full(len(there), label))
    colour, label = np.concatenate(colours), np.concatenate(labels)
    trained = colour[:, 3] < 12
    tree = cKDTree(colour[trained, :3])
    predicted = label[trained][tree.query(colour[~trained, :3])[1]]
    recalls = [(predicted[label[~trained] == k] == k).mean() for k in range(len(LABELS))]
    assert np.mean(recalls) < 0.3


def test_poses_align_static_points_of_frames():
    camera = get_camera(CAMERA)
    frames = list(simulate_indoor(1, camera, 5, speed=0.8))

    def still(frame: Frame) -> np.ndarray:
        kept = frame.valid & ~frame.moving & (np.nan_to_num(frame.points[:, 2]) < 3.0)
        return in_room(frame)[kept]

    first, last = frames[0], still(frames[-1])
    # Points that are in the first camera's view too.
    there = (last - first.pose[:3, 3]) @ first.pose[:3, :3]
    there, last = there[there[:, 2] > 0.4], last[there[:, 2] > 0.4]
    inside = ((camera.project(there) > 5) & (camera.project(there) < (314, 234))).all(axis=1)
    assert inside.sum() > 10_000
    apart = cKDTree(still(first)).query(last[inside])[0]
    assert np.median(apart) < 0.02
    assert np.linalg.norm(frames[-1].pose[:3, 3] - first.pose[:3, 3]) > 0.1


def test_only_people_move():
    moving = 0
    for seed in range(8):
        for frame in simulate_indoor(seed, CAMERA, 2, kind="hall"):
            assert set(frame.labels[frame.moving]) <= {LABELS.names.index("person")}
            moving += int(frame.moving.sum())
    assert moving > 500


def test_frames_of_a_still_room_differ_by_noise_only():
    first, second = simulate_indoor(4, CAMERA, 2, kind="hall", still=True)
    np.testing.assert_array_equal(first.pose, second.pose)
    assert not first.moving.any()
    assert first.points.tobytes() != second.points.tobytes()
    both = first.valid & second.valid & (np.nan_to_num(first.points[:, 2]) < 4.0)
    assert np.median(np.abs(first.points[both, 2] - second.points[both, 2])) < 0.02


def test_a_later_start_continues_the_same_trajectory():
    *_, third = simulate_indoor(4, CAMERA, 3, kind="hall")
    (later,) = simulate_indoor(4, CAMERA, 1, kind="hall", start=0.2)
    np.testing.assert_allclose(later.pose, third.pose, atol=1e-12)
    both = later.valid & third.valid
    assert np.mean(later.labels[both] == third.labels[both]) > 0.98


def test_clouds_of_a_lidar_have_z_up():
    model = get_lidar("vlp16")
    frame = next(simulate_indoor(1, model, 1, kind="hall", mount_height=0.5))
    assert frame.frame_id == "lidar"
    assert frame.colour is None
    assert frame.intensity.dtype == np.float32
    floor = frame.labels == LABELS.names.index("floor")
    assert floor.sum() > 200
    assert np.median(in_room(frame)[floor, 2]) == pytest.approx(0.0, abs=0.03)


def test_some_lidars_stand_on_furniture_and_do_not_move():
    furniture = [LABELS.names.index(n) for n in ("table", "seat", "cabinet", "other")]
    still = 0
    for seed in range(8):
        first, last = simulate_indoor(seed, get_lidar("qt128"), 2)
        if np.linalg.norm((last.pose - first.pose)[:2, 3]) < 1e-9:
            still += 1
            distance = np.linalg.norm(first.points, axis=1)
            beneath = (first.points[:, 2] < -0.7 * distance) & (distance < 0.5)
            assert np.isin(first.labels[beneath], furniture).mean() > 0.9
    assert 1 <= still <= 6


def test_furniture_is_inside_the_room():
    for kind in KINDS:
        for seed in range(4):
            room = Room(seed, kind)
            furniture = np.isin(
                room.static.labels, [LABELS.names.index(n) for n in ("table", "seat", "cabinet")]
            )
            corners = room.static.vertices[room.static.triangles[furniture]].reshape(-1, 3)
            assert (np.abs(corners[:, :2]) <= room.size[:2] / 2 + 1e-3).all()
            assert corners[:, 2].min(initial=0.0) > -0.05


def test_a_free_path_keeps_its_clearance():
    room = Room(7, "hall")
    low = room.static.vertices[room.static.triangles].reshape(-1, 3)
    low = low[(low[:, 2] > 0.2) & (low[:, 2] < 1.0)]
    rng = np.random.default_rng(0)
    for _ in range(10):
        start, end = room.free_path(rng)
        for point in np.linspace(start, end, 20):
            assert np.linalg.norm(low[:, :2] - point, axis=1).min() > 0.25


def test_unknown_rooms_and_sensors_are_refused_and_the_names_are_listed():
    with pytest.raises(ValueError, match=r"unknown room 'attic'.*room, corridor, hall"):
        next(simulate_indoor(0, CAMERA, 1, kind="attic"))
    with pytest.raises(ValueError, match=r"unknown camera 'eye'.*kinect"):
        next(simulate_indoor(0, "eye", 1))
