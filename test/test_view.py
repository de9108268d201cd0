# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What RViz shows, by the geometry of its orbiting camera: RViz itself cannot run in a test."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from minkowski_perception.colours import contrast
from minkowski_perception.labels import MOVING_COLOUR, LabelSet
from minkowski_perception.trial import trial_frame
from minkowski_perception.view import FRAME, INDOORS, OUTDOORS, view_of, view_of_card

ROOT = Path(__file__).resolve().parents[1]
CONFIG = ROOT / "config"
WIDTH, HEIGHT = 1100, 800  # pixels of the scene beside the panel of displays
HALF_ANGLE = np.radians(45.0) / 2  # vertical field of view of RViz's camera
LETTER = 0.6  # width of a letter in heights
FULLEST = max((LabelSet.load(n) for n in LabelSet.available()), key=len)


def configuration(view):
    return yaml.safe_load((CONFIG / view.config).read_text())["Visualization Manager"]


def pixels(points, view):
    """Return columns [N], rows [N] and scale [N], pixels a metre, of points in front of RViz."""
    orbit = configuration(view)["Views"]["Current"]
    assert orbit["Class"] == "rviz_default_plugins/Orbit"
    yaw, pitch = orbit["Yaw"], orbit["Pitch"]
    focal = np.array([orbit["Focal Point"][axis] for axis in "XYZ"])
    back = np.array([np.cos(yaw) * np.cos(pitch), np.sin(yaw) * np.cos(pitch), np.sin(pitch)])
    right = np.cross(-back, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    rays = np.asarray(points, np.float64) - (focal + orbit["Distance"] * back)
    depth = rays @ -back
    assert (depth > 0.1).all()
    scale = HEIGHT / 2 / np.tan(HALF_ANGLE) / depth
    up = np.cross(right, -back)
    return WIDTH / 2 + scale * (rays @ right), HEIGHT / 2 - scale * (rays @ up), scale


def room():
    """Return what a depth camera sees of a room, x forward, z up."""
    across = np.tan(np.radians(np.linspace(-29, 29, 80)))
    across, up = np.meshgrid(across, np.linspace(-0.4, 0.4, 60))
    heights = np.where(up < 0, -1.0, 1.6)  # floor and ceiling
    with np.errstate(divide="ignore"):
        depth = np.minimum(heights / up, 4.0)
    depth = np.minimum(depth, 2.2 / np.maximum(np.abs(across), 1e-6))
    return np.stack([depth, -depth * across, depth * up], axis=-1).reshape(-1, 3)


@pytest.mark.parametrize("view", [INDOORS, OUTDOORS], ids=lambda view: view.config)
def test_all_names_of_the_legend_are_in_the_picture_upright_in_order_and_legible(view):
    columns, rows, scale = pixels(view.places(len(FULLEST)), view)
    half = max(map(len, FULLEST.names)) * LETTER * view.text * scale / 2
    assert ((columns - half > 0) & (columns + half < WIDTH / 2)).all()
    assert ((rows - view.text * scale > 0) & (rows + view.text * scale < HEIGHT)).all()
    assert (np.diff(rows) > view.text * scale[1:]).all()  # one below the other
    assert np.ptp(columns) < 0.12 * WIDTH  # a column
    assert (view.text * scale > 12).all()  # pixels
    assert (view.text * scale < 40).all()


def test_a_room_fills_the_view_indoors_and_a_street_the_one_outdoors():
    for view, points in ((INDOORS, room()), (OUTDOORS, trial_frame(5000, 0).points)):
        columns, rows, _ = pixels(points[np.linalg.norm(points, axis=1) < 30], view)
        inside = (np.abs(columns / WIDTH - 0.5) < 0.5) & (np.abs(rows / HEIGHT - 0.5) < 0.5)
        assert inside.mean() > 0.9
        assert np.ptp(columns[inside]) > 0.4 * WIDTH
        assert np.ptp(rows[inside]) > 0.3 * HEIGHT


def test_a_room_is_tiny_in_the_view_outdoors():
    columns, _, _ = pixels(room(), OUTDOORS)
    assert np.ptp(columns) < 0.15 * WIDTH


def test_the_view_follows_from_the_model():
    weights = ROOT / "minkowski_perception" / "weights"
    assert view_of_card(weights / "indoor_depth.yaml") is INDOORS
    assert view_of_card(weights / "outdoor_lidar.yaml") is OUTDOORS
    rooms, streets = LabelSet.load("scannet20"), LabelSet.load("semantickitti19")
    assert view_of(rooms, None) is INDOORS
    assert view_of(streets, None) is OUTDOORS
    assert view_of(rooms, {"far_range": (20.0, 40.0)}) is OUTDOORS
    assert view_of(streets, {"far_range": (3.0, 9.0)}) is INDOORS


@pytest.mark.parametrize("content", [None, "", "a: [", "label_set: nonsense", "- 1", "domain: 3"])
def test_a_card_that_cannot_be_read_has_the_view_outdoors(tmp_path, content):
    card = tmp_path / "card.yaml"
    if content is not None:
        card.write_text(content)
    assert view_of_card(card) is OUTDOORS


@pytest.mark.parametrize("view", [INDOORS, OUTDOORS], ids=lambda view: view.config)
def test_the_configuration_has_the_frame_background_and_colour_of_what_moves(view):
    manager = configuration(view)
    options = manager["Global Options"]
    assert options["Fixed Frame"] == FRAME
    assert options["Background Color"] == "0; 0; 0"
    displays = {display["Name"]: display for display in manager["Displays"]}
    assert displays["Moving"]["Channel Name"] == "moving"
    assert displays["Moving"]["Max Color"] == "; ".join(map(str, MOVING_COLOUR))
    least = tuple(map(int, displays["Moving"]["Min Color"].split("; ")))
    assert contrast(least, MOVING_COLOUR) > 3.0


def test_the_configurations_differ_in_nothing_but_lengths():
    def without_lengths(value):
        if isinstance(value, dict):
            return {k: without_lengths(v) for k, v in value.items() if k not in lengths}
        return [without_lengths(v) for v in value] if isinstance(value, list) else value

    lengths = {"Cell Size", "Plane Cell Count", "Marker Scale", "Distance", "Focal Point"}
    lengths |= {"Focal Shape Size", "Pitch"}
    one, other = (yaml.safe_load((CONFIG / v.config).read_text()) for v in (INDOORS, OUTDOORS))
    assert without_lengths(one) == without_lengths(other)
