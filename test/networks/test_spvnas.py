# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Tests of SPVNAS's sub-networks, with a made-up net.config: none is available offline."""

import pytest
import torch

from minkowski_perception.networks import build_network
from minkowski_perception.sparse import SparseTensor

OUTPUT = [32, 16, 48, 64, 128, 112, 64, 48, 80]
TRANSITIONS = {"downsample": [16, 16, 32, 64], "upsample": [96, 64, 48, 32]}
MIDDLES = {
    "downsample": [[16], [16, 48], [80, 32], [48]],
    "upsample": [[64, 48], [32], [48, 16], [32]],
}


def net_config():
    """Return a net.config with all entries that SPVNAS writes."""
    config = {"num_classes": 19, "pres": 0.05, "vres": 0.05, "output_channels": OUTPUT}
    widths = {"downsample": OUTPUT[1:5], "upsample": OUTPUT[5:]}
    for part in ("downsample", "upsample"):
        for i in range(4):
            middles = MIDDLES[part][i]
            config[f"{part}.{i}.transition"] = TRANSITIONS[part][i]
            config[f"{part}.{i}.feature"] = len(middles)
            for j in range(2):
                layer = f"{part}.{i}.feature.layers.{j}"
                active = j < len(middles)
                config[f"{layer}.net"] = 2 if active else None
                config[f"{layer}.net.layers.0"] = middles[j] if active else None
                config[f"{layer}.net.layers.1"] = widths[part][i] if active else None
            config[f"{part}.{i}.feature.layers.0.downsample"] = widths[part][i]
    return config | {f"point_transforms.{i}": OUTPUT[4 + 2 * i] for i in range(3)}


def build(config, in_channels=4, **options):
    return build_network(
        "SPVNAS", in_channels=in_channels, heads={"classes": 19}, config=config, **options
    )


def expected_count():
    def convolution(volume, before, after):
        return volume * before * after + 2 * after

    count = convolution(27, 4, 32) + convolution(27, 32, 32)
    skips, before = [32, *OUTPUT[1:4]], 32
    for part, widths in (("downsample", OUTPUT[1:5]), ("upsample", OUTPUT[5:])):
        for i, width in enumerate(widths):
            transition = TRANSITIONS[part][i]
            count += convolution(8, before, transition)
            before = transition + (skips.pop() if part == "upsample" else 0)
            count += convolution(1, before, width)  # the first block's shortcut
            for middle in MIDDLES[part][i]:
                count += convolution(27, before, middle) + convolution(27, middle, width)
                before = width
    for narrow, wide in ((32, OUTPUT[4]), (OUTPUT[4], OUTPUT[6]), (OUTPUT[6], OUTPUT[8])):
        count += convolution(1, narrow, wide) + wide
    return count + (OUTPUT[8] + 1) * 19


def test_a_config_sets_widths_and_depths():
    network = build(net_config())
    state = network.state_dict()
    assert state["stage2.1.net.3.kernel"].shape == (27, 16, 48)
    assert state["stage2.2.net.0.kernel"].shape == (27, 48, 48)
    assert state["up1.1.0.net.0.kernel"].shape == (27, 96 + 64, 64)
    assert state["stage1.1.downsample.0.kernel"].shape == (16, 16)
    assert "stage1.2.net.0.kernel" not in state
    assert "stage2.2.downsample.0.kernel" not in state
    assert sum(p.numel() for p in network.parameters()) == expected_count()


@pytest.mark.parametrize("dimension", [3, 4])
def test_a_sub_network_gives_logits_of_all_voxels(dimension):
    coordinates = torch.randint(0, 20, (200, 1 + dimension))
    coordinates[:, 0] = 0
    coordinates = torch.unique(coordinates, dim=0)
    tensor = SparseTensor(torch.randn(len(coordinates), 2), coordinates)
    logits = build(net_config(), in_channels=2, dimension=dimension).class_logits(tensor)
    assert logits.features.shape == (len(tensor), 19)
    assert torch.isfinite(logits.features).all()


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("output_channels", [32, 16], "9 widths as 'output_channels', not \\[32, 16\\]"),
        ("output_channels", [*OUTPUT[:-1], 0], "'output_channels' .* positive integer, not 0"),
        ("upsample.2.transition", None, "'upsample.2.transition' .* positive integer, not None"),
        ("downsample.1.feature", "2", "'downsample.1.feature' .* positive integer, not '2'"),
        (
            "downsample.1.feature.layers.1.net.layers.0",
            48.0,
            "'downsample.1.feature.layers.1.net.layers.0' .* not 48.0",
        ),
    ],
)
def test_a_wrong_entry_of_a_config_is_named(key, value, message):
    with pytest.raises(ValueError, match=message):
        build({**net_config(), key: value})
