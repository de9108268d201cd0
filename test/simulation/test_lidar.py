# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("open3d", exc_type=ImportError)

from minkowski_perception.simulation.lidar import LIDARS, LidarModel, Scene, get_lidar
from minkowski_perception.simulation.meshes import Material, Mesh, box

IDEAL = LidarModel(
    "ideal", (-30.0, -10.0, 0.0, 10.0), 360, range_noise=0.0, reach=1e6, dropout=0.0
)
GROUND, WALL = Material(8, 0.3), Material(12, 0.5)


def pose_at(x: float, y: float, z: float) -> np.ndarray:
    pose = np.eye(4)
    pose[:3, 3] = x, y, z
    return pose


@pytest.fixture
def floor() -> Scene:
    return Scene(box(GROUND, (0.0, 0.0, -0.5), (400.0, 400.0, 1.0)))


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def elevations(points: np.ndarray) -> np.ndarray:
    return np.degrees(np.arctan2(points[:, 2], np.hypot(points[:, 0], points[:, 1])))


def test_flat_ground_is_hit_where_trigonometry_says(floor, rng):
    scan = IDEAL.scan([floor], pose_at(3.0, -2.0, 2.0), rng)
    assert len(scan.points) == 2 * 360
    np.testing.assert_allclose(scan.points[:, 2], -2.0, atol=1e-4)
    expected = 2.0 / np.sin(np.radians(np.array([30.0, 10.0])))
    ranges = np.linalg.norm(scan.points, axis=1).reshape(360, 2)
    np.testing.assert_allclose(ranges, np.broadcast_to(expected, (360, 2)), rtol=1e-5)
    assert set(scan.labels) == {8}


def test_points_are_in_the_frame_of_a_turned_sensor(rng):
    # A wall at x = 5 of the world lies to the right of a sensor that looks along y.
    wall = Scene(box(WALL, (5.5, 0.0, 0.0), (1.0, 100.0, 100.0)))
    pose = np.array([[0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], dtype=float)
    points = IDEAL.scan([wall], pose, rng).points
    np.testing.assert_allclose(points[:, 1], -5.0, atol=1e-4)


def test_the_nearest_of_two_scenes_is_seen(floor, rng):
    wall = Scene(box(WALL, (10.5, 0.0, 0.0), (1.0, 6.0, 40.0)))
    for scenes in ([floor, wall], [wall, floor]):
        scan = IDEAL.scan(scenes, pose_at(0.0, 0.0, 2.0), rng)
        on_wall = scan.labels == 12
        np.testing.assert_array_equal(scan.scenes == scenes.index(wall), on_wall)
        np.testing.assert_allclose(scan.points[on_wall, 0], 10.0, atol=1e-4)
        assert np.abs(scan.points[on_wall, 1]).max() <= 3.0 + 1e-4
        # Beams at -10 degrees meet the floor at 11.3 m: behind the wall.
        behind = (np.abs(elevations(scan.points) + 10.0) < 0.1) & (scan.points[:, 0] > 10.5)
        assert not behind[np.abs(scan.points[:, 1]) < 3.0].any()


def test_a_scene_of_no_triangles_is_not_seen(floor, rng):
    nothing = Scene(Mesh.merge([]))
    assert len(IDEAL.scan([nothing], pose_at(0, 0, 1), rng).points) == 0
    assert len(IDEAL.scan([floor, nothing], pose_at(0, 0, 1), rng).points) == 720


def test_noise_has_its_standard_deviation(floor, rng):
    noisy = replace(IDEAL, range_noise=0.05)
    scan = noisy.scan([floor], pose_at(0.0, 0.0, 2.0), rng)
    steep = scan.points[elevations(scan.points) < -20.0]
    assert np.std(np.linalg.norm(steep, axis=1) - 4.0) == pytest.approx(0.05, rel=0.15)


def test_ranges_stay_within_limits(floor, rng):
    near = replace(IDEAL, range_noise=0.1, min_range=4.0, max_range=11.5)
    ranges = np.linalg.norm(near.scan([floor], pose_at(0, 0, 2.0), rng).points, axis=1)
    assert ranges.min() >= 4.0
    assert ranges.max() <= 11.5
    assert 0 < len(ranges) < 720


def test_returns_get_fewer_with_range_darkness_and_loss(rng):
    def share(distance: float, reflectance: float, dropout: float = 0.0) -> float:
        model = replace(IDEAL, elevations=(0.0,), azimuth_steps=3600, reach=50.0, dropout=dropout)
        wide = 40.0 * distance
        wall = Scene(box(Material(1, reflectance), (distance + 0.5, 0, 0), (1.0, wide, wide)))
        front = np.abs(np.degrees(np.arctan2(*model.directions()[:, 1::-1].T))) < 10.0
        points = model.scan([wall], np.eye(4), rng).points
        seen = np.abs(np.degrees(np.arctan2(points[:, 1], points[:, 0]))) < 10.0
        return seen.sum() / front.sum()

    assert share(10.0, 0.5) > 0.99
    assert share(50.0, 0.5) == pytest.approx(1 - np.exp(-0.5), abs=0.1)
    assert share(50.0, 0.05) < 0.15
    assert share(90.0, 0.5) < share(50.0, 0.5) - 0.1
    assert share(10.0, 0.5, dropout=0.3) == pytest.approx(0.7, abs=0.1)


def test_brighter_surfaces_have_more_intensity(rng):
    def brightness(reflectance: float) -> float:
        wall = Scene(box(Material(1, reflectance), (10.5, 0, 0), (1.0, 100.0, 100.0)))
        return float(IDEAL.scan([wall], np.eye(4), rng).intensity.mean())

    assert brightness(0.1) < brightness(0.4) < brightness(0.8)


def test_fuzz_stops_rays_before_the_surface_and_never_behind_it(rng):
    grass = Scene(box(Material(16, 0.4, fuzz=0.1), (0, 0, -0.5), (400.0, 400.0, 1.0)))
    heights = IDEAL.scan([grass], pose_at(0, 0, 2.0), rng).points[:, 2] + 2.0
    assert heights.min() > -1e-4
    assert 0.08 < heights.max() <= 0.1 + 1e-4


def test_points_come_in_the_order_of_one_turn_from_the_rear(floor, rng):
    points = IDEAL.scan([floor], pose_at(0, 0, 2.0), rng).points
    turned = (180.0 - np.degrees(np.arctan2(points[:, 1], points[:, 0]))) % 360.0
    assert (np.diff(turned) > -1e-3).all()
    assert turned[0] < 1.0
    assert turned[-1] > 359.0 - 1e-3


@pytest.mark.parametrize("name", LIDARS)
def test_rays_of_a_model_have_its_elevations_and_unit_length(name):
    model = get_lidar(name)
    rays = model.directions().reshape(model.azimuth_steps, -1, 3)
    np.testing.assert_allclose(np.linalg.norm(rays, axis=-1), 1.0, rtol=1e-6)
    np.testing.assert_allclose(
        np.degrees(np.arcsin(rays[..., 2])),
        np.broadcast_to(model.elevations, rays.shape[:2]),
        atol=1e-3,
    )
    assert len(model.elevations) == int("".join(c for c in name if c.isdigit())[-2:])


def test_a_model_of_unknown_name_is_refused_with_the_names_that_there_are():
    with pytest.raises(ValueError, match=r"unknown lidar 'vlp17'.*vlp16.*hdl64"):
        get_lidar("vlp17")
