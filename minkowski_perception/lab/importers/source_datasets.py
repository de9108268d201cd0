# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Data sets that checkpoints were trained on, and how their code bases voxelise them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class SourceDataset:
    """A data set as a code base reads it.

    Attributes:
        name: the data set and the code base that reads it.
        labels: our label set with the same classes in the same order; None if unknown.
        input: arguments of `VoxelInput.from_dict`; without voxel_size if unknown.
        ignore_index: the label that training ignores.
        label_map: how raw labels became classes.
        sensors: sensors that recorded the data.
    """

    name: str
    labels: str | None
    input: Mapping[str, Any]
    ignore_index: int
    label_map: str
    sensors: str


# Voxels in the sensor's frame, counted from the frame's minimum corner. The features of a voxel
# are the raw metres and intensity of its point of lowest index.
_LIDAR_INPUT = {
    "voxel_size": 0.05,
    "features": ["x", "y", "z", "intensity"],
    "reduce": "first",
    "rounding": "round",
    "shift": "minimum",
}
_HDL64 = "Velodyne HDL-64E on a car, intensity 0 to 1, 10 Hz"

LIDAR_MMDET3D = SourceDataset(
    name="SemanticKITTI, as mmdetection3d reads it",
    labels="semantickitti19",
    input=_LIDAR_INPUT,
    ignore_index=19,
    label_map="learning map of SemanticKITTI minus one; unlabelled and outlier are ignored",
    sensors=_HDL64,
)
LIDAR_SPVNAS = SourceDataset(
    name="SemanticKITTI, as SPVNAS reads it",
    labels="semantickitti19",
    input=_LIDAR_INPUT,
    ignore_index=255,
    label_map="learning map of SemanticKITTI minus one, but bus (13), on-rails (16, 256), "
    "moving bus (257), lane marking (60), unlabelled and outlier are ignored",
    sensors=_HDL64,
)

_COLOUR = {"features": ["red", "green", "blue"], "offset": [-0.5, -0.5, -0.5]}
_DEPTH_CAMERA = "depth camera indoors: whole rooms, colour, z up"

SCANNET = SourceDataset(
    name="ScanNet v2, as SpatioTemporalSegmentation reads it",
    labels="scannet20",
    input={"voxel_size": 0.02, **_COLOUR},
    ignore_index=255,
    label_map="20 of the 40 NYU classes; the others are ignored",
    sensors=_DEPTH_CAMERA,
)
SCANNET_MINKOWSKI_ENGINE = SourceDataset(
    name="ScanNet v2, as MinkowskiEngine's examples read it",
    labels="scannet20",
    input={"voxel_size": 0.02, **_COLOUR, "reduce": "mean"},
    ignore_index=255,
    label_map=SCANNET.label_map,
    sensors=_DEPTH_CAMERA,
)
S3DIS = SourceDataset(
    name="S3DIS, as SpatioTemporalSegmentation reads it",
    labels="s3dis13",
    input={
        "voxel_size": 0.05,
        "features": ["red", "green", "blue", "voxel_x", "voxel_y", "voxel_z"],
        "offset": [-0.5, -0.5, -0.5, 0.0, 0.0, 0.0],
    },
    ignore_index=255,
    label_map="13 of the 14 classes; stairs are ignored",
    sensors=_DEPTH_CAMERA,
)
SYNTHIA = SourceDataset(
    name="Synthia 4D, as SpatioTemporalSegmentation reads it",
    labels="synthia12",
    input={"voxel_size": 0.15, **_COLOUR},
    ignore_index=255,
    label_map="12 of the 16 labels; void, sky and two reserved labels are ignored",
    sensors="simulated depth cameras on a car, colour, y up: rotate clouds accordingly",
)
COLOUR = SourceDataset(
    name="unknown, with colour",
    labels=None,
    input=_COLOUR,
    ignore_index=255,
    label_map="unknown",
    sensors="unknown, with colour",
)
