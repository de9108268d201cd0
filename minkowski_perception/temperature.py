# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Temperature scaling of class logits by range and density, `calibration` of a model card.

Guo et al., "On Calibration of Modern Neural Networks", ICML 2017: logits are divided by a
temperature, which changes the confidence and not the label. Here each bin of range and of points
per voxel has its own, because sparse and distant voxels are those whose confidence is most wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated

import torch
from torch import Tensor

from minkowski_perception.schema import Range
from minkowski_perception.sparse.keys import on_device

LIMITS = (0.1, 10.0)
"""Smallest and largest temperature."""


@dataclass(frozen=True)
class TemperatureScaling:
    """Temperatures by bins of range and of points per voxel, and an offset of each class.

    Attributes:
        temperature: one row for each bin of range, with a value for each bin of points.
        ranges: R ascending edges of R + 1 bins: mean distance of a voxel's points, metres.
        points: P ascending edges of P + 1 bins: number of points in a voxel; a bin begins at its
            edge.
        offsets: of each class, added to its logits after the division (logit adjustment, Menon et
            al. 2021); none where empty. They can change labels.
        fitted_on: the data that it was fitted on.

    Raises:
        ValueError: edges do not ascend, or temperatures do not fit them.
    """

    temperature: tuple[tuple[Annotated[float, Range(*LIMITS)], ...], ...]
    ranges: tuple[Annotated[float, Range(above=0.0)], ...] = ()
    points: tuple[Annotated[int, Range(least=2)], ...] = ()
    offsets: tuple[float, ...] = ()
    fitted_on: str | None = None

    def __post_init__(self) -> None:
        """Check that the edges ascend and the temperatures fit them."""
        for name, edges in (("ranges", self.ranges), ("points", self.points)):
            if any(low >= high for low, high in pairwise(edges)):
                raise ValueError(f"{name} must ascend, not {', '.join(map(str, edges))}")
        rows, columns = len(self.ranges) + 1, len(self.points) + 1
        if len(self.temperature) != rows or any(len(row) != columns for row in self.temperature):
            raise ValueError(
                f"temperature must have {rows} rows of {columns}, for {rows - 1} edges of range "
                f"and {columns - 1} of points"
            )

    def bins(self, distances: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
        """Return the bin of range and the bin of points of each voxel, [M] int64 each.

        Args:
            distances: [M] float32, mean range of a voxel's points, metres.
            counts: [M] int64, number of its points.
        """
        device = distances.device
        ranges = on_device(self.ranges, device, torch.float64)
        points = on_device(self.points, device)
        return (
            torch.bucketize(distances.double(), ranges, right=True),
            torch.bucketize(counts, points, right=True),
        )

    def __call__(self, logits: Tensor, distances: Tensor, counts: Tensor) -> Tensor:
        """Return the scaled logits of a frame's voxels, on their device.

        Args:
            logits: [M, K] float32 of the classes.
            distances: see `bins`.
            counts: see `bins`.
        """
        rows, columns = self.bins(distances, counts)
        table = on_device(sum(self.temperature, ()), logits.device, torch.float32)
        chosen = table.index_select(0, rows * (len(self.points) + 1) + columns)
        scaled = logits / chosen[:, None]
        offsets = on_device(self.offsets, logits.device, torch.float32)
        return scaled + offsets if self.offsets else scaled
