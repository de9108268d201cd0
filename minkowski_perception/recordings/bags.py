# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Reader and writer of ROS 1 and ROS 2 bags; needs no ROS."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from minkowski_perception.codec import CloudData
from minkowski_perception.motion.poses import PoseBuffer, pose_matrix

try:
    from rosbags.highlevel import AnyReader
    from rosbags.interfaces import (
        Qos,
        QosDurability,
        QosHistory,
        QosLiveliness,
        QosReliability,
        QosTime,
    )
    from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
    from rosbags.typesys import Stores, get_typestore
except ImportError as error:
    raise ImportError("bags are read and written with rosbags: pip install rosbags") from error

Pose = npt.NDArray[np.float64]
"""[4, 4], transforms points from one frame to another."""

StampedPoses = list[tuple[int, Pose]]
"""Poses by stamp in nanoseconds, sorted."""

PoseSource = Literal["odometry", "transforms"]

CLOUD_TYPE = "sensor_msgs/msg/PointCloud2"
ODOMETRY_TYPE = "nav_msgs/msg/Odometry"
TRANSFORMS_TYPE = "tf2_msgs/msg/TFMessage"

_RENAMED_TYPES = {"tf/msg/tfMessage": TRANSFORMS_TYPE}  # from ROS 1 to ROS 2
_SUFFIXES = (".bag", ".mcap", ".db3")
_STORAGES = {"mcap": StoragePlugin.MCAP, "sqlite3": StoragePlugin.SQLITE3}
_BAG_VERSION: Literal[8] = 8  # of metadata.yaml; Humble cannot read the topics' QoS of version 9
_FOREVER = QosTime(2147483647, 4294967295)
_LATCHED = Qos(
    QosHistory.KEEP_LAST,
    100,
    QosReliability.RELIABLE,
    QosDurability.TRANSIENT_LOCAL,
    _FOREVER,
    _FOREVER,
    QosLiveliness.AUTOMATIC,
    _FOREVER,
    avoid_ros_namespace_conventions=False,
)


class RecordedPoses(NamedTuple):
    """Poses of a sensor, where they are from, and the name of the odometry frame."""

    source: PoseSource
    fixed_frame: str
    poses: StampedPoses


class BagError(ValueError):
    """A bag is missing or corrupt, or lacks the requested topic or motion."""


