# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import itertools

import oracle
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from minkowski_perception.sparse import (
    BatchNorm,
    Convolution,
    KernelRegion,
    Pooling,
    SparseTensor,
    TransposedConvolution,
    cross,
    cube,
    hybrid,
)

REGIONS = {
    "cube 3D": cube((3, 3, 3)),
    "cube 5D odd and even": cube((3, 2, 1, 1, 2)),
    "stem": cube((5, 5, 5)),
    "tesseract": cube((3, 3, 3, 3)),
    "hybrid 3D": hybrid((3, 3, 3)),
    "hybrid 4D": hybrid((3, 3, 3, 3), cross_axes=(3,)),
    "cross 4D": cross((3, 3, 3, 3)),
    "cross 7D": cross((3,) * 7),
    "even": cube((2, 2, 2)),
    "spatial": cube((2, 2, 2, 1)),
    "one-sided": KernelRegion(((0, 0, 0, 0), (0, 0, 0, -1), (1, -2, 0, -1))),
}


def random_voxels(dimension, count=120, span=3, seed=0):
    """Return unique coordinates of two batches around the origin."""
    generator = torch.Generator().manual_seed(seed)
    space = torch.randint(-span, span + 1, (count, dimension), generator=generator)
    batch = torch.randint(0, 2, (count, 1), generator=generator)
    return torch.unique(torch.cat([batch, space], dim=1), dim=0)


def random_tensor(dimension, channels=3, dtype=torch.float64, **kwargs):
    coordinates = random_voxels(dimension, **kwargs)
    features = torch.randn(len(coordinates), channels, dtype=dtype)
    order = torch.randperm(len(coordinates))
    return SparseTensor(features[order], coordinates[order])


def assert_equals(tensor, expected):
    assert {tuple(c) for c in tensor.coordinates.tolist()} == set(expected)
    for coordinate, features in zip(tensor.coordinates.tolist(), tensor.features, strict=True):
        torch.testing.assert_close(features, expected[tuple(coordinate)])


@pytest.mark.parametrize("name", REGIONS)
@pytest.mark.parametrize("stride", [1, 2])
def test_convolution_matches_its_definition_in_every_region(name, stride):
    region = REGIONS[name]
    tensor = random_tensor(region.dimension)
    layer = Convolution(3, 4, region, stride=stride).double()
    strides = [stride] * region.dimension
    expected = oracle.convolve(
        tensor.features,
        tensor.coordinates,
        layer.kernel,
        region.offsets,
        strides,
        [1] * region.dimension,
    )
    assert_equals(layer(tensor), expected)


def test_convolution_with_dilation_on_a_strided_tensor_matches_its_definition():
    tensor = Pooling("sum", cube((2, 2, 2)), stride=2)(random_tensor(3, count=400, span=8))
    layer = Convolution(3, 2, cube((3, 3, 3)), dilation=2).double()
    expected = oracle.convolve(
        tensor.features,
        tensor.coordinates,
        layer.kernel,
        layer.region.offsets,
        [1] * 3,
        [2] * 3,
        2,
    )
    assert_equals(layer(tensor), expected)


@settings(max_examples=30, deadline=None)
@given(
    rows=st.lists(
        st.tuples(st.integers(0, 2), *(st.integers(-5, 5) for _ in range(3))),
        min_size=1,
        max_size=40,
        unique=True,
    ),
    stride=st.sampled_from([(1, 1, 1), (2, 2, 2), (2, 2, 1), (3, 1, 2)]),
    sizes=st.tuples(*(st.integers(1, 4) for _ in range(3))),
)
def test_convolution_matches_its_definition_for_any_voxels_strides_and_sizes(rows, stride, sizes):
    coordinates = torch.tensor(rows)
    tensor = SparseTensor(torch.randn(len(rows), 2, dtype=torch.float64), coordinates)
    layer = Convolution(2, 2, cube(sizes), stride=stride).double()
    weight = layer.kernel.reshape(-1, 2, 2)
    expected = oracle.convolve(
        tensor.features, tensor.coordinates, weight, layer.region.offsets, stride, [1] * 3
    )
    assert_equals(layer(tensor), expected)


