# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("open3d", exc_type=ImportError)

from minkowski_perception.frame import OPTICAL_AXES
from minkowski_perception.lab.simulation.camera import Capture, DepthCamera, get_camera
from minkowski_perception.lab.simulation.meshes import Material, Mesh, Paint, box
from minkowski_perception.lab.simulation.scene import Scene
from minkowski_perception.lab.simulation.sensors import SensorError, sensor_names
from minkowski_perception.lab.simulation.shading import Lamp, Lighting
from minkowski_perception.labels import UNLABELLED

IDEAL = DepthCamera(
    "ideal", 80, 60, 70.0, 70.0, 39.5, 29.5,
    baseline=1e-4, max_depth=50.0, disparity_noise=0.0, disparity_step=1e-12, depth_step=1e-9,
    ragged=0.0, edge_loss=0.0, grazing=0.0, reach=1e6, dropout=0.0,
)  # fmt: skip
DARK = Lighting((), noise=0.0)
WALL = Material(1, 0.7)


def looking_along_x() -> np.ndarray:
    pose = np.eye(4)
    pose[:3, :3] = OPTICAL_AXES
    return pose


def wall_at(distance: float, material: Material = WALL) -> Mesh:
    return box(material, (distance + 0.5, 0, 0), (1.0, 200.0, 200.0))


def capture(camera: DepthCamera, *meshes: Mesh, pose: np.ndarray | None = None) -> Capture:
    pose = looking_along_x() if pose is None else pose
    scene = Scene(Mesh.merge(meshes))
    return camera.capture([scene], pose, DARK, np.random.default_rng(0))


def test_depth_is_the_intersection_of_each_ray_with_a_plane():
    """The ray of a pixel meets the tilted plane n . p = d at z = d / (n . ray)."""
    normal = np.array([0.3, -0.2, -1.0]) / np.linalg.norm([0.3, -0.2, -1.0])
    across = np.cross(normal, (0, 1, 0))
    up = np.cross(normal, across)
    corners = -3.0 * normal + 100 * np.array(
        [across + up, across - up, -across - up, -across + up]
    )
    plane = Mesh.of(WALL, corners, [[0, 1, 2], [0, 2, 3]])
    points = capture(IDEAL, plane, pose=np.eye(4)).points
    v, u = np.mgrid[:60, :80].reshape(2, -1)
    rays = np.stack([(u - 39.5) / 70, (v - 29.5) / 70, np.ones(4800)], axis=1)
    np.testing.assert_allclose(points[:, 2], -3.0 / (rays @ normal), rtol=1e-4)
    np.testing.assert_allclose(points @ normal, -3.0, atol=1e-3)


def test_points_project_to_their_own_pixels():
    camera = get_camera("xtion_qvga")
    points = capture(camera, wall_at(2.0)).points
    v, u = np.mgrid[: camera.height, : camera.width].reshape(2, -1)
    valid = ~np.isnan(points[:, 2])
    assert valid.mean() > 0.95
    np.testing.assert_allclose(
        camera.project(points[valid]), np.stack([u, v], axis=1)[valid], atol=1e-2
    )


def test_the_optical_frame_has_x_right_y_down_z_forward():
    left_and_up = box(Material(5, 0.7), (2.5, 1.0, 0.6), (0.2, 0.4, 0.4))
    captured = capture(IDEAL, wall_at(4.0), left_and_up)
    middle = captured.points[captured.labels == 5].mean(axis=0)
    np.testing.assert_allclose(middle, (-1.0, -0.6, 2.4), atol=0.1)
    in_world = looking_along_x()[:3, :3] @ middle
    np.testing.assert_allclose(in_world, (2.4, 1.0, 0.6), atol=0.1)


@pytest.mark.parametrize("distance", [1.0, 2.0, 4.0])
def test_noise_grows_with_the_square_of_depth(distance):
    camera = replace(IDEAL, baseline=0.075, disparity_noise=0.1, width=320, cx=159.5)
    depth = capture(camera, wall_at(distance)).points[:, 2]
    assert np.nanstd(depth) == pytest.approx(0.1 * distance**2 / (70.0 * 0.075), rel=0.15)


def test_depth_is_quantised_by_disparity():
    camera = replace(get_camera("kinect"), dropout=0.0, grazing=0.0, reach=1e6)
    slope = Mesh.of(
        WALL, [(1.0, -9, -9), (1.0, -9, 9), (5.0, 9, 9), (5.0, 9, -9)], [[0, 1, 2], [0, 2, 3]]
    )
    depth = capture(camera, slope).points[:, 2]
    steps = np.unique(depth[~np.isnan(depth)])
    near = steps[(steps > 2.9) & (steps < 3.1)]
    # z^2 / (fx * baseline) / 8, rounded to millimetres: 26 mm at 3 m, like a real Kinect.
    np.testing.assert_allclose(np.diff(near), 9.0 / (585 * 0.075) / 8, atol=2.5e-3)
    np.testing.assert_allclose(steps, np.round(steps, 3), atol=1e-6)


def test_background_hidden_from_the_second_camera_is_a_hole_left_of_the_occluder():
    camera = replace(IDEAL, baseline=0.1, width=400, height=3, fx=400, cx=199.5, cy=1.0)
    near, far = 1.5, 3.0
    screen = box(Material(5, 0.7), (near + 0.005, 0.0, 0.0), (0.01, 0.4, 4.0))
    captured = capture(camera, wall_at(far), screen)
    row = captured.points[400:800, 2]
    holes = np.flatnonzero(np.isnan(row))
    # The screen hides a band of the wall from the second camera; these are its pixels.
    left_edge = -0.2
    hidden_from = 0.1 + (left_edge - 0.1) * far / near
    first = 400 * hidden_from / far + 199.5
    last = 400 * left_edge / near + 199.5
    assert holes.min() == pytest.approx(first, abs=1.5)
    assert holes.max() == pytest.approx(last, abs=1.5)
    assert len(holes) == pytest.approx(400 * 0.1 * (1 / near - 1 / far), abs=2)


