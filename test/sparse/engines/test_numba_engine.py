# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from minkowski_perception.networks import build_network
from minkowski_perception.sparse import (
    BatchNorm,
    Convolution,
    SparseTensor,
    TransposedConvolution,
    cross,
    cube,
    hybrid,
)
from minkowski_perception.sparse.engines.base import EngineError
from minkowski_perception.sparse.engines.torch_engine import TorchEngine

pytest.importorskip("numba", reason="needs numba")

from minkowski_perception.sparse.engines.numba_engine import NumbaEngine
from minkowski_perception.sparse.matching import match

REGIONS = {
    "cube": cube((3, 3, 3)),
    "stem": cube((5, 5, 5)),
    "even": cube((2, 2, 2)),
    "pointwise": cube((1, 1, 1)),
    "hybrid 4D": hybrid((3, 3, 3, 3), cross_axes=(3,)),
    "cross 7D": cross((3,) * 7),
}


def tensor_of(dimension, channels, engine, count=900):
    generator = torch.Generator().manual_seed(count)
    span = 4 if dimension > 3 else 8
    space = torch.randint(-span, span, (count, dimension), generator=generator)
    coordinates = torch.unique(torch.cat([torch.zeros(count, 1).long(), space], dim=1), dim=0)
    features = torch.randn(len(coordinates), channels, generator=generator)
    return SparseTensor(features, coordinates, engine=engine)


def normalised(channels):
    norm = BatchNorm(channels).eval()
    torch.nn.init.uniform_(norm.bn.weight, 0.5, 1.5)
    for values in (norm.bn.bias, norm.bn.running_mean):
        torch.nn.init.normal_(values)
    torch.nn.init.uniform_(norm.bn.running_var, 0.5, 2.0)
    return norm


@pytest.mark.parametrize("channels", [(4, 32), (20, 81), (163, 61), (1, 1), (48, 112)], ids=str)
@pytest.mark.parametrize("name", REGIONS)
@torch.inference_mode()
def test_convolution_matches_the_reference_for_every_region_and_width(name, channels):
    region = REGIONS[name]
    stride = 2 if name == "even" else 1
    layer = Convolution(*channels, region, stride=stride, bias=True).eval()
    norm = normalised(channels[1])
    results = []
    for engine in (TorchEngine(), NumbaEngine()):
        tensor = tensor_of(region.dimension, channels[0], engine)
        once = layer(tensor, norm, relu=True)
        assert once.features.shape[1] == channels[1]
        results.append(layer(tensor, norm, residual=once).features)
    torch.testing.assert_close(results[1], results[0], rtol=1e-4, atol=1e-4)


@torch.inference_mode()
def test_transposed_convolution_matches_the_reference():
    down = Convolution(5, 40, cube((2, 2, 2)), stride=2).eval()
    up = TransposedConvolution(40, 17, cube((2, 2, 2)), stride=2).eval()
    want, got = (
        up(down(tensor_of(3, 5, engine)), normed).features
        for normed in [normalised(17)]
        for engine in (TorchEngine(), NumbaEngine())
    )
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)


@torch.inference_mode()
def test_bfloat16_keeps_nearly_all_labels_and_gives_float32_logits():
    torch.manual_seed(0)
    network = build_network("MinkUNet14A", in_channels=3, heads={"classes": 5}, width=0.5).eval()
    want = network.class_logits(tensor_of(3, 3, TorchEngine(), count=3000)).features
    got = network.class_logits(tensor_of(3, 3, NumbaEngine(torch.bfloat16), count=3000)).features
    assert got.dtype == torch.float32
    assert (got - want).abs().max() < 0.02 * (want.max() - want.min())
    assert (got.argmax(1) == want.argmax(1)).float().mean() > 0.97
    assert not torch.equal(got, want)


@torch.inference_mode()
def test_bfloat16_between_layers_is_rounded_to_nearest():
    layer = Convolution(1, 1, cube((1, 1, 1))).eval()
    layer.kernel.data.fill_(1.0)
    norm = BatchNorm(1).eval()
    norm.bn.eps = 0.0
    tensor = tensor_of(3, 1, NumbaEngine(torch.bfloat16))
    assert torch.equal(layer(tensor, norm).features, tensor.features.bfloat16())


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16], ids=str)
@torch.inference_mode()
def test_results_are_bit_exact_for_any_number_of_threads(precision):
    network = build_network("MinkUNet14A", in_channels=3, heads={"classes": 5}, width=0.5).eval()
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 3, 2):
            torch.set_num_threads(threads)
            results.append(
                network.class_logits(tensor_of(3, 3, NumbaEngine(precision), 4000)).features
            )
    finally:
        torch.set_num_threads(before)
    for result in results[1:]:
        assert torch.equal(result, results[0])


