# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Simulated depth cameras and LiDARs in random rooms: frames with true labels and poses."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from minkowski_perception.frame import OPTICAL_AXES, Frame
from minkowski_perception.lab.simulation.camera import DepthCamera, get_camera
from minkowski_perception.lab.simulation.drive import START
from minkowski_perception.lab.simulation.lidar import LidarModel, Response
from minkowski_perception.lab.simulation.materials import LABELS
from minkowski_perception.lab.simulation.rooms import Room
from minkowski_perception.lab.simulation.scene import Scene, first_hits

CAMERA_FRAME = "camera_depth_optical_frame"
LIDAR_FRAME = "lidar"

_VIEW_ATTEMPTS = 25
_AIMED_SHARE = 0.5  # of trajectories of cameras start with the camera aimed at an object
_PROBE_RAYS = 24, 18  # across and down, cast to judge a view
_ON_FURNITURE_SHARE = 0.5  # of LiDARs stand on furniture; the others are carried
_LOWEST_STAND, _HIGHEST_STAND = 0.35, 1.2  # height of furniture that LiDARs stand on, metres
_MIN_MEDIAN_DEPTH = 1.2  # metres; nearer views show little but a wall


def simulate_indoor(
    seed: int,
    sensor: str | DepthCamera | LidarModel,
    frames: int,
    *,
    kind: str = "room",
    mount_height: float | None = None,
    speed: float | None = None,
    still: bool = False,
    start: float = 0.0,
) -> Iterator[Frame]:
    """Simulate the frames of a sensor that moves through a room; equal arguments, equal bytes.

    Args:
        seed: seed of the room, the trajectory and the noise.
        sensor: depth camera or its name, or a LiDAR model.
        frames: number of frames.
        kind: "room", "corridor" or "hall".
        mount_height: height of the sensor above the floor, metres; None draws one, and places
            some LiDARs on furniture.
        speed: m/s; None draws one.
        still: freeze the world and the sensor at the first frame; only noise differs between
            frames.
        start: time of the first frame, seconds after the start of the trajectory. The view at the
            start is chosen to show several classes; later views are arbitrary.

    Yields:
        Frames with points, labels (indoor8; 255 where a camera has no measurement), moving, stamp
        and pose. Frames of a camera are organised row by row, with NaN in holes, have colour, and
        are in the optical frame (x right, y down, z forward), as drivers publish them; the pose
        takes them to the odometry frame, whose z is up. Frames of a LiDAR have intensity and are
        in a frame whose z is up.

    Raises:
        SensorError: unknown camera; raised at the first frame.
        ValueError: unknown kind of room.
    """
    model = get_camera(sensor) if isinstance(sensor, str) else sensor
    room = Room(seed, kind)
    rng = np.random.default_rng([seed, 20])
    trajectory = _Trajectory(room, rng, isinstance(model, DepthCamera), mount_height, speed)
    static = Scene(room.static)
    response = Response.draw(np.random.default_rng([seed, 22]))
    trajectory.choose_view(static)
    for index in range(frames):
        time = start + (0.0 if still else index / model.rate_hz)
        noise = np.random.default_rng([seed, 21, index])
        pose = trajectory.pose(time)
        scenes = [static, Scene(room.moving(time, pose[:2, 3]))]
        stamp = START + round(index * 1e9 / model.rate_hz)
        if isinstance(model, DepthCamera):
            capture = model.capture(scenes, pose, room.lighting, noise)
            measured = ~np.isnan(capture.points[:, 2])
            yield Frame(
                points=capture.points,
                stamp=stamp,
                frame_id=CAMERA_FRAME,
                colour=capture.colour,
                labels=capture.labels,
                moving=(capture.scenes == 1) & measured & (not still),
                pose=pose,
            )
        else:
            scan = model.scan(scenes, pose, noise, index, response)
            yield Frame(
                points=scan.points,
                stamp=stamp,
                frame_id=LIDAR_FRAME,
                intensity=scan.intensity,
                labels=scan.labels,
                moving=(scan.scenes == 1) & (not still),
                pose=pose,
            )


