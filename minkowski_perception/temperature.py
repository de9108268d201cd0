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

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from minkowski_perception.frame import Frame
from minkowski_perception.schema import Range
from minkowski_perception.voxels import VoxelFrame

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

    def bins(self, voxels: VoxelFrame, frame: Frame) -> tuple[npt.NDArray[np.intp], ...]:
        """Return the bin of range and the bin of points of each voxel, [M] each.

        Args:
            voxels: M voxels of the frame.
            frame: its points.
        """
        points = np.compress(voxels.valid, frame.points, axis=0)
        distances = np.sqrt(np.einsum("ij,ij->i", points, points))[:, None]
        mean = voxels.quantization.reduce(torch.from_numpy(distances), "mean")[:, 0].numpy()
        counts = voxels.quantization.counts().numpy()
        return (
            np.searchsorted(self.ranges, mean, side="right"),
            np.searchsorted(self.points, counts, side="right"),
        )

    def __call__(self, logits: Tensor, voxels: VoxelFrame, frame: Frame) -> Tensor:
        """Return the scaled logits of a frame's voxels.

        Args:
            logits: [M, K] float32 of the classes, on any device; rows of padding may follow.
            voxels: M voxels of the frame.
            frame: its points.
        """
        chosen = torch.from_numpy(np.array(self.temperature, np.float32)[self.bins(voxels, frame)])
        temperature = F.pad(chosen, (0, len(logits) - len(chosen)), value=1.0)
        scaled = logits / temperature.to(logits.device)[:, None]
        return scaled + scaled.new_tensor(self.offsets) if self.offsets else scaled
