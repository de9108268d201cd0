# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Transforms and odometry of a recording, read beside its clouds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from minkowski_perception.frame import NANOSECONDS
from minkowski_perception.recordings.bags import BagError, BagReader
from minkowski_perception.recordings.scan_files import FrameReader

_BEFORE = NANOSECONDS
"""Time before the first cloud from which messages are taken: poses surround a cloud."""


class RawMessage(NamedTuple):
    """Topic, message type, receive time in nanoseconds, and CDR bytes."""

    topic: str
    message_type: str
    received_at: int
    cdr: bytes


class RecordedContext:
    """Transforms and odometry of a bag, in time order; none of scans.

    Args:
        bag: whose messages are read, by a reader of its own.
        warn: gets a sentence if messages cannot be read; the others follow.

    Attributes:
        has_transforms: whether the recording has a transform.
    """

    def __init__(self, bag: BagReader | FrameReader, warn: Callable[[str], None]) -> None:
        self._warn = warn
        transforms: dict[str, int] = {}
        odometry: dict[str, int] = {}
        if isinstance(bag, BagReader):
            transforms, odometry = bag.transform_topics(), bag.odometry_topics()
        self.has_transforms = any(transforms.values())
        self._static = [topic for topic in transforms if topic.endswith("/tf_static")]
        self._moving = [topic for topic in [*transforms, *odometry] if topic not in self._static]
        self._path = bag.path

    def static(self) -> list[RawMessage]:
        """Return the messages of static transforms; equal ones once."""
        messages = {message.cdr: message for message in self._read(self._static)}
        return list(messages.values())

    def moving(self, first: int) -> Iterator[RawMessage]:
        """Yield the other messages, from a second before the first cloud.

        Args:
            first: receive time of the first cloud, nanoseconds.
        """
        return self._read(self._moving, since=first - _BEFORE)

    def _read(self, topics: list[str], since: int | None = None) -> Iterator[RawMessage]:
        if not topics:
            return
        try:
            with BagReader(self._path) as bag:
                for message in bag.raw(topics, since):
                    yield RawMessage(*message)
        except BagError as error:
            self._warn(f"warning: {', '.join(topics)} are not copied whole: {error}")
