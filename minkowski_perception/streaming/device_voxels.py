# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Voxelization on CUDA, by Triton, without waiting for the device.

The points of a frame get there in one copy from pinned memory. Voxels and features have the bits
of `voxels.voxelize`. With TRITON_INTERPRET=1, all runs on the CPU under Triton's interpreter.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import triton
from torch import Tensor

from minkowski_perception.frame import Frame
from minkowski_perception.sparse import Capacities, CoordinateRangeError, KeyLayout
from minkowski_perception.sparse.capacity import PADDING
from minkowski_perception.sparse.implicit_gemm import launching_on
from minkowski_perception.sparse.keys import on_device, runs
from minkowski_perception.streaming.inputs import FrameInput, Placed
from minkowski_perception.streaming.voxel_kernels import (
    FEATURES,
    HEADER,
    point_kernel,
    voxel_kernel,
)
from minkowski_perception.voxels import (
    Array,
    MissingFieldError,
    VoxelInput,
    origin_of,
    reach_of,
)

_LAYOUT = KeyLayout.for_dimension(3)
_COLOURS = frozenset({"red", "green", "blue"})
_HEADER_BYTES = 8 * HEADER

_POINT_ROWS, _VOXEL_ROWS, _STEPS = 256, 32, 8
"""Points and voxels of a program, and points of a voxel that are read at a time."""


