# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Sparse tensor: features on the occupied voxels of a lattice of any dimension."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from minkowski_perception.sparse.capacity import Capacities
from minkowski_perception.sparse.coordinates import CoordinateMap, Stride
from minkowski_perception.sparse.engines.base import Engine
from minkowski_perception.sparse.keys import KeyLayout
from minkowski_perception.sparse.links import Memory
from minkowski_perception.sparse.manager import CoordinateManager


class SparseTensor:
    """Features [N, C] on N voxels, in canonical order (sorted by batch, then axis by axis).

    Args:
        features: [N, C] floats; row i belongs to `coordinates[i]`.
        coordinates: [N, 1 + D] unique integers, [batch, x, y, z] in 3D, [batch, x, y, z, t] in
            4D. Rows are sorted into canonical order.
        stride: distance between neighbouring voxels along each axis, in units of the finest
            voxels.
        engine: runs the convolutions on this tensor and on those derived from it; None for plain
            PyTorch.
        clip: whether to drop coarser voxels that reach beyond the extent, as spconv does. If the
            number of planes from 0 to the largest coordinate is odd, the last plane has no
            parent and gets zeros from upsampling. Coordinates must not be negative.
        memory: memory of the earlier frames, if this is the newest frame of a stream, with all
            voxels at time 0.
        capacities: of a frame whose coordinates end with padding; they have stride 1 and are
            unique, which is not checked. None without padding.
        in_order: whether the rows of a frame with capacities are in canonical order.

    Raises:
        ValueError: shapes do not match, coordinates are not unique, or a coordinate is not a
            multiple of the stride.
        CoordinateRangeError: a coordinate is outside the range of its dimension.
    """

    def __init__(
        self,
        features: Tensor,
        coordinates: Tensor,
        stride: int | Sequence[int] = 1,
        engine: Engine | None = None,
        clip: bool = False,
        memory: Memory | None = None,
        capacities: Capacities | None = None,
        in_order: bool = False,
    ) -> None:
        if features.ndim != 2 or coordinates.ndim != 2 or len(features) != len(coordinates):
            raise ValueError(
                "features [N, C] and coordinates [N, 1 + D] must have the same number of rows, "
                f"not shapes {list(features.shape)} and {list(coordinates.shape)}"
            )
        if coordinates.is_floating_point():
            raise ValueError(f"coordinates must be integers, not {coordinates.dtype}")
        layout = KeyLayout.for_dimension(coordinates.shape[1] - 1)
        strides = per_axis(stride, layout.dimension)
        if max(strides) > 1:
            steps = torch.tensor(strides, device=coordinates.device)
            if (coordinates[:, 1:] % steps).any():
                raise ValueError(f"coordinates are not all multiples of the stride {strides}")
        keys = layout.pack(coordinates, capacities)
        order = None
        # The voxels of a frame are in canonical order already.
        if not (in_order if capacities is not None else (keys[1:] > keys[:-1]).all()):
            keys, order = torch.sort(keys)
            if capacities is None and (keys[1:] == keys[:-1]).any():
                raise ValueError("duplicate coordinates; call quantize() first")
            features = features.index_select(0, order)
        self.features = features
        extent = coordinates[:, 1:].amax(dim=0) + 1 if clip and len(coordinates) else None
        self.map = CoordinateMap(keys, layout, strides, capacities)
        self.manager = CoordinateManager(self.map, order, engine, extent, memory)

    @classmethod
    def on_map(
        cls, features: Tensor, coordinate_map: CoordinateMap, manager: CoordinateManager
    ) -> SparseTensor:
        """Create a tensor from features [N, C] in the order of an existing map, without checks."""
        tensor = cls.__new__(cls)
        tensor.features, tensor.map, tensor.manager = features, coordinate_map, manager
        return tensor

    def replace(self, features: Tensor) -> SparseTensor:
        """Return a tensor of other features [N, C'] on the same voxels."""
        return self.on_map(features, self.map, self.manager)

    @property
    def coordinates(self) -> Tensor:
        """[N, 1 + D] int64, the batch index first."""
        return self.map.coordinates

    @property
    def stride(self) -> Stride:
        """Distance between neighbouring voxels along each axis, in units of the finest voxels."""
        return self.map.stride

    @property
    def dimension(self) -> int:
        """Number of axes, without the batch."""
        return self.map.layout.dimension

    def __len__(self) -> int:
        return len(self.map)

    def __repr__(self) -> str:
        return (
            f"SparseTensor({len(self)} voxels, {self.features.shape[1]} channels, "
            f"{self.dimension}D, stride {self.stride})"
        )

    def __add__(self, other: SparseTensor) -> SparseTensor:
        """Return the sum of two tensors on the same voxels."""
        other.require_voxels(self.map)
        return self.replace(self.features + other.features)

    def at(self, coordinates: Tensor) -> Tensor:
        """Return the features [M, C] at voxels [M, 1 + D]; zeros for unoccupied voxels."""
        rows = self.map.rows(self.map.layout.pack(coordinates))
        return torch.where(rows[:, None] >= 0, self.features[rows], 0)

    def in_input_order(self, which: slice = slice(None)) -> Tensor:
        """Return features [M, C] in the order of the coordinates given to the first tensor.

        Args:
            which: slice of those coordinates.

        Raises:
            ValueError: this tensor is not on the voxels of the first one.
        """
        self.require_voxels(self.manager.given)
        rows = self.manager.input_rows
        return self.features[which] if rows is None else self.features.index_select(0, rows[which])

    def require_voxels(self, coordinate_map: CoordinateMap) -> None:
        """Check that this tensor has the voxels of a map.

        Raises:
            ValueError: it has other voxels.
        """
        if coordinate_map is not self.map and not torch.equal(coordinate_map.keys, self.map.keys):
            raise ValueError(
                f"{self} is not on the same {len(coordinate_map)} voxels as the other tensor"
            )


def cat(tensors: Sequence[SparseTensor]) -> SparseTensor:
    """Concatenate the channels of tensors on the same voxels.

    Raises:
        ValueError: the voxels differ.
    """
    first = tensors[0]
    for other in tensors[1:]:
        other.require_voxels(first.map)
    return first.replace(torch.cat([t.features for t in tensors], dim=1))


def per_axis(value: int | Sequence[int], dimension: int) -> tuple[int, ...]:
    """Return one integer per axis, from a single integer or a sequence.

    Raises:
        ValueError: a value is below 1, or the number of values differs from the dimension.
    """
    values = (value,) * dimension if isinstance(value, int) else tuple(int(v) for v in value)
    if len(values) != dimension or min(values) < 1:
        raise ValueError(f"expected {dimension} values of 1 or more, got {value}")
    return values
