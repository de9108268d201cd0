# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from minkowski_perception.networks import build_network
from minkowski_perception.networks.spvcnn import ResidualBlock
from minkowski_perception.sparse import SparseTensor, cat, point_to_voxel, voxel_to_point

FEATURES, CLASSES = 4, 19
W16 = (16, 16, 32, 64, 128, 128, 64, 48, 48)
W20 = (20, 20, 40, 81, 163, 163, 81, 61, 61)
W32 = (32, 32, 64, 128, 256, 256, 128, 96, 96)
# Widths, encoder blocks, and millions of parameters as mmdetection3d's configurations have them.
NETWORKS = {
    "MinkUNet18-W16": (W16, (2, 2, 2, 2), 5.44),
    "MinkUNet18-W20": (W20, (2, 2, 2, 2), 8.77),
    "MinkUNet18-W32": (W32, (2, 2, 2, 2), 21.72),
    "MinkUNet34-W32": (W32, (2, 3, 4, 6), 37.88),
    "MinkUNet34v2-W32": (W32, (2, 3, 4, 6), 37.88),
    "SPVCNN-W16": (W16, (2, 2, 2, 2), 5.45),
    "SPVCNN-W20": (W20, (2, 2, 2, 2), 8.79),
    "SPVCNN-W32": (W32, (2, 2, 2, 2), 21.78),
}


def convolution(volume, before, after):
    """Return the number of parameters of a convolution and its batch norm."""
    return volume * before * after + 2 * after


def block(before, after):
    shortcut = convolution(1, before, after) if before != after else 0
    return convolution(27, before, after) + convolution(27, after, after) + shortcut


def expected_count(name):
    (stem, *encoder, d1, d2, d3, d4), blocks, _ = NETWORKS[name]
    count = convolution(27, FEATURES, stem) + convolution(27, stem, stem)
    before = stem
    for after, number in zip(encoder, blocks, strict=True):
        count += convolution(8, before, before) + block(before, after)
        count += (number - 1) * block(after, after)
        before = after
    e1, e2, e3, e4 = encoder
    for after, skip in ((d1, e3), (d2, e2), (d3, e1), (d4, stem)):
        count += convolution(8, before, after) + block(after + skip, after) + block(after, after)
        before = after
    head = e4 + d2 + d4 if "v2" in name else d4
    if name.startswith("SPVCNN"):
        for narrow, wide in ((stem, e4), (e4, d2), (d2, d4)):
            count += convolution(1, narrow, wide) + wide  # a bias too
    return count + head * CLASSES + CLASSES


def build(name, **options):
    return build_network(name, in_channels=FEATURES, heads={"classes": CLASSES}, **options)


def scene(dimension=3, count=300, seed=0):
    generator = torch.Generator().manual_seed(seed)
    coordinates = torch.randint(-14, 14, (count, 1 + dimension), generator=generator)
    coordinates[:, 0] = 0
    coordinates = torch.unique(coordinates, dim=0)
    return SparseTensor(torch.randn(len(coordinates), FEATURES, generator=generator), coordinates)


@pytest.mark.parametrize("name", NETWORKS)
def test_parameter_counts_follow_from_the_widths_and_equal_the_published_ones(name):
    count = sum(p.numel() for p in build(name).parameters())
    assert count == expected_count(name)
    assert count / 1e6 == pytest.approx(NETWORKS[name][2], abs=0.005)


def test_widths_are_truncated_to_integers_as_by_cr():
    state = build("MinkUNet18-W32", width=0.64).state_dict()
    reference = build("MinkUNet18-W20").state_dict()
    assert {k: v.shape for k, v in state.items()} == {k: v.shape for k, v in reference.items()}
    assert state["up3.1.0.net.0.kernel"].shape == (27, 61 + 20, 61)


