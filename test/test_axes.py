# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from tiny_models import save_tiny

from minkowski_perception.axes import SensorAxes, recognised
from minkowski_perception.codec import decode, encode_frame
from minkowski_perception.frame import OPTICAL_AXES, Frame
from minkowski_perception.motion.ego_motion import StandingStill
from minkowski_perception.segmenter import Segmenter
from minkowski_perception.stream import Stream

HEIGHT, WIDTH = 120, 160


def camera(seed=0, *, width=WIDTH, height=HEIGHT, focal=150.0, lost=0.3):
    """Return a room seen by a depth camera, [height * width, 3] in optical axes, with holes."""
    rng = np.random.default_rng(seed)
    v, u = np.indices((height, width))
    rays = np.stack([(u - width / 2) / focal, (v - height / 2) / focal, np.ones_like(u)], axis=2)
    above, below = 1.5 / np.maximum(-rays[..., 1], 1e-6), 1.0 / np.maximum(rays[..., 1], 1e-6)
    depth = np.minimum(np.minimum(above, below), 4.0) * rng.normal(1.0, 0.02, u.shape)
    depth[rng.random(u.shape) < lost] = np.nan
    return (rays * depth[..., None]).reshape(-1, 3).astype(np.float32)


def lidar(lowest=-22.5, highest=22.5, *, beams=64, columns=512, first=180.0, last=-180.0):
    """Return a street seen by a spinning LiDAR, beam by beam from the top; 0 without a return."""
    elevation = np.radians(np.linspace(highest, lowest, beams))[:, None]
    azimuth = np.radians(np.linspace(first, last, columns))[None]
    flat = np.cos(elevation)
    z = np.broadcast_to(np.sin(elevation), (beams, columns))
    rays = np.stack([flat * np.cos(azimuth), flat * np.sin(azimuth), z], axis=2)
    ranges = np.minimum(1.8 / np.maximum(-rays[..., 2], 1e-6), 25.0 + 10 * np.sin(7 * azimuth))
    ranges[:, ::9] = 0.0
    return (rays * ranges[..., None]).reshape(-1, 3).astype(np.float32)


@pytest.mark.parametrize(
    "points",
    [
        pytest.param(camera(), id="a room"),
        pytest.param(camera(lost=0.95), id="mostly holes"),
        pytest.param(camera(focal=45.0), id="wide angle"),
        pytest.param(camera() * np.float32(0.1), id="close"),
    ],
)
def test_an_organised_cloud_of_a_camera_has_optical_axes(points):
    assert recognised(points, HEIGHT) == "optical"


@pytest.mark.parametrize(
    ("points", "beams"),
    [
        pytest.param(lidar(), 64, id="Ouster OS1-64"),
        pytest.param(lidar(beams=128), 128, id="Ouster OS1-128"),
        pytest.param(lidar(-15.0, 15.0, beams=16), 16, id="VLP-16"),
        pytest.param(lidar(2.0, 88.0), 64, id="a dome that sees only upward"),
        pytest.param(lidar(2.0, 88.0, first=60.0, last=-60.0), 64, id="a part of a dome"),
        pytest.param(lidar(-12.0, 12.0, first=60.0, last=-60.0), 64, id="solid state, ahead"),
        pytest.param(lidar(2.0, 88.0, first=-30.0, last=-150.0), 64, id="solid state, sideways"),
        pytest.param(lidar() @ np.diag([1, -1, -1]).astype(np.float32), 64, id="z down"),
        pytest.param(lidar().reshape(64, 512, 3).swapaxes(0, 1).reshape(-1, 3), 512, id="turned"),
        pytest.param((camera() @ OPTICAL_AXES.T).astype(np.float32), HEIGHT, id="a turned camera"),
        pytest.param(
            (camera() @ OPTICAL_AXES.T).astype(np.float32) + np.float32([0, 0, 5]),
            HEIGHT,
            id="a camera in the frame of the base",
        ),
    ],
)
def test_a_cloud_of_a_lidar_or_of_turned_points_never_has_optical_axes(points, beams):
    assert recognised(points, beams) == "ros"