class BagReader:
    """Reader of a bag; use it in a `with` statement.

    Args:
        path: a ROS 1 .bag file, a ROS 2 bag folder (sqlite3 or MCAP), a bare .mcap or .db3 file,
            or a folder that contains one of these.

    Raises:
        BagError: the path is not a bag, or the bag cannot be read.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = _locate(Path(path))

    def __enter__(self) -> BagReader:
        with self._bag_errors():
            # Old sqlite3 bags have no definitions of their message types.
            store = get_typestore(Stores.LATEST)
            self._reader = AnyReader([self.path], default_typestore=store)
            self._reader.open()
        return self

    def __exit__(self, *exception: object) -> None:
        self._reader.close()

    def cloud_topics(self) -> dict[str, int]:
        """Return the topics of sensor_msgs/PointCloud2 and their numbers of messages."""
        return self._topics(CLOUD_TYPE)

    def odometry_topics(self) -> dict[str, int]:
        """Return the topics of nav_msgs/Odometry and their numbers of messages."""
        return self._topics(ODOMETRY_TYPE)

    def choose_cloud_topic(self, topic: str | None = None) -> str:
        """Return the given cloud topic, or the only one.

        Raises:
            BagError: the topic is missing, there are none, or there are several and none is
                given; the topics are listed.
        """
        return self._choose("cloud", self.cloud_topics(), topic)

    def clouds(self, topic: str, at: int | None = None) -> Iterator[tuple[int, Any]]:
        """Yield receive time in nanoseconds and sensor_msgs/PointCloud2 of clouds, in time order.

        Args:
            topic: a cloud topic.
            at: receive time of the clouds, nanoseconds; None for all clouds.

        Raises:
            BagError: the cloud topic is missing, or the bag is corrupt.
        """
        topic = self.choose_cloud_topic(topic)
        for _, receive_time, message in self._messages([topic], at):
            yield receive_time, message

    def cloud_times(self, topic: str) -> list[int]:
        """Return the receive times of the clouds, nanoseconds, in order.

        Raises:
            BagError: the cloud topic is missing, or the bag is corrupt.
        """
        connections = self._connections([self.choose_cloud_topic(topic)])
        with self._bag_errors():
            return [time for _, time, _ in self._reader.messages(connections)]

    def raw(self, topics: Iterable[str]) -> Iterator[tuple[str, str, int, bytes]]:
        """Yield messages in the serialization of ROS 2, in time order.

        Yields:
            Topic, message type, receive time in nanoseconds, and CDR bytes. Messages of ROS 1 are
            converted; types that differ in ROS 2 keep the fields of ROS 1.

        Raises:
            BagError: a topic is missing (the topics are listed), or the bag is corrupt.
        """
        with self._bag_errors():
            for connection, receive_time, raw in self._reader.messages(self._connections(topics)):
                if not self._reader.is2:
                    raw = self._ros2_types.ros1_to_cdr(raw, connection.msgtype)
                message_type = _RENAMED_TYPES.get(connection.msgtype, connection.msgtype)
                yield connection.topic, message_type, receive_time, bytes(raw)

    def poses(
        self, frame_id: str, fixed_frame: str | None = None, topic: str | None = None
    ) -> StampedPoses:
        """Return the poses of a sensor in the odometry frame, by stamp in nanoseconds.

        If a topic is given or there is only one, poses come from nav_msgs/Odometry. If its child
        frame is not the sensor's, the transforms between both frames are applied; without such
        transforms both frames are assumed equal.

        Otherwise poses come from /tf and /tf_static: one per stamp of any moving transform between
        the frames, with the other transforms interpolated. Invalid transforms (such as quaternions
        of zeros, which some drivers send at start) are ignored.

        Args:
            frame_id: the sensor's frame.
            fixed_frame: the odometry frame; odometry in another frame is ignored. By default the
                frame of the odometry; for transforms "odom", or the root above the sensor.
            topic: the odometry topic.

        Returns:
            Stamps and [4, 4] float64, sorted; empty if the bag has no odometry or transforms.

        Raises:
            BagError: the odometry topic is missing, there are several and no transforms, no
                transforms connect the frames, or the bag is corrupt. The choices are listed.
        """
        return self.poses_with_source(frame_id, fixed_frame, topic).poses

    def poses_with_source(
        self, frame_id: str, fixed_frame: str | None = None, topic: str | None = None
    ) -> RecordedPoses:
        """Return the poses with their source and frame; see `poses`."""
        tree = self._transforms()
        odometry = self.odometry_topics()
        if topic is not None or len(odometry) == 1:
            chosen = self._choose("odometry", odometry, topic)
            found = self._odometry_poses(chosen, tree, frame_id, fixed_frame)
            if found.poses or topic is not None:
                return found
        found = self._transform_poses(tree, frame_id, fixed_frame)
        if not found.poses and len(odometry) > 1:
            self._choose("odometry", odometry, None)
        return found

    def _odometry_poses(
        self, topic: str, tree: _TransformTree, frame_id: str, fixed_frame: str | None
    ) -> RecordedPoses:
        poses: dict[int, Pose] = {}
        name = ""
        for _, _, message in self._messages([topic]):
            if fixed_frame is not None and _plain(message.header.frame_id) != _plain(fixed_frame):
                continue
            name = message.header.frame_id
            stamp = _nanoseconds(message.header.stamp)
            body = _pose(message.pose.pose.position, message.pose.pose.orientation)
            mount = tree.path(frame_id, message.child_frame_id)
            sensor = np.eye(4) if mount is None else mount.at(stamp)
            if body is not None and sensor is not None:
                poses[stamp] = body @ sensor
        return RecordedPoses("odometry", name, sorted(poses.items(), key=lambda item: item[0]))

    def _transform_poses(
        self, tree: _TransformTree, frame_id: str, fixed_frame: str | None
    ) -> RecordedPoses:
        above = tree.above(frame_id)
        if fixed_frame is None:
            fixed_frame = "odom" if "odom" in above else above[-1]
        path = tree.path(frame_id, fixed_frame)
        if path is None:
            if not tree.edges:
                return RecordedPoses("transforms", fixed_frame, [])
            raise BagError(
                f"no transforms of {self.path} connect '{frame_id}' to '{fixed_frame}'; "
                f"the frames above '{frame_id}' are {above[1:]}"
            )
        poses = ((stamp, path.at(stamp)) for stamp in path.stamps())
        known = [(stamp, pose) for stamp, pose in poses if pose is not None]
        return RecordedPoses("transforms", fixed_frame, known)

    def _transforms(self) -> _TransformTree:
        tree = _TransformTree()
        topics = {c.topic for c in self._reader.connections} & {"/tf", "/tf_static"}
        for topic, _, message in self._messages(sorted(topics)) if topics else ():
            for transform in message.transforms:
                tree.add(transform, static=topic == "/tf_static")
        return tree

    @cached_property
    def _ros2_types(self) -> Any:
        """The bag's message types with the header of ROS 2, which has no `seq`."""
        types = self._reader.typestore.fielddefs
        header = "std_msgs/msg/Header"
        store = get_typestore(Stores.EMPTY)
        store.register({**types, header: get_typestore(Stores.LATEST).fielddefs[header]})
        return store

    def _messages(
        self, topics: Iterable[str], at: int | None = None
    ) -> Iterator[tuple[str, int, Any]]:
        """Yield topic, receive time and message, in time order."""
        stop = None if at is None else at + 1
        connections = self._connections(topics)
        with self._bag_errors():
            for connection, receive_time, raw in self._reader.messages(connections, at, stop):
                message = self._reader.deserialize(raw, connection.msgtype)
                yield connection.topic, receive_time, message

    def _connections(self, topics: Iterable[str]) -> list[Any]:
        wanted = set(topics)
        present = {c.topic for c in self._reader.connections}
        if not wanted or not wanted <= present:
            raise BagError(
                f"{self.path} has no topics {sorted(wanted - present)}; its topics are "
                f"{', '.join(sorted(present)) or 'none'}"
            )
        return [c for c in self._reader.connections if c.topic in wanted]

    def _topics(self, message_type: str) -> dict[str, int]:
        counts: dict[str, int] = {}
        for connection in sorted(self._reader.connections, key=lambda c: c.topic):
            if connection.msgtype == message_type:
                counts[connection.topic] = counts.get(connection.topic, 0) + connection.msgcount
        return counts

    def _choose(self, kind: str, topics: Mapping[str, int], topic: str | None) -> str:
        if topic in topics:
            return str(topic)
        if topic is None and len(topics) == 1:
            return next(iter(topics))
        listed = ", ".join(f"{name} ({count} messages)" for name, count in topics.items())
        if not topics:
            present = ", ".join(sorted({c.topic for c in self._reader.connections}))
            raise BagError(f"{self.path} has no {kind} topic; its topics are {present or 'none'}")
        if topic is None:
            raise BagError(f"{self.path} has several {kind} topics, choose one of {listed}")
        raise BagError(f"{self.path} has no {kind} topic '{topic}'; choose one of {listed}")

    @contextmanager
    def _bag_errors(self) -> Iterator[None]:
        """Convert all exceptions of rosbags to BagError.

        On a corrupt file its parsers can raise anything (struct.error, apsw.Error,
        AssertionError, MemoryError ...).
        """
        try:
            yield
        except BagError:
            raise
        except Exception as error:
            raise BagError(f"cannot read bag {self.path}: {error or repr(error)}") from error


