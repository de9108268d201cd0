# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import itertools

import pytest
import torch
from torch.nn import functional as F

from minkowski_perception.sparse import (
    CausalRegion,
    SparseTensor,
    causal,
    convolve,
    cube,
    hybrid,
)
from minkowski_perception.sparse import functional as sparse_functional
from minkowski_perception.sparse.functional import gather_gemm_scatter
from minkowski_perception.sparse.threads import set_thread_count

compiled_only = pytest.mark.skipif(
    sparse_functional.compiled_convolution is None, reason="needs numba"
)
REGIONS = {
    "cube": (cube((3, 3, 3)), 1),
    "even, strided": (cube((2, 2, 2)), 2),
    "even": (cube((2, 2, 2)), 1),
    "pointwise": (cube((1, 1, 1)), 1),
    "hybrid 4D": (hybrid((3, 3, 3, 3), cross_axes=(3,)), 1),
    "links to four frames": (causal((3, 3, 3), (3, 3, 3)), 1),
}


def kernel_map_of(name, count=700):
    region, stride = REGIONS[name]
    generator = torch.Generator().manual_seed(count)
    space = torch.randint(-5, 5, (count, region.dimension), generator=generator)
    coordinates = torch.unique(torch.cat([torch.zeros(count, 1).long(), space], dim=1), dim=0)
    tensor = SparseTensor(torch.zeros(len(coordinates), 1), coordinates)
    if isinstance(region, CausalRegion):
        return tensor.manager.causal_map(tensor.map, region, recall=4)
    target = tensor.manager.coarser(tensor.map, (stride,) * region.dimension)
    return tensor.manager.kernel_map(tensor.map, target, region)


def gradients(function, features, weight, kernel_map, grad):
    features, weight = (values.clone().requires_grad_() for values in (features, weight))
    output = function(features, weight, kernel_map)
    output.backward(grad)
    return output.detach(), features.grad, weight.grad


