# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Random frames with true labels, and segmenters that predict given labels."""

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import numpy as np

from minkowski_perception.axes import SensorAxes
from minkowski_perception.codec import IntensityScale
from minkowski_perception.frame import Frame
from minkowski_perception.labels import LabelSet
from minkowski_perception.segmenter import Segmentation
from minkowski_perception.streaming.continuity import OutOfOrderError

KITTI = LabelSet.load("semantickitti19")
OWN = ("label", "confidence")
CAR, ROAD = KITTI.names.index("car"), KITTI.names.index("road")


def random_frame(seed: int, label_set: LabelSet, points: int = 300, **columns) -> Frame:
    """Points up to 90 m away, a tenth of them without a label."""
    draw = np.random.default_rng(seed)
    xyz = draw.normal(size=(points, 3))
    xyz *= draw.uniform(0.5, 90, (points, 1)) / np.linalg.norm(xyz, axis=1, keepdims=True)
    labels = draw.integers(0, len(label_set), points).astype(np.uint8)
    labels[draw.random(points) < 0.1] = 255
    return Frame(xyz.astype(np.float32), 10**9 + seed * 10**8, labels=labels, **columns)


class FakeSegmenter:
    """Predicts the labels and confidence that a function returns for each frame."""

    def __init__(self, label_set: LabelSet, predict: Callable[[Frame], tuple]) -> None:
        self.label_set = label_set
        self.streams: list[list[Frame]] = []
        self._predict = predict

    def reset(self) -> None:
        self.streams.append([])

    def continues(self, frame: Frame) -> bool:
        return bool(self.streams[-1])

    def segment(self, frame: Frame) -> Segmentation:
        self.streams[-1].append(frame)
        labels, confidence = self._predict(frame)
        return Segmentation(
            np.asarray(labels, np.uint8),
            np.asarray(confidence, np.float32),
            self.label_set,
            {},
            1,
            1,
        )


class HeightSegmenter:
    """Replaces the model: points above the sensor are car, points below it are road."""

    label_set = KITTI
    model = SimpleNamespace(name="height", domain=None)
    axes = SensorAxes()
    intensity_scale = IntensityScale()
    device = "cpu"
    engine = "height"
    state_bytes = 0

    def __init__(self) -> None:
        self.seen: list[Frame] = []

    def another_stream(self) -> "HeightSegmenter":
        return type(self)()

    def oriented(self, frame: Frame) -> Frame:
        return frame

    def continues(self, frame: Frame) -> bool:
        if self.seen and frame.stamp <= self.seen[-1].stamp:
            raise OutOfOrderError("not later")
        return bool(self.seen)

    def reset(self) -> None:
        self.seen.clear()

    def segment(self, frame: Frame) -> Segmentation:
        if not len(frame):
            raise RuntimeError("nothing to see")
        self.seen.append(frame)
        labels = np.where(frame.points[:, 2] > 0, CAR, ROAD).astype(np.uint8)
        labels[~frame.valid] = 255
        confidence = np.ones(len(frame), dtype=np.float32)
        return Segmentation(labels, confidence, KITTI, {}, 1, 1)

    def recall(self, frame: Frame, outputs: dict) -> Segmentation:
        self.seen.append(frame)
        further = {name: each for name, each in outputs.items() if name not in OWN}
        return Segmentation(*(outputs[name] for name in OWN), KITTI, {}, 1, 1, further)

    def state(self) -> dict:
        return {}

    def restore_memory(self, state: dict) -> None:
        assert not state

    def labelled_map(self) -> None:
        return None


class MovingSegmenter(HeightSegmenter):
    """Calls points on the left moving, but in the first frame."""

    first = True

    def segment(self, frame: Frame) -> Segmentation:
        result = super().segment(frame)
        values = np.where(frame.points[:, 1] > 0, 0.75, 0.25).astype(np.float32)
        values[:] = np.nan if self.first else values
        self.first = False
        return replace(result, outputs={"moving": values})
