# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import numpy as np
import pytest
from tiny_models import save_tiny

from minkowski_perception import domain
from minkowski_perception.domain import DomainMonitor, StreamStatistics, cloud_statistics
from minkowski_perception.frame import OPTICAL_AXES, Frame
from minkowski_perception.labels import LabelSet
from minkowski_perception.networks.model import load_model
from minkowski_perception.segmenter import Segmentation

KITTI = LabelSet.load("semantickitti19")
ROAD, CAR = KITTI.names.index("road"), KITTI.names.index("car")
STREET = {
    "points": (20_000.0, 100_000.0),
    "median_range": (6.0, 15.0),
    "far_range": (25.0, 70.0),
    "lowest": (-2.5, -0.3),
    "intensity": (0.1, 0.4),
    "rate": (10.0, 10.0),
    "confidence": (0.7, 0.95),
    "disagreement": (0.01, 0.06),
    "share_of_road": (0.1, 0.6),
    "share_of_car": (0.0, 0.2),
}
ROOM = STREET | {"points": (50_000.0, 400_000.0), "median_range": (1.0, 3.0), "far_range": (2, 8)}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    save_tiny(folder / "street", dimension=3)
    return replace(load_model(folder / "street.yaml"), domain=STREET)


def street(index: int = 0, **changes) -> Frame:
    """A cloud of 30,000 points, 2 m above the ground, at 10 Hz."""
    draw = np.random.default_rng(0)
    azimuth = draw.uniform(-np.pi, np.pi, 30_000)
    distance = 3.0 + draw.exponential(10.0, 30_000)
    height = np.where(draw.random(30_000) < 0.7, -2.0, draw.uniform(-2, 4, 30_000))
    points = np.stack([distance * np.cos(azimuth), distance * np.sin(azimuth), height], axis=1)
    intensity = draw.beta(1.0, 3.0, 30_000)
    return replace(
        Frame(points, (index + 1) * 10**8, "lidar", intensity=intensity, pose=np.eye(4)), **changes
    )


def depth_camera() -> Frame:
    """An organised cloud of 640 x 480 points, 0.5 to 5 m away, in an optical frame, with holes."""
    rows, columns = np.mgrid[:480, :640]
    depth = 0.5 + 4.5 * rows / 480
    points = np.stack([(columns - 320) / 500 * depth, (rows - 240) / 500 * depth, depth], axis=-1)
    points[::7] = np.nan
    colour = np.zeros((480 * 640, 3), np.uint8)
    return Frame(points.reshape(-1, 3), 10**8, "camera_optical_frame", colour=colour)


def labelled(frame: Frame, labels=ROAD, confidence: float = 0.8) -> Segmentation:
    return Segmentation(
        np.broadcast_to(labels, len(frame)).astype(np.uint8),
        np.full(len(frame), confidence, np.float32),
        KITTI,
        {},
        1,
        1,
    )


def warned(monitor: DomainMonitor) -> list[str]:
    return [warning.split()[0] for warning in monitor.warnings]


def half_road(frame: Frame) -> np.ndarray:
    return np.where(np.arange(len(frame)) % 2, ROAD, KITTI.names.index("building"))


def test_clouds_like_those_of_the_training_give_no_warning(model):
    monitor = DomainMonitor(model)
    for i in range(30):
        frame = street(i)
        monitor.update(frame, labelled(frame, half_road(frame)))
        assert monitor.warnings == ()


def test_a_depth_camera_under_an_outdoor_model_is_warned_of_at_once(model, monkeypatch):
    cards = {"street": model, "room": replace(model, domain=ROOM)}
    monkeypatch.setattr(domain, "available_models", lambda: list(cards))
    monkeypatch.setattr(domain, "read_card", cards.__getitem__)
    monitor = DomainMonitor(model)
    frame = depth_camera()
    monitor.update(frame, labelled(frame))
    assert "far_range" in warned(monitor)
    assert any("use model room" in warning for warning in monitor.warnings)