@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_convolution_on_a_full_grid_matches_the_dense_convolution(dimension):
    size, dense_conv = 5, {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}[dimension]
    grid = torch.tensor(list(itertools.product([0], *[range(size)] * dimension)))
    tensor = SparseTensor(torch.randn(len(grid), 2, dtype=torch.float64), grid)
    layer = Convolution(2, 3, cube((3,) * dimension)).double()
    dense = tensor.features.T.reshape(1, 2, *[size] * dimension)
    # In dense kernels the last axis changes fastest, in ours the first.
    weight = layer.kernel.reshape(*[3] * dimension, 2, 3)
    weight = weight.permute(-1, -2, *reversed(range(dimension)))
    expected = dense_conv(dense, weight, padding=1)
    torch.testing.assert_close(layer(tensor).features, expected.reshape(3, -1).T)


def test_the_4d_hybrid_is_a_3d_convolution_plus_one_product_per_neighbouring_frame():
    region = REGIONS["hybrid 4D"]
    tensor = random_tensor(4)
    layer = Convolution(3, 4, region).double()
    total = torch.zeros(len(tensor), 4, dtype=torch.float64)
    for t in tensor.coordinates[:, 4].unique().tolist():
        current = tensor.coordinates[:, 4] == t
        spatial = Convolution(3, 4, hybrid((3, 3, 3))).double()
        spatial.kernel = torch.nn.Parameter(layer.kernel[:27])
        frame = SparseTensor(tensor.features[current], tensor.coordinates[current][:, :4])
        total[current] = spatial(frame).features
    for k, step in ((27, -1), (28, 1)):
        neighbours = tensor.coordinates + torch.tensor([0, 0, 0, 0, step])
        total += tensor.at(neighbours) @ layer.kernel[k]
    torch.testing.assert_close(layer(tensor).features, total)


@pytest.mark.parametrize("name", ["even", "spatial", "cube 3D", "hybrid 4D"])
def test_transposed_convolution_to_known_voxels_matches_its_definition(name):
    region = REGIONS[name]
    step = (2, 2, 2, 1)[: region.dimension]
    fine = random_tensor(region.dimension)
    down = Convolution(3, 4, region, stride=step).double()(fine)
    layer = TransposedConvolution(4, 2, region, stride=step).double()
    up = layer(down)
    assert up.map is fine.map
    expected = oracle.convolve_transposed(
        down.features,
        down.coordinates,
        layer.kernel,
        region.offsets,
        fine.coordinates,
        [1] * region.dimension,
    )
    assert_equals(up, expected)


def test_transposed_convolution_without_known_voxels_gives_all_that_the_kernel_reaches():
    tensor = SparseTensor(torch.randn(2, 3), torch.tensor([[0, -2, 4], [0, 0, 0]]), stride=2)
    layer = TransposedConvolution(3, 2, cube((2, 2)), stride=2)
    up = layer(tensor)
    corners = {(0, -2 + i, 4 + j) for i in (0, 1) for j in (0, 1)}
    corners |= {(0, i, j) for i in (0, 1) for j in (0, 1)}
    assert {tuple(c) for c in up.coordinates.tolist()} == corners
    assert up.stride == (1, 1)
    row = up.at(torch.tensor([[0, -1, 5]]))
    expected = tensor.at(torch.tensor([[0, -2, 4]])) @ layer.kernel[3]
    torch.testing.assert_close(row, expected)


def test_transposed_convolution_refuses_an_indivisible_stride():
    tensor = SparseTensor(torch.ones(1, 1), torch.tensor([[0, 3]]), stride=3)
    with pytest.raises(ValueError, match=r"stride \(3,\) is not divisible by \(2,\)"):
        TransposedConvolution(1, 1, cube((2,)), stride=2)(tensor)


def test_a_pointwise_convolution_is_a_linear_map_with_a_2d_kernel():
    tensor = random_tensor(3, dtype=torch.float32)
    layer = Convolution(3, 5, cube((1, 1, 1)), bias=True)
    assert layer.kernel.shape == (3, 5)
    assert layer.bias.shape == (1, 5)
    expected = F.linear(tensor.features, layer.kernel.T, layer.bias[0])
    torch.testing.assert_close(layer(tensor).features, expected)


