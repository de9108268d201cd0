# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
from functools import partial

import numpy as np
import pytest
import torch
from tiny_models import save_tiny

from minkowski_perception.codec import encode_frame
from minkowski_perception.commands.main import main
from minkowski_perception.frame import Frame
from minkowski_perception.lab.adaptation import adapt
from minkowski_perception.lab.training.trainer import Trainer
from minkowski_perception.networks.model import load_model, save_model
from minkowski_perception.recordings.bags import BagWriter

CLOUDS = 8


def write_drive(path, *, odometry=True, clouds=CLOUDS):
    """Write a bag of a walk past boxes on a plane, without labels."""
    rng = np.random.default_rng(0)
    ground = rng.uniform(-9, 9, (700, 3)) * (1.0, 1.0, 0.02)
    centres = np.array([(5, 4, 1), (-6, 3, 1), (2, -7, 1)])
    boxes = rng.uniform(-1, 1, (200, 3, 3)) + centres
    world = np.concatenate([ground, boxes.reshape(-1, 3)])
    with BagWriter(path) as bag:
        for i in range(clouds):
            pose = np.eye(4)
            pose[:3, 3] = (0.3 * i, 0.0, 1.0)
            points = (world - pose[:3, 3]).astype(np.float32)
            intensity = np.clip(points[:, 2] * 0.2 + 0.5, 0.1, 1.0).astype(np.float32)
            stamp = (i + 10) * 10**8
            frame = Frame(points, stamp, "lidar", intensity=intensity)
            if odometry:
                bag.write_odometry("/odometry", stamp, pose, "odom", "lidar")
            bag.write_cloud("/points", encode_frame(frame), stamp, "lidar")
    return path


def save_sure(path):
    """Save a tiny model whose random labels it is sure of."""
    save_tiny(path, dimension=4, kernel="causal", crf=True, features=("one", "z", "intensity"))
    model = load_model(path.with_suffix(".yaml"))
    with torch.no_grad():
        for weights in model.network.get_submodule(model.network.class_layer).parameters():
            weights.mul_(20.0)
    save_model(path, model.network, model.card, crf=model.crf)


STEPS = 3


def arguments(bag, model, out, *more):
    options = ["--sensor", "none", "--workers", "0", "--device", "cpu", "--steps", str(STEPS)]
    return ["adapt", str(bag), "--model", str(model), "--out", str(out), *options, *more]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """A folder with a recording, a model, and this model as the command adapted it."""
    folder = tmp_path_factory.mktemp("adapt")
    write_drive(folder / "drive")
    save_sure(folder / "sure")
    with pytest.MonkeyPatch.context() as small:
        small.setattr(adapt, "_BATCH", 1)
        assert main(arguments(folder / "drive", folder / "sure.yaml", folder / "whole")) == 0
    return folder


@pytest.fixture
def run(inputs, tmp_path, monkeypatch):
    """Return a function that runs the command and returns its exit status."""
    monkeypatch.setattr(adapt, "_BATCH", 1)

    def run(*more, bag=inputs / "drive", model=inputs / "sure.yaml", out=tmp_path / "mine"):
        return main(arguments(bag, model, out, *more))

    return run


def weights(path):
    return load_model(path).network.state_dict()


def test_a_model_is_adapted_to_a_recording_without_labels(inputs):
    start, mine = load_model(inputs / "sure.yaml"), load_model(inputs / "whole.yaml")

    told = mine.card["adaptation"]
    assert (told["start"], told["start_sha256"]) == ("sure", start.card["sha256"])
    assert told["recordings"] == [
        {
            "name": "drive",
            "clouds": CLOUDS,
            "frames": CLOUDS,
            "ego_motion": "bag (from bag odometry)",
        }
    ]
    assert (told["pseudo_labels"]["frames"], told["pseudo_labels"]["held_out"]) == (6, 2)
    assert told["options"]["steps"] == STEPS
    assert told["after"]["agreement"] >= told["before"]["agreement"] - 0.01
    assert "adapt" in mine.card["training"]
    assert torch.equal(mine.crf.kernel, start.crf.kernel)
    changed = weights(inputs / "whole.yaml")
    assert any(not torch.equal(changed[k], v) for k, v in start.network.state_dict().items())
    assert not (inputs / "whole.adaptation").exists()


