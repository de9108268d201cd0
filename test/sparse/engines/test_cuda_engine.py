# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Tests of what the engines on CUDA share, on any device."""

import pytest
import torch

from minkowski_perception.sparse import KernelMap, SparseTensor, cube
from minkowski_perception.sparse.engines.base import EngineError
from minkowski_perception.sparse.engines.spconv_triton_engine import SpconvTritonEngine
from minkowski_perception.sparse.engines.triton_engine import TritonEngine
from minkowski_perception.sparse.kernel_maps import mask_words

ENGINES = (SpconvTritonEngine, TritonEngine)


@pytest.mark.parametrize("engine", ENGINES)
def test_an_unsupported_precision_is_refused(engine):
    with pytest.raises(EngineError, match=r"must be one of .*torch.float16.*, not torch.int8"):
        engine(torch.int8)


@pytest.mark.parametrize("engine", ENGINES)
def test_the_cpu_is_refused(engine):
    expected = f"engine '{engine.name}' runs on CUDA only, not on cpu"
    with pytest.raises(EngineError, match=expected):
        engine.check(torch.device("cpu"))


def test_the_table_of_a_kernel_map_is_built_once():
    voxels = SparseTensor(torch.ones(1, 1), torch.zeros(1, 4, dtype=torch.int64)).map
    kernel_map, engine = KernelMap(voxels, voxels, cube((3, 3, 3))), SpconvTritonEngine()
    assert engine.table(kernel_map) is engine.table(kernel_map)


@pytest.mark.parametrize("offsets", [1, 31, 32])
def test_mask_words_have_a_bit_for_each_offset(offsets):
    rows = torch.where(torch.eye(offsets, dtype=torch.bool), 7, -1).int()
    words = mask_words(rows)
    assert [word & 0xFFFFFFFF for word in words.tolist()] == [1 << k for k in range(offsets)]
