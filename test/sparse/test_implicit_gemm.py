# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Tests of implicit GEMM: on CUDA, else on the CPU under Triton's interpreter."""

from functools import cache
from itertools import product

import pytest
import torch
from torch.nn.functional import pad

from minkowski_perception.sparse import KernelMap, SparseTensor, cube, hybrid
from minkowski_perception.sparse.links import Memory, RecallMap
from minkowski_perception.sparse.regions import CausalRegion

gemm = pytest.importorskip("triton", reason="needs triton") and pytest.importorskip(
    "minkowski_perception.sparse.implicit_gemm"
)

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
STEP = (2, 2, 2)
CAUSAL = CausalRegion((*cube((3, 3, 3, 1)).offsets, *(
    (*offset[:3], -1) for offset in cube((3, 3, 3, 1)).offsets
)))  # fmt: skip
# Relative to the spread: rounding of sums to 23 bits, of features and weights to 10 and 7 bits.
TOLERANCES = {torch.float32: 1e-6, torch.float16: 2e-3, torch.bfloat16: 1.5e-2}


def voxels_of(dimension, count=90, span=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    space = torch.randint(-span, span + 1, (count, dimension), generator=generator)
    return torch.unique(pad(space, (1, 0)), dim=0).to(DEVICE)


def tensor_of(dimension, channels=1, **options):
    coordinates = voxels_of(dimension, **options)
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(len(coordinates), channels, generator=generator)
    return SparseTensor(features.to(DEVICE), coordinates)


def remembering_map():
    """A causal kernel map of a frame: 27 offsets within it, 27 to remembered voxels."""
    memory = Memory()
    for seed in range(2):
        frame = tensor_of(4, span=2, seed=seed)
        memory.begin()
        memory.inputs(torch.nn.Identity(), frame.features, frame.map)
        present = KernelMap(frame.map, frame.map, CAUSAL.present)
        if seed:
            return memory.kernel_map(present, CAUSAL)
        memory.keep()
    raise AssertionError


def kernel_maps():
    """Kernel maps of all kinds, by name."""
    flat, deep = tensor_of(3), tensor_of(4, span=2)
    coarse = flat.manager.coarser(flat.map, STEP)
    down = KernelMap(flat.map, coarse, cube((2, 2, 2)))
    return {
        "1 offset": KernelMap(flat.map, flat.map, cube((1, 1, 1))),
        "8 offsets, down": down,
        "8 offsets, up": down.transposed(),
        "27 offsets": KernelMap(flat.map, flat.map, cube((3, 3, 3))),
        "29 offsets": KernelMap(deep.map, deep.map, hybrid((3, 3, 3, 3), cross_axes=(3,))),
        "54 offsets, causal": remembering_map(),
        "81 offsets": KernelMap(deep.map, deep.map, cube((3, 3, 3, 3))),
        "125 offsets": KernelMap(flat.map, flat.map, cube((5, 5, 5))),
    }


MAPS = kernel_maps()


@cache
def table_of(name):
    """The gather table of a kernel map; the interpreter is slow."""
    kernel_map = MAPS[name]
    return gemm.gather_table(kernel_map.searches, kernel_map.target.keys)


def expected_rows(kernel_map):
    """Input rows [K, outputs] by the pairs of the kernel map."""
    rows = torch.full((len(kernel_map), len(kernel_map.target)), -1, dtype=torch.int32)
    for k, inputs, outputs in kernel_map:
        rows[k, outputs.cpu().long()] = inputs.cpu()
    return rows


def expected_sums(features, weight, rows):
    """The convolution in float64 by a loop over the offsets."""
    padded = pad(features.double(), (0, 0, 0, 1)).cpu()  # row -1 is zero
    products = (
        padded[row.long()] @ kernel
        for row, kernel in zip(rows, weight.double().cpu(), strict=True)
    )
    return sum(products)


@pytest.mark.parametrize("name", MAPS)
def test_a_gather_table_has_the_pairs_of_the_kernel_map(name):
    assert torch.equal(table_of(name).rows.cpu(), expected_rows(MAPS[name]))


@pytest.mark.parametrize("name", MAPS)
def test_codes_are_sorted_and_have_the_bits_of_the_offsets(name):
    kernel_map, table = MAPS[name], table_of(name)
    parts = -(-len(kernel_map) // table.part)
    codes, order = table.codes.cpu().long(), table.order.cpu()
    assert (codes.diff() >= 0).all()
    assert torch.equal(order.sort().values, torch.arange(parts * table.outputs))
    words = torch.empty(parts * table.outputs, dtype=torch.int64)
    words[order] = (1 << table.part) - 1 - codes % (1 << table.part)
    for p, word in enumerate(words.view(parts, -1)):
        assert (codes.view(parts, -1)[p] >> table.part == p).all()
        some = expected_rows(kernel_map)[p * table.part : (p + 1) * table.part] >= 0
        assert torch.equal((word >> torch.arange(len(some))[:, None] & 1).bool(), some)


@pytest.mark.parametrize("offsets", [1, 8, 27, 31, 32, 54, 62, 81, 125, 625])
def test_parts_have_all_offsets_and_codes_of_31_bits(offsets):
    parts, part = gemm._parts(offsets)
    assert (parts - 1) * part < offsets <= parts * part
    assert (parts << part) - 1 < 2**31
    assert parts == 1 or offsets > 31


@pytest.mark.parametrize("name", ["27 offsets", "125 offsets"])
def test_the_table_of_given_rows_is_the_same(name):
    found = table_of(name)
    given = gemm.table_of_rows(found.rows)
    assert torch.equal(given.codes, found.codes)
    assert torch.equal(given.order, found.order)
    assert given.part == found.part


def test_links_through_a_whole_sequence_are_no_single_search():
    frames = tensor_of(4, span=2)
    assert RecallMap(frames.map, CAUSAL.links, recall=3).searches is None


@pytest.mark.parametrize(
    ("name", "precision"),
    [
        *((name, torch.float32) for name in MAPS),
        *product(["8 offsets, up", "29 offsets", "54 offsets, causal"], list(TOLERANCES)[1:]),
    ],
    ids=str,
)
def test_a_convolution_gives_the_sums_of_a_loop_over_the_offsets(name, precision, monkeypatch):
    monkeypatch.setattr(gemm, "_FEW_ROWS", 0)  # fewer, higher tiles: the interpreter is slow
    kernel_map, table = MAPS[name], table_of(name)
    inputs = int(table.rows.max()) + 1
    generator = torch.Generator().manual_seed(2)
    shapes = ((inputs, 5), (len(kernel_map), 5, 19), (19,), (len(kernel_map.target), 19))
    features, weight, bias, residual = (
        torch.randn(shape, generator=generator).to(DEVICE, precision) for shape in shapes
    )
    output = gemm.convolve(features, weight, table, bias, residual, relu=True)
    sums = expected_sums(features, weight, expected_rows(kernel_map))
    expected = torch.relu(sums + bias.double().cpu() + residual.double().cpu())
    assert output.dtype == precision
    error = (output.double().cpu() - expected).abs().max() / (expected.max() - expected.min())
    assert error < TOLERANCES[precision]


@pytest.mark.parametrize("rows", [1, 31, 33])
@pytest.mark.parametrize(("channels_in", "channels_out"), [(1, 1), (33, 16), (16, 65)])
def test_tails_of_rows_and_channels_are_exact(rows, channels_in, channels_out):
    table = gemm.table_of_rows(torch.arange(rows, dtype=torch.int32, device=DEVICE)[None])
    generator = torch.Generator().manual_seed(3)
    features = torch.randint(-3, 4, (rows, channels_in), generator=generator).float().to(DEVICE)
    weight = torch.randint(-3, 4, (1, channels_in, channels_out), generator=generator).float()
    for each in (table, gemm.GatherTable(rows, 1)):
        output = gemm.convolve(features, weight.to(DEVICE), each)
        assert torch.equal(output.cpu(), features.cpu() @ weight[0])


def test_no_voxels_give_no_rows():
    nothing = torch.zeros(0, dtype=torch.int64, device=DEVICE)
    some = tensor_of(3).map
    region = cube((3, 3, 3))
    search = KernelMap(some, some, region).searches[0]
    no_outputs = gemm.gather_table((search,), nothing)
    weight = torch.ones(27, 2, 4, device=DEVICE)
    assert gemm.convolve(torch.ones(len(some), 2, device=DEVICE), weight, no_outputs).shape == (
        0,
        4,
    )
    no_inputs = gemm.gather_table((search._replace(keys=nothing),), some.keys)
    output = gemm.convolve(torch.ones(0, 2, device=DEVICE), weight, no_inputs)
    assert torch.equal(output, torch.zeros(len(some), 4, device=DEVICE))


def test_results_do_not_depend_on_the_order_of_the_rows():
    table = table_of("27 offsets")
    generator = torch.Generator().manual_seed(4)
    outputs = table.outputs
    # Sums of small integers are exact, whatever the blocks of a matrix product.
    features = torch.randint(-3, 4, (outputs, 4), generator=generator).float().to(DEVICE)
    weight = torch.randint(-3, 4, (27, 4, 4), generator=generator).float().to(DEVICE)
    other = table._replace(order=table.order.flip(0), codes=table.codes.flip(0))
    output = gemm.convolve(features, weight, table)
    assert torch.equal(output, gemm.convolve(features, weight, other))