def test_holes_have_no_label_and_keep_their_pixels():
    camera = replace(get_camera("xtion_qvga"), max_depth=3.0)
    pane = box(Material(1, 5e-4), (1.5, 0.3, 0), (0.01, 0.5, 0.5))
    box_near = box(Material(3, 0.7), (1.0, -0.3, 0), (0.2, 0.2, 0.2))
    captured = capture(camera, wall_at(2.5), box_near, pane)
    hole = np.isnan(captured.points).any(axis=1)
    assert captured.points.shape == (320 * 240, 3)
    np.testing.assert_array_equal(hole, captured.labels == UNLABELLED)
    image = hole.reshape(240, 320)
    # The pane, at 1.5 m and 0.3 m to the left, reflects almost no light; the wall loses none.
    u, v = camera.project(np.array([[-0.3, 0.0, 1.5]]))[0].astype(int)
    assert image[v - 30 : v + 30, u - 30 : u + 30].mean() > 0.95
    assert image[20:60, 40:280].mean() < 0.05


def test_grazing_dark_and_far_surfaces_have_more_holes():
    camera = replace(IDEAL, grazing=0.2, reach=5.0)

    def lost(mesh: Mesh) -> float:
        return float(np.isnan(capture(camera, mesh).points[:, 2]).mean())

    assert lost(wall_at(1.0)) < 0.02
    assert lost(wall_at(7.0)) > lost(wall_at(3.0)) + 0.1
    assert lost(wall_at(3.0, Material(1, 0.05))) > lost(wall_at(3.0)) + 0.3
    floor = box(WALL, (0, 0, -0.6), (200.0, 200.0, 0.2))
    depth = capture(camera, floor).points[:, 2].reshape(60, 80)
    below = np.isnan(depth[40:]).mean(axis=1)
    assert below[0] > 0.5 > below[-1]


def test_ragged_edges_and_flying_pixels_appear_only_if_enabled():
    screen = box(Material(5, 0.7), (1.0, 0.0, 0.0), (0.01, 0.4, 0.4))

    def between(camera: DepthCamera) -> int:
        depth = capture(camera, wall_at(3.0), screen).points[:, 2]
        return int(((depth > 1.1) & (depth < 2.9)).sum())

    assert between(IDEAL) == 0
    assert between(replace(IDEAL, flying=0.5)) > 20
    straight = capture(IDEAL, wall_at(3.0), screen).labels.reshape(60, 80) == 5
    ragged = capture(replace(IDEAL, ragged=1.0), wall_at(3.0), screen).labels.reshape(60, 80) == 5
    assert len(np.unique(straight[15:45].argmax(axis=1)[5:-5])) == 1
    assert len(np.unique(ragged[15:45].argmax(axis=1)[5:-5])) > 1
    lossy = capture(replace(IDEAL, edge_loss=0.5), wall_at(3.0), screen)
    hole = np.isnan(lossy.points[:, 2]).reshape(60, 80)
    assert hole[15:45].any()
    assert not hole[:10].any()


def test_a_lamp_casts_a_shadow():
    white = Material(0, 0.7, paint=Paint((1, 1, 1), (1, 1, 1)))
    floor = box(white, (3.0, 0, -1.1), (8.0, 8.0, 0.2))
    board = box(white, (3.0, 0.0, 0.0), (1.0, 1.0, 0.02))
    lamp = Lamp((3.0, 0.0, 2.0), 2.0)
    lit = Lighting((lamp,), ambient=0.2, noise=0.0, brightness=0.4)
    pose = looking_along_x()
    rng = np.random.default_rng(0)
    captured = IDEAL.capture([Scene(Mesh.merge([floor, board]))], pose, lit, rng)
    world = captured.points @ pose[:3, :3].T
    on_floor = np.abs(world[:, 2] + 1.0) < 0.01
    beside = np.abs(world[:, 1])
    away = np.abs(world[:, 0] - 3.0)
    # The shadow on the floor, 3 m below the lamp, is 1.5 times the size of the board.
    shadow = captured.colour[on_floor & (beside < 0.6) & (away < 0.6)]
    light = captured.colour[on_floor & (beside > 0.9) & (beside < 1.3) & (away < 0.6)]
    assert len(shadow) > 20
    assert shadow.mean() < 0.8 * light.mean()


def test_equal_seeds_give_equal_bytes():
    camera = get_camera("xtion_qvga")
    first, again = (capture(camera, wall_at(2.0)) for _ in range(2))
    assert [a.tobytes() for a in first] == [a.tobytes() for a in again]


@pytest.mark.parametrize("name", sensor_names("camera"))
def test_packaged_cameras_measure_a_wall(name):
    camera = get_camera(name)
    assert camera.name == name
    depth = capture(camera, wall_at(2.0)).points[:, 2]
    assert np.isnan(depth).mean() < 0.05
    assert np.nanmedian(depth) == pytest.approx(2.0, abs=0.02)
    assert 0.0 < np.nanstd(depth) < 0.05


def test_unknown_and_invalid_cameras_are_refused(tmp_path):
    with pytest.raises(SensorError, match=r"unknown camera 'zed'.*d435, kinect"):
        get_camera("zed")
    path = tmp_path / "mine.yaml"
    path.write_text("{name: mine, width: 0, height: 2, fx: 3, fy: 3, cx: 1, cy: 1}")
    with pytest.raises(SensorError, match="width must be positive, not 0"):
        get_camera(path)