class BagWriter:
    """Writer of a ROS 2 bag; use it in a `with` statement.

    An exception in the statement also closes the bag, so that the messages written before it can
    be read.

    Args:
        path: the bag's folder, which must not exist.
        storage: "mcap" or "sqlite3".

    Raises:
        BagError: the storage is unknown, or the folder exists or cannot be created.
    """

    def __init__(self, path: str | Path, storage: str = "mcap") -> None:
        if storage not in _STORAGES:
            raise BagError(f"unknown storage '{storage}'; choose one of {', '.join(_STORAGES)}")
        self.path = Path(path)
        if self.path.exists():
            raise BagError(f"{self.path} already exists; bags are not overwritten")
        self._writer = Writer(self.path, version=_BAG_VERSION, storage_plugin=_STORAGES[storage])
        if storage == "mcap":
            # All MCAP readers support zstd chunks; they reduce labelled clouds by two fifths.
            self._writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
        self._store = get_typestore(Stores.LATEST)
        self._connections: dict[tuple[str, str], Any] = {}

    def __enter__(self) -> BagWriter:
        try:
            self._writer.open()
        except OSError as error:
            raise BagError(f"cannot write bag {self.path}: {error.strerror}") from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> Literal[False]:
        self._writer.close()
        return False

    def write_cloud(
        self, topic: str, cloud: CloudData, stamp: int, frame_id: str, latched: bool = False
    ) -> None:
        """Write a cloud as sensor_msgs/PointCloud2, received at its stamp (nanoseconds).

        See `write_raw` for `latched`.
        """
        field_type = self._store.types["sensor_msgs/msg/PointField"]
        message = self._store.types[CLOUD_TYPE](
            header=self._header(stamp, frame_id),
            height=cloud.height,
            width=cloud.width,
            fields=[field_type(f.name, f.offset, f.datatype, f.count) for f in cloud.fields],
            is_bigendian=cloud.is_bigendian,
            point_step=cloud.point_step,
            row_step=cloud.row_step,
            data=np.frombuffer(cloud.data, dtype=np.uint8),
            is_dense=cloud.is_dense,
        )
        self._write(topic, CLOUD_TYPE, stamp, message, latched)

    def write_odometry(
        self, topic: str, stamp: int, pose: Pose, frame_id: str, child_frame_id: str
    ) -> None:
        """Write a pose as nav_msgs/Odometry, received at its stamp.

        Args:
            topic: the topic.
            stamp: nanoseconds.
            pose: [4, 4] float64, transforms points from the child frame to the odometry frame.
            frame_id: the odometry frame.
            child_frame_id: the moving frame.
        """
        types = self._store.types
        vector = types["geometry_msgs/msg/Vector3"]
        unknown = np.zeros(36)
        quaternion = Rotation.from_matrix(pose[:3, :3]).as_quat()
        message = types[ODOMETRY_TYPE](
            header=self._header(stamp, frame_id),
            child_frame_id=child_frame_id,
            pose=types["geometry_msgs/msg/PoseWithCovariance"](
                types["geometry_msgs/msg/Pose"](
                    types["geometry_msgs/msg/Point"](*pose[:3, 3].tolist()),
                    types["geometry_msgs/msg/Quaternion"](*quaternion.tolist()),
                ),
                unknown,
            ),
            twist=types["geometry_msgs/msg/TwistWithCovariance"](
                types["geometry_msgs/msg/Twist"](vector(0.0, 0.0, 0.0), vector(0.0, 0.0, 0.0)),
                unknown,
            ),
        )
        self._write(topic, ODOMETRY_TYPE, stamp, message)

    def write_transform(self, stamp: int, pose: Pose, frame_id: str, child_frame_id: str) -> None:
        """Write a pose to /tf; see `write_odometry`."""
        types = self._store.types
        quaternion = Rotation.from_matrix(pose[:3, :3]).as_quat()
        transform = types["geometry_msgs/msg/TransformStamped"](
            header=self._header(stamp, frame_id),
            child_frame_id=child_frame_id,
            transform=types["geometry_msgs/msg/Transform"](
                types["geometry_msgs/msg/Vector3"](*pose[:3, 3].tolist()),
                types["geometry_msgs/msg/Quaternion"](*quaternion.tolist()),
            ),
        )
        self._write("/tf", TRANSFORMS_TYPE, stamp, types[TRANSFORMS_TYPE]([transform]))

    def write_raw(
        self,
        topic: str,
        message_type: str,
        receive_time: int,
        cdr: bytes,
        latched: bool = False,
    ) -> None:
        """Write a serialized message, such as those of `BagReader.raw`.

        Players latch a topic whose first message was latched, and /tf_static.

        Raises:
            BagError: the message type is not in ROS 2's common interfaces.
        """
        if message_type not in self._store.types:
            raise BagError(f"cannot write '{topic}': unknown message type '{message_type}'")
        key = topic, message_type
        if key not in self._connections:
            # Subscribers to static transforms request transient local durability.
            qos = [_LATCHED] if latched or topic == "/tf_static" else []
            self._connections[key] = self._writer.add_connection(
                topic, message_type, typestore=self._store, offered_qos_profiles=qos
            )
        self._writer.write(self._connections[key], receive_time, cdr)

    def _write(
        self, topic: str, message_type: str, stamp: int, message: Any, latched: bool = False
    ) -> None:
        cdr = self._store.serialize_cdr(message, message_type)
        self.write_raw(topic, message_type, stamp, bytes(cdr), latched)

    def _header(self, stamp: int, frame_id: str) -> Any:
        time = self._store.types["builtin_interfaces/msg/Time"](*divmod(stamp, 10**9))
        return self._store.types["std_msgs/msg/Header"](time, frame_id)


