# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import numpy as np
import pytest
import torch

from minkowski_perception.frame import Frame
from minkowski_perception.motion.poses import pose_matrix
from minkowski_perception.streaming import residuals
from minkowski_perception.streaming.residuals import RangeHistory, range_image
from minkowski_perception.voxels import VoxelInput, voxelize

DELAYS = (0.1, 0.3, 0.6)
SPEC = VoxelInput(0.2, ("one", "z"), residuals=DELAYS)
TENTH = 10**8


@pytest.fixture(params=["compiled", "pure"])
def kind(request, monkeypatch):
    if request.param == "pure":
        monkeypatch.setattr(residuals, "compiled_residuals", None)


def extended(history, frame, spec=SPEC):
    return history.extended(voxelize(frame, spec), frame)


def wall(distance, width=4.0, height=2.0, step=0.03):
    """Return the points of a wall across the x axis, [N, 3]."""
    y, z = np.meshgrid(np.arange(-width, width, step), np.arange(-height, height, step))
    return np.stack([np.full(y.size, distance), y.ravel(), z.ravel()], axis=1)


def seen(points, pose, stamp):
    """Return the frame of points in the odometry frame, at a stamp in tenths of a second."""
    own = (points - pose[:3, 3]) @ pose[:3, :3]
    return Frame(own.astype(np.float32), stamp=stamp * TENTH, pose=pose)


def street(count, seed=0, points=3000):
    """Yield frames of a moving sensor between random points."""
    rng = np.random.default_rng(seed)
    world = rng.uniform((-15, -15, -2), (15, 15, 4), (points, 3))
    world[:, 2] += (np.abs(world[:, :2]) < 1).all(axis=1) * 10
    for i in range(count):
        pose = pose_matrix((0.4 * i, 0.05 * i, 0.0), (0, 0, np.sin(0.03 * i), np.cos(0.03 * i)))
        yield seen(world[rng.random(points) < 0.8], pose, i)


def by_hand(frames):
    """Return the residual columns [M, 2 D] of the last frame, by loops over points and pixels."""
    now = frames[-1]
    voxels = voxelize(now, SPEC)
    points = now.points[voxels.valid].astype(np.float64)
    inverse = voxels.quantization.inverse.numpy()
    means = [points[inverse == m].mean(axis=0) for m in range(len(voxels.coordinates))]
    result = np.zeros((len(means), 2 * len(DELAYS)))
    for d, delay in enumerate(DELAYS):
        past = min(
            frames[:-1], key=lambda f: abs((now.stamp - f.stamp) / 1e9 - delay), default=None
        )
        if past is None or abs((now.stamp - past.stamp) / 1e9 - delay) > delay / 2 + 1e-9:
            continue
        pixels = {}
        for point in past.points.astype(np.float64):
            pixels.setdefault(pixel(point), []).append(np.linalg.norm(point))
        for m, mean in enumerate(means):
            world = now.pose[:3, :3] @ mean + now.pose[:3, 3]
            there = past.pose[:3, :3].T @ (world - past.pose[:3, 3])
            row, column = pixel(there)
            distance = np.linalg.norm(there)
            gaps = []
            for r in (row - 1, row, row + 1):
                for c in (column - 1, column, column + 1):
                    ranges = pixels.get((r, c % 720))
                    if ranges and min(ranges) <= distance <= max(ranges):
                        gaps.append(0.0)
                    elif ranges:
                        gaps.append(min((r - distance for r in ranges), key=abs))
            if gaps:
                result[m, 2 * d] = np.clip(min(gaps, key=abs), -2, 2) / 2
                result[m, 2 * d + 1] = 1
    return result


