# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import numpy as np
import pytest

from minkowski_perception.frame import Frame
from minkowski_perception.labels import UNLABELLED_COLOUR, LabelSet

image = pytest.importorskip("matplotlib.image")
from minkowski_perception.pictures import save_comparison, save_map  # noqa: E402

KITTI = LabelSet.load("semantickitti19")
CAR = KITTI.names.index("car")
BUILDING = KITTI.names.index("building")


def wall_ahead() -> np.ndarray:
    """Return points of a wall 10 m ahead (x), 8 m wide (y) and 3 m high (z)."""
    y, z = np.meshgrid(np.linspace(-4, 4, 161), np.linspace(-2, 1, 61))
    return np.stack([np.full(y.size, 10.0), y.ravel(), z.ravel()], axis=1).astype(np.float32)


def pixels_of(path: Path, colour: tuple[int, int, int]) -> np.ndarray:
    """Return pixel positions [P, 2] (right, down; 0 to 1) of a colour, without the legend."""
    picture = (image.imread(path)[..., :3] * 255).round().astype(int)
    height, width = picture.shape[:2]
    rows, columns = np.nonzero((picture == colour).all(axis=2))
    positions = np.stack([columns / width, rows / height], axis=1)
    return positions[positions[:, 1] < 0.93]


def picture_of(tmp_path: Path, points: np.ndarray, labels: np.ndarray, **columns) -> Path:
    path = tmp_path / "picture.png"
    save_comparison(path, Frame(points, **columns), labels.astype(np.uint8), KITTI, "a wall")
    return path


def test_labels_are_on_the_right_in_the_colours_of_the_label_set(tmp_path):
    points = wall_ahead()
    path = picture_of(tmp_path, points, np.where(points[:, 1] > 0, CAR, BUILDING))

    for label in (CAR, BUILDING):
        pixels = pixels_of(path, KITTI.colours[label])
        assert len(pixels) > 1000
        assert (pixels[:, 0] > 0.5).all()


def test_ground_truth_is_on_the_left_if_given(tmp_path):
    points = wall_ahead()
    path, shape = tmp_path / "new" / "picture.png", len(points)
    labels, truth = np.full(shape, CAR, np.uint8), np.full(shape, BUILDING, np.uint8)
    save_comparison(path, Frame(points), labels, KITTI, truth=truth)

    assert (pixels_of(path, KITTI.colours[CAR])[:, 0] > 0.5).all()
    left = pixels_of(path, KITTI.colours[BUILDING])
    assert len(left) > 1000
    assert (left[:, 0] < 0.5).all()


def test_left_of_the_sensor_is_left_in_the_camera_view_and_up_in_the_top_view(tmp_path):
    points = wall_ahead()
    path = picture_of(tmp_path, points, np.where(points[:, 1] > 0, CAR, BUILDING))
    car, building = (pixels_of(path, KITTI.colours[label]) for label in (CAR, BUILDING))
    in_camera = [pixels[pixels[:, 1] < 0.49] for pixels in (car, building)]
    from_above = [pixels[pixels[:, 1] > 0.51] for pixels in (car, building)]

    assert in_camera[0][:, 0].mean() < in_camera[1][:, 0].mean()
    assert from_above[0][:, 1].mean() < from_above[1][:, 1].mean()


@pytest.mark.parametrize("near_first", [True, False])
def test_near_points_hide_far_points(tmp_path, near_first):
    wall = wall_ahead()
    points = np.concatenate([wall * 0.5, wall] if near_first else [wall, wall * 0.5])
    labels = np.repeat([CAR, BUILDING] if near_first else [BUILDING, CAR], len(wall))
    path = picture_of(tmp_path, points, labels)
    car, building = (pixels_of(path, KITTI.colours[label]) for label in (CAR, BUILDING))
    car, building = (pixels[pixels[:, 1] < 0.49] for pixels in (car, building))

    low, high = np.percentile(car, [10, 90], axis=0)

    assert len(building) > 1000
    assert not ((building > low) & (building < high)).all(axis=1).any()