class _Trajectory:
    """Pose of the sensor over time: back and forth on a straight path, turning and swaying.

    Some LiDARs stand on furniture instead and do not move.
    """

    def __init__(
        self,
        room: Room,
        rng: np.random.Generator,
        optical: bool,
        height: float | None,
        speed: float | None,
    ) -> None:
        self._room, self._rng = room, rng
        self._optical = optical
        carried = rng.random() < 0.5
        drawn = rng.uniform(1.1, 1.75) if carried else rng.uniform(0.25, 1.3)
        self._height = drawn if height is None else height
        drawn = rng.uniform(0.0, 1.0)
        self._speed = drawn if speed is None else speed
        down = rng.normal(0.28 if carried else 0.1, 0.2)
        self._usual_pitch = float(np.clip(down, -0.3, 0.8) if optical else rng.normal(0.0, 0.02))
        self._roll = rng.normal(0.0, 0.04 if carried else 0.01)
        self._turning = rng.normal(0.0, 0.25)
        self._sway = rng.uniform(0.0, 0.05 if carried else 0.01, 3)
        self._rates, self._phases = rng.uniform(0.2, 1.2, 3), rng.uniform(0, 2 * np.pi, 3)
        high = room.targets[:, 2]
        self._stands = room.targets[(high > _LOWEST_STAND) & (high < _HIGHEST_STAND)]
        if optical or height is not None or rng.random() >= _ON_FURNITURE_SHARE:
            self._stands = self._stands[:0]
        self._draw()

    def _draw(self) -> None:
        """Draw the path and the initial orientation."""
        rng, targets = self._rng, self._room.targets
        self._start, self._end = self._room.free_path(rng)
        self._yaw, self._pitch = rng.uniform(-np.pi, np.pi), self._usual_pitch
        if len(self._stands):
            *position, top = self._stands[rng.integers(len(self._stands))]
            self._start = self._end = np.array(position)
            self._height, self._turning = top + rng.uniform(0.05, 0.25), 0.0
        if self._optical and len(targets) and rng.random() < _AIMED_SHARE:
            x, y, z = targets[rng.integers(len(targets))] - (*self._start, self._height)
            self._yaw = float(np.arctan2(y, x)) + rng.normal(0.0, 0.2)
            down = float(np.arctan2(-z, np.hypot(x, y))) + rng.normal(0.0, 0.1)
            self._pitch = float(np.clip(down, -0.2, 0.9))

    def choose_view(self, static: Scene) -> None:
        """Redraw until the first view has depth and shows more than floor and walls."""
        columns, rows = _PROBE_RAYS
        x, y = np.meshgrid(np.linspace(-0.5, 0.5, columns), np.linspace(-0.4, 0.4, rows))
        rays = np.stack([np.ones_like(x), x, y], axis=-1).reshape(-1, 3)
        rays /= np.linalg.norm(rays, axis=1, keepdims=True)
        floor, wall = LABELS.names.index("floor"), LABELS.names.index("wall")
        for _ in range(_VIEW_ATTEMPTS):
            pose = self._body(0.0)
            cast = np.empty((len(rays), 6), dtype=np.float32)
            cast[:, :3], cast[:, 3:] = pose[:3, 3], rays @ pose[:3, :3].T
            hits = first_hits([static], cast)
            deep = float(np.median(hits.distance)) > _MIN_MEDIAN_DEPTH
            bare = float(np.isin(hits.labels, (floor, wall)).mean())
            if deep and bare < 0.85 and float((hits.distance < 0.5).mean()) < 0.1:
                return
            self._draw()

    def _body(self, time: float) -> npt.NDArray[np.float64]:
        """Return the pose of a frame with x forward, y left, z up at a time in seconds, [4, 4]."""
        length = float(np.linalg.norm(self._end - self._start))
        in_cycle = (self._speed * time) % (2 * length) if length > 0 else 0.0
        share = min(in_cycle, 2 * length - in_cycle) / length if length > 0 else 0.0
        wave = self._sway * np.sin(2 * np.pi * self._rates * time + self._phases)
        pose = np.eye(4)
        pose[:3, :3] = Rotation.from_euler(
            "ZYX",
            [self._yaw + self._turning * time + wave[0], self._pitch + wave[1], self._roll],
        ).as_matrix()
        pose[:2, 3] = self._start + share * (self._end - self._start)
        pose[2, 3] = min(self._height + 0.3 * wave[2], self._room.size[2] - 0.2)
        return pose

    def pose(self, time: float) -> npt.NDArray[np.float64]:
        """Return the pose of the sensor in the room at a time in seconds, [4, 4]."""
        pose = self._body(time)
        if self._optical:
            pose[:3, :3] = pose[:3, :3] @ OPTICAL_AXES
        return pose