@dataclass
class _Edge:
    """Transforms from a frame to its parent."""

    parent: str
    static: bool
    samples: list[tuple[int, Pose]] = field(default_factory=list)

    @cached_property
    def _buffer(self) -> PoseBuffer:
        buffer = PoseBuffer(capacity=len(self.samples))
        for stamp, pose in self.samples:
            buffer.add(stamp, pose)
        return buffer

    def at(self, stamp: int) -> Pose | None:
        return self.samples[-1][1] if self.static else self._buffer.at(stamp)


class _TransformTree:
    """Tree of the frames that transforms connect."""

    def __init__(self) -> None:
        self.edges: dict[str, _Edge] = {}

    def add(self, transform: Any, static: bool) -> None:
        """Add a geometry_msgs/TransformStamped; ignore it if it is invalid."""
        pose = _pose(transform.transform.translation, transform.transform.rotation)
        if pose is None:
            return
        parent, child = _plain(transform.header.frame_id), _plain(transform.child_frame_id)
        edge = self.edges.get(child)
        if edge is None or edge.parent != parent:
            edge = self.edges[child] = _Edge(parent, static)
        edge.samples.append((_nanoseconds(transform.header.stamp), pose))

    def above(self, frame: str) -> list[str]:
        """Return the frame and its ancestors, up to the root."""
        frames = [_plain(frame)]
        while (edge := self.edges.get(frames[-1])) and edge.parent not in frames:
            frames.append(edge.parent)
        return frames

    def path(self, frame: str, fixed_frame: str) -> _Path | None:
        """Return the path from a frame to a fixed one; None if they are in separate trees."""
        rise, fall = self.above(frame), self.above(fixed_frame)
        common = next((f for f in rise if f in fall), None)
        if common is None:
            return None
        rise, fall = rise[: rise.index(common)], fall[: fall.index(common)]
        return _Path([self.edges[f] for f in rise], [self.edges[f] for f in fall])


