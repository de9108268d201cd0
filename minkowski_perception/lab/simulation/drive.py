# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Simulated drives through random streets and parks: frames with true labels and poses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from minkowski_perception.frame import Frame
from minkowski_perception.lab.simulation.carrier import carrier
from minkowski_perception.lab.simulation.lidar import LidarModel, Response, get_lidar
from minkowski_perception.lab.simulation.park import Park
from minkowski_perception.lab.simulation.scene import Scene
from minkowski_perception.lab.simulation.scenery import Scenery
from minkowski_perception.lab.simulation.street import Street

START = 1_700_000_000 * 10**9
"""Stamp of the first frame, nanoseconds."""

HELD_OUT_SEED = 4000
"""First seed of the evaluation split; training uses smaller seeds only."""

PARK = "park"
"""Style of a drive along a path through a park, a meadow or an orchard."""

_MARGIN = 90.0
"""Metres of street before the first pose and after the last one."""


def held_out_seeds(first: int, count: int) -> range:
    """Return `count` seeds of the evaluation split, from `first` on.

    Raises:
        ValueError: `first` is a seed of the training split.
    """
    if first < HELD_OUT_SEED:
        raise ValueError(
            f"seed must be {HELD_OUT_SEED} or more, not {first}: smaller seeds are for training"
        )
    return range(first, first + count)


def simulate_drive(
    seed: int,
    lidar: str | LidarModel,
    frames: int,
    *,
    mount_height: float | None = None,
    speed: float | None = None,
    still: bool = False,
    skew: bool = False,
    style: str | None = None,
) -> Iterator[Frame]:
    """Simulate the frames of a drive along a street; equal arguments give equal bytes.

    Args:
        seed: seed of the street, the drive and the noise.
        lidar: LiDAR model or its name.
        frames: number of frames.
        mount_height: height of the sensor above the ground, metres; None draws one.
        speed: m/s; None draws one. A sensor mounted low is slow, and often on a sidewalk.
        still: freeze the world and the sensor at the first frame; only noise differs between
            frames.
        skew: the sensor and the actors move during a sweep. Frames have the times of their
            points, from the stamp on, and the pose at the stamp.
        style: one of `street.STYLES`, for both sides of the street; None draws one for each side.
            `PARK` is a park instead.

    Yields:
        Frames with points, intensity (0 to 1), labels (semantickitti19; 255 is no class), moving,
        stamp and pose. The body that carries the sensor, where it is in view, has no class and
        counts as still. Without skew, all points of a frame are measured from its pose, like a
        cloud after motion compensation; such frames have no times of points, so that nothing
        compensates them again.

    Raises:
        SensorError: unknown LiDAR; raised at the first frame.
    """
    model = get_lidar(lidar) if isinstance(lidar, str) else lidar
    rng = np.random.default_rng([seed, 1])
    on_robot = rng.random() < (0.5 if len(model.elevations) <= 32 else 0.2)
    low = rng.uniform(0.25, 0.6) if rng.random() < 0.45 else rng.uniform(0.6, 1.2)
    height = low if on_robot else rng.uniform(1.5, 2.5)
    height = height if mount_height is None else mount_height
    body = carrier(np.random.default_rng([seed, 4]), height)
    on_sidewalk = height < 1.3 and rng.random() < 0.7
    pace = rng.uniform(0.5, 2.0) if on_sidewalk else rng.uniform(2.0, 12.0)
    pace = pace if speed is None else speed

    length = 2 * _MARGIN + pace * frames / model.rate_hz
    street: Scenery = Park(seed, length) if style == PARK else Street(seed, length, style)
    lanes = street.sidewalks if on_sidewalk and street.sidewalks else [street.lane]
    d = float(rng.choice(lanes))
    backwards = rng.random() < 0.5 and d != street.lane
    shake = rng.uniform(0.0, 0.012 if not on_sidewalk else 0.025, 3)
    tilt = rng.normal(0.0, 0.01, 2)
    rates, phases = rng.uniform(0.4, 2.5, 3), rng.uniform(0, 2 * np.pi, 3)
    drift = rng.uniform(0.0, 0.2)

    static = Scene(street.static)
    response = Response.draw(np.random.default_rng([seed, 3]))

    def position_at(time: float) -> npt.NDArray[np.float64]:
        s = street.length - _MARGIN - pace * time if backwards else _MARGIN + pace * time
        return np.array([s, d + drift * np.sin(0.3 * time + phases[0])])

    def scenes_at(time: float) -> Sequence[Scene]:
        time = 0.0 if still else time
        moving = Scene(street.moving(time, position_at(time)))
        return [static, moving, Scene(body.posed(pose_at(time)))]

    def pose_at(time: float) -> npt.NDArray[np.float64]:
        time = 0.0 if still else time
        position = position_at(time)
        wave = np.sin(2 * np.pi * rates * time + phases)
        yaw = float(street.ground.heading(position[0])) + (np.pi if backwards else 0.0)
        pose = np.eye(4)
        pose[:3, :3] = Rotation.from_euler(
            "ZYX",
            [yaw + shake[2] * wave[2], tilt[0] + shake[0] * wave[0], tilt[1] + shake[1] * wave[1]],
        ).as_matrix()
        pose[:3, 3] = street.ground.position(*position)
        pose[2, 3] += height
        return pose

    for index in range(frames):
        start = index / model.rate_hz
        pose = pose_at(start)
        noise = np.random.default_rng([seed, 2, index])
        if skew:
            scan = model.scan_moving(scenes_at, pose_at, start, noise, index, response)
        else:
            scan = model.scan(scenes_at(start), pose, noise, index, response)
        yield Frame(
            points=scan.points,
            stamp=START + round(index * 1e9 / model.rate_hz),
            frame_id="lidar",
            intensity=scan.intensity,
            time=scan.time if skew else None,
            labels=scan.labels,
            moving=(scan.scenes == 1) & (not still),
            pose=pose,
        )
