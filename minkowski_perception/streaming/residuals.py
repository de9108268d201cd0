# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Range residuals: input features that compare each voxel with range images of past frames.

A moving object occupies space that was free a moment ago: the sensor saw further in that
direction then. (Chen et al., "Moving Object Segmentation in 3D LiDAR Data: A Learning-based
Approach Exploiting Sequential Data", 2021, arXiv 2105.08971.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from minkowski_perception.frame import NANOSECONDS, Frame
from minkowski_perception.motion.poses import Pose
from minkowski_perception.voxels import VoxelFrame

try:
    from minkowski_perception.streaming import compiled_residuals
except Exception:  # Numba is absent or does not fit NumPy: use NumPy.
    compiled_residuals = None  # type: ignore[assignment]

Array = npt.NDArray[np.float32]
Image = npt.NDArray[np.int16]
"""[2, rows, columns], nearest and farthest range of each pixel in `UNIT`, (`_EMPTY`, -1) without a
return. Rows are bins of elevation from -90 degrees up, columns bins of azimuth from -180 up."""

SHAPE = (180, 720)
"""Pixels of an image: 1 degree of elevation by 0.5 degrees of azimuth, over the full sphere."""
UNIT = 0.01
"""Metres."""
LIMIT = 2.0
"""Metres; larger residuals are clipped, and residuals are divided by it."""
TOLERANCE = 0.5
"""Largest deviation of a past frame from the wanted delay, as a share of the delay."""

_LIMIT = round(LIMIT / UNIT)
_EMPTY = 32767
_FARTHEST = 32766
_FAR = 1 << 20  # more than any difference of ranges

_PER_METRE = np.float32(1 / UNIT)

_ARCTAN = tuple(
    map(np.float32, [0.99997726, -0.33262347, 0.19354346, -0.11643287, 0.05265332, -0.01172120])
)
"""Coefficients of t, t^3, ... for arctan(t), t from 0 to 1; the error is below 0.001 degrees.

NumPy and Numba give the same bits this way, as their arctan2 need not, and it is faster."""


@dataclass(frozen=True)
class _Past:
    """Range image of a past frame.

    Attributes:
        stamp: of the frame, nanoseconds.
        pose: of the frame.
        image: of its points.
    """

    stamp: int
    pose: Pose
    image: Image


class RangeHistory:
    """Range images of the recent frames of a stream, to compare the next frame with.

    For each delay the history takes the frame whose stamp is nearest to the current one minus the
    delay, within `TOLERANCE`. It projects the mean point of each current voxel into the range
    image of that frame, by the poses of both. The residual of a pixel is the recorded range minus
    the range of the voxel from the sensor's position at that time: positive where the sensor saw
    further, so that the space was free; 0 within the range interval of the pixel; negative where
    something nearer hid the space. Of 3 x 3 pixels the residual of least magnitude counts (the
    positive one of two equal ones), as beams do not hit the same pixels in each frame.

    Rays start at the origin of the frame's points. Where that is far from the true sensor, as for
    clouds in a frame at the ground, residuals of near objects are less accurate. The images have
    the full sphere, so they serve LiDARs and depth cameras alike.

    A frame closer than half of the smallest delay to the last remembered one is not remembered.
    This bounds their number for sensors of any rate.

    Args:
        delays: seconds, ascending.

    Attributes:
        compared: whether any delay of the last frame had a past frame.
    """

    def __init__(self, delays: Sequence[float]) -> None:
        self.compared = False
        self._delays = [round(delay * NANOSECONDS) for delay in delays]
        self._past: list[_Past] = []

    def extended(self, voxels: VoxelFrame, frame: Frame) -> VoxelFrame:
        """Return the voxels of a frame with residuals after their features; remember the frame.

        Args:
            voxels: M voxels with C features each.
            frame: that they are the voxels of; later than the frames before.

        Returns:
            Voxels with features [M, C + 2 D]: for each of D delays the residual, -1 to 1 (clipped
            to +-`LIMIT` and divided by it), and 1; or 0 and 0 where it is unknown: there is no
            pose, no past frame, or no return in the direction.
        """
        self.compared = False
        if not self._delays:
            return voxels
        columns = np.zeros((2 * len(self._delays), len(voxels.coordinates)), np.float32)
        stamps = [past.stamp for past in self._past]
        places = [nearest(stamps, frame.stamp, delay) for delay in self._delays]
        past = [None if place is None else self._past[place] for place in places]
        if frame.pose is not None and any(past) and len(voxels.coordinates):
            self.compared = True
            points = torch.from_numpy(np.compress(voxels.valid, frame.points, axis=0))
            means = voxels.quantization.reduce(points, "mean").numpy()
            for i, other in enumerate(past):
                if other is not None:
                    motion = np.linalg.inv(other.pose) @ frame.pose
                    rows = columns[2 * i : 2 * i + 2]
                    compare(means, motion[:3].astype(np.float32), other.image, rows)
        self.remember(frame)
        features = torch.cat([voxels.features, torch.from_numpy(columns).T], dim=1)
        return replace(voxels, features=features)

    def remember(self, frame: Frame) -> None:
        """Keep the range image of a frame, if it has a pose and points."""
        reach = (1 + TOLERANCE) * max(self._delays, default=0)
        self._past = [past for past in self._past if abs(frame.stamp - past.stamp) <= reach]
        if frame.pose is None or not self._delays:
            return
        if self._past and abs(frame.stamp - self._past[-1].stamp) < self._delays[0] / 2:
            return
        image = range_image(frame.points)
        if (image[1] >= 0).any():
            self._past.append(_Past(frame.stamp, frame.pose, image))

    def clear(self) -> None:
        """Drop all past frames."""
        self.compared = False
        self._past = []

    @property
    def nbytes(self) -> int:
        """Size of the state in bytes."""
        return sum(8 + past.pose.nbytes + past.image.nbytes for past in self._past)

    def state(self) -> dict[str, Tensor]:
        """Return the state as tensors by name; empty without a past frame."""
        if not self._past:
            return {}
        return {
            "stamps": torch.tensor([past.stamp for past in self._past]),
            "poses": torch.from_numpy(np.stack([past.pose for past in self._past])),
            "images": torch.from_numpy(np.stack([past.image for past in self._past])),
        }

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Replace the state by one that `state` returned, of a history of any delays.

        Raises:
            ValueError: the tensors have other names, types or shapes, or there are no delays.
        """
        self.clear()
        if not state:
            return
        if not self._delays:
            raise ValueError("the state has residuals, but the model has none")
        if state.keys() != {"stamps", "poses", "images"}:
            names = ", ".join(sorted(state))
            raise ValueError(f"the state of residuals has stamps, poses and images, not {names}")
        count = len(state["stamps"])
        wanted = {
            "stamps": (torch.int64, (count,)),
            "poses": (torch.float64, (count, 4, 4)),
            "images": (torch.int16, (count, 2, *SHAPE)),
        }
        for name, (dtype, shape) in wanted.items():
            if (found := state[name]).dtype != dtype or found.shape != shape:
                raise ValueError(
                    f"{name} of residuals must be {dtype} {list(shape)}, not {found.dtype} "
                    f"{list(found.shape)}"
                )
        stamps = state["stamps"].tolist()
        columns = zip(stamps, state["poses"].numpy(), state["images"].numpy(), strict=True)
        self._past = [_Past(stamp, pose.copy(), image.copy()) for stamp, pose, image in columns]


def nearest(past: Sequence[int], stamp: int, delay: int) -> int | None:
    """Return the place of the past frame nearest to a delay, None without one within `TOLERANCE`.

    Args:
        past: stamps of past frames, in the order of the stream; of two equally near ones the last
            counts.
        stamp: of the frame.
        delay: nanoseconds, as all stamps.
    """
    # The steps of a clip that is reversed in time are negative.
    errors = [abs(abs(stamp - other) - delay) for other in past]
    place = min(reversed(range(len(errors))), key=errors.__getitem__, default=None)
    return None if place is None or errors[place] > TOLERANCE * delay else place


def range_image(points: Array) -> Image:
    """Return the range image of points [N, 3] in the sensor's frame.

    Points that are not finite, or exactly at the sensor (no return), do not count.
    """
    image = np.empty((2, *SHAPE), np.int16)
    image[0], image[1] = _EMPTY, -1
    if compiled_residuals is not None:
        compiled_residuals.fill(points, image, _ARCTAN, _PER_METRE)
        return image
    rows, columns, ranges = _projected(points, np.eye(3, 4, dtype=np.float32))
    seen = ranges >= 0
    pixels, distances = (rows * SHAPE[1] + columns)[seen], ranges[seen].astype(np.int16)
    np.minimum.at(image[0].reshape(-1), pixels, distances)
    np.maximum.at(image[1].reshape(-1), pixels, distances)
    return image


def compare(points: Array, motion: Array, image: Image, result: Array) -> None:
    """Compare points with a range image.

    Args:
        points: [M, 3], in the current sensor's frame.
        motion: [3, 4], from that frame to the frame of the image.
        image: of a past frame.
        result: [2, M]; changed to the residuals and whether they are known, see `RangeHistory`.
    """
    if compiled_residuals is not None:
        compiled_residuals.compare(points, motion, image, _ARCTAN, _PER_METRE, _LIMIT, result)
        return
    rows, columns, ranges = _projected(points, motion)
    ahead, behind = (np.full(len(points), _FAR) for _ in range(2))
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            inside = (rows + down >= 0) & (rows + down < SHAPE[0]) & (ranges >= 0)
            row, column = (rows + down) % SHAPE[0], (columns + right) % SHAPE[1]
            near, far = (part[row, column].astype(np.int64) for part in image)
            filled = inside & (far >= 0)
            free = np.where(filled & (ranges <= far), np.maximum(near - ranges, 0), _FAR)
            hidden = np.where(filled & (ranges > far), ranges - far, _FAR)
            ahead, behind = np.minimum(ahead, free), np.minimum(behind, hidden)
    known = np.minimum(ahead, behind) < _FAR
    best = np.where(ahead <= behind, ahead, -behind).clip(-_LIMIT, _LIMIT)
    result[0] = np.where(known, best, 0).astype(np.float32) / np.float32(_LIMIT)
    result[1] = known


def _projected(points: Array, motion: Array) -> tuple[npt.NDArray[np.int64], ...]:
    """Return row, column and range in units of points, [N] each; -1 without a return.

    Args:
        points: [N, 3].
        motion: [3, 4], from the frame of the points to that of the image.
    """
    p, q, r = points.T
    with np.errstate(over="ignore", invalid="ignore"):
        x, y, z = (m[0] * p + m[1] * q + m[2] * r + m[3] for m in motion)
        square = x * x + y * y + z * z
        seen = (square > 0) & (square < np.inf)
    x, y, z = np.where(seen, x, 1), np.where(seen, y, 0), np.where(seen, z, 0)
    flat = np.sqrt(x * x + y * y)
    distance = np.sqrt(x * x + y * y + z * z)
    azimuth = _arctan(np.abs(y), np.abs(x))
    azimuth = np.where(x < 0, np.float32(np.pi) - azimuth, azimuth)
    azimuth = np.where(y < 0, -azimuth, azimuth) + np.float32(np.pi)
    elevation = _arctan(np.abs(z), flat)
    elevation = np.where(z < 0, -elevation, elevation) + np.float32(np.pi / 2)
    per_row = np.float32(SHAPE[0]) / np.float32(np.pi)
    per_column = np.float32(SHAPE[1]) / np.float32(2 * np.pi)
    rows = (elevation * per_row).astype(np.int64).clip(0, SHAPE[0] - 1)
    columns = (azimuth * per_column).astype(np.int64).clip(0, SHAPE[1] - 1)
    units = np.minimum(distance * _PER_METRE + np.float32(0.5), np.float32(_FARTHEST))
    return rows, columns, np.where(seen, units.astype(np.int64), -1)


def _arctan(y: Array, x: Array) -> Array:
    """Return arctan(y / x) of two values of 0 or more, 0 to pi / 2."""
    t = np.minimum(x, y) / np.maximum(np.maximum(x, y), np.float32(1e-30))
    s = t * t
    a, b, c, d, e, f = _ARCTAN
    angle = t * (a + s * (b + s * (c + s * (d + s * (e + s * f)))))
    return np.asarray(np.where(y > x, np.float32(np.pi / 2) - angle, angle))
