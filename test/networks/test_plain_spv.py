# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import json

import pytest
import torch
from plain_spv import SUPERNET, Names, checkpoint, forward, net_config, specialized


def parameters(state):
    return sum(v.numel() for k, v in state.items() if "running" not in k and "tracked" not in k)


def some_cloud(extent=16):
    """Return shuffled voxels from 0 to extent - 1 per axis, and their features."""
    random = torch.Generator().manual_seed(4)
    voxels = torch.randint(0, extent, (150, 3), generator=random)
    voxels = torch.cat([voxels, torch.tensor([[0, 0, 0], [extent - 1] * 3])])
    voxels = torch.unique(voxels, dim=0)
    voxels = voxels[torch.randperm(len(voxels), generator=random)]
    return voxels, torch.randn(len(voxels), 4, generator=random)


@pytest.mark.parametrize(
    ("variant", "layout", "millions"),
    [
        ("MinkUNet18-W16", "mmdet3d-torchsparse", 5.44),
        ("MinkUNet18-W20", "mmdet3d-minkowski", 8.77),
        ("MinkUNet18-W32", "mmdet3d-spconv", 21.72),
        ("MinkUNet34-W32", "mmdet3d-minkowski", 37.875),
        ("MinkUNet34v2-W32", "mmdet3d-torchsparse", 37.88),
        ("SPVCNN-W16", "mmdet3d-torchsparse", 5.45),
        ("SPVCNN-W20", "mmdet3d-torchsparse", 8.79),
        ("SPVCNN-W32", "mmdet3d-torchsparse", 21.78),
        ("SPVCNN-W32", "spvnas", 21.78),
    ],
)
def test_every_variant_has_its_number_of_parameters(variant, layout, millions):
    assert parameters(checkpoint(variant, layout)) / 1e6 == pytest.approx(millions, abs=0.005)


def test_a_minkunet_of_spvnas_has_the_keys_of_an_spvcnn():
    mink, spv = (checkpoint(f"{n}-W16", "spvnas", width=0.5) for n in ("MinkUNet18", "SPVCNN"))
    assert list(mink) == list(spv)
    voxels, features = some_cloud()
    with pytest.raises(ValueError, match="'spvnas' needs points"):
        forward(mink, "spvnas", voxels, features)


def layers(names):
    """Yield the (convolution, norm) prefixes of all possible layers of a MinkUNet18."""
    yield from (names.stem(i) for i in range(2))
    for side in ("down", "up"):
        for stage in range(4):
            yield names.resample(side, stage)
            for block, which in ((0, 1), (0, 2), (0, "shortcut"), (1, 1), (1, 2)):
                yield names.block(side, stage, block, which)


def in_layout(state, layout):
    """Convert an mmdetection3d MinkUNet18 from the torchsparse layout to another one."""
    result = {key: value for key, value in state.items() if key.startswith("decode_head")}
    old, new = layers(Names("mmdet3d-torchsparse")), layers(Names(layout))
    for (convolution, norm), (new_convolution, new_norm) in zip(old, new, strict=True):
        if f"{convolution}.kernel" not in state:
            continue  # The first encoder stage has no shortcut.
        kernel = state[f"{convolution}.kernel"]
        if kernel.dim() == 2:
            box = kernel.reshape(kernel.shape[1], 1, 1, 1, kernel.shape[0])
        elif len(kernel) == 8:  # The last axis changes fastest.
            box = kernel.unflatten(0, (2, 2, 2)).permute(4, 0, 1, 2, 3)
            kernel = kernel.unflatten(0, (2, 2, 2)).permute(2, 1, 0, 3, 4).flatten(0, 2)
        else:  # The first axis changes fastest.
            box = kernel.unflatten(0, (3, 3, 3)).permute(4, 2, 1, 0, 3)
        if layout == "mmdet3d-spconv":
            result[f"{new_convolution}.weight"] = box
        else:
            result[f"{new_convolution}.kernel"] = kernel
        for key in [key for key in state if key.startswith(f"{norm}.")]:
            result[key.replace(norm, new_norm)] = state[key]
    return result


@pytest.mark.parametrize("layout", ["mmdet3d-minkowski", "mmdet3d-spconv"])
def test_logits_are_equal_in_every_layout_of_mmdetection3d(layout):
    state = checkpoint("MinkUNet18-W16", "mmdet3d-torchsparse", width=0.5)
    moved = in_layout(state, layout)
    shapes = {key: value.shape for key, value in moved.items()}
    random = checkpoint("MinkUNet18-W16", layout, width=0.5)
    assert shapes == {key: value.shape for key, value in random.items()}
    voxels, features = some_cloud(extent=16)  # No odd extent at any stride.
    expected = forward(state, "mmdet3d-torchsparse", voxels, features)
    torch.testing.assert_close(forward(moved, layout, voxels, features), expected)


def test_spconv_gives_other_logits_at_odd_extents():
    state = checkpoint("MinkUNet18-W16", "mmdet3d-torchsparse", width=0.5)
    moved = in_layout(state, "mmdet3d-spconv")
    voxels, features = some_cloud(extent=17)
    difference = forward(moved, "mmdet3d-spconv", voxels, features)
    difference -= forward(state, "mmdet3d-torchsparse", voxels, features)
    assert difference[(voxels == 16).any(1)].abs().amax(1).min() > 0.01


def test_both_spvcnn_layouts_give_the_same_logits_if_points_are_voxels():
    theirs = checkpoint("SPVCNN-W16", "spvnas", width=0.5)
    mmdet3d = checkpoint("SPVCNN-W16", "mmdet3d-torchsparse", width=0.5)
    renamed = dict(zip(mmdet3d, theirs.values(), strict=True))
    assert [v.shape for v in mmdet3d.values()] == [v.shape for v in theirs.values()]
    voxels, features = some_cloud()
    expected = forward(theirs, "spvnas", voxels, features, points=True)
    without = forward(theirs, "spvnas", voxels, features, points=False)
    assert (without - expected).std() > 0.1 * expected.std()
    answer = forward(renamed, "mmdet3d-torchsparse", voxels, features)
    torch.testing.assert_close(answer, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("variant", "layout"),
    [
        ("MinkUNet34v2-W32", "mmdet3d-torchsparse"),
        ("MinkUNet34-W32", "mmdet3d-minkowski"),
        ("SPVCNN-W20", "mmdet3d-torchsparse"),
        ("SPVNAS", "spvnas-specialized"),
    ],
)
def test_logits_do_not_depend_on_voxel_order_and_on_shifts_by_the_coarsest_stride(variant, layout):
    if variant == "SPVNAS":
        state = specialized(json.loads(json.dumps(net_config(seed=1))))
    else:
        state = checkpoint(variant, layout, width=0.25)
    voxels, features = some_cloud()
    logits = forward(state, layout, voxels, features)
    assert logits.shape == (len(voxels), 19)
    moved = voxels.flip(0) + torch.tensor([-16, 32, 16])
    again = forward(state, layout, moved, features.flip(0))
    torch.testing.assert_close(again, logits.flip(0))


@pytest.mark.parametrize("seed", range(5))
def test_a_sub_network_is_within_the_super_network(seed):
    config = net_config(seed=seed, narrow=False)
    assert all(0 < c <= most for c, most in zip(config["output_channels"], SUPERNET, strict=True))
    state = specialized(config)
    assert state["classifier.linear.weight"].shape == (19, 128)
    for side, stage in (("down", 0), ("up", 3)):
        depth = config[f"{side}sample.{stage}.feature"]
        last = f"{side}sample.{stage}.feature.1.net.0.net.conv.kernel"
        assert (last in state) == (depth == 2)
