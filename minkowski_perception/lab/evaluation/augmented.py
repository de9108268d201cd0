# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Test-time augmentation: what a model says of a frame seen mirrored, turned and scaled."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import numpy as np
import numpy.typing as npt
import torch

from minkowski_perception.frame import Frame, upright
from minkowski_perception.labels import UNLABELLED, LabelSet
from minkowski_perception.motion.poses import in_changed_world
from minkowski_perception.segmenter import Segmentation, Segmenter

Linear = npt.NDArray[np.float64]
"""[3, 3], how a world is changed: an orthogonal matrix times a number."""

FLIPS = ((1.0, 1.0), (1.0, -1.0), (-1.0, 1.0), (-1.0, -1.0))
"""Factors on x and y."""
ANGLES = (-np.pi / 4, 0.0, np.pi / 4)
"""Radians about z."""
SCALES = (0.95, 1.0, 1.05)


def worlds(
    flips: Sequence[tuple[float, float]] = FLIPS,
    angles: Sequence[float] = ANGLES,
    scales: Sequence[float] = SCALES,
) -> list[Linear]:
    """All combinations: by default the 36 of mmdetection3d's MinkUNet."""
    changes = []
    for (x, y), angle, scale in product(flips, angles, scales):
        cosine, sine = np.cos(angle), np.sin(angle)
        turn = np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])
        changes.append(scale * turn @ np.diag([x, y, 1.0]))
    return changes


class AugmentedSegmenter:
    """Labels each point by the mean of its class probabilities in several changed worlds.

    Each world is a stream of its own: its points and its poses are changed alike, so that what
    stands still in the one stands still in the other, and what a 4D network remembers of a world
    is true in it.

    Args:
        segmenter: what labels; its own stream is left alone.
        changes: the worlds.
    """

    def __init__(self, segmenter: Segmenter, changes: Sequence[Linear]) -> None:
        self._label_set = segmenter.label_set
        self._streams = [(linear, segmenter.another_stream()) for linear in changes]

    @property
    def label_set(self) -> LabelSet:
        """The classes of the labels."""
        return self._label_set

    def reset(self) -> None:
        """Forget the stream in all worlds."""
        for _, stream in self._streams:
            stream.reset()

    def segment(self, frame: Frame) -> Segmentation:
        """Label every point of the next frame.

        Raises:
            OutOfOrderError, ValueError: as `Segmenter.segment`.
        """
        total = torch.zeros(len(frame), len(self.label_set))
        times_seen = torch.zeros(len(frame))
        timings: Counter[str] = Counter()
        window = computed = 0
        for linear, stream in self._streams:
            said = stream.probabilities(_changed(frame, linear))
            rows = torch.from_numpy(np.flatnonzero(said.voxels.valid))
            total[rows] += said.voxels.quantization.slice(said.values)
            times_seen[rows] += 1.0
            timings.update(said.timings)
            window, computed = said.window, computed + said.computed
        probability, best = (total / times_seen.clamp(min=1.0)[:, None]).max(dim=1)
        labels = torch.where(times_seen > 0.0, best, UNLABELLED).to(torch.uint8)
        return Segmentation(labels.numpy(), probability.numpy(), dict(timings), window, computed)


def _changed(frame: Frame, linear: Linear) -> Frame:
    of_points = _in_axes_of(frame, linear)
    with np.errstate(invalid="ignore"):  # points that carry no measurement
        points = frame.points @ of_points.T.astype(np.float32)
    pose = frame.pose
    if pose is not None:
        pose = in_changed_world(pose, linear, of_points=of_points)
    return replace(frame, points=points, pose=pose)


def _in_axes_of(frame: Frame, linear: Linear) -> Linear:
    """Tell a change about the vertical in the axes of the sensor: y is down in a camera's."""
    pose = upright(frame.frame_id) if frame.pose is None else frame.pose
    vertical = int(np.abs(pose[2, :3]).argmax())
    order = np.roll(np.arange(3), 2 - vertical)
    of_points = np.empty((3, 3))
    of_points[np.ix_(order, order)] = linear
    return of_points