def test_an_interrupted_adaptation_resumes_with_the_same_result(
    run, inputs, tmp_path, monkeypatch
):
    monkeypatch.setattr(adapt, "_CHECKPOINT_EVERY", 1)
    advance = Trainer.advance

    def interrupted(trainer, batch):
        if trainer.step == STEPS - 1:
            raise KeyboardInterrupt
        return advance(trainer, batch)

    with monkeypatch.context() as interruption:
        interruption.setattr(Trainer, "advance", interrupted)
        assert run() == 130
    assert not (tmp_path / "mine.yaml").exists()
    steps = []

    def counted(trainer, batch):
        steps.append(trainer.step)
        return advance(trainer, batch)

    monkeypatch.setattr(Trainer, "advance", counted)
    monkeypatch.setattr(adapt, "observe", None)  # the frames are there

    assert run() == 0

    assert steps == [STEPS - 1]
    whole, resumed = weights(inputs / "whole.yaml"), weights(tmp_path / "mine.yaml")
    assert all(torch.equal(whole[key], resumed[key]) for key in whole)


def test_a_model_that_got_worse_is_not_written(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(adapt, "Options", partial(adapt.Options, learning_rate=0.3))

    assert run() == 1

    error = capsys.readouterr().err
    assert "no model is written, because it got worse on the held-out frames:" in error
    assert not (tmp_path / "mine.yaml").exists()
    assert not (tmp_path / "mine.safetensors").exists()

    assert run("--every", "2", "--frames", "5") == 2  # the work is of other clouds

    assert "other recordings, or with other settings" in capsys.readouterr().err


def test_an_existing_model_is_not_replaced(run, inputs, capsys):
    assert run(out=inputs / "whole") == 2

    assert "whole.yaml exists: remove it, or choose another --out" in capsys.readouterr().err


def test_a_recording_without_clouds_is_refused(run, tmp_path, capsys):
    with BagWriter(tmp_path / "empty") as bag:
        bag.write_odometry("/odometry", 10**9, np.eye(4), "odom", "lidar")

    assert run(bag=tmp_path / "empty") == 2

    assert "cloud" in capsys.readouterr().err


def test_a_recording_without_motion_that_cannot_be_registered_is_refused(
    run, tmp_path, monkeypatch, capsys
):
    from minkowski_perception.recordings import motion

    def absent(**options):
        raise ImportError("kiss-icp is not installed")

    monkeypatch.setattr(motion, "Registration", absent)
    write_drive(tmp_path / "still", odometry=False)

    assert run(bag=tmp_path / "still") == 2

    error = capsys.readouterr().err
    assert "still: the motion of the sensor is unknown" in error
    assert "kiss-icp is not installed" in error


def test_a_short_recording_is_refused(run, capsys):
    assert run("--frames", "4") == 2

    assert "drive is too short: it has 4 clouds, and 5 are needed" in capsys.readouterr().err


def test_a_recording_whose_places_are_all_doubtful_is_refused(run, tmp_path, capsys):
    save_tiny(tmp_path / "unsure", dimension=4, kernel="causal")

    assert run(model=tmp_path / "unsure.yaml") == 2

    assert "no place of the recordings is confident and consistent" in capsys.readouterr().err


def test_clouds_that_a_model_labelled_are_refused(run, inputs, tmp_path, capsys):
    command = ["label", str(inputs / "drive"), "--model", str(inputs / "sure.yaml")]
    assert main([*command, "--out", str(tmp_path / "out"), "--device", "cpu"]) == 0

    assert run(bag=tmp_path / "out" / "labelled") == 2

    assert "adapt takes the recordings that these were made from" in capsys.readouterr().err


def test_an_unknown_sensor_is_refused_before_the_training(run, capsys):
    pytest.importorskip("open3d", reason="needs open3d to simulate")

    assert run("--sensor", "lidar9") == 2

    assert "--sensor lidar9: unknown lidar 'lidar9'; choose one of" in capsys.readouterr().err
