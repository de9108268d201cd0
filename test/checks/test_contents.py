# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest

pytest.importorskip("rosbags", reason="bags need the rosbags package")

import plain_res16unet
import torch
from cloud_messages import write_bag
from tiny_models import save_tiny

from minkowski_perception.checks.contents import ContentsError, facts, printed

ROOT = Path(__file__).parents[2]


def test_a_model_is_described_by_its_name_card_or_weights(tmp_path):
    save_tiny(tmp_path / "tiny", dimension=3)

    for path in (tmp_path / "tiny.yaml", tmp_path / "tiny.safetensors"):
        found = facts(path)
        assert found["kind"] == "model"
        assert found["network"] == "MinkUNet14A, 3D"
        assert found["classes"].startswith("semantickitti19: car, bicycle")
    shipped = facts(Path("outdoor_lidar"))
    assert shipped["license"] == "Apache-2.0"
    assert "vlp16 0.664" in shipped["mIoU"]
    assert "128 beams" in shipped["sensors"]


def test_a_label_set_is_described_by_its_name_or_file():
    found = facts(ROOT / "minkowski_perception" / "label_sets" / "indoor8.yaml")

    assert found == facts(Path("indoor8"))
    assert found["kind"] == "label set"
    assert "0 floor" in found["classes"]


def test_a_recipe_has_a_line_for_each_stage():
    found = facts(ROOT / "config" / "training" / "outdoor_lidar.yaml")

    assert found["kind"] == "recipe of a training"
    assert any(key.startswith("stage 1 of ") for key in found)


def test_a_recording_has_topics_and_the_fields_of_its_clouds(tmp_path):
    bag = write_bag(tmp_path / "bag", number=4)

    found = facts(bag)

    assert found == facts(bag / "metadata.yaml")
    assert found["kind"] == "recording"
    assert "4 clouds in 0.3 s; the first has 600 points in frame 'lidar'" in found["/points"]
    assert found["odometry"] == "/odom (5)"


def test_a_checkpoint_of_another_code_base_is_recognised(tmp_path):
    state = plain_res16unet.checkpoint("Res16UNet34C", width=0.25, stem_kernel=5)
    torch.save(plain_res16unet.file_of(state, "sts"), tmp_path / "weights.pth")

    found = facts(tmp_path / "weights.pth")

    assert found["kind"] == "checkpoint"
    assert "SpatioTemporalSegmentation" in found["recognised"]
    assert found["use"].startswith("minkowski-perception convert ")


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ContentsError, match=r"outdoor_lidar.*semantickitti19"):
        facts(Path("outdoor"))


def test_a_yaml_file_of_another_kind_is_refused_with_its_keys(tmp_path):
    (tmp_path / "other.yaml").write_text("services: {}\n")

    with pytest.raises(ContentsError, match="its keys are services"):
        facts(tmp_path / "other.yaml")


def test_facts_are_aligned():
    lines = printed({"a": "word " * 40, "longer": "value"}).splitlines()

    assert {line[:8].rstrip() for line in lines} == {"a", "", "longer"}
    assert all(len(line) <= 100 for line in lines)
