# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Deserialization of the messages of a recording.

The definitions of a recording are parsed where they are needed, each for itself: one that cannot
be parsed, is incomplete or has the wrong hash concerns the topics of its type alone.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from rosbags.typesys import (
    Stores,
    get_types_from_idl,
    get_types_from_msg,
    get_typestore,
)

from minkowski_perception.recordings.storage import ROS_ENCODINGS, Channel

CLOUD_TYPE = "sensor_msgs/msg/PointCloud2"
ODOMETRY_TYPE = "nav_msgs/msg/Odometry"
TRANSFORMS_TYPE = "tf2_msgs/msg/TFMessage"

RENAMED_TYPES = {"tf/msg/tfMessage": TRANSFORMS_TYPE}
"""Message types of ROS 1 by their names in ROS 2."""

_STABLE_TYPES = (CLOUD_TYPE, ODOMETRY_TYPE, TRANSFORMS_TYPE, *RENAMED_TYPES)
"""Types that are the same in all releases, so that a recording's definition is not needed."""

_HEADER = "std_msgs/msg/Header"
_RULE = "=" * 80 + "\n"


class MessageTypeError(ValueError):
    """The messages of a topic cannot be deserialized."""


class MessageTypes:
    """The message types of one recording."""

    def __init__(self) -> None:
        self._stores: dict[tuple[str, str, bool], Any] = {}

    def message(self, channel: Channel, data: bytes) -> Any:
        """Return a message as an object with the attributes of its type.

        Raises:
            MessageTypeError: the type is unknown.
        """
        store = self._store(channel)
        if channel.encoding == "ros1":
            return store.deserialize_ros1(data, channel.message_type)
        return store.deserialize_cdr(data, channel.message_type)

    def cdr(self, channel: Channel, data: bytes) -> bytes:
        """Return a message in the serialization of ROS 2.

        Raises:
            MessageTypeError: the type is unknown.
        """
        if channel.encoding == "cdr":
            return data
        store = self._store(channel, ros2_header=True)
        return bytes(store.ros1_to_cdr(data, channel.message_type))

    def _store(self, channel: Channel, ros2_header: bool = False) -> Any:
        key = channel.message_type, channel.encoding, ros2_header
        if key not in self._stores:
            store = _type_store(channel)
            self._stores[key] = _with_ros2_header(store) if ros2_header else store
        return self._stores[key]


@cache
def _standard(encoding: str) -> Any:
    """Return the types that ROS 2, or ROS 1, comes with."""
    if encoding == "cdr":
        return get_typestore(Stores.LATEST)
    store = get_typestore(Stores.ROS1_NOETIC)
    for name in (TRANSFORMS_TYPE, *RENAMED_TYPES):
        text = "geometry_msgs/TransformStamped[] transforms"
        store.register(get_types_from_msg(text, name))
    return store


def _type_store(channel: Channel) -> Any:
    if channel.encoding not in ROS_ENCODINGS:
        raise MessageTypeError(
            f"'{channel.topic}' is encoded as {channel.encoding}; "
            f"{', '.join(ROS_ENCODINGS)} are read"
        )
    standard = _standard(channel.encoding)
    if channel.message_type not in _STABLE_TYPES and channel.definition:
        try:
            store = get_typestore(Stores.EMPTY)
            store.register(_definitions(channel))
            store.get_msgdef(channel.message_type)
            return store
        except Exception:  # the parsers raise many kinds
            pass
    if channel.message_type not in standard.types:
        raise MessageTypeError(
            f"the recording has no usable definition of {channel.message_type}, which "
            f"'{channel.topic}' has"
        )
    return standard


def _definitions(channel: Channel) -> Any:
    text = channel.definition
    if channel.definition_format != "ros2idl":
        return get_types_from_msg(text, channel.message_type)
    if not text.startswith(f"{_RULE}IDL: "):
        return get_types_from_idl(text)
    parts = [part.split("\n", 1)[1] for part in text.split(_RULE)[1:]]
    return {name: kind for part in parts for name, kind in get_types_from_idl(part).items()}


def _with_ros2_header(store: Any) -> Any:
    """Return types of ROS 1 with the header of ROS 2, which has no `seq`."""
    header = get_typestore(Stores.LATEST).fielddefs[_HEADER]
    types = get_typestore(Stores.EMPTY)
    types.register({**store.fielddefs, _HEADER: header})
    return types