def pixel(point):
    x, y, z = point
    elevation = np.degrees(np.arctan2(z, np.hypot(x, y)))
    azimuth = np.degrees(np.arctan2(y, x))
    row, column = int((elevation + 90) // 1), int((azimuth + 180) // 0.5)
    return min(row, 179), min(column, 719)


@pytest.mark.usefixtures("kind")
def test_residuals_equal_those_of_loops_over_voxels_and_pixels():
    frames = list(street(8, points=1000))
    history = RangeHistory(DELAYS)
    for i, frame in enumerate(frames):
        features = extended(history, frame).features.numpy()
        expected = by_hand(frames[: i + 1])
        assert features.shape == (len(expected), 8)
        # Ranges are in steps of a centimetre, and a few points are on the edge of a pixel.
        wrong = np.abs(features[:, 2:] - expected) > 0.0101
        assert wrong.mean() < 0.005
        assert (expected[:, 1::2].any(axis=0) == [i >= 1, i >= 2, i >= 3]).all()


def test_compiled_and_pure_residuals_have_the_same_bits(monkeypatch):
    rng = np.random.default_rng(1)
    frames = list(street(8, points=20_000))
    odd = [[np.nan, 0, 1], [np.inf, 1, 1], [0, 0, 0], [0, 0, 3], [0, 0, -3], [-4, 0, 0]]
    odd += [[-4, -1e-9, 0], [0, 5, 0], [0, -5, 0], [1e-30, 0, 0], [400, 0, 0], [1e20, 0, 0]]
    for frame in frames:
        frame.points[: len(odd)] = odd
        frame.points[len(odd) :] *= rng.uniform(0.9, 1.1, (len(frame) - len(odd), 1))
    compiled, pure = [], []
    for found in (compiled, pure):
        history = RangeHistory(DELAYS)
        found += [extended(history, frame).features for frame in frames]
        found += history.state().values()
        monkeypatch.setattr(residuals, "compiled_residuals", None)
    for one, other in zip(compiled, pure, strict=True):
        assert torch.equal(one, other)


@pytest.mark.usefixtures("kind")
def test_space_that_was_free_is_positive_and_hidden_space_negative():
    """A box moves in front of a wall: its new place was free, the wall behind its old one hidden.

    Far from the edges of both.
    """
    box = wall(5.0, 0.5, 0.5)
    pose = pose_matrix((1.0, 2.0, 0.5), (0, 0, 0.1, 1.0))

    def frame(left, stamp):
        moved = box + np.array([0.0, left, 0.0])
        back = wall(10.0)
        behind = np.abs(back[:, 1] / 2 - left) < 0.5
        hidden = behind & (np.abs(back[:, 2] / 2) < 0.5)
        points = np.concatenate([moved, back[~hidden]]) @ pose[:3, :3].T + pose[:3, 3]
        return seen(points, pose, stamp)

    history = RangeHistory(DELAYS)
    extended(history, frame(-1.0, 0))
    now = frame(1.0, 1)
    voxels = extended(history, now)
    residual, known = (
        voxels.quantization.slice(voxels.features[:, column]).numpy() for column in (2, 3)
    )
    x, y, z = now.points.T
    on_box = (x < 6) & (np.abs(y - 1) < 0.3) & (np.abs(z) < 0.3)
    behind = (x > 9) & (np.abs(y / 2 + 1) < 0.3) & (np.abs(z / 2) < 0.3)
    still = (x > 9) & (y < -3.4)
    assert (known == 1).all()
    assert (residual[on_box] == 1).all()  # 5 m, clipped to 2 m
    assert (residual[behind] == -1).all()
    np.testing.assert_allclose(residual[still], 0, atol=0.03)
    assert on_box.sum() > 50
    assert behind.sum() > 50


@pytest.mark.usefixtures("kind")
def test_a_slow_approach_gives_its_distance():
    history = RangeHistory((0.1,))
    extended(history, seen(wall(8.0), np.eye(4), 0))
    voxels = extended(history, seen(wall(7.0, 2.0, 1.0), np.eye(4), 1))
    np.testing.assert_allclose(voxels.features[:, 2].median(), 0.5, atol=0.02)


def test_a_static_scene_has_no_residual_while_the_sensor_turns_and_moves():
    history = RangeHistory(DELAYS)
    world = wall(8.0)
    for i in range(8):
        pose = pose_matrix((0.3 * i, 0.1 * i, 0.05 * i), (0, 0.02 * i, -0.05 * i, 1))
        voxels = extended(history, seen(world, pose, i))
    assert (voxels.features[:, 3::2] == 1).float().mean() > 0.99
    assert voxels.features[:, 2::2].abs().mean() < 0.01


def test_frames_without_a_pose_or_history_have_unknown_residuals():
    frames = list(street(3))
    history = RangeHistory(DELAYS)
    assert not extended(history, frames[0]).features[:, 2:].any()
    assert not history.compared
    unknown = extended(history, replace(frames[1], pose=None))
    assert not unknown.features[:, 2:].any()
    assert not history.compared
    assert extended(history, frames[1]).features[:, 3].any()
    assert history.compared
    history.clear()
    assert not extended(history, frames[2]).features[:, 2:].any()
    alone = RangeHistory(DELAYS)
    alone.remember(replace(frames[0], pose=None))
    assert alone.nbytes == 0


def test_directions_without_a_return_are_unknown():
    history = RangeHistory((0.1,))
    extended(history, seen(wall(8.0, 1.0), np.eye(4), 0))
    voxels = extended(history, seen(wall(8.0, 4.0), np.eye(4), 1))
    known = voxels.quantization.slice(voxels.features[:, 3]).numpy()
    y = wall(8.0, 4.0)[:, 1]
    assert known[np.abs(y) < 0.9].all()
    assert not known[np.abs(y) > 1.5].any()


def test_each_delay_takes_the_nearest_frame_within_half_of_the_delay():
    def known(steps):
        history = RangeHistory(DELAYS)
        for step in steps:
            voxels = extended(history, seen(wall(8.0 + step / 10), np.eye(4), step))
        return voxels.features.median(dim=0).values[2:].tolist()

    assert known([0, 2])[1::2] == [0, 1, 0]  # 0.2 s
    assert known([0, 4])[1::2] == [0, 1, 1]
    assert known([0, 9])[1::2] == [0, 0, 1]
    assert known([0, 10])[1::2] == [0, 0, 0]
    # The wall recedes by 0.1 m in each step: residuals are -0.05 per step, less the neighbours.
    np.testing.assert_allclose(known(range(8))[::2], [-0.05, -0.15, -0.30], atol=0.03)


def test_the_history_is_bounded_at_any_rate():
    history = RangeHistory(DELAYS)
    for i in range(400):
        history.remember(replace(seen(wall(8.0, step=0.5), np.eye(4), 0), stamp=i * 10**7))
    stamps = history.state()["stamps"]
    assert len(stamps) <= 19
    assert (stamps.diff() >= 5 * 10**7).all()
    assert history.nbytes < 20 * 2**20


def test_a_clip_reversed_in_time_has_residuals_too():
    history = RangeHistory((0.1,))
    first, second = street(2)
    history.remember(second)
    assert extended(history, first).features[:, 3].any()


def test_the_state_is_restored_to_the_bit():
    frames = list(street(6))
    whole, restored = RangeHistory(DELAYS), RangeHistory(DELAYS)
    assert whole.state() == {}
    restored.restore({})
    for frame in frames:
        restored.restore({name: t.clone() for name, t in whole.state().items()})
        expected, found = extended(whole, frame), extended(restored, frame)
        assert torch.equal(found.features, expected.features)
    assert whole.nbytes == sum(t.nbytes for t in whole.state().values())


def test_a_state_that_does_not_fit_is_refused():
    history = RangeHistory(DELAYS)
    history.remember(next(street(1)))
    state = history.state()
    with pytest.raises(ValueError, match="stamps, poses and images, not poses, stamps"):
        history.restore({name: state[name] for name in ("stamps", "poses")})
    with pytest.raises(ValueError, match=r"images of residuals must be torch.int16 \[1, 2, 180"):
        history.restore(state | {"images": state["images"].int()})
    with pytest.raises(ValueError, match=r"poses of residuals must be torch.float64 \[1, 4, 4\]"):
        history.restore(state | {"poses": state["poses"][:, :3]})
    with pytest.raises(ValueError, match="the model has none"):
        RangeHistory(()).restore(state)
    assert history.state() == {}


def test_an_empty_cloud_is_not_remembered():
    history = RangeHistory(DELAYS)
    nothing = Frame(np.full((3, 3), np.nan, np.float32), pose=np.eye(4))
    assert extended(history, nothing).features.shape == (0, 8)
    assert history.nbytes == 0


def test_an_image_has_the_nearest_and_farthest_range_of_each_pixel():
    image = range_image(np.array([[5, 0.01, 0.01], [8, 0.01, 0.01], [0, 0, 3]], np.float32))
    assert (image[1] >= 0).sum() == 2
    assert (image[0, 90, 360], image[1, 90, 360]) == (500, 800)
    assert image[0, 179].min() == image[1, 179].max() == 300


@pytest.mark.parametrize(
    ("delays", "problem"),
    [
        ([0.3, 0.1], "must be ascending delays"),
        ([0.1, 0.1], "must be ascending delays"),
        ([0.1, 2.0], "at most 16 times the smallest, not 0.1, 2"),
        ([0.0], "0.01 to 10, not 0.0"),
        ([11], "0.01 to 10, not 11.0"),
    ],
)
def test_impossible_delays_are_refused(delays, problem):
    data = {"voxel_size": 0.1, "features": ["one"]}
    with pytest.raises(ValueError, match=problem):
        VoxelInput.from_dict(data | {"residuals": delays})
    with pytest.raises(ValueError, match="residuals need shift 'none'"):
        VoxelInput.from_dict(data | {"residuals": [0.1], "shift": "minimum"})
    assert VoxelInput.from_dict(data | {"residuals": [0.1, 0.6]}).channels == (
        "one",
        "residual 0.1 s",
        "known 0.1 s",
        "residual 0.6 s",
        "known 0.6 s",
    )