@pytest.mark.parametrize("channels", [3, 32])
@pytest.mark.parametrize("how", ["sum", "mean", "max"])
def test_pooling_uses_the_occupied_neighbours(how, channels):
    tensor = random_tensor(3, channels=channels)
    pooled = Pooling(how, cube((2, 2, 2)), stride=2)(tensor)
    reduce = {"sum": torch.sum, "mean": torch.mean, "max": torch.amax}[how]
    groups = {}
    for coordinate, features in zip(tensor.coordinates.tolist(), tensor.features, strict=True):
        groups.setdefault(oracle.coarse(coordinate, (2, 2, 2)), []).append(features)
    expected = {c: reduce(torch.stack(f), dim=0) for c, f in groups.items()}
    assert_equals(pooled, expected)


def test_an_unknown_pooling_is_refused():
    with pytest.raises(ValueError, match="'sum', 'mean' or 'max', not 'median'"):
        Pooling("median", cube((2, 2, 2)), stride=2)(random_tensor(3))


@pytest.mark.parametrize("name", ["tesseract", "hybrid 4D", "even", "one-sided"])
@pytest.mark.parametrize("transposed", [False, True])
def test_gradients_of_features_and_kernels_match_finite_differences(name, transposed):
    region = REGIONS[name]
    step = (2, 2, 2, 1)[: region.dimension]
    tensor = random_tensor(region.dimension, channels=2, count=12, span=1)
    down = Convolution(2, 2, region, stride=step).double()
    up = TransposedConvolution(2, 2, region, stride=step).double()

    features = tensor.features.clone().requires_grad_()
    kernel = torch.randn(len(region), 2, 2, dtype=torch.float64, requires_grad=True)

    def run(features, kernel):
        source = tensor.replace(features)
        layer, source = (up, down(source)) if transposed else (down, source)
        return torch.func.functional_call(layer, {"kernel": kernel}, (source,)).features

    assert torch.autograd.gradcheck(run, (features, kernel))


def test_batch_norm_normalises_the_features():
    tensor = random_tensor(4, dtype=torch.float32)
    layer = BatchNorm(3).train()
    expected = F.batch_norm(tensor.features, None, None, training=True)
    torch.testing.assert_close(layer(tensor).features, expected)


def test_convolution_in_a_wrong_dimension_is_refused():
    with pytest.raises(ValueError, match="a 4D kernel on 3D voxels"):
        Convolution(3, 3, cube((3, 3, 3, 3)))(random_tensor(3, dtype=torch.float32))


def test_a_wrong_number_of_channels_is_refused():
    with pytest.raises(ValueError, match=r"expected 2 input channels, got .* 3 channels"):
        Convolution(2, 4, cube((3, 3, 3)))(random_tensor(3, dtype=torch.float32))


def test_two_runs_are_bit_exact():
    tensor = random_tensor(4, dtype=torch.float32, count=2000, span=6)
    layer = Convolution(3, 16, REGIONS["hybrid 4D"])
    assert torch.equal(layer(tensor).features, layer(tensor).features)


def test_kernel_maps_are_built_once_per_tensor():
    tensor = random_tensor(3, dtype=torch.float32)
    first, second = (Convolution(3, 3, cube((3, 3, 3))) for _ in range(2))
    a = tensor.manager.kernel_map(tensor.map, tensor.map, first.region)
    first(second(tensor))
    assert tensor.manager.kernel_map(tensor.map, tensor.map, second.region) is a
    assert random_tensor(3).manager.kernel_map is not tensor.manager.kernel_map


def test_an_empty_tensor_can_be_convolved():
    tensor = SparseTensor(torch.empty(0, 3), torch.empty(0, 4, dtype=torch.long))
    down = Convolution(3, 4, cube((2, 2, 2)), stride=2)(tensor)
    assert TransposedConvolution(4, 2, cube((2, 2, 2)), stride=2)(down).features.shape == (0, 2)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", REGIONS)
def test_cuda_matches_the_cpu(name):
    region = REGIONS[name]
    tensor = random_tensor(region.dimension)
    layer = Convolution(3, 4, region, stride=2).double()
    expected = layer(tensor)
    on_gpu = layer.cuda()(SparseTensor(tensor.features.cuda(), tensor.coordinates.cuda()))
    torch.testing.assert_close(on_gpu.features.cpu(), expected.features)
