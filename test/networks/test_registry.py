# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from minkowski_perception.networks import build_network, network_names
from minkowski_perception.networks.blocks import block_region
from minkowski_perception.sparse import SparseTensor

# Millions of parameters, of the published networks.
COUNTS_3D = {
    "MinkUNet14A": 8.02,
    "MinkUNet14B": 8.96,
    "MinkUNet14C": 11.92,
    "MinkUNet14D": 43.3,
    "MinkUNet18A": 15.49,
    "MinkUNet18B": 17.2,
    "MinkUNet34A": 36.6,
    "MinkUNet34B": 36.2,
    "MinkUNet34C": 37.86,
    "Res16UNet14": 22.1,
    "Res16UNet18": 41.0,
    "Res16UNet34": 57.2,
}
COUNTS_4D = {
    ("MinkUNet14A", "hybrid"): 8.54,
    ("MinkUNet18A", "hybrid"): 16.56,
    ("MinkUNet34C", "hybrid"): 40.5,
    ("MinkUNet14A", "cube"): 22.3,
    ("MinkUNet18A", "cube"): 44.7,
}


def millions(network):
    return sum(p.numel() for p in network.parameters()) / 1e6


def voxels(dimension, count=300, seed=0):
    generator = torch.Generator().manual_seed(seed)
    coordinates = torch.randint(-12, 12, (count, dimension), generator=generator)
    if dimension == 4:
        coordinates[:, 3] %= 3
    batch = torch.randint(0, 2, (count, 1), generator=generator)
    return torch.unique(torch.cat([batch, coordinates], dim=1), dim=0)


@pytest.mark.parametrize("name", COUNTS_3D)
def test_parameter_counts_in_3d_equal_the_published_ones(name):
    network = build_network(name, in_channels=3, heads={"classes": 20})
    assert millions(network) == pytest.approx(COUNTS_3D[name], rel=0.004)


@pytest.mark.parametrize(("name", "kernel"), COUNTS_4D)
def test_parameter_counts_in_4d_equal_the_published_ones(name, kernel):
    network = build_network(
        name, in_channels=3, heads={"classes": 12}, dimension=4, kernel=kernel, stem_kernel=3
    )
    assert millions(network) == pytest.approx(COUNTS_4D[name, kernel], rel=0.004)


@pytest.mark.parametrize("name", sorted(set(network_names()) - {"SPVNAS"}))
def test_every_network_gives_logits_of_all_voxels_and_gradients_of_all_parameters(name):
    network = build_network(name, in_channels=2, heads={"classes": 5}, dimension=4, width=0.25)
    coordinates = voxels(4)
    tensor = SparseTensor(torch.randn(len(coordinates), 2), coordinates)
    logits = network.class_logits(tensor)
    assert logits.features.shape == (len(tensor), 5)
    assert logits.map is tensor.map
    (logits.features**2).mean().backward()
    without = [key for key, p in network.named_parameters() if p.grad is None]
    assert not without


@pytest.mark.parametrize("kernel", ["cube", "cross", "hybrid"])
@pytest.mark.parametrize("dimension", [3, 4])
def test_every_kernel_runs_in_3d_and_4d(kernel, dimension):
    network = build_network(
        "MinkUNet14A",
        in_channels=1,
        heads={"classes": 2},
        dimension=dimension,
        kernel=kernel,
        width=0.25,
    )
    coordinates = voxels(dimension)
    tensor = SparseTensor(torch.ones(len(coordinates), 1), coordinates)
    assert torch.isfinite(network.class_logits(tensor).features).all()


def test_layer_names_and_shapes_equal_those_of_the_reference():
    state = build_network("MinkUNet34C", in_channels=4, heads={"classes": 19}).state_dict()
    expected = {
        "conv0p1s1.kernel": (125, 4, 32),
        "bn0.bn.running_mean": (32,),
        "conv1p1s2.kernel": (8, 32, 32),
        "block1.0.conv1.kernel": (27, 32, 32),
        "block2.0.downsample.0.kernel": (32, 64),
        "block2.0.downsample.1.bn.weight": (64,),
        "block4.5.norm2.bn.bias": (256,),
        "convtr4p16s2.kernel": (8, 256, 256),
        "bntr4.bn.weight": (256,),
        "block5.0.conv1.kernel": (27, 384, 256),
        "convtr7p2s2.kernel": (8, 96, 96),
        "block8.0.downsample.0.kernel": (128, 96),
        "final.kernel": (96, 19),
        "final.bias": (1, 19),
    }
    assert {key: tuple(state[key].shape) for key in expected} == expected
    assert "block1.0.downsample.0.kernel" not in state


def test_in_4d_only_the_blocks_connect_frames():
    network = build_network("MinkUNet14A", in_channels=1, heads={"classes": 2}, dimension=4)
    temporal = [
        name
        for name, module in network.named_modules()
        if hasattr(module, "region") and any(o[3] for o in module.region.offsets)
    ]
    assert temporal
    assert all(name.startswith("block") for name in temporal)
    assert all(getattr(m, "stride", (1,))[-1] == 1 for m in network.modules())


