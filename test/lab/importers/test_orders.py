# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Slice orders are detected in a model of the package, whose orders are known."""

import pytest
import torch
from comparison import TRAINED

from minkowski_perception.lab.importers.kernels import last_axis_fastest, reordered
from minkowski_perception.lab.importers.orders import block_order_of, even_order_of
from minkowski_perception.networks.model import load_model
from minkowski_perception.sparse import cube, hybrid


@pytest.fixture(scope="module")
def kernels():
    """Trained kernels of the blocks, without their temporal slices, and of size 2."""
    state = load_model(TRAINED).network.state_dict()
    blocks = [v[:27] for k, v in state.items() if k.startswith("block") and v.dim() == 3]
    even = [v for v in state.values() if v.dim() == 3 and len(v) == 8]
    assert (len(blocks), len(even)) == (16, 8)
    return {"blocks": blocks, "even": even}


def test_the_block_order_is_detected_in_trained_weights(kernels):
    in_cube_order = [reordered(k, hybrid((3, 3, 3)), cube((3, 3, 3))) for k in kernels["blocks"]]
    assert block_order_of(kernels["blocks"]).order == "hybrid"
    assert block_order_of(in_cube_order).order == "cube"


def test_the_even_order_is_detected_in_trained_weights(kernels):
    box = cube((2, 2, 2))
    in_last_axis_order = [reordered(k, box, last_axis_fastest(box)) for k in kernels["even"]]
    assert even_order_of(kernels["even"]).order == "first-axis"
    assert even_order_of(in_last_axis_order).order == "last-axis"


def test_random_weights_are_inconclusive(kernels):
    random = torch.Generator().manual_seed(0)
    drawn = {
        kind: [torch.rand(k.shape, generator=random) - 0.5 for k in trained]
        for kind, trained in kernels.items()
    }
    assert block_order_of(drawn["blocks"]).order is None
    assert even_order_of(drawn["even"]).order is None
