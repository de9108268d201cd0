# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Bags of ROS 1 and ROS 2, read and written without ROS."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

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
"""[4, 4], takes points of a frame to another one."""

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


class BagError(ValueError):
    """A bag is missing, corrupt, or has not what it is asked for."""


class BagReader:
    """A bag, open within a `with` statement.

    Args:
        path: a ROS 1 .bag file, a ROS 2 bag folder (sqlite3 or MCAP), a bare .mcap or .db3 file,
            or a folder that holds one of these.

    Raises:
        BagError: nothing such is there, or it cannot be read.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = _locate(Path(path))

    def __enter__(self) -> BagReader:
        with self._bag_errors():
            # Old sqlite3 bags do not say what their message types look like.
            store = get_typestore(Stores.LATEST)
            self._reader = AnyReader([self.path], default_typestore=store)
            self._reader.open()
        return self

    def __exit__(self, *exception: object) -> None:
        self._reader.close()

    def cloud_topics(self) -> dict[str, int]:
        """Topics of sensor_msgs/PointCloud2, and how many messages each has."""
        return self._topics(CLOUD_TYPE)

    def odometry_topics(self) -> dict[str, int]:
        """Topics of nav_msgs/Odometry, and how many messages each has."""
        return self._topics(ODOMETRY_TYPE)

    def choose_cloud_topic(self, topic: str | None = None) -> str:
        """Name the cloud topic to read: the given one, or the only one there is.

        Raises:
            BagError: there is none, no such one, or a choice to make; the topics are listed.
        """
        return self._choose("cloud", self.cloud_topics(), topic)

    def clouds(self, topic: str, at: int | None = None) -> Iterator[tuple[int, Any]]:
        """Receive time in nanoseconds and sensor_msgs/PointCloud2 of each cloud, in time order.

        Args:
            topic: of clouds.
            at: only those received just then, nanoseconds; None for all.

        Raises:
            BagError: no such cloud topic, or the bag is corrupt.
        """
        topic = self.choose_cloud_topic(topic)
        for _, receive_time, message in self._messages([topic], at):
            yield receive_time, message

    def cloud_times(self, topic: str) -> list[int]:
        """When each cloud was received, nanoseconds, in order.

        Raises:
            BagError: no such cloud topic, or the bag is corrupt.
        """
        connections = self._connections([self.choose_cloud_topic(topic)])
        with self._bag_errors():
            return [time for _, time, _ in self._reader.messages(connections)]

    def raw(self, topics: Iterable[str]) -> Iterator[tuple[str, str, int, bytes]]:
        """Messages as ROS 2 has them on the wire, in time order.

        Yields:
            Topic, message type, receive time in nanoseconds, and CDR bytes. Messages of ROS 1 are
            converted; a type that ROS 2 has changed keeps the fields of ROS 1.

        Raises:
            BagError: no such topic (those of the bag are listed), or the bag is corrupt.
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
        """Poses of a sensor in the odometry frame, by stamp in nanoseconds.

        They come from nav_msgs/Odometry where a topic is named or there is just one. Where its
        child frame is not the sensor's, the transforms between the two are applied; where the bag
        knows none, the two are taken to be the same. Else they come from /tf and /tf_static: one
        pose for each stamp at which any moving transform between the frames was sent, the others
        interpolated. Transforms without a rotation (quaternions of zeros, which drivers send
        before they know better) are left out.

        Args:
            frame_id: the sensor's frame.
            fixed_frame: the odometry frame; odometry in another one is not used. By default that
                of the odometry, and with transforms "odom", else the root above the sensor.
            topic: the odometry topic.

        Returns:
            Stamps and [4, 4] float64, sorted; empty if the bag has no odometry or transforms.

        Raises:
            BagError: no such odometry topic, several and no transforms either, no transforms
                that join the two frames, or the bag is corrupt. The choices are listed.
        """
        return self.poses_with_source(frame_id, fixed_frame, topic)[1]

    def poses_with_source(
        self, frame_id: str, fixed_frame: str | None = None, topic: str | None = None
    ) -> tuple[PoseSource, StampedPoses]:
        """Return what the poses come from, and the poses; see `poses`."""
        tree = self._transforms()
        odometry = self.odometry_topics()
        if topic is not None or len(odometry) == 1:
            chosen = self._choose("odometry", odometry, topic)
            poses = self._odometry_poses(chosen, tree, frame_id, fixed_frame)
            if poses or topic is not None:
                return "odometry", poses
        poses = self._transform_poses(tree, frame_id, fixed_frame)
        if not poses and len(odometry) > 1:
            self._choose("odometry", odometry, None)
        return "transforms", poses

    def _odometry_poses(
        self, topic: str, tree: _TransformTree, frame_id: str, fixed_frame: str | None
    ) -> StampedPoses:
        poses: dict[int, Pose] = {}
        for _, _, message in self._messages([topic]):
            if fixed_frame is not None and _plain(message.header.frame_id) != _plain(fixed_frame):
                continue
            stamp = _nanoseconds(message.header.stamp)
            body = _pose(message.pose.pose.position, message.pose.pose.orientation)
            mount = tree.path(frame_id, message.child_frame_id)
            sensor = np.eye(4) if mount is None else mount.at(stamp)
            if body is not None and sensor is not None:
                poses[stamp] = body @ sensor
        return sorted(poses.items(), key=lambda item: item[0])

    def _transform_poses(
        self, tree: _TransformTree, frame_id: str, fixed_frame: str | None
    ) -> StampedPoses:
        above = tree.above(frame_id)
        if fixed_frame is None:
            fixed_frame = "odom" if "odom" in above else above[-1]
        path = tree.path(frame_id, fixed_frame)
        if path is None:
            if not tree.edges:
                return []
            raise BagError(
                f"no transforms of {self.path} join '{frame_id}' to '{fixed_frame}'; "
                f"the frames above '{frame_id}' are {above[1:]}"
            )
        poses = ((stamp, path.at(stamp)) for stamp in path.stamps())
        return [(stamp, pose) for stamp, pose in poses if pose is not None]

    def _transforms(self) -> _TransformTree:
        tree = _TransformTree()
        topics = {c.topic for c in self._reader.connections} & {"/tf", "/tf_static"}
        for topic, _, message in self._messages(sorted(topics)) if topics else ():
            for transform in message.transforms:
                tree.add(transform, static=topic == "/tf_static")
        return tree

    @cached_property
    def _ros2_types(self) -> Any:
        """The bag's message types, but with the header of ROS 2, which has no `seq`."""
        types = self._reader.typestore.fielddefs
        header = "std_msgs/msg/Header"
        store = get_typestore(Stores.EMPTY)
        store.register({**types, header: get_typestore(Stores.LATEST).fielddefs[header]})
        return store

    def _messages(
        self, topics: Iterable[str], at: int | None = None
    ) -> Iterator[tuple[str, int, Any]]:
        """Topic, receive time and message, in time order."""
        stop = None if at is None else at + 1
        connections = self._connections(topics)
        with self._bag_errors():
            for connection, receive_time, raw in self._reader.messages(connections, at, stop):
                message = self._reader.deserialize(raw, connection.msgtype)
                yield connection.topic, receive_time, message

    def _connections(self, topics: Iterable[str]) -> list[Any]:
        wanted = set(topics)
        there = {c.topic for c in self._reader.connections}
        if not wanted or not wanted <= there:
            raise BagError(
                f"{self.path} has no topics {sorted(wanted - there)}; its topics are "
                f"{', '.join(sorted(there)) or 'none'}"
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
            there = ", ".join(sorted({c.topic for c in self._reader.connections}))
            raise BagError(f"{self.path} has no {kind} topic; its topics are {there or 'none'}")
        if topic is None:
            raise BagError(f"{self.path} has several {kind} topics, choose one of {listed}")
        raise BagError(f"{self.path} has no {kind} topic '{topic}'; choose one of {listed}")

    @contextmanager
    def _bag_errors(self) -> Iterator[None]:
        """Turn what rosbags raises into BagError.

        A corrupt file ends in whatever its parsers trip over (struct.error, apsw.Error,
        AssertionError, MemoryError ...), hence the wide net.
        """
        try:
            yield
        except BagError:
            raise
        except Exception as error:
            raise BagError(f"cannot read bag {self.path}: {error or repr(error)}") from error


class BagWriter:
    """A new ROS 2 bag, open within a `with` statement; `ros2 bag` can play it.

    Also when the statement ends by an exception the bag is closed properly, so that what has been
    written until then can be read.

    Args:
        path: the bag's folder, which must not exist.
        storage: "mcap" or "sqlite3".

    Raises:
        BagError: the storage is unknown, or the folder exists or cannot be made.
    """

    def __init__(self, path: str | Path, storage: str = "mcap") -> None:
        if storage not in _STORAGES:
            raise BagError(f"unknown storage '{storage}'; choose one of {', '.join(_STORAGES)}")
        self.path = Path(path)
        if self.path.exists():
            raise BagError(f"{self.path} exists already; bags are not overwritten")
        self._writer = Writer(self.path, version=_BAG_VERSION, storage_plugin=_STORAGES[storage])
        if storage == "mcap":
            # Chunks in zstd, which every MCAP reader knows: labelled clouds shrink by two fifths.
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

    def write_cloud(self, topic: str, cloud: CloudData, stamp: int, frame_id: str) -> None:
        """Write a cloud as sensor_msgs/PointCloud2, received at its stamp (nanoseconds)."""
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
        self._write(topic, CLOUD_TYPE, stamp, message)

    def write_odometry(
        self, topic: str, stamp: int, pose: Pose, frame_id: str, child_frame_id: str
    ) -> None:
        """Write a pose as nav_msgs/Odometry, received at its stamp (nanoseconds).

        Args:
            topic: where to.
            stamp: nanoseconds.
            pose: [4, 4] float64, takes points of the child frame to the frame.
            frame_id: the odometry frame.
            child_frame_id: what moves.
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

    def write_raw(self, topic: str, message_type: str, receive_time: int, cdr: bytes) -> None:
        """Write a message that is serialised already, such as those of `BagReader.raw`.

        Raises:
            BagError: the message type is none of ROS 2's common interfaces.
        """
        if message_type not in self._store.types:
            raise BagError(f"cannot write '{topic}': unknown message type '{message_type}'")
        key = topic, message_type
        if key not in self._connections:
            # Who subscribes to static transforms asks for transient local durability.
            qos = [_LATCHED] if topic == "/tf_static" else []
            self._connections[key] = self._writer.add_connection(
                topic, message_type, typestore=self._store, offered_qos_profiles=qos
            )
        self._writer.write(self._connections[key], receive_time, cdr)

    def _write(self, topic: str, message_type: str, stamp: int, message: Any) -> None:
        cdr = self._store.serialize_cdr(message, message_type)
        self.write_raw(topic, message_type, stamp, bytes(cdr))

    def _header(self, stamp: int, frame_id: str) -> Any:
        time = self._store.types["builtin_interfaces/msg/Time"](*divmod(stamp, 10**9))
        return self._store.types["std_msgs/msg/Header"](time, frame_id)


@dataclass
class _Edge:
    """The transforms of a frame to its parent."""

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
    """The frames that transforms tell of."""

    def __init__(self) -> None:
        self.edges: dict[str, _Edge] = {}

    def add(self, transform: Any, static: bool) -> None:
        """Take in a geometry_msgs/TransformStamped; one that is no transform is left out."""
        pose = _pose(transform.transform.translation, transform.transform.rotation)
        if pose is None:
            return
        parent, child = _plain(transform.header.frame_id), _plain(transform.child_frame_id)
        edge = self.edges.get(child)
        if edge is None or edge.parent != parent:
            edge = self.edges[child] = _Edge(parent, static)
        edge.samples.append((_nanoseconds(transform.header.stamp), pose))

    def above(self, frame: str) -> list[str]:
        """List the frame and those above it, up to the root."""
        frames = [_plain(frame)]
        while (edge := self.edges.get(frames[-1])) and edge.parent not in frames:
            frames.append(edge.parent)
        return frames

    def path(self, frame: str, fixed_frame: str) -> _Path | None:
        """How to get from a frame to a fixed one; None if they are not of one tree."""
        rise, fall = self.above(frame), self.above(fixed_frame)
        meeting = next((f for f in rise if f in fall), None)
        if meeting is None:
            return None
        rise, fall = rise[: rise.index(meeting)], fall[: fall.index(meeting)]
        return _Path([self.edges[f] for f in rise], [self.edges[f] for f in fall])


@dataclass
class _Path:
    """The transforms between two frames: from each up to where their ways meet."""

    rise: list[_Edge]
    fall: list[_Edge]

    def stamps(self) -> list[int]:
        """All stamps of the moving transforms."""
        moving = (edge for edge in [*self.rise, *self.fall] if not edge.static)
        return sorted({stamp for edge in moving for stamp, _ in edge.samples})

    def at(self, stamp: int) -> Pose | None:
        """[4, 4] that takes points of the first frame to the second; None if not known then."""
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
    """Find the bag that a path means."""
    if not path.exists():
        raise BagError(f"no bag at {path}: there is no such file or folder")
    if not path.is_dir():
        if path.suffix not in _SUFFIXES:
            raise BagError(f"{path} is no bag; bags end in {', '.join(_SUFFIXES)} or are folders")
        return path
    if (path / "metadata.yaml").exists():
        return path
    bags = sorted(p for p in path.iterdir() if p.suffix in _SUFFIXES)
    bags += sorted(p.parent for p in path.glob("*/metadata.yaml"))
    if len(bags) != 1:
        listed = ", ".join(p.name for p in bags) or "none"
        raise BagError(f"{path} must hold one bag, but there are: {listed}")
    return bags[0]


def _plain(frame: str) -> str:
    """Name a frame as tf2 does: ROS 1 knew leading slashes."""
    return frame.lstrip("/")


def _nanoseconds(stamp: Any) -> int:
    return int(stamp.sec) * 10**9 + int(stamp.nanosec)


def _pose(position: Any, quaternion: Any) -> Pose | None:
    """Matrix of a position and a rotation in ROS messages; None where they are no pose."""
    try:
        return pose_matrix(
            (position.x, position.y, position.z),
            (quaternion.x, quaternion.y, quaternion.z, quaternion.w),
        )
    except ValueError:
        return None