@dataclass
class _Path:
    """Transforms between two frames: from each up to their lowest common ancestor."""

    rise: list[_Edge]
    fall: list[_Edge]

    def stamps(self) -> list[int]:
        """Return all stamps of the moving transforms, sorted."""
        moving = (edge for edge in [*self.rise, *self.fall] if not edge.static)
        return sorted({stamp for edge in moving for stamp, _ in edge.samples})

    def at(self, stamp: int) -> Pose | None:
        """Return [4, 4] from the first frame to the second; None if unknown at the stamp."""
        rise, fall = self._product(self.rise, stamp), self._product(self.fall, stamp)
        return None if rise is None or fall is None else np.linalg.inv(fall) @ rise

    @staticmethod
    def _product(edges: list[_Edge], stamp: int) -> Pose | None:
        product = np.eye(4)
        for edge in edges:
            pose = edge.at(stamp)
            if pose is None:
                return None
            product = pose @ product
        return product


def _locate(path: Path) -> Path:
    """Find the bag at or in a path."""
    if not path.exists():
        raise BagError(f"no bag at {path}: no such file or folder")
    if not path.is_dir():
        if path.suffix not in _SUFFIXES:
            raise BagError(
                f"{path} is not a bag; bags are folders or end in {', '.join(_SUFFIXES)}"
            )
        return path
    if (path / "metadata.yaml").exists():
        return path
    bags = sorted(p for p in path.iterdir() if p.suffix in _SUFFIXES)
    bags += sorted(p.parent for p in path.glob("*/metadata.yaml"))
    if len(bags) != 1:
        listed = ", ".join(p.name for p in bags) or "none"
        raise BagError(f"{path} must contain one bag, but contains {listed}")
    return bags[0]


def _plain(frame: str) -> str:
    """Return a frame's name without the leading slashes of ROS 1."""
    return frame.lstrip("/")


def _nanoseconds(stamp: Any) -> int:
    return int(stamp.sec) * 10**9 + int(stamp.nanosec)


def _pose(position: Any, quaternion: Any) -> Pose | None:
    """Convert a position and a quaternion of ROS messages to a matrix; None if invalid."""
    try:
        return pose_matrix(
            (position.x, position.y, position.z),
            (quaternion.x, quaternion.y, quaternion.z, quaternion.w),
        )
    except ValueError:
        return None