def test_a_4d_network_on_one_frame_equals_the_3d_network_with_its_spatial_weights():
    flat = build_network(
        "MinkUNet14A", in_channels=2, heads={"classes": 3}, kernel="hybrid", width=0.25
    ).eval()
    deep = build_network(
        "MinkUNet14A", in_channels=2, heads={"classes": 3}, dimension=4, width=0.25
    ).eval()
    state = deep.state_dict()
    for key, value in state.items():
        if value.ndim == 3 and len(value) == 29:
            state[key] = value[:27]
    flat.load_state_dict(state)
    coordinates = voxels(3)
    features = torch.randn(len(coordinates), 2)
    in_time = torch.cat([coordinates, torch.full((len(coordinates), 1), 7)], dim=1)
    a = flat.class_logits(SparseTensor(features, coordinates)).features
    b = deep.class_logits(SparseTensor(features, in_time)).features
    torch.testing.assert_close(a, b)


def test_a_shift_of_all_voxels_by_the_coarsest_stride_changes_nothing():
    network = build_network(
        "MinkUNet14A", in_channels=2, heads={"classes": 3}, dimension=4, width=0.25
    ).eval()
    coordinates = voxels(4)
    features = torch.randn(len(coordinates), 2)
    moved = coordinates + torch.tensor([0, 16, -32, 160, 5])
    a = network.class_logits(SparseTensor(features, coordinates)).features
    b = network.class_logits(SparseTensor(features, moved)).features
    torch.testing.assert_close(a, b)


def test_batch_entries_are_independent():
    network = build_network("MinkUNet14A", in_channels=2, heads={"classes": 3}, width=0.25).eval()
    coordinates = voxels(3)
    features = torch.randn(len(coordinates), 2)
    first = coordinates[:, 0] == 0
    alone = network.class_logits(SparseTensor(features[first], coordinates[first])).features
    together = network.class_logits(SparseTensor(features, coordinates)).features[: first.sum()]
    torch.testing.assert_close(alone, together)


def test_an_unknown_name_is_refused_with_the_valid_ones():
    with pytest.raises(
        ValueError, match=r"unknown network 'MinkUNet99'; did you mean .*MinkUNet34C"
    ):
        build_network("MinkUNet99", in_channels=1, heads={"classes": 2})


MINKUNET = {"name": "MinkUNet14A", "in_channels": 1, "heads": {"classes": 2}}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"dimension": 5}, "dimension: must be 3 to 4, not 5"),
        ({"stem_kernel": 4}, "odd and positive, not 4"),
        ({"in_channels": 0}, "in_channels: must be at least 1, not 0"),
        ({"heads": {}}, "heads must name 'classes', not none"),
        ({"heads": {"classes": 0}}, "heads.classes: must be at least 1, not 0"),
        ({"heads": {"classes": 2, "clases": 2}}, "unknown head 'clases'; did you mean 'classes'"),
        ({"width": 0.0}, "width: must be at most 4 and above 0, not 0.0"),
        ({"kernel": "sphere"}, "kernel: must be one of cube, cross, hybrid, causal, not 'sphere'"),
        ({"kernel": "causal"}, "'hybrid' or, in 4D, 'causal', not 'causal' in 3D"),
        ({"links": ["none"] * 5}, "links, recall and support are for kernel 'causal', not 'cube'"),
        ({"support": 10}, "links, recall and support are for kernel 'causal', not 'cube'"),
        ({"dimension": 4, "support": 10}, "support are for kernel 'causal', not 'hybrid'"),
        ({"support": 33}, "network.support: must be 0 to 32, not 33"),
        ({"name": "SPVCNN-W16", "support": 10}, "network.support: unknown key"),
        ({"stem_kernl": 3}, "network.stem_kernl: unknown key; did you mean 'stem_kernel'?"),
        ({"config": {}}, "network.config: unknown key; valid: in_channels, heads, .*width"),
        ({"name": "SPVCNN-W16", "stem_kernel": 3}, "network.stem_kernel: unknown key"),
        ({"name": "SPVNAS"}, "network.config: missing; valid keys: in_channels, .*config"),
        ({"name": "SPVNAS", "config": {}, "width": 0.5}, "network.width: unknown key"),
        ({"name": "SPVNAS", "config": []}, r"network.config: must be a mapping, not \[\]"),
        ({"name": "SPVNAS", "config": {}}, "9 widths as 'output_channels', not None"),
    ],
)
def test_impossible_options_are_refused_with_the_valid_ones(wrong, message):
    with pytest.raises(ValueError, match=message):
        build_network(
            **{"name": "MinkUNet14A", "in_channels": 1, "heads": {"classes": 2}, **wrong}
        )


def test_the_hybrid_region_of_the_blocks_has_29_offsets_in_4d():
    assert len(block_region(4, "hybrid")) == 29
    assert len(block_region(4, "cross")) == 9
    assert len(block_region(4, "cube")) == 81
