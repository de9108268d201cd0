# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Small reports, and a reader of their HTML."""

import base64
import json
from html.parser import HTMLParser
from pathlib import Path

import numpy as np

from minkowski_perception.accounting import Counts, DropReason
from minkowski_perception.frame import NANOSECONDS, Frame
from minkowski_perception.labels import LabelSet
from minkowski_perception.report.collector import Collector
from minkowski_perception.report.payload import Voxels
from minkowski_perception.report.run import write_run
from minkowski_perception.summary import LabelStatistics, Summary

LABELS = LabelSet.from_dict(
    {
        "name": "three",
        "classes": {"ground": [200, 40, 200], "wall <b>": [250, 200, 0], "car": [60, 120, 250]},
        "movable": ["car"],
        "from": {},
    },
    "test",
)
GROUND, WALL, CAR = range(3)
START = 1_700_000_000 * NANOSECONDS


def scene(number: int, points: int = 4000) -> tuple[Frame, np.ndarray, dict[str, np.ndarray]]:
    """Return a frame of a square with a wall and a car that drives on, its labels and outputs."""
    draw = np.random.default_rng(number)
    classes = draw.choice(3, points, p=(0.6, 0.3, 0.1)).astype(np.uint8)
    x, y = draw.uniform(-12.0, 12.0, (2, points))
    z = np.full(points, -1.7)
    wall, car = classes == WALL, classes == CAR
    y[wall], z[wall] = 9.0, draw.uniform(-1.7, 4.0, wall.sum())
    x[car], y[car] = 3.0 + number + 0.15 * x[car], -4.0 + 0.1 * y[car]
    z[car] = draw.uniform(-1.5, 0.0, car.sum())
    pose = np.eye(4)
    pose[:3, 3] = 1000.0 + number, -5.0, 2.0
    frame = Frame(
        np.stack([x, y, z], axis=1),
        START + number * NANOSECONDS // 10,
        "lidar",
        intensity=draw.uniform(0.0, 100.0, points),
        labels=np.where(draw.random(points) < 0.9, classes, GROUND),
        pose=pose,
    )
    outputs = {
        "confidence": draw.uniform(0.3, 1.0, points).astype(np.float32),
        "moving": np.where(car, 0.9, np.where(wall, np.nan, 0.1)).astype(np.float32),
    }
    return frame, classes, outputs


def write_scenes(path: Path, count: int = 5, name: str = "drive", points: int = 4000) -> Collector:
    """Write a report of scenes and one dropped cloud; return what collected them."""
    collector, statistics = Collector(LABELS, LABELS), LabelStatistics(LABELS, LABELS)
    for number in range(count):
        if number == 2:
            collector.drop(DropReason.NO_POSE, "no pose after <1.3 s> & more")
        frame, labels, outputs = scene(number, points)
        collector.add(frame, labels, outputs, seconds=0.05 + 0.01 * number)
        statistics.add(frame, labels, outputs)
    summary = Summary.of(
        bag=f"/data/{name}",
        topic="/points",
        model="small",
        device="cpu",
        engine="torch",
        axes="ros (assumed)",
        ego_motion="bag",
        ego_motion_reason="odometry",
        ego_motion_coasted=0,
        counts=Counts(count + 1, count, {DropReason.NO_POSE: 1}),
        seconds=1.0,
        latencies=[0.05 + 0.01 * number for number in range(count)],
        statistics=statistics,
    )
    frame, labels, _ = scene(0, 300)
    voxels = Voxels(np.round(frame.odometry_points, 1), labels, 0.1)
    card = {"name": "small", "license": "<script>alert(1)</script>"}
    write_run(path, summary, collector, card, "ab12", "label 'a b' --report r.html", voxels)
    return collector


class Reading(HTMLParser):
    """What a report contains.

    Attributes:
        tags: names of all elements.
        attributes: of all elements.
        data: text of elements with an id, by id.
        words: all other text.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.data: dict[str, str] = {}
        self.words = ""
        self._into: str | None = None
        self.feed(path.read_text())
        self.description = json.loads(self.data["description"])
        self.points = base64.b64decode(self.data["points"])

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes
        if tag in ("script", "style"):
            self._into = dict(attributes).get("id", tag)

    def handle_endtag(self, tag):
        if tag in ("script", "style"):
            self._into = None

    def handle_data(self, text):
        if self._into is None:
            self.words += text
        else:
            self.data[self._into] = self.data.get(self._into, "") + text

    def cloud(self, index: int) -> dict[str, np.ndarray]:
        """Return points [P, 3] of a cloud in metres, in the sensor's frame, and its columns."""
        found = self.description["clouds"][index]
        at, count = found["offset"], found["shown"]
        steps = np.frombuffer(self.points, "<i2", 3 * count, at).reshape(-1, 3)
        columns = {"points": steps * found["step"]}
        at += steps.nbytes
        for name in self.description["columns"]:
            columns[name] = np.frombuffer(self.points, np.uint8, count, at)
            at += count
        return columns
