# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Drives through streets that no data set has: frames with true labels and true poses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from minkowski_perception.frame import Frame
from minkowski_perception.lab.simulation.lidar import LidarModel, get_lidar
from minkowski_perception.lab.simulation.scene import Scene
from minkowski_perception.lab.simulation.street import Street

START = 1_700_000_000 * 10**9
"""Stamp of the first frame, nanoseconds."""

HELD_OUT_SEED = 4000
"""Drives of this seed and those after it are to evaluate on: none of them is trained on."""

_LEAD = 90.0
"""Metres of street behind the first pose and beyond the last one."""


def held_out_seeds(first: int, count: int) -> range:
    """Seeds of drives or rooms to evaluate on, from a first one on.

    Raises:
        ValueError: models are trained on that one.
    """
    if first < HELD_OUT_SEED:
        raise ValueError(
            f"seed must be {HELD_OUT_SEED} or more, not {first}: those below are trained on"
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
    """Frames of a drive along a street; the same arguments give the same bytes.

    Args:
        seed: draws the street, the drive and the noise.
        lidar: a model, or the name of one.
        frames: how many.
        mount_height: of the sensor above the ground, metres; None draws one.
        speed: metres a second; None draws one. A robot low above the ground is slow, and rather
            on a sidewalk.
        still: the world stands still, and the sensor in it, as they are in the first frame of the
            drive; only the noise of the measurement goes on.
        skew: the sensor and the actors move on while a cloud is measured, and the frame tells the
            times of its points, from its stamp on; its pose is that at its stamp.
        style: one of `street.STYLES`, that both sides of the street are of; None draws each.

    Yields:
        Frames with points, intensity (0 to 1), labels (semantickitti19; 255 is no class), moving,
        stamp and pose. Without skew each frame is seen from its pose, as if motion were
        compensated: it tells no times of points, by which somebody would compensate again.

    Raises:
        SensorError: no lidar has that name (told when the first frame is asked for).
    """
    model = get_lidar(lidar) if isinstance(lidar, str) else lidar
    rng = np.random.default_rng([seed, 1])
    on_robot = rng.random() < (0.5 if len(model.elevations) <= 32 else 0.2)
    height = rng.uniform(0.3, 1.2) if on_robot else rng.uniform(1.5, 2.5)
    height = height if mount_height is None else mount_height
    walks = height < 1.3 and rng.random() < 0.7
    pace = rng.uniform(0.5, 2.0) if walks else rng.uniform(2.0, 12.0)
    pace = pace if speed is None else speed

    street = Street(seed, 2 * _LEAD + pace * frames / model.rate_hz, style)
    ways = street.sidewalks if walks and street.sidewalks else [street.lane]
    d = float(rng.choice(ways))
    back = rng.random() < 0.5 and d != street.lane
    shake = rng.uniform(0.0, 0.012 if not walks else 0.025, 3)
    tilt = rng.normal(0.0, 0.01, 2)
    rates, phases = rng.uniform(0.4, 2.5, 3), rng.uniform(0, 2 * np.pi, 3)
    drift = rng.uniform(0.0, 0.2)

    static = Scene(street.static)

    def place_at(time: float) -> npt.NDArray[np.float64]:
        s = street.length - _LEAD - pace * time if back else _LEAD + pace * time
        return np.array([s, d + drift * np.sin(0.3 * time + phases[0])])

    def scenes_at(time: float) -> Sequence[Scene]:
        time = 0.0 if still else time
        return [static, Scene(street.moving(time, place_at(time)))]

    def pose_at(time: float) -> npt.NDArray[np.float64]:
        time = 0.0 if still else time
        place = place_at(time)
        wave = np.sin(2 * np.pi * rates * time + phases)
        yaw = float(street.ground.heading(place[0])) + (np.pi if back else 0.0)
        pose = np.eye(4)
        pose[:3, :3] = Rotation.from_euler(
            "ZYX",
            [yaw + shake[2] * wave[2], tilt[0] + shake[0] * wave[0], tilt[1] + shake[1] * wave[1]],
        ).as_matrix()
        pose[:3, 3] = street.ground.position(*place)
        pose[2, 3] += height
        return pose

    for index in range(frames):
        start = index / model.rate_hz
        pose = pose_at(start)
        noise = np.random.default_rng([seed, 2, index])
        if skew:
            scan = model.scan_moving(scenes_at, pose_at, start, noise, index)
        else:
            scan = model.scan(scenes_at(start), pose, noise, index)
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
