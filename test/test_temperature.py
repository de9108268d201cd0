# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch

from minkowski_perception.frame import Frame
from minkowski_perception.schema import SchemaError, read
from minkowski_perception.temperature import TemperatureScaling
from minkowski_perception.voxels import VoxelInput, voxelize

# Voxels of 1 m: one point at 2 m, three at 10 m, five at 30 m; one point without a measurement.
POINTS = np.array(
    [[2.5, 0.5, 0.5]] + [[10.5, 0.5, 0.5]] * 3 + [[30.5, 0.5, 0.5]] * 5 + [[np.nan] * 3],
    np.float32,
)
FRAME = Frame(POINTS)
VOXELS = voxelize(FRAME, VoxelInput(1.0, ("one",)))
DENSITY = VOXELS.distances(FRAME), VOXELS.quantization.counts()


def test_logits_are_divided_by_the_temperature_of_range_and_density():
    scaling = TemperatureScaling(((2.0, 4.0, 5.0), (8.0, 10.0, 0.5)), (20.0,), (2, 5))
    logits = torch.arange(6.0).reshape(3, 2) + 1.0
    scaled = scaling(logits, *DENSITY)
    expected = logits / torch.tensor([[2.0], [4.0], [0.5]])
    torch.testing.assert_close(scaled, expected)


def test_offsets_are_added_to_the_classes():
    scaling = TemperatureScaling(((2.0,),), offsets=(1.0, -1.0))
    scaled = scaling(torch.tensor([[2.0, 4.0]] * 3), *DENSITY)
    torch.testing.assert_close(scaled, torch.tensor([[2.0, 1.0]] * 3))


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ({"temperature": [[1.0, 2.0]]}, "must have 1 rows of 1"),
        ({"temperature": [[1.0], [1.0]], "ranges": [10]}, None),
        ({"temperature": [[1.0]] * 3, "ranges": [20, 10]}, "ranges must ascend"),
        ({"temperature": [[0.0]]}, r"temperature\[0\]\[0\]: must be 0.1 to 10"),
        ({"temperature": [[1.0, 1.0]], "points": [1]}, r"points\[0\]: must be at least 2"),
    ],
)
def test_impossible_temperatures_are_refused(content, complaint):
    if complaint is None:
        read(TemperatureScaling, content)
        return
    with pytest.raises(SchemaError, match=complaint):
        read(TemperatureScaling, content)
