# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Tests of runs of keys by Triton: on CUDA, else on the CPU under Triton's interpreter."""

import pytest
import torch

from minkowski_perception.sparse.keys import runs

module = pytest.importorskip("triton", reason="needs triton") and pytest.importorskip(
    "minkowski_perception.sparse.run_kernels"
)

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("spare", [0, 40])
@pytest.mark.parametrize("count", [1, 2, 900])
def test_runs_by_triton_are_those_of_pytorch(count, spare):
    keys = torch.randint(0, 1 + count // 3, (count,), generator=torch.Generator().manual_seed(0))
    ordered, order, inverse, starts = runs(keys)
    begins, numbers = module.begins_of(ordered.to(DEVICE))
    assert int(numbers[-1]) == len(starts)
    capacity = len(starts) + spare
    found = module.runs_of(order.to(DEVICE), begins, numbers, capacity)
    assert torch.equal(found[0].cpu(), inverse)
    assert torch.equal(found[1][: len(starts)].cpu(), starts)
    assert (found[1][len(starts) :] == count - 1).all()


def test_runs_beyond_the_capacity_are_left_out():
    ordered = torch.tensor([1, 1, 4, 6, 6, 6], device=DEVICE)
    begins, numbers = module.begins_of(ordered)
    order = torch.arange(6, device=DEVICE)
    inverse, starts = module.runs_of(order, begins, numbers, 2)
    assert inverse.tolist() == [0, 0, 1, 1, 1, 1]
    assert starts.tolist() == [0, 2]
