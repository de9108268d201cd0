# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Test-time augmentation: predictions averaged over mirrored, rotated and scaled frames."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import numpy as np
import numpy.typing as npt
import torch

from minkowski_perception.frame import Frame
from minkowski_perception.labels import UNLABELLED, LabelSet
from minkowski_perception.motion.poses import in_changed_world
from minkowski_perception.segmenter import Segmentation, Segmenter

Linear = npt.NDArray[np.float64]
"""[3, 3] transformation of the world: an orthogonal matrix times a scale."""

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
    """Return all combinations: by default the 36 of mmdetection3d's MinkUNet."""
    transformations = []
    for (x, y), angle, scale in product(flips, angles, scales):
        cosine, sine = np.cos(angle), np.sin(angle)
        rotation = np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])
        transformations.append(scale * rotation @ np.diag([x, y, 1.0]))
    return transformations


class AugmentedSegmenter:
    """Labels each point by the mean of its class probabilities in several transformed worlds.

    Each world is a stream of its own. Its points and its poses are transformed alike, so still
    objects stay still in it and the memory of a 4D network stays consistent.

    Args:
        segmenter: labels the worlds; its own stream does not change.
        transformations: one for each world.
    """

    def __init__(self, segmenter: Segmenter, transformations: Sequence[Linear]) -> None:
        self._label_set = segmenter.label_set
        self._min_confidence = segmenter.min_confidence
        self._streams = [(linear, segmenter.another_stream()) for linear in transformations]

    @property
    def label_set(self) -> LabelSet:
        """Classes of the labels."""
        return self._label_set

    def reset(self) -> None:
        """Start a new stream in all worlds."""
        for _, stream in self._streams:
            stream.reset()

    def continues(self, frame: Frame) -> bool:
        """Return whether a frame continues the streams."""
        return self._streams[0][1].continues(frame)

    def segment(self, frame: Frame) -> Segmentation:
        """Label every point of the next frame.

        Raises:
            OutOfOrderError, ValueError: see `Segmenter.segment`.
        """
        total = torch.zeros(len(frame), len(self.label_set))
        outputs: dict[str, torch.Tensor] = {}
        counts = torch.zeros(len(frame))
        timings: Counter[str] = Counter()
        frame_count = voxel_count = 0
        for linear, stream in self._streams:
            prediction = stream.probabilities(_transformed(frame, linear))
            rows = torch.from_numpy(np.flatnonzero(prediction.voxels.valid))
            total[rows] += prediction.voxels.quantization.slice(prediction.values)
            for name, values in prediction.outputs.items():
                if values.is_floating_point():
                    sums = outputs.setdefault(name, torch.zeros(len(frame)))
                    sums[rows] += prediction.voxels.quantization.slice(values)
            counts[rows] += 1.0
            timings.update(prediction.timings)
            frame_count = prediction.frame_count
            voxel_count += prediction.voxel_count
        probability, best = (total / counts.clamp(min=1.0)[:, None]).max(dim=1)
        labelled = (counts > 0.0) & (probability >= self._min_confidence)
        labels = torch.where(labelled, best, UNLABELLED).to(torch.uint8)
        return Segmentation(
            labels.numpy(),
            probability.numpy(),
            self.label_set,
            dict(timings),
            frame_count,
            voxel_count,
            {name: (sums / counts).numpy() for name, sums in outputs.items()},
        )


def _transformed(frame: Frame, linear: Linear) -> Frame:
    of_points = _in_sensor_axes(frame, linear)
    with np.errstate(invalid="ignore"):  # points without a measurement
        points = frame.points @ of_points.T.astype(np.float32)
    pose = frame.pose
    if pose is not None:
        pose = in_changed_world(pose, linear, of_points=of_points)
    return replace(frame, points=points, pose=pose)


def _in_sensor_axes(frame: Frame, linear: Linear) -> Linear:
    """Express a transformation about the vertical in the sensor's axes: a camera's y is down."""
    pose = frame.upright if frame.pose is None else frame.pose
    vertical = int(np.abs(pose[2, :3]).argmax())
    order = np.roll(np.arange(3), 2 - vertical)
    of_points = np.empty((3, 3))
    of_points[np.ix_(order, order)] = linear
    return of_points
