# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""A depth camera or LiDAR carried through rooms: frames with true labels and true poses."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from minkowski_perception.frame import OPTICAL_AXES, Frame
from minkowski_perception.lab.simulation.camera import DepthCamera, get_camera
from minkowski_perception.lab.simulation.drive import START
from minkowski_perception.lab.simulation.finishes import LABELS
from minkowski_perception.lab.simulation.lidar import LidarModel
from minkowski_perception.lab.simulation.rooms import Room
from minkowski_perception.lab.simulation.scene import Scene, first_hits

CAMERA_FRAME = "camera_depth_optical_frame"
LIDAR_FRAME = "lidar"

_TRIES = 25
_AIMED = 0.5  # share of views that begin with something that stands around in the middle
_GLANCE = 24, 18  # rays of a first look
_PUT_DOWN = 0.5  # share of LiDARs that stand on a desk, say, instead of being carried
_LOWEST_STAND, _HIGHEST_STAND = 0.35, 1.2  # metres
_DULL = 1.2  # metres of depth in the median below which a view shows a wall and nothing else


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
    """Frames of a sensor carried through a room; the same arguments give the same bytes.

    Args:
        seed: draws the room, the way and the noise.
        sensor: a depth camera, or the name of one, or a LiDAR.
        frames: how many.
        kind: "room", "corridor" or "hall".
        mount_height: of the sensor above the floor, metres; None draws one, and puts some LiDARs
            down on a desk or the like.
        speed: metres a second; None draws one.
        still: the world stands still, and the sensor in it, as in the first frame; only the noise
            of the measurement goes on.
        start: of the first frame, seconds after the view that the way begins with, which is chosen
            for what there is to see; later ones are as they come.

    Yields:
        Frames with points, labels (indoor8; 255 where a camera measured nothing), moving, stamp
        and pose. Those of a camera are organised, row by row, NaN where there is a hole, with
        colour, in the optical frame (x right, y down, z forward) as drivers publish them; pose
        takes them to the odometry frame, whose z is up. Those of a LiDAR are in a frame with z up
        and have intensity.

    Raises:
        SensorError: no camera has that name (told when the first frame is asked for).
        ValueError: there is no such kind of room.
    """
    model = get_camera(sensor) if isinstance(sensor, str) else sensor
    room = Room(seed, kind)
    rng = np.random.default_rng([seed, 20])
    way = _Way(room, rng, isinstance(model, DepthCamera), mount_height, speed)
    static = Scene(room.static)
    way.choose_view(static)
    for index in range(frames):
        time = start + (0.0 if still else index / model.rate_hz)
        noise = np.random.default_rng([seed, 21, index])
        pose = way.pose(time)
        scenes = [static, Scene(room.moving(time, pose[:2, 3]))]
        stamp = START + round(index * 1e9 / model.rate_hz)
        if isinstance(model, DepthCamera):
            shot = model.shoot(scenes, pose, room.lighting, noise)
            measured = ~np.isnan(shot.points[:, 2])
            yield Frame(
                points=shot.points,
                stamp=stamp,
                frame_id=CAMERA_FRAME,
                colour=shot.colour,
                labels=shot.labels,
                moving=(shot.scenes == 1) & measured & (not still),
                pose=pose,
            )
        else:
            scan = model.scan(scenes, pose, noise, index)
            yield Frame(
                points=scan.points,
                stamp=stamp,
                frame_id=LIDAR_FRAME,
                intensity=scan.intensity,
                labels=scan.labels,
                moving=(scan.scenes == 1) & (not still),
                pose=pose,
            )


class _Way:
    """Where the sensor goes and looks: to and fro on a straight line, turning and swaying.

    Some LiDARs are put down on what stands around instead, and stay there.
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
        high = room.sights[:, 2]
        self._stands = room.sights[(high > _LOWEST_STAND) & (high < _HIGHEST_STAND)]
        if optical or height is not None or rng.random() >= _PUT_DOWN:
            self._stands = self._stands[:0]
        self._draw()

    def _draw(self) -> None:
        rng, sights = self._rng, self._room.sights
        self._start, self._end = self._room.way(rng)
        self._yaw, self._pitch = rng.uniform(-np.pi, np.pi), self._usual_pitch
        if len(self._stands):
            *place, top = self._stands[rng.integers(len(self._stands))]
            self._start = self._end = np.array(place)
            self._height, self._turning = top + rng.uniform(0.05, 0.25), 0.0
        if self._optical and len(sights) and rng.random() < _AIMED:
            x, y, z = sights[rng.integers(len(sights))] - (*self._start, self._height)
            self._yaw = float(np.arctan2(y, x)) + rng.normal(0.0, 0.2)
            down = float(np.arctan2(-z, np.hypot(x, y))) + rng.normal(0.0, 0.1)
            self._pitch = float(np.clip(down, -0.2, 0.9))

    def choose_view(self, static: Scene) -> None:
        """Start where there is something to see: depth, and surfaces of several classes."""
        x, y = np.meshgrid(np.linspace(-0.5, 0.5, _GLANCE[0]), np.linspace(-0.4, 0.4, _GLANCE[1]))
        rays = np.stack([np.ones_like(x), x, y], axis=-1).reshape(-1, 3)
        rays /= np.linalg.norm(rays, axis=1, keepdims=True)
        floor, wall = LABELS.names.index("floor"), LABELS.names.index("wall")
        for _ in range(_TRIES):
            pose = self._body(0.0)
            cast = np.empty((len(rays), 6), dtype=np.float32)
            cast[:, :3], cast[:, 3:] = pose[:3, 3], rays @ pose[:3, :3].T
            hits = first_hits([static], cast)
            deep = float(np.median(hits.distance)) > _DULL
            bare = float(np.isin(hits.labels, (floor, wall)).mean())
            if deep and bare < 0.85 and float((hits.distance < 0.5).mean()) < 0.1:
                return
            self._draw()

    def _body(self, time: float) -> npt.NDArray[np.float64]:
        """[4, 4] of x forward, y left, z up."""
        length = float(np.linalg.norm(self._end - self._start))
        gone = (self._speed * time) % (2 * length) if length > 0 else 0.0
        share = min(gone, 2 * length - gone) / length if length > 0 else 0.0
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
        """[4, 4], takes points of the sensor's frame to the room's at a time in seconds."""
        pose = self._body(time)
        if self._optical:
            pose[:3, :3] = pose[:3, :3] @ OPTICAL_AXES
        return pose
