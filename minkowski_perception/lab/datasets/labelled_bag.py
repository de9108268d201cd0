# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Bags whose clouds have a label field; each cloud topic is a sequence."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from minkowski_perception.codec import decode
from minkowski_perception.frame import Frame
from minkowski_perception.lab.datasets.reading import DatasetError, Frames, LabelIds
from minkowski_perception.labels import UNLABELLED
from minkowski_perception.motion.poses import PoseBuffer
from minkowski_perception.recordings.bags import BagReader

LABEL_FIELDS = ("true_label", "label")
"""Names of the label field, in order of precedence; models write `label`."""
_WRITTEN_BY_MODELS = "confidence"
"""Field beside `label` in the clouds that `label` and the node write."""


def sequences(path: Path, split: str | None, ids: LabelIds) -> dict[str, LabelledClouds]:
    """Return the sequences of a bag by topic.

    Args:
        path: see `BagReader`.
        split: None: bags have no splits.
        ids: meaning of the labels in the field.

    Raises:
        DatasetError: a split is given, or no cloud has a label field.
        BagError: the bag is missing or corrupt.
    """
    if split is not None:
        raise DatasetError(f"unknown split '{split}': bags have no splits")
    found, fields = {}, {}
    with BagReader(path) as bag:
        for topic in bag.cloud_topics():
            for _, message in bag.clouds(topic):
                fields[topic] = [field.name for field in message.fields]
                break
            if field := next((f for f in LABEL_FIELDS if f in fields.get(topic, ())), None):
                by_model = field == "label" and _WRITTEN_BY_MODELS in fields[topic]
                times = bag.cloud_times(topic)
                found[topic] = LabelledClouds(path, topic, times, field, ids, by_model)
    if not found:
        listed = "; ".join(f"{topic} has {', '.join(names)}" for topic, names in fields.items())
        raise DatasetError(
            f"no labels in {path}: clouds need a field {' or '.join(LABEL_FIELDS)}, but "
            f"{listed or 'there are no clouds'}"
        )
    return found


class LabelledClouds(Frames[int]):
    """Clouds of a topic, with the poses of the bag.

    Each access opens the bag, so that processes can share an instance.

    Attributes:
        by_model: whether a model made the labels, which the field `confidence` shows.
    """

    def __init__(
        self,
        path: Path,
        topic: str,
        times: Sequence[int],
        field: str,
        ids: LabelIds,
        by_model: bool,
    ) -> None:
        super().__init__(range(len(times)), self._frame)
        self.by_model = by_model
        self._times = times
        self._path, self._topic, self._field, self._ids = path, topic, field, ids
        self._buffers: dict[str, PoseBuffer] = {}

    def _frame(self, index: int) -> Frame:
        time = self._times[index]
        with BagReader(self._path) as bag:
            clouds = [message for _, message in bag.clouds(self._topic, at=time)]
        frame = decode(clouds[index - self._times.index(time)], label_field=self._field)
        frame.stamp = frame.stamp or time  # drivers may leave it unset
        frame.pose = self._poses(frame.frame_id).at(frame.stamp)
        raw = np.asarray(frame.labels).astype(np.int64)
        known = (raw >= 0) & (raw < len(self._ids.labels))
        frame.labels = self._ids.to_labels(np.where(known, raw, UNLABELLED))
        return frame

    def _poses(self, frame_id: str) -> PoseBuffer:
        if frame_id not in self._buffers:
            with BagReader(self._path) as bag:
                known = bag.poses(frame_id)
            buffer = self._buffers[frame_id] = PoseBuffer(capacity=len(known))
            for stamp, pose in known:
                buffer.add(stamp, pose)
        return self._buffers[frame_id]
