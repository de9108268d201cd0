# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Tests of spconv-triton's gather tables on any device, and of its kernels on CUDA."""

from types import SimpleNamespace

import pytest
import torch

from minkowski_perception.networks import build_network
from minkowski_perception.sparse import (
    Convolution,
    KernelMap,
    SparseTensor,
    TransposedConvolution,
    coordinates,
    cube,
    hybrid,
)
from minkowski_perception.sparse.engines import spconv_triton_engine
from minkowski_perception.sparse.engines.base import EngineError
from minkowski_perception.sparse.engines.cuda_engine import PRECISIONS
from minkowski_perception.sparse.engines.spconv_triton_engine import (
    SpconvTritonEngine,
    gather_table,
    restrict_tuning,
)

REGIONS = {
    "hybrid 4D": hybrid((3, 3, 3, 3), cross_axes=(3,)),
    "tesseract": cube((3, 3, 3, 3)),
    "down": cube((2, 2, 2, 1)),
    "32 offsets": cube((4, 4, 2, 1)),
}


def random_tensor(dimension, channels, engine=None, device="cpu", count=400, span=4):
    generator = torch.Generator().manual_seed(0)
    space = torch.randint(-span, span + 1, (count, dimension), generator=generator)
    coordinates = torch.unique(torch.cat([torch.zeros(count, 1).long(), space], dim=1), dim=0)
    features = torch.randn(len(coordinates), channels, generator=generator)
    return SparseTensor(features.to(device), coordinates.to(device), engine=engine)


def kernel_map_of(name):
    tensor = random_tensor(4, 1)
    target = tensor.map if "down" not in name else tensor.manager.coarser(tensor.map, (2, 2, 2, 1))
    return KernelMap(tensor.map, target, REGIONS[name])


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("name", REGIONS)
def test_a_gather_table_has_the_pairs_of_the_kernel_map(name, transposed):
    kernel_map = kernel_map_of(name)
    if transposed:
        kernel_map = kernel_map.transposed()
    table = gather_table(kernel_map)
    expected = torch.full((len(kernel_map), len(kernel_map.target)), -1, dtype=torch.int32)
    for k, inputs, outputs in kernel_map:
        expected[k, outputs.long()] = inputs
    assert torch.equal(table.rows, expected)


@pytest.mark.parametrize("name", ["hybrid 4D", "32 offsets"])
def test_masks_are_sorted_and_have_the_offsets_of_each_output(name):
    table = gather_table(kernel_map_of(name))
    [masks], [order] = table.masks, table.order
    assert order.dtype == masks.dtype == torch.int32
    assert torch.equal(order.sort().values, torch.arange(len(order), dtype=torch.int32))
    assert (masks[1:] >= masks[:-1]).all()
    for mask, output in zip(masks.tolist(), order.tolist(), strict=True):
        offsets = [k for k in range(len(table.rows)) if mask >> k & 1]
        assert offsets == torch.nonzero(table.rows[:, output] >= 0).flatten().tolist()


def test_few_tilings_of_spconv_triton_are_tried_where_it_has_them():
    def config(rows, channels, depth, warps, stages, group=8):
        blocks = {"BLOCK_M": rows, "BLOCK_N": channels, "BLOCK_R": depth, "GROUP_SIZE_M": group}
        return SimpleNamespace(kwargs=blocks, num_warps=warps, num_stages=stages)

    known = [config(128, 128, 32, 8, 3), config(64, 64, 32, 4, 3)]
    others = [config(128, 128, 32, 8, 3, group=1), config(64, 64, 32, 4, 4)]
    gemm = SimpleNamespace(_gather_gemm_kernel=SimpleNamespace(configs=[*known, *others]))
    restrict_tuning(gemm)
    assert gemm._gather_gemm_kernel.configs == known
    gemm._gather_gemm_kernel.configs = others
    restrict_tuning(gemm)
    assert gemm._gather_gemm_kernel.configs == others
    restrict_tuning(SimpleNamespace())


def test_searching_in_chunks_gives_the_same_table(monkeypatch):
    kernel_map = kernel_map_of("tesseract")
    expected = gather_table(kernel_map).rows
    monkeypatch.setattr(coordinates, "_CHUNK", 1000)
    assert torch.equal(gather_table(kernel_map).rows, expected)


def plain_implicit_gemm(features, filters, rows, *_, num_activate_out, bias, **__):
    """Compute spconv-triton's implicit GEMM in plain PyTorch."""
    output = torch.zeros(num_activate_out, len(filters), dtype=features.dtype)
    for k in range(len(rows)):
        found = rows[k] >= 0
        output[found] += features[rows[k][found]] @ filters[:, k].T
    return (output if bias is None else output + bias), None, -1


def test_layers_match_plain_pytorch_with_a_reference_implicit_gemm(monkeypatch):
    ops = SimpleNamespace(implicit_gemm=plain_implicit_gemm)
    monkeypatch.setattr(spconv_triton_engine, "_import_ops", lambda: ops)
    region, step = REGIONS["hybrid 4D"], (2, 2, 2, 1)
    layers = [
        Convolution(3, 8, region, bias=True).eval(),
        Convolution(8, 6, REGIONS["down"], stride=step).eval(),
        TransposedConvolution(6, 6, REGIONS["down"], stride=step).eval(),
        Convolution(6, 4, cube((1, 1, 1, 1)), bias=True).eval(),
    ]
    results = []
    with torch.inference_mode():
        for engine in (None, SpconvTritonEngine(torch.float32)):
            tensor = random_tensor(4, 3, engine)
            for layer in layers:
                tensor = layer(tensor, relu=True)
            results.append(tensor.features)
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-4)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("precision", PRECISIONS, ids=str)
@pytest.mark.parametrize("dimension", [3, 4])
def test_a_network_on_cuda_matches_plain_pytorch(dimension, precision):
    try:
        SpconvTritonEngine.check(torch.device("cuda"))
    except EngineError as error:
        pytest.skip(str(error))
    network = build_network(
        "MinkUNet14A", in_channels=2, heads={"classes": 5}, dimension=dimension, width=0.25
    )
    network.eval().cuda()
    results = []
    with torch.inference_mode():
        for engine in (None, SpconvTritonEngine(precision)):
            tensor = random_tensor(dimension, 2, engine, device="cuda", count=3000, span=12)
            results.append(network.class_logits(tensor).features)
    expected, result = results
    assert result.dtype == torch.float32
    spread = float(expected.max() - expected.min())
    tolerance = {torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 5e-2}[precision]
    torch.testing.assert_close(result, expected, rtol=0, atol=tolerance * spread)
