# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Tests of averages by Triton: on CUDA, else on the CPU under Triton's interpreter."""

import pytest
import torch

from minkowski_perception.sparse import CoordinateMap, KernelMap, KeyLayout
from minkowski_perception.streaming.averaging import LEAST_PROBABILITY, sums_with_past

module = pytest.importorskip("triton", reason="needs triton") and pytest.importorskip(
    "minkowski_perception.streaming.average_kernel"
)

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
LAYOUT = KeyLayout.for_dimension(3)


def voxels(count, seed):
    generator = torch.Generator().manual_seed(seed)
    places = torch.nn.functional.pad(torch.randint(-3, 4, (count, 3), generator=generator), (1, 0))
    keys = torch.unique(LAYOUT.pack(places))
    return CoordinateMap(keys.to(DEVICE), LAYOUT, (1, 1, 1))


@pytest.mark.parametrize("classes", [1, 19])
def test_sums_and_averages_are_those_of_pytorch(classes):
    past, seen = voxels(150, seed=0), voxels(60, seed=1)
    generator = torch.Generator().manual_seed(2)
    sums = -3 * torch.rand(len(past.keys), classes + 1, generator=generator)
    sums[:, -1] = 0.5 - sums[:, -1]  # the weight
    sums = sums.half().to(DEVICE)
    ages = torch.randint(1, 9, (len(past.keys),), generator=generator).short().to(DEVICE)
    scores = torch.rand(len(seen.keys), classes, generator=generator) ** 9
    probabilities = (scores / scores.sum(dim=1, keepdim=True)).to(DEVICE)
    kernel_map = KernelMap(past, seen, module.REGION)
    found, means = module.averaged(
        probabilities, kernel_map, sums, ages, length=10, least=LEAST_PROBABILITY
    )
    now = torch.log(probabilities.clamp(min=LEAST_PROBABILITY))
    expected = sums_with_past(now, seen, past, sums * (0.9**ages)[:, None])
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(means, torch.softmax(expected[:, :-1] / expected[:, -1:], dim=1))