def random_problem(kernel_map, channels, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shapes = (
        (len(kernel_map.source), channels[0]),
        (len(kernel_map), *channels),
        (len(kernel_map.target), channels[1]),
    )
    return [torch.randn(*shape, generator=generator) for shape in shapes]


@pytest.mark.parametrize("channels", [(4, 32), (20, 81), (61, 24), (1, 1), (48, 112)], ids=str)
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("name", REGIONS)
def test_float32_outputs_and_gradients_match_plain_pytorch(name, transposed, channels):
    kernel_map = kernel_map_of(name)
    if transposed:
        kernel_map = kernel_map.transposed()
    features, weight, grad = random_problem(kernel_map, channels)
    got = gradients(convolve, features, weight, kernel_map, grad)
    # In float64, with gradients from autograd through gather, product and scatter.
    wide = (features.double(), weight.double(), kernel_map, grad.double())
    want = gradients(gather_gemm_scatter, *wide)
    for some, expected in zip(got, want, strict=True):
        assert some.shape == expected.shape
        torch.testing.assert_close(some, expected.float(), rtol=1e-4, atol=2e-4)


def test_gathering_few_rows_at_a_time_changes_no_output(monkeypatch):
    kernel_map = kernel_map_of("cube")
    features, weight, _ = random_problem(kernel_map, (8, 16))
    features, weight = (10 * features).round(), (10 * weight).round()  # sums are exact
    whole = gather_gemm_scatter(features, weight, kernel_map)
    monkeypatch.setattr(sparse_functional, "_ROWS", 7)
    assert torch.equal(gather_gemm_scatter(features, weight, kernel_map), whole)


def test_gradients_on_a_full_grid_match_the_dense_convolution():
    size = 6
    grid = torch.tensor(list(itertools.product([0], *[range(size)] * 3)))
    tensor = SparseTensor(torch.zeros(len(grid), 1), grid)
    kernel_map = tensor.manager.kernel_map(tensor.map, tensor.map, cube((3, 3, 3)))
    features, weight, grad = random_problem(kernel_map, (17, 16))

    def dense(features, weight, _):
        # In dense kernels the last axis changes fastest, in ours the first.
        kernel = weight.reshape(3, 3, 3, 17, 16).permute(4, 3, 2, 1, 0)
        volume = features.T.reshape(1, 17, size, size, size)
        return F.conv3d(volume, kernel, padding=1).reshape(16, -1).T

    want = gradients(dense, features, weight, None, grad)
    got = gradients(convolve, features, weight, kernel_map, grad)
    for some, expected in zip(got, want, strict=True):
        torch.testing.assert_close(some, expected, rtol=1e-4, atol=2e-4)


def test_results_are_bit_exact_for_any_number_of_threads():
    kernel_map = kernel_map_of("cube", count=3000)
    features, weight, grad = random_problem(kernel_map, (40, 40))
    assert len(kernel_map.pairs.inputs) * 40 * 40 > 4e6  # Large enough to start threads.
    results = []
    try:
        for threads in (1, 2, 3, 2):
            set_thread_count(threads)
            results.append(gradients(convolve, features, weight, kernel_map, grad))
    finally:
        set_thread_count(0)
    for result in results[1:]:
        assert all(map(torch.equal, result, results[0]))


def test_output_gradients_may_be_views():
    kernel_map = kernel_map_of("cube")
    features, weight, _ = random_problem(kernel_map, (16, 16))
    ones = torch.ones(len(kernel_map.target), 16)
    want = gradients(convolve, features, weight, kernel_map, ones)
    for view in (torch.ones(1, 1).expand_as(ones), torch.ones(*ones.T.shape).T):
        got = gradients(convolve, features, weight, kernel_map, view)
        assert all(map(torch.equal, got, want))


def test_only_inputs_that_require_a_gradient_get_one():
    kernel_map = kernel_map_of("cube")
    features, weight, grad = random_problem(kernel_map, (3, 5))
    for wanted, other in ((features, weight), (weight, features)):
        wanted.requires_grad_()
        convolve(features, weight, kernel_map).backward(grad)
        assert wanted.grad is not None
        assert other.grad is None
        wanted.requires_grad_(False)
        wanted.grad = None


def test_second_derivatives_are_refused():
    kernel_map = kernel_map_of("cube")
    features, weight, _ = random_problem(kernel_map, (3, 5))
    weight.requires_grad_()
    output = convolve(features, weight, kernel_map).square().sum()
    (grad,) = torch.autograd.grad(output, weight, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.square().sum().backward()


@compiled_only
def test_features_with_too_few_rows_are_refused():
    kernel_map = kernel_map_of("cube")
    features, weight, _ = random_problem(kernel_map, (3, 5))
    with pytest.raises(ValueError, match="features must have shape"):
        convolve(features[1:], weight, kernel_map)


@pytest.mark.parametrize("function", [convolve, gather_gemm_scatter])
def test_a_kernel_of_the_wrong_shape_is_refused(function):
    kernel_map = kernel_map_of("cube")
    features, weight, _ = random_problem(kernel_map, (3, 5))
    with pytest.raises(ValueError, match=r"weight must have shape \[27, 3, C_out\]"):
        function(features, weight[1:], kernel_map)


def test_pytorch_is_used_without_numba(monkeypatch):
    kernel_map = kernel_map_of("hybrid 4D")
    problem = random_problem(kernel_map, (5, 7))
    want = gradients(convolve, *problem[:2], kernel_map, problem[2])
    monkeypatch.setattr(sparse_functional, "compiled_convolution", None)
    got = gradients(convolve, *problem[:2], kernel_map, problem[2])
    for some, expected in zip(got, want, strict=True):
        torch.testing.assert_close(some, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("compiled", [pytest.param(True, marks=compiled_only), False])
@pytest.mark.parametrize("name", REGIONS)
def test_autocast_outputs_and_gradients_match_within_bfloat16(name, compiled, monkeypatch):
    if not compiled:
        monkeypatch.setattr(sparse_functional, "compiled_convolution", None)
    kernel_map = kernel_map_of(name)
    features, weight, grad = random_problem(kernel_map, (21, 32))

    def mixed(features, weight, kernel_map):
        with torch.autocast("cpu", torch.bfloat16):
            output = convolve(features, weight, kernel_map)
        assert output.dtype == torch.bfloat16
        return output.float()

    expected = gradients(gather_gemm_scatter, features, weight, kernel_map, grad)
    actual = gradients(mixed, features, weight, kernel_map, grad)
    for one, other in zip(actual, expected, strict=True):
        assert one.dtype == torch.float32
        assert (one - other).norm() < 0.02 * other.norm()
