# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Peers and our networks give equal logits; MinkowskiEngine is the reference of exactness."""

import collections
import gc

import pytest
import torch

from minkowski_perception.lab.benchmarks.exactness import (
    LIMIT,
    Difference,
    compare,
    cpu_engines,
    infer,
    relative_difference,
    set_weights,
    table,
)
from minkowski_perception.lab.benchmarks.peers import MinkowskiPeer, SpconvPeer
from minkowski_perception.networks import build_network
from minkowski_perception.sparse import Convolution, KernelRegion
from minkowski_perception.sparse.engines.base import EngineError

PEERS = {peer.name: peer for peer in (MinkowskiPeer, SpconvPeer)}


def peer_of(kind, network):
    try:
        return kind(network)
    except EngineError as error:
        pytest.skip(str(error))


def voxels(dimension, count=900, channels=3, span=20):
    """Return distinct voxels of two batches around the origin in random order, and features."""
    draw = torch.Generator().manual_seed(0)
    x, y = torch.randint(-span, span, (2, count), generator=draw)
    columns = [torch.randint(0, 2, (count,), generator=draw), x, y, x * y // 100]
    if dimension == 4:
        columns.append(torch.randint(-1, 2, (count,), generator=draw))
    coordinates = torch.unique(torch.stack(columns, dim=1), dim=0)
    coordinates = coordinates[torch.randperm(len(coordinates), generator=draw)]
    return coordinates, torch.randn(len(coordinates), channels, generator=draw)


def narrow(name, dimension, kernel="cube"):
    network = build_network(
        name, in_channels=3, heads={"classes": 8}, dimension=dimension, kernel=kernel, width=0.25
    )
    set_weights(network)
    return network


@pytest.mark.parametrize("kind", PEERS.values(), ids=PEERS)
@pytest.mark.parametrize(
    ("name", "dimension", "kernel"),
    [
        ("MinkUNet14A", 3, "cube"),
        ("MinkUNet50", 3, "hybrid"),
        ("MinkUNet18-W16", 3, None),
        ("MinkUNet14A", 4, "cube"),
        ("MinkUNet14A", 4, "hybrid"),
        ("MinkUNet14A", 4, "cross"),
    ],
)
def test_a_peer_gives_our_logits_in_the_order_of_its_input(kind, name, dimension, kernel):
    network = narrow(name, dimension, kernel)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    coordinates, features = voxels(dimension)
    peer = peer_of(kind, network)
    logits = peer(coordinates, features)
    assert relative_difference(logits, infer(network, coordinates, features)) < LIMIT
    assert torch.equal(logits, peer(coordinates, features)), "another result the second time"
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())


@pytest.mark.parametrize("kind", PEERS.values(), ids=PEERS)
def test_a_peer_is_exact_on_two_threads_and_keeps_their_number(kind):
    network = narrow("MinkUNet14A", 3)
    coordinates, features = voxels(3, count=15_000, span=200)
    peer = peer_of(kind, network)
    expected = infer(network, coordinates, features)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        for _ in range(3):
            assert relative_difference(peer(coordinates, features), expected) < LIMIT
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_spconv_keeps_voxels_at_the_border():
    network = narrow("MinkUNet14A", 3)
    coordinates = torch.tensor([[0, x, 0, 0] for x in range(-5, 12)])
    features = torch.ones(len(coordinates), 3)
    logits = peer_of(SpconvPeer, network)(coordinates, features)
    assert relative_difference(logits, infer(network, coordinates, features)) < LIMIT


def test_a_kernel_that_is_no_sum_of_boxes_is_refused():
    network = torch.nn.Sequential(Convolution(1, 1, KernelRegion(((0, 0, 0), (1, 1, -1)))))
    if "spconv" not in (engine.name for engine in cpu_engines()):
        pytest.skip("spconv is not installed")
    with pytest.raises(ValueError, match=r"lie in no box and on no axis: \[\(1, 1, -1\)\]"):
        SpconvPeer(network)


def test_importing_minkowski_engine_does_not_change_python():
    peer_of(MinkowskiPeer, narrow("MinkUNet14A", 3))
    assert not hasattr(collections, "Sequence")


def test_minkowski_engine_keeps_nothing_between_calls():
    peer = peer_of(MinkowskiPeer, narrow("MinkUNet14A", 3))
    coordinates, features = voxels(3)
    peer(coordinates, features)
    gc.collect()
    engine = pytest.importorskip("MinkowskiEngine")
    assert engine.global_coordinate_manager() is None
    alive = [o for o in gc.get_objects() if type(o) is engine.CoordinateManager]
    assert alive == []


@pytest.mark.parametrize(
    "case",
    [
        ("MinkUNet14A", 3, "cube"),
        ("MinkUNet34C", 3, "cube"),
        ("MinkUNet50", 3, "cube"),
        ("MinkUNet14A", 4, "cube"),
    ],
    ids=lambda case: "-".join(map(str, case)),
)
def test_our_engines_give_minkowski_engines_logits_at_full_width(case):
    peer_of(MinkowskiPeer, narrow("MinkUNet14A", 3))  # skips if it is not installed
    differences = compare(case, *voxels(case[1]), cpu_engines())
    assert {"torch", "minkowski"} <= {row.engine for row in differences}
    assert all(row.passed for row in differences), table(differences)


def test_a_difference_at_the_limit_does_not_pass():
    rows = [Difference("net", "ours", 9e-5), Difference("net", "other", LIMIT)]
    assert [row.passed for row in rows] == [True, False]
    assert table(rows).splitlines()[1].endswith("exact")
    assert "other" in table(rows).splitlines()[2]
    assert table(rows).endswith("not below 0.0001")


def test_relative_difference_is_the_largest_over_the_spread():
    expected = torch.tensor([[0.0, 10.0], [5.0, 2.0]])
    logits = expected + torch.tensor([[0.0, 0.1], [-0.5, 0.0]])
    assert relative_difference(logits, expected) == pytest.approx(0.05)