@torch.no_grad()
def test_changed_weights_are_used_at_the_next_call():
    layer = Convolution(3, 4, cube((3, 3, 3))).eval()
    tensor = tensor_of(3, 3, NumbaEngine())
    before = layer(tensor).features.clone()
    layer.kernel.mul_(2.0)
    torch.testing.assert_close(layer(tensor).features, 2.0 * before)


@pytest.mark.parametrize("deltas", [[0], [3, -250], [10_000, 0, -1], [0, 3, -250, 10_000]])
def test_matching_finds_all_keys_that_differ_by_delta(deltas):
    generator = np.random.default_rng(0)
    source = np.unique(generator.integers(-400, 400, 300))
    target = np.unique(generator.integers(-400, 400, 200))
    found = match(torch.from_numpy(source), torch.from_numpy(target), deltas)
    for delta, (inputs, outputs) in zip(deltas, found, strict=True):
        pairs = [(i, j) for j, t in enumerate(target) for i in np.flatnonzero(source == t + delta)]
        assert list(zip(inputs.tolist(), outputs.tolist(), strict=True)) == pairs


@pytest.mark.parametrize("count", [1, 7, 8, 9, 16, 17, 60])
def test_matching_finds_all_pairs_of_equal_and_of_few_common_keys(count):
    keys = torch.arange(count) * 3
    shifted = torch.arange(count) * 4 - 8
    all_rows, some_rows = match(keys, keys, [0])[0], match(keys, shifted, [0])[0]
    assert [rows.tolist() for rows in all_rows] == [list(range(count))] * 2
    common = sorted(set(keys.tolist()) & set(shifted.tolist()))
    assert keys[some_rows[0].long()].tolist() == common
    assert shifted[some_rows[1].long()].tolist() == common


def test_matching_without_keys_finds_nothing():
    nothing = torch.empty(0, dtype=torch.int64)
    for keys in (nothing, torch.tensor([1, 2])):
        (found,) = match(keys, nothing, [0])
        assert [len(rows) for rows in found] == [0, 0]


@torch.no_grad()
def test_features_of_other_dtypes_are_read_as_float32():
    layer = Convolution(3, 4, cube((3, 3, 3))).eval()
    tensor = tensor_of(3, 3, NumbaEngine())
    want = layer(tensor).features
    for features in (tensor.features.double(), tensor.features.T.contiguous().T):
        torch.testing.assert_close(layer(tensor.replace(features)).features, want)


def test_features_with_too_few_rows_are_refused():
    layer = Convolution(3, 4, cube((3, 3, 3))).eval()
    tensor = tensor_of(3, 3, NumbaEngine())
    rows = len(tensor)
    short = tensor.replace(tensor.features[1:])
    expected = rf"features must have shape \[{rows}, 3\], not \[{rows - 1}, 3\]"
    with torch.no_grad(), pytest.raises(ValueError, match=expected):
        layer(short)


def test_pytorch_is_used_if_numba_may_not_compile():
    code = (
        "import torch\n"
        "from minkowski_perception.sparse import Convolution, SparseTensor, cube\n"
        "from minkowski_perception.sparse.selection import load_engine\n"
        "tensor = SparseTensor(torch.ones(9, 1), torch.arange(36).reshape(9, 4) % 2**7)\n"
        "print(len(Convolution(1, 1, cube((3, 3, 3)))(tensor)))\n"
        "load_engine('numba', torch.device('cpu'))\n"
    )
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout == "9\n"
    assert "EngineError: cannot load engine 'numba' (NUMBA_DISABLE_JIT is set" in done.stderr


def test_features_on_other_devices_are_refused():
    layer = Convolution(3, 4, cube((3, 3, 3))).eval()
    tensor = tensor_of(3, 3, NumbaEngine())
    with (
        torch.no_grad(),
        pytest.raises(EngineError, match="needs features on the CPU, not on meta"),
    ):
        layer(tensor.replace(tensor.features.to("meta")))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_starts_its_own_threads(monkeypatch):
    monkeypatch.setattr("minkowski_perception.sparse.matching.thread_count", lambda: 2)
    keys = torch.arange(200_000)
    match(keys, keys, [1])
    child = os.fork()
    if child == 0:
        try:
            (found,) = match(keys, keys, [1])
            os._exit(int(len(found[0]) != len(keys) - 1))
        finally:
            os._exit(2)
    deadline = time.monotonic() + 60
    while (ended := os.waitpid(child, os.WNOHANG))[0] == 0 and time.monotonic() < deadline:
        time.sleep(0.01)
    if ended[0] == 0:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert ended == (child, 0)