def test_a_model_that_needs_colour_is_not_suggested_for_clouds_without(model, monkeypatch):
    needs = replace(model.input, features=("red", "green", "blue"), scale=(1.0, 1.0, 1.0))
    monkeypatch.setattr(domain, "available_models", lambda: ["room"])
    monkeypatch.setattr(domain, "read_card", lambda name: replace(model, domain=ROOM, input=needs))
    for colour in (True, False):
        frame = depth_camera()
        frame = frame if colour else replace(frame, colour=None)
        assert domain.suited_model(cloud_statistics(frame), frame, "x") == "room" * colour


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("points", lambda f: f.subset(np.arange(len(f)) % 20 == 0)),
        ("lowest", lambda f: replace(f, points=f.points - np.float32([0, 0, 5]))),
        ("intensity", lambda f: replace(f, intensity=f.intensity * np.float32(0.01))),
        ("rate", lambda f: replace(f, stamp=5 * f.stamp)),
    ],
)
def test_a_change_of_the_clouds_is_named(model, name, change):
    monitor = DomainMonitor(model)
    for i in range(12):
        frame = change(street(i))
        monitor.update(frame, labelled(frame, half_road(frame)))
    assert name in warned(monitor)
    assert all(": " in warning for warning in monitor.warnings)


def test_upside_down_and_optical_clouds_are_judged_by_their_height_in_the_world():
    frame = street()
    flipped = np.diag([1.0, -1.0, -1.0, 1.0])
    turned = replace(frame, points=frame.points @ flipped[:3, :3].astype(np.float32), pose=flipped)
    expected = cloud_statistics(frame)["lowest"]
    assert cloud_statistics(turned)["lowest"] == pytest.approx(expected, abs=1e-4)
    optical = Frame(frame.points @ OPTICAL_AXES, frame_id="camera_optical_frame")
    assert cloud_statistics(optical)["lowest"] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("name", "label", "confidence"),
    [("share_of_car", CAR, 0.8), ("confidence", None, 0.4)],
)
def test_labels_unlike_those_of_the_training_are_named_after_some_clouds(
    model, name, label, confidence
):
    monitor = DomainMonitor(model)
    for i in range(12):
        frame = street(i)
        labels = half_road(frame) if label is None else label
        monitor.update(frame, labelled(frame, labels, confidence))
        assert (name in warned(monitor)) == (i >= 9)


def test_disagreement_is_that_of_neighbouring_frames_at_the_same_places():
    statistics = StreamStatistics()
    share = 0.3
    found = []
    for i in range(22):
        frame = street(i)
        cells = np.floor(frame.points[:, 0] / 0.4).astype(int)
        changed = (cells % 10 < 10 * share) & (i % 2 == 1)
        found.append(statistics.update(frame, labelled(frame, np.where(changed, CAR, ROAD))))
    values = [each["disagreement"] for each in found if "disagreement" in each]
    assert len(values) == 3
    assert values == pytest.approx([share] * 3, abs=0.1)


def test_clouds_without_points_or_labels_are_no_fault(model):
    monitor = DomainMonitor(model)
    for points in (np.zeros((0, 3)), np.full((3, 3), np.nan), np.zeros((3, 3))):
        frame = Frame(points, 1, "lidar", intensity=np.ones(len(points)), pose=np.eye(4))
        monitor.update(frame, labelled(frame, 255))
    assert monitor.warnings == ()


def test_a_card_without_a_domain_gives_no_warning(model):
    monitor = DomainMonitor(replace(model, domain=None))
    frame = depth_camera()
    monitor.update(frame, labelled(frame))
    assert monitor.warnings == ()


@pytest.mark.parametrize("name", ["outdoor_lidar", "indoor_depth"])
def test_the_models_of_the_package_know_their_domain(name):
    card = domain.read_card(name)
    assert set(domain.INPUT) - {"intensity"} <= set(card.domain)
    assert {f"share_of_{each}" for each in card.label_set.names} <= set(card.domain)


def test_the_outdoor_model_warns_of_a_depth_camera_and_names_the_indoor_one():
    monitor = DomainMonitor(load_model("outdoor_lidar"))
    frame = depth_camera()
    monitor.update(frame, labelled(frame))
    assert any("use model indoor_depth" in warning for warning in monitor.warnings)
