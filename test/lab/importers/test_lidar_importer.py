# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import json

import pytest
import torch
from comparison import largest_difference, some_voxels
from plain_spv import checkpoint, file_of, forward, net_config, specialized

from minkowski_perception.lab.importers import (
    CheckpointError,
    Orders,
    convert,
    read_checkpoint,
)


def saved(folder, state, layout, config=None):
    torch.save(file_of(state, layout), folder / "init")
    if config is not None:
        (folder / "net.config").write_text(json.dumps(config))
    return read_checkpoint(folder / "init")


@pytest.mark.parametrize(
    ("variant", "layout"),
    [
        ("MinkUNet18-W32", "mmdet3d-torchsparse"),
        ("MinkUNet34-W32", "mmdet3d-torchsparse"),
        ("MinkUNet34v2-W32", "mmdet3d-torchsparse"),
        ("SPVCNN-W32", "mmdet3d-torchsparse"),
        ("MinkUNet18-W32", "mmdet3d-minkowski"),
        ("MinkUNet34-W32", "mmdet3d-minkowski"),
        ("MinkUNet18-W32", "mmdet3d-spconv"),
        ("MinkUNet34-W32", "mmdet3d-spconv"),
        ("MinkUNet18-W32", "spvnas"),
        ("SPVCNN-W32", "spvnas"),
    ],
)
def test_a_converted_network_reproduces_the_original_logits(tmp_path, variant, layout):
    state = checkpoint(variant, layout, width=0.25)
    config = net_config(variant) if layout == "spvnas" else None
    conversion = convert(saved(tmp_path, state, layout, config), "small")
    assert conversion.card["network"]["name"] == variant
    coordinates, features = some_voxels(3, 4)
    expected = forward(state, layout, coordinates, features, points="SPVCNN" in variant)
    assert largest_difference(conversion.network, coordinates, features, expected) < 1e-4


def of_spconv_1(state):
    """Return the weights of spconv 2.x as spconv 1.x stores them, [*sizes, C_in, C_out]."""
    old = {}
    for key, value in state.items():
        if value.dim() == 5 and value.shape[1:4] == (1, 1, 1):
            value = value.reshape(1, 1, 1, value.shape[4], value.shape[0])
        elif value.dim() == 5:
            value = value.permute(1, 2, 3, 4, 0).contiguous()
        old[key] = value
    return old


def test_a_network_of_spconv_1_reproduces_the_original_logits(tmp_path):
    state = checkpoint("MinkUNet18-W32", "mmdet3d-spconv", width=0.25)
    conversion = convert(saved(tmp_path, of_spconv_1(state), "mmdet3d-spconv"), "small")
    coordinates, features = some_voxels(3, 4)
    expected = forward(state, "mmdet3d-spconv", coordinates, features, points=False)
    assert largest_difference(conversion.network, coordinates, features, expected) < 1e-4


@pytest.mark.parametrize("layout", ["mmdet3d-torchsparse", "mmdet3d-minkowski", "mmdet3d-spconv"])
@pytest.mark.parametrize("prefix", ["model.", "segmentor.net."])
def test_the_prefix_of_a_wrapper_is_found_in_every_layout(tmp_path, layout, prefix):
    state = checkpoint("MinkUNet18-W32", layout, width=0.25)
    plain = convert(saved(tmp_path, state, layout), "small").network.state_dict()
    wrapped = {prefix + key: value for key, value in state.items()}
    wrapped["decode_head.loss_decode.class_weight"] = torch.ones(19)
    conversion = convert(saved(tmp_path, wrapped, layout), "small")
    for key, value in conversion.network.state_dict().items():
        assert torch.equal(value, plain[key])
    assert conversion.card["source"]["left out"] == (
        "decode_head.loss_decode.class_weight, of training only"
    )


@pytest.mark.parametrize("seed", range(3))
def test_a_converted_sub_network_of_spvnas_reproduces_the_original_logits(tmp_path, seed):
    config = net_config(seed=seed)
    state = specialized(config, seed=seed)
    conversion = convert(saved(tmp_path, state, "spvnas-specialized", config), "small")
    assert conversion.card["network"]["config"] == config
    coordinates, features = some_voxels(3, 4)
    expected = forward(state, "spvnas-specialized", coordinates, features)
    assert largest_difference(conversion.network, coordinates, features, expected) < 1e-4


@pytest.mark.parametrize(
    "variant", ["MinkUNet18-W16", "MinkUNet18-W20", "SPVCNN-W16", "SPVCNN-W20"]
)
def test_published_widths_are_recognised(tmp_path, variant):
    state = checkpoint(variant, "mmdet3d-torchsparse")
    conversion = convert(saved(tmp_path, state, "mmdet3d-torchsparse"), "published")
    network = {"name": variant, "in_channels": 4, "heads": {"classes": 19}}
    assert conversion.card["network"] == network