class DeviceVoxelizer:
    """Voxelizes the frames of a stream on the device.

    Args:
        spec: input of the network; `accepts` says whether it can be.
        dimension: of the network.
        device: CUDA, or the CPU under Triton's interpreter.
        density: whether to compute the density of voxels.
    """

    def __init__(
        self, spec: VoxelInput, dimension: int, device: torch.device, density: bool
    ) -> None:
        self.spec, self._device, self._density = spec, device, density
        self._reach = reach_of(spec, dimension)
        self._coloured = not _COLOURS.isdisjoint(spec.features)
        self._pinned = self._raw = torch.empty(0, dtype=torch.uint8)

    @staticmethod
    def accepts(spec: VoxelInput) -> bool:
        """Return whether frames of a network's input can be voxelized on the device."""
        usual = spec.shift == "none" and spec.rounding == "floor" and not spec.residuals
        return usual and set(spec.features) <= set(FEATURES)

    def copied(self, frame: Frame, intensity: Array | None, capacity: int) -> Tensor:
        """Return a frame on the device, for `placed`; valid until the next call.

        Args:
            frame: up to `capacity` points.
            intensity: [N] float32, 0 to 1; None if it is unknown.
            capacity: number of points, a multiple of 16.

        Raises:
            MissingFieldError: the frame lacks a required feature.
        """
        if self._coloured and frame.colour is None:
            raise MissingFieldError.colour()
        size = _HEADER_BYTES + capacity * (16 + 3 * self._coloured)
        if len(self._raw) != size:
            self._pinned = torch.zeros(size, dtype=torch.uint8)
            if self._device.type == "cuda":
                self._pinned = self._pinned.pin_memory()
            self._raw = torch.empty(size, dtype=torch.uint8, device=self._device)
        header, points, shades, colours = self._parts(self._pinned, capacity)
        pose = frame.pose_or_upright
        numbers = header.numpy()
        numbers[:12] = pose[:3].ravel()
        numbers[12:15] = origin_of(pose, self.spec)
        numbers[15:] = self.spec.voxel_size, np.float32(self._reach), intensity is not None
        _fill(points.numpy(), frame.points)
        _fill(shades.numpy(), 0.0 if intensity is None else intensity, len(frame))
        if self._coloured:
            _fill(colours.numpy(), frame.colour)
        self._raw.copy_(self._pinned, non_blocking=True)
        return self._raw

    def placed(self, raw: Tensor, capacities: Capacities) -> Placed:
        """Return the voxels of a frame that `copied` has brought to the device."""
        spec, device, channels = self.spec, raw.device, len(self.spec.features)
        width = channels + self._density
        count = (len(raw) - _HEADER_BYTES) // (16 + 3 * self._coloured)
        header, points, intensity, colours = self._parts(raw, count)
        factors = on_device((*spec.scale, *spec.offsets), device, torch.float32)
        keys = torch.empty(count, dtype=torch.int64, device=device)
        values = torch.empty(count, width, device=device)
        low, high = _LAYOUT.limits[1]
        bits = _LAYOUT.bits[1]
        with launching_on(raw):
            point_kernel[(triton.cdiv(count, _POINT_ROWS),)](
                *(header, points, intensity, colours, factors, keys, values, count),
                NUMBERS=_numbers(spec.features), CHANNELS=channels,
                WIDTH=width, BITS=bits, LOW=low, HIGH=high, ROWS=_POINT_ROWS,
                enable_fp_fusion=False,
            )  # fmt: skip
        ordered, order, rows, starts = runs(keys, capacities, "voxels")
        capacities.check(ordered[:1], _check_range)
        voxels = len(starts)
        coordinates = keys.new_empty(voxels, 5)
        of_voxels, sizes = keys.new_empty(voxels), keys.new_empty(voxels)
        features = values.new_empty(voxels, channels)
        distances = values.new_empty(voxels)
        with launching_on(raw):
            voxel_kernel[(triton.cdiv(voxels, _VOXEL_ROWS),)](
                *(ordered, order, starts, values, factors),
                *(coordinates, of_voxels, features, distances, sizes, count, voxels),
                COLUMN=spec.features.index("spread_z") if "spread_z" in spec.features else -1,
                FIRST=spec.reduce == "first", CHANNELS=channels, WIDTH=width,
                COLUMNS=triton.next_power_of_2(width), BITS=bits, ROWS=_VOXEL_ROWS,
                STEPS=_STEPS, enable_fp_fusion=False,
            )  # fmt: skip
        density = (distances, sizes) if self._density else None
        return Placed(coordinates, features, of_voxels, rows, keys == PADDING, density)

    def _parts(self, raw: Tensor, capacity: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return header, points [capacity, 3], intensity and colours [capacity, 3] in `raw`."""
        header, points, intensity, colours = raw.split(
            (_HEADER_BYTES, 12 * capacity, 4 * capacity, 3 * capacity * self._coloured)
        )
        return (
            header.view(torch.float64),
            points.view(torch.float32).view(capacity, 3),
            intensity.view(torch.float32),
            colours.view(-1, 3),
        )


class PointFrame(FrameInput):
    """The N > 0 points of a frame, which become voxels on the device.

    Args:
        frame: the frame.
        intensity: [N] float32, 0 to 1; None if it is unknown.
        voxelizer: of the stream.
    """

    kind = "points"

    def __init__(self, frame: Frame, intensity: Array | None, voxelizer: DeviceVoxelizer) -> None:
        self._frame, self._intensity, self._voxelizer = frame, intensity, voxelizer
        self.origin = torch.from_numpy(origin_of(frame.pose_or_upright, voxelizer.spec))

    def tensors(self, capacities: Capacities | None) -> Sequence[Tensor]:
        """See `FrameInput.tensors`."""
        assert capacities is not None
        capacity = capacities.reserve("points", len(self._frame))
        return [self._voxelizer.copied(self._frame, self._intensity, capacity)]

    def placed(self, tensors: Sequence[Tensor], capacities: Capacities | None) -> Placed:
        """See `FrameInput.placed`."""
        assert capacities is not None
        return self._voxelizer.placed(tensors[0], capacities)


def _numbers(features: Sequence[str]) -> int:
    """Return features in an integer, as the kernels take them: four bits each."""
    return sum(FEATURES.index(name) << 4 * i for i, name in enumerate(features))


def _fill(rows: npt.NDArray[Any], values: Any, count: int | None = None) -> None:
    """Write values to the first rows, and zeros to the others."""
    count = len(values) if count is None else count
    rows[:count] = values
    rows[count:] = 0


def _check_range(numbers: list[int]) -> None:
    if numbers[0] < 0:
        low, high = _LAYOUT.limits[1]
        raise CoordinateRangeError(
            f"a voxel is out of the range around the sensor, {low} to {high} along each axis"
        )
