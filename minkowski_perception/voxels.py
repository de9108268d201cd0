# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Voxelization: a frame as voxels in the odometry frame, with the features of a network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from minkowski_perception.frame import Frame
from minkowski_perception.schema import Choice, Range, read
from minkowski_perception.sparse import KeyLayout, Quantization, quantize

try:
    from minkowski_perception import compiled_voxels
except Exception:  # Numba is absent or does not fit NumPy: use NumPy.
    compiled_voxels = None  # type: ignore[assignment]

Array = npt.NDArray[np.float32]

_Feature: TypeAlias = "Callable[[_Points], Array]"
"""From N points in M voxels to a value for each point [N] or each voxel [M]."""

ORIGIN_GRID = 256
"""Origins are multiples of this number of voxels, so the lattices of all strides stay aligned."""


class MissingFieldError(ValueError):
    """A frame lacks what the features of a model need."""

    @classmethod
    def colour(cls) -> MissingFieldError:
        """Return the error of a cloud without colour."""
        return cls(
            "the model needs colour, but the cloud has no rgb field; the command 'models' "
            "lists what each model needs"
        )


class _Points(NamedTuple):
    """N valid points, as input for computing features."""

    positions: Array
    """[3, N] metres, in the sensor frame."""
    up: npt.NDArray[np.float64]
    """[1, 3], the odometry frame's z axis in the sensor frame."""
    intensity: Array
    intensity_known: bool
    colour: npt.NDArray[np.uint8] | None
    """[3, N]"""
    offsets: Array
    """[3, N] voxels, from the voxel centre to the point, along the axes of the odometry frame."""
    quantization: Quantization


def _position(axis: int) -> _Feature:
    return lambda points: points.positions[axis]


def _offset(axis: int) -> _Feature:
    return lambda points: points.offsets[axis]


def _colour(channel: int) -> _Feature:
    def read(points: _Points) -> Array:
        if points.colour is None:
            raise MissingFieldError.colour()
        values: Array = points.colour[channel].astype(np.float32)
        return values / np.float32(255.0)

    return read


def _ranges(positions: Array) -> Array:
    """Return the ranges [N] of points [3, N]."""
    x, y, z = positions
    ranges: Array = np.sqrt(x * x + y * y + z * z)
    return ranges


def _spread_z(points: _Points) -> Array:
    heights = points.offsets[2].astype(np.float64)
    powers = torch.from_numpy(np.stack([heights, heights**2]))
    mean, mean_square = points.quantization.reduce(powers.T, "mean").unbind(dim=1)
    return (mean_square - mean**2).clamp(min=0).sqrt().float().numpy()


def _coordinates(compute: Callable[[Tensor], Tensor]) -> _Feature:
    return lambda points: compute(points.quantization.coordinates[:, 1:]).float().numpy()


# Positions are relative to the sensor, so features do not depend on where the robot is.
_FEATURES: Mapping[str, _Feature] = {
    "one": lambda points: np.ones(len(points.quantization.first), dtype=np.float32),
    "x": _position(0),
    "y": _position(1),
    "z": _position(2),
    "height": lambda points: _product(points.up, points.positions)[0].astype(np.float32),
    "range": lambda points: _ranges(points.positions),
    "intensity": lambda points: points.intensity,
    "intensity_known": lambda points: np.full(
        len(points.quantization.first), points.intensity_known, dtype=np.float32
    ),
    "red": _colour(0),
    "green": _colour(1),
    "blue": _colour(2),
    "offset_x": _offset(0),
    "offset_y": _offset(1),
    "offset_z": _offset(2),
    "spread_z": _spread_z,
    # Coordinate features of SpatioTemporalSegmentation.
    "voxel_x": _coordinates(lambda voxels: voxels[:, 0] - voxels[:, 0].double().mean()),
    "voxel_y": _coordinates(lambda voxels: voxels[:, 1] - voxels[:, 1].double().mean()),
    "voxel_z": _coordinates(lambda voxels: voxels[:, 2] - voxels[:, 2].min()),
}
FEATURES = tuple(_FEATURES)

