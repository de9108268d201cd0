# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The bag of labelled clouds, with all that a player needs to show them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from minkowski_perception.frame import NANOSECONDS, ROS, Frame
from minkowski_perception.labelling.context import RawMessage, RecordedContext
from minkowski_perception.labelling.output import Output
from minkowski_perception.labelling.topics import (
    CLASSES_TOPIC,
    LABELLED_TOPIC,
    LEGEND_TOPIC,
    MAP_TOPIC,
    ODOMETRY_TOPIC,
)
from minkowski_perception.labels import LabelSet
from minkowski_perception.motion.ego_motion import EgoMotion, RecordedMotion
from minkowski_perception.recordings.bags import BagWriter
from minkowski_perception.stream import Labelled, MapCloud
from minkowski_perception.summary import Summary

_AFTER = NANOSECONDS
"""Time after the last cloud up to which transforms and odometry are taken."""


class LabelledBag(Output):
    """Bag of the labelled clouds, their classes and legend, transforms and odometry, and the map.

    A cloud is received at its stamp. Other messages keep their distance in time from the clouds.

    Args:
        path: the bag's folder, which must not exist.
        label_set: of the labels.
        motion: source of the poses. Those that the recording lacks are written as odometry and, if
            it has no transforms at all, as /tf.
        context: of the recording.

    Raises:
        BagError: the folder exists or cannot be created.
    """

    def __init__(
        self, path: Path, label_set: LabelSet, motion: EgoMotion, context: RecordedContext
    ) -> None:
        self._writer = BagWriter(path)
        self._label_set, self._motion, self._context = label_set, motion, context
        self._messages: Iterator[RawMessage] = iter(())
        self._next: RawMessage | None = None
        self._shift = self._last = 0
        self._begun = False
        self._writer.__enter__()

    def add(self, labelled: Labelled, received_at: int) -> None:
        """See `Output.add`."""
        frame = labelled.received
        if not self._begun:
            self._begin(frame, received_at)
        self._copy(until=received_at)
        self._last = received_at
        if frame.pose is not None and not isinstance(self._motion, RecordedMotion):
            where = (frame.stamp, frame.pose, labelled.fixed_frame, frame.frame_id)
            self._writer.write_odometry(ODOMETRY_TOPIC, *where)
            if not self._context.has_transforms and where[2] != where[3]:
                self._writer.write_transform(*where)
        self._writer.write_cloud(LABELLED_TOPIC, labelled.cloud, frame.stamp, frame.frame_id)

    def finish(self, found: MapCloud | None, summary: Summary) -> None:
        """See `Output.finish`."""
        self._copy(until=self._last + _AFTER)
        if found is not None:
            self._writer.write_cloud(
                MAP_TOPIC, found.cloud, found.voxels.stamp, found.frame_id, latched=True
            )

    def close(self) -> None:
        """See `Output.close`."""
        self._writer.__exit__(None, None, None)

    def _begin(self, frame: Frame, received_at: int) -> None:
        self._begun = True
        stamp, axes = frame.stamp, frame.axes or ROS
        self._shift = stamp - received_at
        self._writer.write_text(CLASSES_TOPIC, stamp, json.dumps(self._label_set.legend()))
        self._writer.write_legend(LEGEND_TOPIC, stamp, frame.frame_id, self._label_set, axes)
        for topic, message_type, _, cdr in self._context.static():
            self._writer.write_raw(topic, message_type, stamp, cdr, latched=True)
        self._messages = self._context.moving(received_at)
        self._next = next(self._messages, None)

    def _copy(self, until: int) -> None:
        """Write the messages that were received up to a time."""
        while self._next is not None and self._next.received_at <= until:
            topic, message_type, received_at, cdr = self._next
            self._writer.write_raw(topic, message_type, received_at + self._shift, cdr)
            self._next = next(self._messages, None)
