# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Random frames with true labels, and a segmenter that predicts given labels."""

from collections.abc import Callable

import numpy as np

from minkowski_perception.frame import Frame
from minkowski_perception.labels import LabelSet
from minkowski_perception.segmenter import Segmentation


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
