# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("open3d", exc_type=ImportError)

from minkowski_perception.lab.simulation.lidar import LidarModel, Response, Rosette, get_lidar
from minkowski_perception.lab.simulation.meshes import Material, Mesh, box
from minkowski_perception.lab.simulation.scene import Scene
from minkowski_perception.lab.simulation.sensors import SensorError, sensor_names

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


def test_ranges_on_flat_ground_follow_from_trigonometry(floor, rng):
    scan = IDEAL.scan([floor], pose_at(3.0, -2.0, 2.0), rng)
    assert len(scan.points) == 2 * 360
    np.testing.assert_allclose(scan.points[:, 2], -2.0, atol=1e-4)
    expected = 2.0 / np.sin(np.radians(np.array([30.0, 10.0])))
    ranges = np.linalg.norm(scan.points, axis=1).reshape(360, 2)
    np.testing.assert_allclose(ranges, np.broadcast_to(expected, (360, 2)), rtol=1e-5)
    assert set(scan.labels) == {8}


def test_points_are_in_the_frame_of_a_rotated_sensor(rng):
    # A wall at x = 5 of the world is to the right of a sensor that faces y.
    wall = Scene(box(WALL, (5.5, 0.0, 0.0), (1.0, 100.0, 100.0)))
    pose = np.array([[0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], dtype=float)
    points = IDEAL.scan([wall], pose, rng).points
    np.testing.assert_allclose(points[:, 1], -5.0, atol=1e-4)


def test_the_nearer_of_two_scenes_is_measured(floor, rng):
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


def test_an_empty_scene_gives_no_points(floor, rng):
    nothing = Scene(Mesh.merge([]))
    assert len(IDEAL.scan([nothing], pose_at(0, 0, 1), rng).points) == 0
    assert len(IDEAL.scan([floor, nothing], pose_at(0, 0, 1), rng).points) == 720


def test_range_noise_has_the_given_standard_deviation(floor, rng):
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


def test_returns_decrease_with_range_darkness_and_dropout(rng):
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


def test_brighter_surfaces_have_higher_intensity(rng):
    def brightness(reflectance: float) -> float:
        wall = Scene(box(Material(1, reflectance), (10.5, 0, 0), (1.0, 100.0, 100.0)))
        return float(IDEAL.scan([wall], np.eye(4), rng).intensity.mean())

    assert brightness(0.1) < brightness(0.4) < brightness(0.8)


def test_a_faint_return_has_no_intensity_and_a_retro_reflector_saturates(rng):
    faint, grey, retro = (
        Scene(box(Material(1, reflectance), (10.5, 0, 0), (1.0, 100.0, 100.0)))
        for reflectance in (0.02, 0.5, 8.0)
    )
    response = Response(gain=0.4, dark=0.15, fade=1e6)

    def intensity(wall: Scene) -> np.ndarray:
        return IDEAL.scan([wall], np.eye(4), rng, response=response).intensity

    assert np.median(intensity(faint)) == 0.0
    assert np.median(intensity(grey)) == pytest.approx(0.4 * 0.33, abs=0.03)
    assert np.median(intensity(retro)) == 1.0


def test_intensity_fades_with_range_and_with_the_angle_of_incidence(rng):
    response, one, beam = Response(0.8, grazing=0.6, fade=40.0), np.ones(2000), np.zeros(2000, int)

    def intensity(cosine: float, distance: float) -> float:
        return response.intensity(0.5 * one, cosine * one, distance * one, beam, rng).mean()

    assert intensity(1.0, 40.0) / intensity(1.0, 0.0) == pytest.approx(np.exp(-1), rel=0.03)
    assert intensity(0.5, 0.0) / intensity(1.0, 0.0) == pytest.approx(0.7, rel=0.03)


def test_a_beam_keeps_its_factor_from_sweep_to_sweep():
    beam, one = np.tile(np.arange(8), 500), np.ones(4000)
    response = Response(gain=0.5, beams=0.3, seed=4)
    first, second = (
        response.intensity(0.5 * one, one, one, beam, np.random.default_rng(seed))
        .reshape(-1, 8)
        .mean(axis=0)
        for seed in (0, 1)
    )
    np.testing.assert_allclose(first, second, rtol=0.03)
    assert first.std() > 0.02


def test_responses_contain_the_medians_of_real_roads(rng):
    """Roads of SemanticKITTI, nuScenes and PandaSet, 5 to 10 m away."""
    one = np.ones(500)
    roads = [
        np.median(
            Response.draw(rng).intensity(
                rng.uniform(0.1, 0.35) * one, 0.25 * one, 7.5 * one, np.zeros(500, int), rng
            )
        )
        for _ in range(200)
    ]
    assert np.percentile(roads, 2) < 0.01 < 0.02 < np.percentile(roads, 60)
    assert np.percentile(roads, 98) > 0.2


def test_points_lie_within_the_scatter_depth_before_a_surface(rng):
    grass = Scene(box(Material(16, 0.4, scatter_depth=0.1), (0, 0, -0.5), (400.0, 400.0, 1.0)))
    heights = IDEAL.scan([grass], pose_at(0, 0, 2.0), rng).points[:, 2] + 2.0
    assert heights.min() > -1e-4
    assert 0.08 < heights.max() <= 0.1 + 1e-4


def test_points_are_ordered_clockwise_from_the_rear(floor, rng):
    points = IDEAL.scan([floor], pose_at(0, 0, 2.0), rng).points
    turned = (180.0 - np.degrees(np.arctan2(points[:, 1], points[:, 0]))) % 360.0
    assert (np.diff(turned) > -1e-3).all()
    assert turned[0] < 1.0
    assert turned[-1] > 359.0 - 1e-3


def test_a_beam_on_an_edge_returns_a_point_between_two_close_surfaces(rng):
    step = Mesh.merge(
        [box(WALL, (10.5, 50.0, 0), (1.0, 100.0, 100.0)), box(WALL, (10.8, 0, 0), (1, 300, 300))]
    )
    beam = replace(IDEAL, elevations=(0.0,), azimuth_steps=360_000, divergence=0.5, pulse=0.4)
    for pulse, mixed in ((0.4, True), (0.1, False)):
        scan = replace(beam, pulse=pulse).scan([Scene(step)], np.eye(4), rng)
        ahead = scan.points[np.abs(scan.points[:, 1]) < 1.0]
        between = ahead[(ahead[:, 0] > 10.02) & (ahead[:, 0] < 10.28)]
        assert (len(between) > 20) == mixed
        # A beam is 0.25 degrees wide to either side: 4.4 cm at 10 m.
        assert np.abs(between[:, 1]).max(initial=0.0) < 0.1


def test_the_stronger_of_two_distant_surfaces_in_a_beam_returns(rng):
    far = box(Material(2, 0.9), (31.0, 0, 0), (2.0, 200.0, 200.0))
    beam = replace(IDEAL, elevations=(0.0,), azimuth_steps=36_000, divergence=1.0)

    def half_width(reflectance: float) -> float:
        near = box(Material(1, reflectance), (10.5, 0, 0), (1.0, 4.0, 4.0))
        scan = beam.scan([Scene(Mesh.merge([near, far]))], np.eye(4), rng)
        on_near = (scan.labels == 1) & (scan.points[:, 0] < 12.0)
        return float(np.abs(scan.points[on_near, 1]).max())

    assert half_width(0.9) > 2.02  # part of a beam is enough
    assert half_width(0.05) < 2.001  # the bright wall behind dominates any beam that hits it


def test_a_rosette_fills_its_field_of_view_and_does_not_repeat():
    model = LidarModel("r", rosette=Rosette((121.57, -77.73), 10.0, 100_000))
    first, time = model.sweep(0)
    second, _ = model.sweep(1)
    np.testing.assert_allclose(np.linalg.norm(first, axis=1), 1.0, rtol=1e-6)
    assert np.degrees(np.arccos(first[:, 0])).max() == pytest.approx(20.0, abs=0.1)
    np.testing.assert_allclose(time, np.arange(10_000) / 100_000)

    def cells(directions: np.ndarray) -> set:
        return set(map(tuple, np.round(np.degrees(directions[:, 1:]) * 2).astype(int)))

    assert len(cells(first) | cells(second)) > 1.2 * len(cells(first))


def test_rays_of_a_skewed_scan_start_at_the_pose_at_their_time(rng):
    """The sensor moves towards a wall and turns; the wall recedes."""
    model = replace(IDEAL, elevations=(0.0,), azimuth_steps=1000)
    speed, rate, recedes, start = 8.0, 0.6, 3.0, 0.4

    def pose_at(time: float) -> np.ndarray:
        cosine, sine = np.cos(rate * time), np.sin(rate * time)
        pose = pose_at_origin.copy()
        pose[:2, :2] = [[cosine, -sine], [sine, cosine]]
        pose[0, 3] = speed * time
        return pose

    pose_at_origin = np.eye(4)

    def scenes_at(time: float) -> list[Scene]:
        return [Scene(box(WALL, (30.5 + recedes * time, 0, 0), (1.0, 200.0, 100.0)))]

    scan = model.scan_moving(scenes_at, pose_at, start, rng)
    assert 0.0 <= scan.time.min() <= scan.time.max() < 0.1
    assert len(np.unique(scan.time)) == len(scan.time)
    for point, time in zip(scan.points[::20], scan.time[::20].astype(float), strict=True):
        pose = pose_at(start + time)
        x = (pose[:3, :3] @ point + pose[:3, 3])[0]
        middle = (np.floor(time * 100) + 0.5) / 100  # of the time step, in which the wall is fixed
        assert x == pytest.approx(30.0 + recedes * (start + middle), abs=2e-3)


@pytest.mark.parametrize("name", sensor_names("lidar"))
def test_rays_have_the_elevations_of_the_model_and_unit_length(name):
    model = get_lidar(name)
    assert model.name == name
    directions, time = model.sweep()
    np.testing.assert_allclose(np.linalg.norm(directions, axis=-1), 1.0, rtol=1e-6)
    assert len(time) == len(directions)
    assert 0.0 <= time.min() <= time.max() < 1.0 / model.rate_hz
    if model.rosette is None:
        elevation = np.degrees(np.arcsin(directions[:, 2])).reshape(model.azimuth_steps, -1)
        np.testing.assert_allclose(
            elevation, np.broadcast_to(model.elevations, elevation.shape), atol=1e-3
        )
        beams = {"hdl64": 64, "os1_128": 128, "os1_64": 64, "pandar64": 64, "qt128": 128}
        assert len(model.elevations) == {**beams, "vlp16": 16, "vlp32": 32, "hdl32": 32}[name]


def test_an_unknown_model_is_refused_and_the_names_are_listed():
    with pytest.raises(SensorError, match=r"unknown lidar 'vlp17'.*hdl64.*vlp16"):
        get_lidar("vlp17")


def test_a_custom_lidar_is_read_from_its_file(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "name: mine\nelevations: [-8, {from: 0, to: 3, count: 4}]\nazimuth_steps: 500\n"
    )
    model = get_lidar(path)
    assert model.elevations == (-8.0, 0.0, 1.0, 2.0, 3.0)
    assert model.azimuth_steps == 500


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("name: mine\n", "either elevations and azimuth_steps, or a rosette"),
        ("name: mine\nbeams: 3\n", "beams"),
        ("name: mine\nelevations: [up]\nazimuth_steps: 5\n", "up"),
        ("[", "is not plain YAML"),
        ("name: &a mine\nbeams: *a\n", "alias"),
    ],
)
def test_a_malformed_lidar_is_refused_with_the_cause(tmp_path, text, cause):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(SensorError, match=cause):
        get_lidar(path)


def test_a_missing_lidar_file_is_refused(tmp_path):
    with pytest.raises(SensorError, match=r"lidar .*gone.yaml: cannot be read: No such file"):
        get_lidar(tmp_path / "gone.yaml")