@pytest.mark.parametrize(
    "rotate",
    [
        pytest.param(lambda p: p[:, [1, 0, 2]] * [-1, 1, 1], id="sensor facing +y"),
        pytest.param(lambda p: p * [-1, -1, 1], id="sensor facing -x"),
        pytest.param(lambda p: p[:, [1, 2, 0]] * [-1, -1, 1], id="optical frame"),
    ],
)
def test_the_camera_looks_in_the_direction_of_the_sensor(tmp_path, rotate):
    points = wall_ahead()
    labels = np.where(points[:, 1] > 0, CAR, BUILDING)
    expected = image.imread(picture_of(tmp_path, points, labels))

    picture = image.imread(picture_of(tmp_path, rotate(points).astype(np.float32), labels))

    assert (np.abs(picture - expected).max(axis=2) > 0.1).mean() < 0.001


def test_a_coloured_input_is_shown_in_its_colours(tmp_path):
    points = wall_ahead()
    orange = np.tile(np.array([250, 120, 10], dtype=np.uint8), (len(points), 1))
    path = picture_of(tmp_path, points, np.full(len(points), CAR), colour=orange)

    pixels = pixels_of(path, (250, 120, 10))

    assert len(pixels) > 1000
    assert (pixels[:, 0] < 0.5).all()


def test_invalid_points_are_not_drawn_and_unlabelled_points_are_grey(tmp_path):
    points = wall_ahead()
    points[::2] = np.nan
    path = picture_of(tmp_path, points, np.full(len(points), 255))

    assert len(pixels_of(path, UNLABELLED_COLOUR)) > 1000


def test_an_empty_cloud_gives_an_empty_picture(tmp_path):
    path = picture_of(tmp_path, np.empty((0, 3), dtype=np.float32), np.empty(0))

    assert image.imread(path).shape[1] > 1000


def test_moving_points_are_outlined_in_the_labels_and_in_the_truth(tmp_path):
    points, path = wall_ahead(), tmp_path / "picture.png"
    labels = np.full(len(points), BUILDING, np.uint8)
    left, right = points[:, 1] > 2, points[:, 1] < -2
    frame = Frame(points, labels=labels, moving=left)
    values = np.where(right, 0.9, np.nan).astype(np.float32)
    save_comparison(path, frame, labels, KITTI, truth=labels, moving=values)

    pixels = pixels_of(path, (255, 255, 255))
    in_camera = pixels[pixels[:, 1] < 0.49]
    for panel in (in_camera[in_camera[:, 0] < 0.5], in_camera[in_camera[:, 0] > 0.5]):
        assert len(panel) > 100
    middle = 0.25, 0.75
    assert in_camera[in_camera[:, 0] < 0.5][:, 0].mean() < middle[0]
    assert in_camera[in_camera[:, 0] > 0.5][:, 0].mean() > middle[1]

    save_comparison(path, frame, labels, KITTI, truth=labels)
    assert len(pixels_of(path, (255, 255, 255))) == 0


def test_a_map_shows_the_highest_voxel_of_each_column_with_x_right_and_y_up(tmp_path):
    x, y, z = np.meshgrid(np.arange(60), np.arange(40), [0, 1], indexing="ij")
    points = 0.5 * np.stack([x, y, z], axis=-1).reshape(-1, 3).astype(np.float32)
    labels = np.where((points[:, 0] > 15) & (points[:, 1] > 10), CAR, BUILDING).astype(np.uint8)
    labels[points[:, 2] == 0] = KITTI.names.index("road")
    order = np.random.default_rng(0).permutation(len(points))
    path = tmp_path / "new" / "map.png"
    save_map(path, points[order] + 1000, labels[order], KITTI, 0.5, "a square")

    car, building = (pixels_of(path, KITTI.colours[label]) for label in (CAR, BUILDING))
    assert len(car) > 1000
    assert 2.5 < len(building) / len(car) < 3.5
    assert car[:, 0].min() > building[:, 0].min() + 0.1
    assert car[:, 1].max() < building[:, 1].max() - 0.1
    assert not len(pixels_of(path, KITTI.colours[KITTI.names.index("road")]))
