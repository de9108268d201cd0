# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from plain_res16unet import checkpoint

from minkowski_perception.lab.importers import CheckpointError, convert, read_checkpoint
from minkowski_perception.labels import LabelSetError


@pytest.fixture
def rooms(tmp_path):
    torch.save(checkpoint("MinkUNet14A", width=0.25), tmp_path / "rooms.pth")
    return read_checkpoint(tmp_path / "rooms.pth")


def test_an_unknown_network_is_refused_and_the_known_ones_are_listed(tmp_path):
    torch.save({"encoder.0.weight": torch.ones(3), "head.bias": torch.ones(2)}, tmp_path / "x.pth")
    with pytest.raises(
        CheckpointError,
        match=r"has 2 tensors \(encoder\.0\.weight, head\.bias, .* known are MinkUNet and",
    ):
        convert(read_checkpoint(tmp_path / "x.pth"), "x")


def test_the_card_holds_the_file_and_the_decisions(rooms):
    card = convert(rooms, "rooms").card
    assert card["source"]["file"] == "rooms.pth"
    assert card["source"]["sha256"] == rooms.sha256
    assert set(card["source"]) >= {"family", "block order", "even order"}


def test_a_label_set_of_another_size_is_refused(rooms):
    with pytest.raises(CheckpointError, match=r"'urban10' has 10 classes, but .* has 20 outputs"):
        convert(rooms, "x", label_set="urban10")


def test_an_unknown_label_set_is_refused(rooms):
    with pytest.raises(LabelSetError, match="unknown label set 'none'"):
        convert(rooms, "x", label_set="none")


def test_the_voxel_size_can_be_given(rooms):
    assert convert(rooms, "x", voxel_size=0.04).card["input"]["voxel_size"] == 0.04


def test_an_impossible_voxel_size_is_refused(rooms):
    with pytest.raises(CheckpointError, match=r"voxel_size: must be 0\.005 to 5, not 0\.0"):
        convert(rooms, "x", voxel_size=0.0)


def test_unknown_input_features_are_refused(tmp_path):
    torch.save(checkpoint("MinkUNet14A", width=0.25, in_channels=5), tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match="needs 5 features per voxel, which are unknown"):
        convert(read_checkpoint(tmp_path / "x.pth"), "x")


def test_a_custom_label_set_needs_a_voxel_size(tmp_path):
    torch.save(checkpoint("MinkUNet14A", width=0.25, classes=10), tmp_path / "x.pth")
    with pytest.raises(
        CheckpointError, match="the voxel size is unknown; give it with --voxel-size"
    ):
        convert(read_checkpoint(tmp_path / "x.pth"), "x", label_set="urban10")
    card = convert(
        read_checkpoint(tmp_path / "x.pth"), "x", label_set="urban10", voxel_size=0.1
    ).card
    assert card["label_set"]["name"] == "urban10"
    assert "training_data" not in card
