# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from minkowski_perception.networks import build_network
from minkowski_perception.networks.inflate import inflate, inflate_state, transfer
from minkowski_perception.sparse import SparseTensor

FRAMES = 3


def build(name, kernel="cube", dimension=3, **options):
    return build_network(
        name,
        in_channels=2,
        heads={"classes": 5},
        dimension=dimension,
        kernel=kernel,
        width=0.25,
        **options,
    )


def trained(network, seed=0):
    """Return the network with norms that are not the identity, as after training."""
    torch.manual_seed(seed)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias)
            torch.nn.init.normal_(module.running_mean)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
    return network.eval()


def clip():
    """Return voxels [N, 5] of three frames that overlap in space, and their features."""
    coordinates = torch.randint(-9, 9, (400, 5), generator=torch.manual_seed(1))
    coordinates[:, 0] = 0
    coordinates[:, 4] %= FRAMES
    coordinates = torch.unique(coordinates, dim=0)
    return coordinates, torch.randn(len(coordinates), 2)


@pytest.mark.parametrize(
    ("name", "flat", "deep"),
    [
        ("MinkUNet14A", "cube", "hybrid"),
        ("MinkUNet14A", "cube", "cube"),
        ("Res16UNet18", "hybrid", "hybrid"),
        ("Res16UNet18", "hybrid", "cube"),
        ("MinkUNet14A", "cross", "cross"),
        ("MinkUNet50", "cross", "hybrid"),
        ("MinkUNet18-W16", "cube", "hybrid"),
        ("MinkUNet34v2-W32", "cube", "hybrid"),
        ("SPVCNN-W16", "cube", "cube"),
    ],
)
def test_an_inflated_network_gives_the_3d_logits_on_each_frame(name, flat, deep):
    network = trained(build(name, flat))
    inflated = inflate(network, deep)
    coordinates, features = clip()
    together = inflated.class_logits(SparseTensor(features, coordinates)).at(coordinates)
    assert together.std() > 0.01
    for time in range(FRAMES):
        now = coordinates[:, 4] == time
        frame = SparseTensor(features[now], coordinates[now, :4])
        alone = network.class_logits(frame).at(coordinates[now, :4])
        torch.testing.assert_close(together[now], alone, rtol=0.0, atol=1e-5)


def test_temporal_weights_start_at_zero_and_get_gradients():
    inflated = inflate(trained(build("MinkUNet14A"))).train()
    coordinates, features = clip()
    inflated.class_logits(SparseTensor(features, coordinates)).features.square().mean().backward()
    convolution = inflated.block1[0].conv1
    past_and_future = [k for k, offset in enumerate(convolution.region.offsets) if offset[3]]
    assert len(past_and_future) == 2
    assert (convolution.kernel[past_and_future] == 0).all()
    assert (convolution.kernel.grad[past_and_future] != 0).any()


def test_a_3d_checkpoint_fits_a_4d_network_of_the_registry():
    flat, deep = build("SPVCNN-W16"), build("SPVCNN-W16", "hybrid", dimension=4)
    before = {key: value.clone() for key, value in flat.state_dict().items()}
    state = inflate_state(flat.state_dict(), flat, deep)
    assert {key: value.shape for key, value in state.items()} == {
        key: value.shape for key, value in deep.state_dict().items()
    }
    assert all(torch.equal(value, flat.state_dict()[key]) for key, value in before.items())


def test_inflation_keeps_the_stem_and_the_mode():
    network = build("Res16UNet14", stem_kernel=3).eval()
    inflated = inflate(network)
    assert torch.equal(inflated.conv0p1s1.kernel, network.conv0p1s1.kernel)
    assert not inflated.training
    assert inflate(network.train()).training


def test_a_cube_cannot_be_inflated_to_a_cross():
    with pytest.raises(ValueError, match=r"4D kernel of 9 offsets lacks the offset \(-1"):
        inflate(build("MinkUNet14A", "cube"), "cross")


def test_a_4d_network_cannot_be_inflated():
    with pytest.raises(ValueError, match="in 4D cannot be inflated"):
        inflate(build("MinkUNet14A", "hybrid", dimension=4))


def test_a_network_with_more_features_starts_with_the_logits_of_its_source():
    source = trained(build("MinkUNet14A"))
    target = build_network(
        "MinkUNet14A", in_channels=5, heads={"classes": 5}, dimension=3, width=0.25
    ).eval()
    transfer(source, target)
    coordinates, features = clip()
    voxels = torch.unique(coordinates[:, :4], dim=0)
    seen = features[: len(voxels)]
    more = torch.cat([seen, torch.randn(len(voxels), 3)], dim=1)
    expected = source.class_logits(SparseTensor(seen, voxels)).at(voxels)
    torch.testing.assert_close(
        target.class_logits(SparseTensor(more, voxels)).at(voxels), expected
    )


def test_a_transfer_between_different_widths_is_refused():
    wider = build_network(
        "MinkUNet14A", in_channels=2, heads={"classes": 5}, dimension=3, width=0.5
    )
    with pytest.raises(ValueError, match=r"differ in more than their kernels: conv0p1s1\.kernel"):
        transfer(wider, build("MinkUNet14A"))


@pytest.mark.parametrize("options", [{}, {"kernel": "causal", "dimension": 4}])
def test_support_rows_start_fresh_and_change_no_frame_without_a_past(options):
    source = trained(build("MinkUNet14A", **options))
    target = build("MinkUNet14A", "causal", 4, support=10).eval()
    transfer(source, target)
    assert (target.support.gate == 1).all()
    assert not target.support.offset.any()
    assert not target.support.ageing.any()
    coordinates, features = clip()
    first = coordinates[:, 4] == 0
    voxels = coordinates[first, : source.dimension + 1]
    alone = source.class_logits(SparseTensor(features[first], voxels)).at(voxels)
    together = target.class_logits(SparseTensor(features, coordinates)).at(coordinates)
    torch.testing.assert_close(together[first], alone, rtol=0.0, atol=1e-5)
    without = build("MinkUNet14A", "causal", 4).eval()
    transfer(source, without)
    lacking = without.class_logits(SparseTensor(features, coordinates)).at(coordinates)
    assert (lacking - together).abs()[~first].max() > 1e-3 * lacking.std()


def test_a_network_without_support_rows_takes_the_other_weights_of_one_with_them():
    source = trained(build("MinkUNet14A", "causal", 4, support=3))
    target = build("MinkUNet14A", "causal", 4)
    transfer(source, target)
    state = source.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in target.state_dict().items())
    assert source.twin(4, "hybrid").options.support == 0
