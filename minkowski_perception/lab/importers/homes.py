# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What checkpoints were trained on, and how their code bases make voxels of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Home:
    """A data set as a code base sees it.

    Attributes:
        data: the data set, and whose code reads it.
        labels: our label set of the same classes in the same order; None if unknown.
        input: for `VoxelInput.from_dict`; without voxel_size if unknown.
        ignore_index: the label that its training leaves out.
        label_map: which raw labels became which classes.
        sensors: what the data was recorded with.
    """

    data: str
    labels: str | None
    input: Mapping[str, Any]
    ignore_index: int
    label_map: str
    sensors: str


# Voxels of the sensor's frame, each frame's own corner being their origin; raw metres of the
# point of lowest index.
_LIDAR_INPUT = {
    "voxel_size": 0.05,
    "features": ["x", "y", "z", "intensity"],
    "reduce": "first",
    "rounding": "round",
    "shift": "minimum",
}
_HDL64 = "Velodyne HDL-64E on a car, intensity 0 to 1, 10 Hz"

LIDAR_MMDET3D = Home(
    data="SemanticKITTI, as mmdetection3d reads it",
    labels="semantickitti19",
    input=_LIDAR_INPUT,
    ignore_index=19,
    label_map="learning map of SemanticKITTI, less one; unlabelled and outliers are ignored",
    sensors=_HDL64,
)
LIDAR_SPVNAS = Home(
    data="SemanticKITTI, as SPVNAS reads it",
    labels="semantickitti19",
    input=_LIDAR_INPUT,
    ignore_index=255,
    label_map="learning map of SemanticKITTI, less one, but bus (13), on-rails (16, 256), "
    "moving bus (257) and lane marking (60) are ignored, as unlabelled and outliers are",
    sensors=_HDL64,
)

_COLOUR = {"features": ["red", "green", "blue"], "offset": [-0.5, -0.5, -0.5]}
_DEPTH_CAMERA = "depth camera indoors: whole rooms, in colour, z upwards"

SCANNET = Home(
    data="ScanNet v2, as SpatioTemporalSegmentation reads it",
    labels="scannet20",
    input={"voxel_size": 0.02, **_COLOUR},
    ignore_index=255,
    label_map="20 of the 40 NYU classes; all others are ignored",
    sensors=_DEPTH_CAMERA,
)
SCANNET_MINKOWSKI_ENGINE = Home(
    data="ScanNet v2, as MinkowskiEngine's examples read it",
    labels="scannet20",
    input={"voxel_size": 0.02, **_COLOUR, "reduce": "mean"},
    ignore_index=255,
    label_map=SCANNET.label_map,
    sensors=_DEPTH_CAMERA,
)
S3DIS = Home(
    data="S3DIS, as SpatioTemporalSegmentation reads it",
    labels="s3dis13",
    input={
        "voxel_size": 0.05,
        "features": ["red", "green", "blue", "voxel_x", "voxel_y", "voxel_z"],
        "offset": [-0.5, -0.5, -0.5, 0.0, 0.0, 0.0],
    },
    ignore_index=255,
    label_map="13 of its 14 classes; stairs are ignored",
    sensors=_DEPTH_CAMERA,
)
SYNTHIA = Home(
    data="Synthia 4D, as SpatioTemporalSegmentation reads it",
    labels="synthia12",
    input={"voxel_size": 0.15, **_COLOUR},
    ignore_index=255,
    label_map="12 of its 16 labels; void, sky and two reserved ones are ignored",
    sensors="simulated depth cameras on a car, in colour, y upwards: turn clouds so",
)
COLOUR = Home(
    data="unknown, in colour",
    labels=None,
    input=_COLOUR,
    ignore_index=255,
    label_map="unknown",
    sensors="unknown, in colour",
)
