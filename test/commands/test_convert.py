# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import plain_res16unet
import plain_spv
import pytest
import torch

from minkowski_perception.commands.main import main
from minkowski_perception.frame import Frame
from minkowski_perception.networks.model import load_model
from minkowski_perception.segmenter import Segmenter
from minkowski_perception.temporal.poses import pose_matrix


def converted(folder, content, *options):
    torch.save(content, folder / "weights.pth")
    out = folder / "models" / "small.safetensors"
    status = main(["convert", str(folder / "weights.pth"), "--out", str(out), *options])
    assert status == 0
    return out


@pytest.mark.parametrize(
    ("variant", "layout"),
    [("SPVCNN-W32", "mmdet3d-torchsparse"), ("MinkUNet18-W32", "mmdet3d-spconv")],
)
def test_a_converted_lidar_network_labels_a_scan_as_it_did_at_home(tmp_path, variant, layout):
    state = plain_spv.checkpoint(variant, layout, width=0.25)
    out = converted(tmp_path, plain_spv.file_of(state, layout))
    random = np.random.default_rng(0)
    points = random.uniform(-0.6, 0.6, (900, 3)).astype(np.float32)
    intensity = random.uniform(0, 1, 900).astype(np.float32)
    pose = pose_matrix((12.3, -7.7, 0.4), (0.0, 0.0, 0.6, 0.8))
    frame = Frame(points, intensity=intensity, pose=pose)
    segmenter = Segmenter.load(out, device="cpu", intensity_full_scale=1.0, precision="float32")
    segmentation = segmenter.segment(frame)

    # mmdetection3d, step by step.
    cells = np.round(points / 0.05).astype(np.int32)
    cells -= cells.min(0)
    voxels, first, inverse = np.unique(cells, axis=0, return_index=True, return_inverse=True)
    features = np.column_stack([points, intensity])[first]
    logits = plain_spv.forward(
        state, layout, torch.from_numpy(voxels).long(), torch.from_numpy(features)
    )
    best = logits.argmax(1).numpy()[inverse.reshape(-1)]
    assert len(set(best.tolist())) > 3
    assert segmentation.labels.tolist() == best.tolist()


def test_a_converted_room_network_labels_a_room_as_it_did_at_home(tmp_path):
    state = plain_res16unet.checkpoint("Res16UNet14A", width=0.25, classes=13, in_channels=6)
    out = converted(tmp_path, plain_res16unet.file_of(state, "sts"), "--block-order", "hybrid")
    random = np.random.default_rng(0)
    points = random.uniform(0.0, 0.9, (900, 3)).astype(np.float32)
    colour = random.integers(0, 256, (900, 3), dtype=np.uint8)
    segmenter = Segmenter.load(out, device="cpu", precision="float32")
    segmentation = segmenter.segment(Frame(points, colour=colour))

    # SpatioTemporalSegmentation, step by step.
    cells = np.floor(points.astype(np.float64) * (1 / 0.05))
    voxels, first, inverse = np.unique(cells, axis=0, return_index=True, return_inverse=True)
    centre = voxels.mean(0, keepdims=True)
    centre[0, 2] = 0
    features = np.column_stack([colour[first] / 255.0 - 0.5, voxels - centre])
    logits = plain_res16unet.forward(
        state, torch.from_numpy(voxels).long(), torch.from_numpy(features)
    )
    best = logits.argmax(1).numpy()[inverse.reshape(-1)]
    assert len(set(best.tolist())) > 3
    assert segmentation.labels.tolist() == best.tolist()


def test_weights_keep_their_precision_and_the_screen_says_what_was_done(tmp_path, capsys):
    state = plain_res16unet.checkpoint("MinkUNet14A", width=0.25)
    out = converted(tmp_path, state, "--name", "rooms", "--voxel-size", "0.04")
    model = load_model(out)
    assert torch.equal(model.network.final.kernel, state["final.kernel"])
    assert (model.card["name"], model.input.voxel_size) == ("rooms", 0.04)
    said = capsys.readouterr().out
    for line in ("MinkowskiEngine's examples", "MinkUNet14A, 3D", "scannet20, 20 classes"):
        assert line in said
    assert "block order" in said
    assert "even order" in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.pth", "--out", "x.safetensors"], "cannot read checkpoint none.pth"),
        (["none.pth", "--out", "x.pth"], "--out must end in .safetensors, not 'x.pth'"),
    ],
)
def test_a_refusal_is_one_line(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert main(["convert", *arguments]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert message in said
    assert not list(tmp_path.iterdir())