_OF_VOXELS = frozenset({"one", "intensity_known", "spread_z", "voxel_x", "voxel_y", "voxel_z"})
"""Features with a value for each voxel; the others have one for each point."""

_MOST_DELAY = 16
"""Largest delay of a residual over the smallest: it limits the number of remembered frames."""

_ROUNDINGS: Mapping[str, Callable[..., npt.NDArray[np.floating]]] = {
    "floor": np.floor,
    "round": np.round,
}


@dataclass(frozen=True)
class VoxelInput:
    """Input of a network: how points become voxels and features. `input` of a model card.

    Attributes:
        voxel_size: edge of a voxel, metres.
        features: names out of "one", "x", "y", "z", "range" (metres, in the sensor's frame),
            "height" (metres above the sensor, however it is turned), "intensity" (0 to 1;
            0 where it is unknown), "intensity_known" (1, or 0 where the cloud has no intensity),
            "red", "green", "blue" (0 to 1), "offset_x", "offset_y", "offset_z" (voxels, from the
            centre of the point's voxel along the odometry frame's axes), "spread_z" (voxels,
            standard deviation of heights within the voxel), "voxel_x", "voxel_y" (voxels from the
            mean of the frame's voxels), "voxel_z" (voxels above the lowest).
        scale: factor on each feature; 1 each where empty.
        reduce: a voxel's features are those of its "first" point (of lowest index: networks of
            other code bases were trained so, and another order of points may change labels), or
            the "mean" of its points, whatever their order.
        offset: added to each feature after the factor; 0 each where empty.
        rounding: from position / voxel size to a voxel: "floor", or "round", half to even.
        shift: "none" leaves voxels in the odometry frame; "minimum" takes those of the sensor's
            frame, whatever the pose, less their minimum on each axis. For networks that were
            trained so: their strides start at each frame's own corner, so frames cannot be joined.
        boundary: "keep" gives every voxel a parent at each stride, "clip" as spconv: none to those
            in the last plane of an odd extent (see `SparseTensor`). For networks that were trained
            so, with shift "minimum".
        residuals: delays in seconds, ascending, the largest at most 16 times the smallest; each
            adds two features after those of `features`: the range residual to the frame of so
            long ago, and whether it is known; see `RangeHistory`. Not with shift "minimum".

    Raises:
        ValueError: scale or offset does not fit the features, boundary or residuals the shift, or
            residuals are not ascending or too far apart.
    """

    voxel_size: Annotated[float, Range(0.005, 5.0)]
    features: tuple[Annotated[str, Choice("feature", FEATURES)], ...]
    scale: tuple[float, ...] = ()
    reduce: Literal["first", "mean"] = "first"
    offset: tuple[float, ...] = ()
    rounding: Literal["floor", "round"] = "floor"
    shift: Literal["none", "minimum"] = "none"
    boundary: Literal["keep", "clip"] = "keep"
    residuals: tuple[Annotated[float, Range(0.01, 10.0)], ...] = ()

    def __post_init__(self) -> None:
        """Fill in `scale`, and check that the values fit each other."""
        if not self.features:
            raise ValueError(f"features is empty; choose from {', '.join(FEATURES)}")
        if not self.scale:
            object.__setattr__(self, "scale", (1.0,) * len(self.features))
        for name, values in (("scale", self.scale), ("offset", self.offsets)):
            if len(values) != len(self.features):
                raise ValueError(f"{len(self.features)} features, but {name} of {len(values)}")
        if self.boundary == "clip" and self.shift != "minimum":
            raise ValueError("boundary 'clip' needs shift 'minimum': it counts from the minimum")
        if not self.residuals:
            return
        if self.shift != "none":
            raise ValueError("residuals need shift 'none': they compare frames in one place")
        first, last = self.residuals[0], self.residuals[-1]
        if list(self.residuals) != sorted(set(self.residuals)) or last > _MOST_DELAY * first:
            raise ValueError(
                f"residuals must be ascending delays, the largest at most {_MOST_DELAY} times the "
                f"smallest, not {', '.join(f'{delay:g}' for delay in self.residuals)}"
            )

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the network's input channels: the features, and two for each residual."""
        columns = [(f"residual {delay:g} s", f"known {delay:g} s") for delay in self.residuals]
        return self.features + tuple(name for pair in columns for name in pair)

    @property
    def offsets(self) -> tuple[float, ...]:
        """`offset` of each feature, zeros where it is empty."""
        return self.offset or (0.0,) * len(self.features)

    @classmethod
    def from_dict(cls, data: Any, path: str = "") -> VoxelInput:
        """Read the `input` of a card.

        Args:
            data: its content.
            path: of the input in the card, for errors.

        Raises:
            SchemaError: a key is unknown or missing, or a value is not possible; the valid ones
                are listed.
        """
        return read(cls, data, path)


