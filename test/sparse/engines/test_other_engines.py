# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Tests that engines match plain PyTorch in every kind of convolution."""

import gc
import importlib
from weakref import WeakKeyDictionary

import pytest
import torch

from minkowski_perception.networks import build_network
from minkowski_perception.sparse import (
    BatchNorm,
    Convolution,
    KernelRegion,
    SparseTensor,
    TransposedConvolution,
    cross,
    cube,
    hybrid,
)
from minkowski_perception.sparse.engines.base import EngineError
from minkowski_perception.sparse.engines.minkowski_engine import MinkowskiEngine
from minkowski_perception.sparse.engines.spconv_engine import SpconvEngine, one_openmp_thread

ENGINES = {engine.name: engine for engine in (MinkowskiEngine, SpconvEngine)}

REGIONS = {
    "cube 3D": cube((3, 3, 3)),
    "stem": cube((5, 5, 5)),
    "tesseract": cube((3, 3, 3, 3)),
    "hybrid 3D": hybrid((3, 3, 3)),
    "hybrid 4D": hybrid((3, 3, 3, 3), cross_axes=(3,)),
    "cross 4D": cross((3, 3, 3, 3)),
    "odd and even": cube((3, 2, 1, 4)),
    "spatial": cube((2, 2, 2, 1)),
    "one-sided": KernelRegion(((0, 0, 0, -1), (0, 0, 0, 0), (1, -2, 0, -1))),
    "without a centre": KernelRegion(((0, 0, 1), (2, 0, 0))),
    "pointwise": cube((1, 1, 1)),
}


@pytest.fixture(params=ENGINES)
def engine(request):
    kind = ENGINES[request.param]
    try:
        kind.check(torch.device("cpu"))
    except EngineError as error:
        pytest.skip(str(error))
    return kind()


def random_tensor(dimension, channels, count=400, span=4, seed=0):
    """Return random voxels of two batches around the origin."""
    generator = torch.Generator().manual_seed(seed)
    space = torch.randint(-span, span + 1, (count, dimension), generator=generator)
    batch = torch.randint(0, 2, (count, 1), generator=generator)
    coordinates = torch.unique(torch.cat([batch, space], dim=1), dim=0)
    features = torch.randn(len(coordinates), channels, generator=generator)
    return SparseTensor(features, coordinates)


def with_statistics(norm):
    """Give a batch norm random parameters and statistics."""
    for parameter in norm.parameters():
        torch.nn.init.uniform_(parameter, 0.5, 1.5)
    norm.bn.running_mean.uniform_(-1, 1)
    norm.bn.running_var.uniform_(0.5, 1.5)
    return norm.eval()


def run(engine, tensor, function):
    """Apply a function to a tensor, with an engine or with plain PyTorch."""
    with torch.inference_mode():
        result = function(SparseTensor(tensor.features, tensor.coordinates, engine=engine))
    return result.features