def test_no_axes_are_recognised_in_few_points_or_a_cloud_that_is_not_organised():
    assert recognised(camera(), 1) is None
    assert recognised(camera()[::WIDTH], HEIGHT) is None
    assert recognised(np.full((HEIGHT * WIDTH, 3), np.nan, np.float32), HEIGHT) is None
    assert recognised(np.empty((0, 3), np.float32), 1) is None


@pytest.mark.parametrize(
    ("choice", "frame_id", "points", "expected"),
    [
        ("auto", "rgb_camera_link", camera(), "optical (detected)"),
        ("auto", "os_sensor", lidar(beams=HEIGHT, columns=WIDTH), "ros (detected)"),
        ("auto", "camera_optical_frame", lidar(beams=HEIGHT, columns=WIDTH), "optical (named)"),
        ("ros", "camera_optical_frame", camera(), "ros (declared)"),
        ("optical", "os_sensor", lidar(beams=HEIGHT, columns=WIDTH), "optical (declared)"),
    ],
)
def test_a_choice_comes_before_the_name_and_the_name_before_the_cloud(
    choice, frame_id, points, expected
):
    axes = SensorAxes(choice)
    axes.update(points, HEIGHT, frame_id)
    assert str(axes) == expected


def test_what_was_found_holds_for_the_frame_and_an_empty_cloud_decides_nothing():
    axes, empty = SensorAxes(), np.full((HEIGHT * WIDTH, 3), np.nan, np.float32)
    assert not axes.update(empty, HEIGHT, "camera")
    assert str(axes) == "ros (assumed)"
    assert axes.update(camera(), HEIGHT, "camera")
    assert not axes.update(empty, HEIGHT, "camera")
    assert str(axes) == "optical (detected)"
    assert not axes.update(lidar(), 64, "lidar")
    assert str(axes) == "ros (detected)"


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "tiny"
    save_tiny(path, features=("one", "height"), dimension=4, kernel="causal")
    return Segmenter.load(path.with_suffix(".yaml"), device="cpu", engine="torch")


def message_of(frame):
    header = SimpleNamespace(
        stamp=SimpleNamespace(sec=0, nanosec=frame.stamp), frame_id=frame.frame_id
    )
    return SimpleNamespace(header=header, **vars(encode_frame(frame)))


def test_a_camera_without_the_suffix_is_labelled_as_one_with_it(segmenter):
    points = camera(width=64, height=48, focal=60.0)
    frame = Frame(points, 1, "camera", height=48)
    named = Frame(points, 1, "camera_optical")
    expected = segmenter.another_stream().segment(named)
    found = segmenter.another_stream().segment(frame)
    streams = [Stream(segmenter.another_stream(), StandingStill()) for _ in range(2)]
    labelled = [s.label(message_of(f)) for s, f in zip(streams, (frame, named), strict=True)]
    assert expected.labels.tobytes() == found.labels.tobytes()
    assert expected.confidence.tobytes() == found.confidence.tobytes()
    assert labelled[0].result.confidence.tobytes() == labelled[1].result.confidence.tobytes()
    np.testing.assert_array_equal(labelled[0].frame.pose[:3, :3], OPTICAL_AXES)
    lying = segmenter.another_stream().segment(replace(frame, axes="ros"))
    assert lying.confidence.tobytes() != expected.confidence.tobytes()


def test_axes_that_were_assumed_wrongly_start_the_stream_anew(segmenter):
    points = camera(width=64, height=48, focal=60.0)
    empty = np.full_like(points, np.nan)
    stream = Stream(segmenter.another_stream(), StandingStill())
    for i, each in enumerate((empty, points, points), start=1):
        frame = Frame(each, 10**8 * i, "camera", height=48)
        labelled = stream.label(message_of(frame))
    assert str(stream.segmenter.axes) == "optical (detected)"
    assert not stream.segmenter.resets
    assert labelled.result.frame_count == 2
    restored = segmenter.another_stream()
    restored.restore(stream.segmenter.state())
    assert str(restored.axes) == "optical (detected)"


def test_rows_of_an_organised_cloud_survive_a_message_and_not_a_selection():
    frame = decode(message_of(Frame(camera(), height=HEIGHT)))
    assert frame.height == HEIGHT
    assert frame.subset(frame.valid).height == 1
    with pytest.raises(ValueError, match="19200 points cannot lie in 7 rows"):
        Frame(camera(), height=7)
