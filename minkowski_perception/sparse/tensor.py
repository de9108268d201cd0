# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The sparse tensor: features on the occupied voxels of a lattice of any dimension."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from minkowski_perception.sparse.coordinates import CoordinateMap, Stride
from minkowski_perception.sparse.engines.base import Engine
from minkowski_perception.sparse.keys import KeyLayout
from minkowski_perception.sparse.links import Memory
from minkowski_perception.sparse.manager import CoordinateManager


class SparseTensor:
    """Features [N, C] on N voxels, in canonical order (sorted by batch, then axis by axis).

    Args:
        features: [N, C] floats, row i belonging to `coordinates[i]`.
        coordinates: [N, 1 + D] integers, [batch, x, y, z] in 3D, [batch, x, y, z, t] in 4D;
            each at most once. Rows are brought into canonical order.
        stride: distance of neighbouring voxels along each axis, in units of the finest voxels.
        engine: runs the convolutions on this tensor and all that grows from it; None for plain
            PyTorch.
        clip: whether coarser voxels end where the voxels do, as in spconv: where the number of
            planes from 0 to the largest coordinate is odd, the last one has no parent, and comes
            back from upsampling as zeros. For coordinates that are not negative.
        memory: of the frames before, where this is the newest one of a stream: all at time 0.

    Raises:
        ValueError: shapes do not fit, a voxel stands twice, or a coordinate is no multiple of
            the stride.
        CoordinateRangeError: a coordinate is outside of the range of its dimension.
    """

    def __init__(
        self,
        features: Tensor,
        coordinates: Tensor,
        stride: int | Sequence[int] = 1,
        engine: Engine | None = None,
        clip: bool = False,
        memory: Memory | None = None,
    ) -> None:
        if features.ndim != 2 or coordinates.ndim != 2 or len(features) != len(coordinates):
            raise ValueError(
                "features [N, C] and coordinates [N, 1 + D] must have as many rows, not shapes "
                f"{list(features.shape)} and {list(coordinates.shape)}"
            )
        if coordinates.is_floating_point():
            raise ValueError(f"coordinates must be integers, not {coordinates.dtype}")
        layout = KeyLayout.for_dimension(coordinates.shape[1] - 1)
        strides = per_axis(stride, layout.dimension)
        if max(strides) > 1:
            steps = torch.tensor(strides, device=coordinates.device)
            if (coordinates[:, 1:] % steps).any():
                raise ValueError(f"coordinates are not all multiples of the stride {strides}")
        keys, order = torch.sort(layout.pack(coordinates))
        if (keys[1:] == keys[:-1]).any():
            raise ValueError("a voxel stands twice in the coordinates; unite them by quantize()")
        self.features = features[order]
        extent = coordinates[:, 1:].amax(dim=0) + 1 if clip and len(coordinates) else None
        self.map = CoordinateMap(keys, layout, strides)
        self.manager = CoordinateManager(self.map, order, engine, extent, memory)

    @classmethod
    def on_map(
        cls, features: Tensor, coordinate_map: CoordinateMap, manager: CoordinateManager
    ) -> SparseTensor:
        """Put features [N, C] on a map that is known, in its order; nothing is checked."""
        tensor = cls.__new__(cls)
        tensor.features, tensor.map, tensor.manager = features, coordinate_map, manager
        return tensor

    def replace(self, features: Tensor) -> SparseTensor:
        """Return other features [N, C'] on the same voxels."""
        return self.on_map(features, self.map, self.manager)

    @property
    def coordinates(self) -> Tensor:
        """[N, 1 + D] int64, the batch index first."""
        return self.map.coordinates

    @property
    def stride(self) -> Stride:
        """Distance of neighbouring voxels along each axis, in units of the finest voxels."""
        return self.map.stride

    @property
    def dimension(self) -> int:
        """Number of axes, the batch not counted."""
        return self.map.layout.dimension

    def __len__(self) -> int:
        return len(self.map)

    def __repr__(self) -> str:
        return (
            f"SparseTensor({len(self)} voxels, {self.features.shape[1]} channels, "
            f"{self.dimension}D, stride {self.stride})"
        )

    def __add__(self, other: SparseTensor) -> SparseTensor:
        """Sum of two tensors on the same voxels."""
        other.require_voxels(self.map)
        return self.replace(self.features + other.features)

    def at(self, coordinates: Tensor) -> Tensor:
        """Features [M, C] at voxels [M, 1 + D]; zeros where a voxel is not occupied."""
        rows = self.map.rows(self.map.layout.pack(coordinates))
        return torch.where(rows[:, None] >= 0, self.features[rows], 0)

    def as_given(self, which: slice = slice(None)) -> Tensor:
        """Features [M, C] in the order of the coordinates that the first tensor was made of.

        Args:
            which: of those coordinates.

        Raises:
            ValueError: these features are not on its voxels.
        """
        self.require_voxels(self.manager.given)
        return self.features.index_select(0, self.manager.rows_given[which])

    def require_voxels(self, coordinate_map: CoordinateMap) -> None:
        """Check that the features lie on these voxels.

        Raises:
            ValueError: they lie on others.
        """
        if coordinate_map is not self.map and not torch.equal(coordinate_map.keys, self.map.keys):
            raise ValueError(
                f"{self} is not on the same voxels as the other, of {len(coordinate_map)}"
            )


def cat(tensors: Sequence[SparseTensor]) -> SparseTensor:
    """Join the channels of tensors on the same voxels.

    Raises:
        ValueError: the voxels differ.
    """
    first = tensors[0]
    for other in tensors[1:]:
        other.require_voxels(first.map)
    return first.replace(torch.cat([t.features for t in tensors], dim=1))


def per_axis(value: int | Sequence[int], dimension: int) -> tuple[int, ...]:
    """Return one integer for each axis, from one for all or from a sequence.

    Raises:
        ValueError: a value is below 1, or there are not as many as axes.
    """
    values = (value,) * dimension if isinstance(value, int) else tuple(int(v) for v in value)
    if len(values) != dimension or min(values) < 1:
        raise ValueError(f"{dimension} values of 1 or more are needed, not {value}")
    return values