def test_names_and_shapes_equal_those_of_spvnas():
    state = build("SPVCNN-W32").state_dict()
    expected = {
        "stem.0.kernel": (27, 4, 32),
        "stem.1.bn.running_var": (32,),
        "stem.3.kernel": (27, 32, 32),
        "stage1.0.net.0.kernel": (8, 32, 32),
        "stage2.1.net.0.kernel": (27, 32, 64),
        "stage2.1.net.4.bn.weight": (64,),
        "stage2.1.downsample.0.kernel": (32, 64),
        "stage2.1.downsample.1.bn.bias": (64,),
        "stage4.2.net.3.kernel": (27, 256, 256),
        "up1.0.net.0.kernel": (8, 256, 256),
        "up1.1.0.net.0.kernel": (27, 256 + 128, 256),
        "up4.1.1.net.1.bn.bias": (96,),
        "point_transforms.0.0.kernel": (32, 256),
        "point_transforms.1.0.bias": (1, 128),
        "point_transforms.2.1.bn.weight": (96,),
        "classifier.0.kernel": (96, 19),
        "classifier.0.bias": (1, 19),
    }
    assert {key: tuple(state[key].shape) for key in expected} == expected
    assert "stage1.1.downsample.0.kernel" not in state
    assert len(build("MinkUNet34-W32").stage4) == 1 + 6


@pytest.mark.parametrize("dimension", [3, 4])
@pytest.mark.parametrize("name", ["MinkUNet18-W16", "MinkUNet34v2-W32", "SPVCNN-W16"])
def test_training_and_inference_give_the_same_logits_with_fixed_norms(name, dimension):
    network, tensor = build(name, dimension=dimension, width=0.25).eval(), scene(dimension)
    step_by_step = network.class_logits(tensor)
    with torch.no_grad():
        at_once = network.class_logits(tensor)
    assert at_once.map is tensor.map
    torch.testing.assert_close(at_once.features, step_by_step.features, rtol=0, atol=1e-5)


def parts(network, tensor):
    """Return the features of the encoder's levels, and a function that runs a decoder stage."""
    levels = network.encode(tensor)
    assert [level.stride[0] for level in levels] == [1, 2, 4, 8, 16]

    def up(n, out, skip):
        upsample, blocks = getattr(network, f"up{n}")
        return blocks(cat([upsample(out), skip]))

    return levels, up


def test_minkunet34v2_classifies_joined_features_of_strides_16_4_and_1():
    network, tensor = build("MinkUNet34v2-W32", width=0.25).eval(), scene()
    (x1, x2, x4, x8, x16), up = parts(network, tensor)
    y4 = up(2, up(1, x16, x8), x4)
    y1 = up(4, up(3, y4, x2), x1)
    joined = [voxel_to_point(x16, tensor.map), voxel_to_point(y4, tensor.map), y1]
    head = network.classifier[0]
    expected = torch.cat([level.features for level in joined], dim=1) @ head.kernel + head.bias
    torch.testing.assert_close(network.class_logits(tensor).features, expected)


def test_the_point_branch_of_spvcnn_adds_its_features_at_strides_16_4_and_1():
    network, tensor = build("SPVCNN-W32", width=0.25).eval(), scene()
    (x1, x2, x4, x8, x16), up = parts(network, tensor)

    def point_branch(index, features):
        linear, norm = network.point_transforms[index]
        return torch.relu(norm.bn(features @ linear.kernel + linear.bias))

    z0 = x1.features
    z1 = voxel_to_point(x16, tensor.map).features + point_branch(0, z0)
    y4 = up(2, up(1, point_to_voxel(tensor.replace(z1), x16.map), x8), x4)
    z2 = voxel_to_point(y4, tensor.map).features + point_branch(1, z1)
    y1 = up(4, up(3, point_to_voxel(tensor.replace(z2), y4.map), x2), x1)
    z3 = y1.features + point_branch(2, z2)
    head = network.classifier[0]
    torch.testing.assert_close(network.class_logits(tensor).features, z3 @ head.kernel + head.bias)


def test_spvcnn_drops_features_only_in_training():
    network, tensor = build("SPVCNN-W16", width=0.25).eval(), scene()
    with torch.no_grad():
        assert torch.equal(
            network.class_logits(tensor).features, network.class_logits(tensor).features
        )
        network.dropout.train()
        assert not torch.equal(
            network.class_logits(tensor).features, network.class_logits(tensor).features
        )


def test_in_4d_only_the_blocks_connect_frames():
    network = build("SPVCNN-W16", dimension=4)
    of_blocks = {
        convolution
        for block in network.modules()
        if isinstance(block, ResidualBlock)
        for convolution in (block.net["0"], block.net["3"])
    }
    temporal = {
        module
        for module in network.modules()
        if hasattr(module, "region") and any(offset[3] for offset in module.region.offsets)
    }
    assert temporal == of_blocks
    assert all(getattr(m, "stride", (1,))[-1] == 1 for m in network.modules())