@pytest.mark.parametrize("name", REGIONS)
@pytest.mark.parametrize("stride", [1, 2])
def test_convolutions_match_plain_pytorch(engine, name, stride):
    region = REGIONS[name]
    tensor = random_tensor(region.dimension, 5)
    first = Convolution(5, 8, region, stride=stride, bias=True).eval()
    second = Convolution(8, 3, region, dilation=2).eval()

    def twice(source):
        return second(first(source))

    torch.testing.assert_close(
        run(engine, tensor, twice), run(None, tensor, twice), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("name", ["cube 3D", "hybrid 4D", "odd and even", "spatial", "one-sided"])
def test_transposed_convolutions_match_plain_pytorch(engine, name):
    region = REGIONS[name]
    step = (2, 2, 2, 1)[: region.dimension]
    tensor = random_tensor(region.dimension, 5)
    down = Convolution(5, 8, region, stride=step).eval()
    up = TransposedConvolution(8, 3, region, stride=step).eval()

    def down_and_up(source):
        return up(down(source))

    torch.testing.assert_close(
        run(engine, tensor, down_and_up),
        run(None, tensor, down_and_up),
        rtol=1e-4,
        atol=1e-4,
    )


@pytest.mark.parametrize("name", ["hybrid 4D", "pointwise"])
def test_norm_residual_and_relu_match_plain_pytorch(engine, name):
    region = REGIONS[name]
    tensor = random_tensor(region.dimension, 6)
    layer = Convolution(6, 6, region, bias=True).eval()
    norm = with_statistics(BatchNorm(6))

    def block(source):
        return layer(source, norm, residual=source, relu=True)

    result = run(engine, tensor, block)
    assert (result == 0).any()
    torch.testing.assert_close(result, run(None, tensor, block), rtol=1e-4, atol=1e-4)
    assert torch.equal(result, run(engine, tensor, block)), "two runs differ"


@pytest.mark.parametrize("dimension", [3, 4])
def test_a_whole_network_matches_plain_pytorch(engine, dimension):
    network = build_network(
        "MinkUNet14A", in_channels=2, heads={"classes": 5}, dimension=dimension, width=0.25
    )
    tensor = random_tensor(dimension, 2, count=1000, span=12)
    network.eval()
    expected = run(None, tensor, network.class_logits)
    result = run(engine, tensor, network.class_logits)
    spread = float(expected.max() - expected.min())
    torch.testing.assert_close(result, expected, rtol=0, atol=1e-4 * spread)


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_two_threads_match_plain_pytorch(engine, two_threads):
    network = build_network("MinkUNet14A", in_channels=2, heads={"classes": 5}, width=0.25)
    tensor = random_tensor(3, 2, count=15_000, span=40)
    network.eval()
    expected = run(None, tensor, network.class_logits)
    spread = float(expected.max() - expected.min())
    for _ in range(3):
        result = run(engine, tensor, network.class_logits)
        torch.testing.assert_close(result, expected, rtol=0, atol=1e-4 * spread)
    assert torch.get_num_threads() == 2


def test_an_empty_tensor_can_be_convolved(engine):
    empty = SparseTensor(torch.empty(0, 3), torch.empty(0, 4, dtype=torch.long))
    down = Convolution(3, 4, cube((2, 2, 2)), stride=2, bias=True).eval()
    up = TransposedConvolution(4, 2, cube((2, 2, 2)), stride=2).eval()
    assert run(engine, empty, lambda source: up(down(source))).shape == (0, 2)


def test_voxels_without_neighbours_can_be_convolved(engine):
    alone = SparseTensor(torch.randn(2, 3), torch.tensor([[0, 0, 0, 0], [0, 40, 0, 0]]))
    layer = Convolution(3, 4, cube((3, 3, 3))).eval()
    torch.testing.assert_close(run(engine, alone, layer), alone.features @ layer.kernel[13])


def test_caches_are_freed_with_their_tensor(engine):
    layer = Convolution(3, 4, REGIONS["hybrid 4D"]).eval()
    for seed in range(3):
        run(engine, random_tensor(4, 3, seed=seed), layer)
    gc.collect()
    state = {key: value for key, value in vars(engine).items() if key != "_prepared"}
    caches = [value for value in state.values() if isinstance(value, WeakKeyDictionary)]
    assert all(len(cache) == 0 for cache in caches)


@pytest.mark.parametrize("kind", ENGINES.values(), ids=ENGINES)
def test_an_unsupported_device_is_refused(kind):
    with pytest.raises(
        EngineError, match=r"cannot run on meta|CPU only, not on meta|cannot import"
    ):
        kind.check(torch.device("meta"))


@pytest.mark.parametrize("extent", [(9, 22, 31), (17, 20, 8)])
def test_clipped_voxels_and_their_features_match_spconv(extent):
    try:
        SpconvEngine.check(torch.device("cpu"))
    except EngineError as error:
        pytest.skip(str(error))
    spconv = importlib.import_module("spconv.pytorch")
    generator = torch.Generator().manual_seed(0)
    space = (torch.rand(200, 3, generator=generator) * torch.tensor(extent)).long()
    space = torch.cat([space, torch.tensor(extent)[None] - 1])
    coordinates = torch.nn.functional.pad(torch.unique(space, dim=0), (1, 0))
    features = torch.randn(len(coordinates), 4, generator=generator)

    region = cube((2, 2, 2))
    ours = Convolution(4, 6, region, 2).eval(), TransposedConvolution(6, 5, region, 2).eval()
    theirs = (
        spconv.SparseConv3d(4, 6, 2, 2, bias=False, indice_key="down"),
        spconv.SparseInverseConv3d(6, 5, 2, bias=False, indice_key="down"),
    )
    for layer, twin in zip(ours, theirs, strict=True):
        slices = [twin.weight[:, x, y, z].T for x, y, z in region.offsets]
        layer.kernel = torch.nn.Parameter(torch.stack(slices))
    with torch.no_grad(), one_openmp_thread(features.device):
        coarse = theirs[0](spconv.SparseConvTensor(features, coordinates.int(), extent, 1))
        expected = theirs[1](coarse).features
        down = ours[0](SparseTensor(features, coordinates, clip=True))
        result = ours[1](down).at(coordinates)
    assert {tuple(c) for c in coarse.indices.tolist()} == {
        (b, *(c // 2 for c in voxel)) for b, *voxel in down.coordinates.tolist()
    }
    assert (expected == 0).all(dim=1).any()
    torch.testing.assert_close(result, expected)
