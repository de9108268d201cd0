# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""A model of the package is a witness: it was trained here, so its orders are known."""

import pytest
import torch
from comparison import TRAINED

from minkowski_perception.lab.importers.kernels import last_axis_fastest, reordered
from minkowski_perception.lab.importers.orders import block_order_of, even_order_of
from minkowski_perception.networks.model import load_model
from minkowski_perception.sparse import cube, hybrid


@pytest.fixture(scope="module")
def kernels():
    """Trained kernels by the number of their slices, those of the blocks without time."""
    state = load_model(TRAINED).network.state_dict()
    blocks = [v[:27] for k, v in state.items() if k.startswith("block") and v.dim() == 3]
    even = [v for v in state.values() if v.dim() == 3 and len(v) == 8]
    assert (len(blocks), len(even)) == (16, 8)
    return {"blocks": blocks, "even": even}


def test_the_order_of_blocks_shows_in_trained_weights(kernels):
    in_cube_order = [reordered(k, hybrid((3, 3, 3)), cube((3, 3, 3))) for k in kernels["blocks"]]
    assert block_order_of(kernels["blocks"]).order == "hybrid"
    assert block_order_of(in_cube_order).order == "cube"


def test_the_order_of_even_kernels_shows_in_trained_weights(kernels):
    box = cube((2, 2, 2))
    in_the_other = [reordered(k, box, last_axis_fastest(box)) for k in kernels["even"]]
    assert even_order_of(kernels["even"]).order == "first-axis"
    assert even_order_of(in_the_other).order == "last-axis"


def test_weights_that_were_not_trained_tell_no_order(kernels):
    random = torch.Generator().manual_seed(0)
    drawn = {
        kind: [torch.rand(k.shape, generator=random) - 0.5 for k in trained]
        for kind, trained in kernels.items()
    }
    assert block_order_of(drawn["blocks"]).order is None
    assert even_order_of(drawn["even"]).order is None
