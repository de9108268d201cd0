# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
from importlib.resources import files

import numpy as np
import plain_res16unet
import plain_spv
import pytest
import torch

from minkowski_perception.commands.main import main
from minkowski_perception.frame import Frame
from minkowski_perception.motion.poses import pose_matrix
from minkowski_perception.networks.inflate import inflate
from minkowski_perception.networks.model import load_model
from minkowski_perception.segmenter import Segmenter
from minkowski_perception.settings import Settings
from minkowski_perception.sparse import SparseTensor
from minkowski_perception.voxels import stack_in_time, voxelize


def converted(folder, content, *options):
    folder.mkdir(exist_ok=True)
    torch.save(content, folder / "weights.pth")
    out = folder / "models" / "small.safetensors"
    status = main(["convert", str(folder / "weights.pth"), "--out", str(out), *options])
    assert status == 0
    return out


@pytest.mark.parametrize(
    ("variant", "layout"),
    [("SPVCNN-W32", "mmdet3d-torchsparse"), ("MinkUNet18-W32", "mmdet3d-spconv")],
)
def test_a_converted_lidar_network_reproduces_the_original_labels(tmp_path, variant, layout):
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


def test_a_converted_room_network_reproduces_the_original_labels(tmp_path):
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


def moving_camera(count=3):
    """Frames of one coloured room, each from another viewpoint."""
    random = np.random.default_rng(0)
    room = random.uniform(0.0, 0.3, (400, 3))
    colour = random.integers(0, 256, (400, 3), dtype=np.uint8)
    for i in range(count):
        pose = pose_matrix((5.1 + 0.03 * i, 0.0, 0.0), (0.0, 0.0, 0.1 * i, 1.0 - 0.1 * i))
        seen = ((room - pose[:3, 3]) @ pose[:3, :3]).astype(np.float32)
        kept = random.random(len(room)) < 0.7
        yield Frame(seen[kept], stamp=i * 10**8, pose=pose, colour=colour[kept])


@pytest.mark.parametrize("kernel", ["hybrid", "cube", "causal"])
def test_an_inflated_model_reproduces_the_3d_output_for_each_frame(tmp_path, kernel):
    state = plain_res16unet.checkpoint("Res16UNet14A", width=0.25)
    content = plain_res16unet.file_of(state, "sts")
    flat = load_model(converted(tmp_path / "flat", content))
    deep = load_model(converted(tmp_path / "deep", content, "--inflate", kernel))
    assert (flat.network.dimension, flat.window) == (3, 1)
    assert (deep.network.dimension, deep.card["network"]["kernel"], deep.window) == (4, kernel, 3)
    assert "until further training" in deep.card["source"]["inflated"]

    frames = list(moving_camera())
    voxels, features = stack_in_time([voxelize(f, deep.input, dimension=4) for f in frames])
    # Frames share voxels, so that temporal neighbours would change the output.
    assert len(torch.unique(voxels[:, 1:4], dim=0)) < 0.9 * len(voxels)
    with torch.inference_mode():
        together = deep.network.class_logits(SparseTensor(features, voxels)).at(voxels)
        for time, frame in enumerate(frames):
            own_voxels, own_features = stack_in_time([voxelize(frame, flat.input, dimension=3)])
            tensor = SparseTensor(own_features, own_voxels[:, :4])
            alone = flat.network.class_logits(tensor).at(own_voxels[:, :4])
            difference = (together[voxels[:, 4] == time] - alone).abs().max()
            assert difference < 1e-5 * alone.std()

    segmenters = [Segmenter(m, device="cpu", precision="float32") for m in (flat, deep)]
    for frame in frames:
        alone, seen = (segmenter.segment(frame) for segmenter in segmenters)
        assert alone.labels.tolist() == seen.labels.tolist()
        np.testing.assert_allclose(seen.confidence, alone.confidence, atol=1e-5)
    assert (alone.frame_count, seen.frame_count) == (1, 3)


def test_a_model_of_this_package_is_inflated_from_its_card_or_weights(tmp_path):
    state = plain_res16unet.checkpoint("Res16UNet14A", width=0.25)
    flat = converted(tmp_path, plain_res16unet.file_of(state, "sts"))
    for file in (flat, flat.with_suffix(".yaml")):
        out = tmp_path / "deep.safetensors"
        options = ("--inflate", "hybrid", "--window", "2")
        assert main(["convert", str(file), "--out", str(out), *options]) == 0
        deep = load_model(out)
        expected = inflate(load_model(flat).network).state_dict()
        assert all(torch.equal(v, expected[k]) for k, v in deep.network.state_dict().items())
        assert (deep.card["name"], deep.window) == ("deep", 2)
        assert deep.card["source"]["block order"] == load_model(flat).card["source"]["block order"]


def test_impossible_options_are_refused_and_nothing_is_written(tmp_path, capsys):
    state = plain_spv.checkpoint("MinkUNet18-W32", "mmdet3d-torchsparse", width=0.25)
    torch.save(plain_spv.file_of(state, "mmdet3d-torchsparse"), tmp_path / "lidar.pth")
    out = tmp_path / "out.safetensors"
    default = files("minkowski_perception") / "weights" / f"{Settings.model}.yaml"
    for file, options, message in [
        (
            tmp_path / "lidar.pth",
            ["--inflate", "hybrid"],
            "at each frame's minimum corner (shift: min",
        ),
        (default, ["--inflate", "hybrid"], "a network in 4D cannot be inflated"),
        (default, [], "is already a model"),
        (default, ["--inflate", "hybrid", "--voxel-size", "1"], "is already a model"),
        (tmp_path / "lidar.pth", ["--window", "2"], "--window needs --inflate"),
    ]:
        assert main(["convert", str(file), "--out", str(out), *options]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert message in error
    assert not out.exists()


def test_weights_keep_their_precision_and_the_decisions_are_printed(tmp_path, capsys):
    state = plain_res16unet.checkpoint("MinkUNet14A", width=0.25)
    out = converted(tmp_path, state, "--name", "rooms", "--voxel-size", "0.04")
    model = load_model(out)
    assert torch.equal(model.network.final.kernel, state["final.kernel"])
    assert (model.card["name"], model.input.voxel_size) == ("rooms", 0.04)
    printed = capsys.readouterr().out
    for line in ("MinkowskiEngine's examples", "MinkUNet14A, 3D", "scannet20, 20 classes"):
        assert line in printed
    assert "block order" in printed
    assert "even order" in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.pth", "--out", "x.safetensors"], "cannot read checkpoint none.pth"),
        (["none.pth", "--out", "x.pth"], "--out must end in .safetensors, not 'x.pth'"),
    ],
)
def test_an_error_is_one_line(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert main(["convert", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error
    assert not list(tmp_path.iterdir())