@pytest.mark.parametrize("extent", [9, 17, 22, 31])
def test_voxels_without_a_parent_in_spconv_get_the_original_logits(tmp_path, extent):
    state = checkpoint("MinkUNet18-W32", "mmdet3d-spconv", width=0.25)
    conversion = convert(saved(tmp_path, state, "mmdet3d-spconv"), "small")
    assert conversion.card["input"]["boundary"] == "clip"
    coordinates, features = some_voxels(3, 4, extent)
    expected = forward(state, "mmdet3d-spconv", coordinates, features)
    given = conversion.network, coordinates, features, expected
    assert largest_difference(*given, clip=True) < 1e-4
    assert largest_difference(*given) > 1e-3


@pytest.mark.parametrize("layout", ["mmdet3d-torchsparse", "spvnas"])
def test_the_card_holds_the_preprocessing_of_scans(tmp_path, layout):
    state = checkpoint("MinkUNet18-W32", layout, width=0.25)
    config = net_config("MinkUNet18-W32") if layout == "spvnas" else None
    card = convert(saved(tmp_path, state, layout, config), "small").card
    assert (card["label_set"]["name"], card["window"]) == ("semantickitti19", 1)
    assert card["input"] == {
        "voxel_size": 0.05,
        "features": ["x", "y", "z", "intensity"],
        "reduce": "first",
        "rounding": "round",
        "shift": "minimum",
    }
    assert card["training_data"]["ignore_index"] == (255 if layout == "spvnas" else 19)


def test_a_checkpoint_of_the_model_zoo_needs_its_config(tmp_path):
    state = checkpoint("SPVCNN-W32", "spvnas", width=0.25)
    with pytest.raises(CheckpointError, match=r"put its net\.config beside it"):
        convert(saved(tmp_path, state, "spvnas"), "x")


def test_a_config_that_does_not_match_is_refused(tmp_path):
    config = net_config(seed=0)
    state = specialized(config)
    without = {key: value for key, value in config.items() if key != "upsample.2.transition"}
    with pytest.raises(CheckpointError, match=r"'upsample\.2\.transition' of a net\.config"):
        convert(saved(tmp_path, state, "spvnas-specialized", without), "x")
    wider = {**config, "upsample.2.transition": config["upsample.2.transition"] + 16}
    with pytest.raises(CheckpointError, match=r"misshapen upsample\.2\.transition\.net\.conv"):
        convert(saved(tmp_path, state, "spvnas-specialized", wider), "x")


def test_the_voxel_size_comes_from_the_config(tmp_path):
    state = checkpoint("SPVCNN-W32", "spvnas", width=0.25)
    coarse = {**net_config("SPVCNN-W32"), "pres": 0.1, "vres": 0.1}
    card = convert(saved(tmp_path, state, "spvnas", coarse), "x").card
    assert card["input"]["voxel_size"] == 0.1
    with pytest.raises(CheckpointError, match=r"has points of 0\.1 m in voxels of 0\.2 m"):
        convert(saved(tmp_path, state, "spvnas", {**coarse, "vres": 0.2}), "x")


def test_order_options_are_refused_for_lidar_networks(tmp_path):
    state = checkpoint("MinkUNet18-W32", "mmdet3d-spconv", width=0.25)
    with pytest.raises(CheckpointError, match="mmdetection3d on spconv, whose slice orders"):
        convert(saved(tmp_path, state, "mmdet3d-spconv"), "x", orders=Orders(even="last-axis"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda s: s.pop("backbone.encoder.3.6.bn2.weight"),
            r"nearest is MinkUNet34-W32 .*: missing backbone\.encoder\.3\.6\.bn2\.weight$",
        ),
        (lambda s: s.update({"backbone.extra": torch.ones(1)}), r"unknown backbone\.extra$"),
        (
            lambda s: s.update({"decode_head.conv_seg.weight": torch.ones(19, 7)}),
            r"misshapen decode_head\.conv_seg\.weight \[19, 7\] instead of \[19, 24\]$",
        ),
        (
            lambda s: s.update({"backbone.decoder.0.0.0.weight": torch.ones(8, 64, 64)}),
            r"\[8, 64, 64\] instead of \[64, 2, 2, 2, 64\]$",
        ),
        (lambda s: s.pop("decode_head.conv_seg.bias"), r"lacks decode_head\.conv_seg\.bias$"),
    ],
)
def test_mismatched_parameters_are_listed(tmp_path, change, message):
    state = checkpoint("MinkUNet34-W32", "mmdet3d-spconv", width=0.25)
    change(state)
    with pytest.raises(CheckpointError, match=message):
        convert(saved(tmp_path, state, "mmdet3d-spconv"), "x")