@dataclass(frozen=True)
class PointLimits:
    """Limits on what of a frame is computed; points beyond them are in no voxel.

    Attributes:
        max_points: of more points, evenly spaced ones are kept; None for no limit.
        max_voxels: of more voxels, the nearest to the sensor are kept; None for no limit.
        stride: of each so many points one is kept, with all points in its voxel.
    """

    max_points: int | None = None
    max_voxels: int | None = None
    stride: int = 1

    def keep_all_of(self, points: int) -> bool:
        """Return whether they leave any frame of so many points as it is."""
        limits = (self.max_points, self.max_voxels)
        return self.stride == 1 and all(most is None or points <= most for most in limits)

    def thin(self, valid: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Return which of the valid points [N] are kept by `max_points`."""
        count = int(np.count_nonzero(valid))
        if self.max_points is None or count <= self.max_points:
            return valid
        kept = np.zeros_like(valid)
        kept[np.flatnonzero(valid)[:: -(-count // self.max_points)]] = True
        return kept

    def choose(self, quantization: Quantization, positions: Array) -> npt.NDArray[np.bool_] | None:
        """Return which points are kept by `stride` and `max_voxels`; None for all.

        Args:
            quantization: N points in M voxels.
            positions: [3, N], in the sensor frame.
        """
        voxels = len(quantization.first)
        if self.stride == 1 and (self.max_voxels is None or voxels <= self.max_voxels):
            return None
        chosen = np.ones(voxels, dtype=np.bool_)
        inverse = quantization.inverse.numpy()
        if self.stride > 1:
            chosen[:] = False
            chosen[inverse[:: self.stride]] = True
        if self.max_voxels is not None and np.count_nonzero(chosen) > self.max_voxels:
            rows = np.flatnonzero(chosen)
            squares = (positions[:, quantization.first.numpy()[rows]] ** 2).sum(axis=0)
            chosen[rows[np.argsort(squares, kind="stable")[self.max_voxels :]]] = False
        kept: npt.NDArray[np.bool_] = chosen[inverse]
        return kept


@dataclass(frozen=True)
class Voxels:
    """Voxels of a frame.

    Attributes:
        coordinates: [M, 3] int64, in the odometry frame, relative to `origin`.
        origin: [3] int64, a voxel near the sensor, in multiples of `ORIGIN_GRID`.
        features: [M, C] float32.
    """

    coordinates: Tensor
    origin: Tensor
    features: Tensor


@dataclass(frozen=True)
class VoxelFrame(Voxels):
    """Voxels of a frame, with the mapping between points and voxels.

    Attributes:
        quantization: voxel of each valid point.
        valid: [N] bool, points of the frame that are in a voxel.
        thinned: number of points that are in no voxel because of the limits.
    """

    quantization: Quantization
    valid: npt.NDArray[np.bool_]
    thinned: int = 0

    def distances(self, frame: Frame) -> Tensor:
        """Return the mean range [M] float32 of the frame's points in each voxel, metres."""
        points = _columns(frame.points, np.flatnonzero(self.valid))
        ranges = torch.from_numpy(_ranges(points))
        return self.quantization.reduce(ranges[:, None], "mean")[:, 0]


def voxelize(
    frame: Frame,
    spec: VoxelInput,
    intensity: Array | None = None,
    dimension: int = 4,
    limits: PointLimits = PointLimits(),
) -> VoxelFrame:
    """Convert a frame to voxels in the odometry frame.

    Voxels are floor(pose * point / voxel size); a frame without a pose has the pose
    `Frame.upright`. See `VoxelInput` for other conventions. Points are invalid if they are not
    finite, are exactly at the sensor (no return) or are outside the range of the keys.

    Args:
        frame: N points.
        spec: voxel size and features of the network.
        intensity: [N] float32, 0 to 1; None if it is unknown.
        dimension: dimension of the sparse tensors for which the voxels are used.
        limits: on points and voxels.

    Raises:
        MissingFieldError: the frame lacks a required feature.
    """
    valid = _measured(frame.points, reach_of(spec, dimension))
    possible, valid = int(np.count_nonzero(valid)), limits.thin(valid)
    rows = np.flatnonzero(valid)  # `take` is several times as fast as a mask
    positions = _columns(frame.points, rows)
    pose = frame.pose_or_upright
    if spec.shift == "minimum":
        origin = np.zeros(3, dtype=np.int64)
        # In float32, as in the code bases of these networks: float64 could give other voxels.
        coordinates, offsets = _cells(positions / np.float32(spec.voxel_size), spec.rounding)
    else:
        origin = origin_of(pose, spec)
        coordinates, offsets = _place(positions, pose, spec, origin)

    quantization = quantize(torch.from_numpy(coordinates.T))
    kept = limits.choose(quantization, positions)
    if kept is not None:
        valid[valid] = kept
        rows, positions, offsets = rows[kept], positions[:, kept], offsets[:, kept]
        quantization = quantize(torch.from_numpy(coordinates[:, kept].T))
    points = _Points(
        positions,
        pose[2:3, :3],
        np.zeros(len(rows), np.float32) if intensity is None else intensity.take(rows),
        intensity is not None,
        None if frame.colour is None else _columns(frame.colour, rows),
        offsets,
        quantization,
    )
    features = _features(spec, points)
    voxels = quantization.coordinates[:, 1:]
    thinned = possible - int(np.count_nonzero(valid))
    return VoxelFrame(voxels, torch.from_numpy(origin), features, quantization, valid, thinned)


def reach_of(spec: VoxelInput, dimension: int) -> float:
    """Return the metres along each axis within which points are in a voxel.

    Half of the key range is for the frame, half for the motion between frames of a window.
    """
    return KeyLayout.for_dimension(dimension).limits[1][1] // 2 * spec.voxel_size


def origin_of(pose: npt.NDArray[np.float64], spec: VoxelInput) -> npt.NDArray[np.int64]:
    """Return the voxel [3] near the sensor that the coordinates of a frame are relative to."""
    cells = np.floor(pose[:3, 3] / spec.voxel_size / ORIGIN_GRID).astype(np.int64)
    return cells * ORIGIN_GRID


def _measured(points: Array, reach: float) -> npt.NDArray[np.bool_]:
    """Return which points [N, 3] have coordinates below `reach` metres, and are not at the sensor.

    It is `Frame.measured` with a limit, in one pass.
    """
    if compiled_voxels is not None:
        return compiled_voxels.measured(points, reach)
    x, y, z = points.T  # column by column, because NumPy is slow along axes of length 3
    with np.errstate(invalid="ignore"):
        near = (np.abs(x) < reach) & (np.abs(y) < reach) & (np.abs(z) < reach)
    return np.asarray(near & ((x != 0.0) | (y != 0.0) | (z != 0.0)))


def _columns(values: npt.NDArray[Any], rows: npt.NDArray[np.intp]) -> npt.NDArray[Any]:
    """Return some rows of values [N, 3] as columns [3, R]."""
    if compiled_voxels is not None:
        return compiled_voxels.columns(values, rows)
    return np.ascontiguousarray(values.take(rows, axis=0).T)


def _place(
    positions: Array,
    pose: npt.NDArray[np.float64],
    spec: VoxelInput,
    origin: npt.NDArray[np.int64],
) -> tuple[npt.NDArray[np.int64], Array]:
    """Return the voxels of points in the odometry frame.

    Args:
        positions: [3, N].
        pose: [4, 4].
        spec: voxel size and rounding.
        origin: [3], that coordinates are relative to.

    Returns:
        coordinates [4, N], the first row 0; offsets [3, N] from the voxel's centre, in voxels.
    """
    if compiled_voxels is not None:
        floors = spec.rounding == "floor"
        return compiled_voxels.place(positions, pose, spec.voxel_size, floors, origin)
    scaled = (_product(pose[:3, :3], positions) + pose[:3, 3:]) / spec.voxel_size
    return _cells(scaled, spec.rounding, origin)


def _cells(
    scaled: npt.NDArray[np.floating],
    rounding: str,
    origin: npt.NDArray[np.int64] | None = None,
) -> tuple[npt.NDArray[np.int64], Array]:
    """Return the voxels of points [3, N] in voxels; see `_place`.

    Without an origin coordinates are relative to their minimum.
    """
    cells = _ROUNDINGS[rounding](scaled)
    if origin is None:
        corner = cells.min(axis=1, keepdims=True, initial=np.inf)
    else:
        corner = origin[:, None]
    coordinates = np.zeros((4, scaled.shape[1]), dtype=np.int64)
    coordinates[1:] = cells - corner
    centre = 0.5 if rounding == "floor" else 0.0
    return coordinates, (scaled - cells - centre).astype(np.float32)


def _features(spec: VoxelInput, points: _Points) -> Tensor:
    """Return the features [M, C] of the voxels; those of points are reduced."""
    result = np.empty((len(points.quantization.first), len(spec.features)), dtype=np.float32)
    of_points = [name not in _OF_VOXELS for name in spec.features]
    values = np.empty((sum(of_points), points.positions.shape[1]), dtype=np.float32)
    rows = iter(values)
    for i, (scale, offset) in enumerate(zip(spec.scale, spec.offsets, strict=True)):
        column = next(rows) if of_points[i] else result[:, i]
        np.multiply(_FEATURES[spec.features[i]](points), np.float32(scale), out=column)
        column += np.float32(offset)
    if len(values):
        reduced = points.quantization.reduce(torch.from_numpy(values.T), spec.reduce)
        result[:, of_points] = reduced.numpy()
    return torch.from_numpy(result)


def _product(rows: npt.NDArray[np.float64], points: Array) -> npt.NDArray[np.float64]:
    """Return rows [R, 3] times points [3, N]; the rounding of a point is independent of others.

    In a BLAS matrix product, the rounding of a point may depend on its index.
    """
    if compiled_voxels is not None:
        return compiled_voxels.product(rows, points)
    x, y, z = points.astype(np.float64)
    return np.stack([x * row[0] + y * row[1] + z * row[2] for row in rows])


def stack_in_time(frames: Sequence[Voxels], batch: int = 0) -> tuple[Tensor, Tensor]:
    """Stack frames to 4D voxels; the first frame has time index 0.

    Args:
        frames: T voxel frames in one odometry frame, oldest first.
        batch: batch index of the result.

    Returns:
        coordinates [sum M, 5] int64 [batch, x, y, z, t], relative to the last frame's origin;
        features [sum M, C] float32.
    """
    coordinates = []
    for time, frame in enumerate(frames):
        space = frame.coordinates + (frame.origin - frames[-1].origin)
        batches, times = (space.new_full((len(space), 1), value) for value in (batch, time))
        coordinates.append(torch.cat([batches, space, times], dim=1))
    return torch.cat(coordinates), torch.cat([frame.features for frame in frames])
