# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Reader and writer of ROS 1 and ROS 2 bags; needs no ROS."""

from __future__ import annotations

import heapq
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NamedTuple

import numpy as np
from scipy.spatial.transform import Rotation

from minkowski_perception.codec import CloudData
from minkowski_perception.frame import Axes, nanoseconds
from minkowski_perception.labels import LabelSet
from minkowski_perception.legend import legend_entries
from minkowski_perception.missing import MissingPackageError
from minkowski_perception.motion.poses import Pose
from minkowski_perception.motion.transforms import TransformTree, message_pose, plain
from minkowski_perception.view import view_of

try:
    import yaml
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

    from minkowski_perception.recordings.losses import Losses
    from minkowski_perception.recordings.message_types import (
        CLOUD_TYPE,
        ODOMETRY_TYPE,
        RENAMED_TYPES,
        TRANSFORMS_TYPE,
        MessageTypeError,
        MessageTypes,
    )
    from minkowski_perception.recordings.storage import (
        ROS_ENCODINGS,
        Channel,
        Storage,
        Stored,
        open_storage,
    )
except ImportError as error:
    raise MissingPackageError(
        "bags are read and written with rosbags: pip install rosbags"
    ) from error

StampedPoses = list[tuple[int, Pose]]
"""Poses by stamp in nanoseconds, sorted."""

_Times = tuple[int | None, int | None]

PoseSource = Literal["odometry", "transforms"]

BAG_SUFFIXES = (".bag", ".mcap", ".db3", ".bag.active", ".mcap.zstd", ".db3.zstd")
_NO_MOTION = "the bag has no odometry or transforms"

_BODY_FRAMES = ("base", "base_link", "base_footprint", "body", "chassis", "vehicle")
"""Names of frames that move with the robot, without a namespace."""

_PART = re.compile(r"(?P<name>.*?)(_\d{4}(-\d\d){5})?_(?P<number>\d+)")
"""Name of a part of a split recording, without its suffix: NAME_3, NAME_2026-11-27-14-30-00_3."""
_STORAGES = {"mcap": StoragePlugin.MCAP, "sqlite3": StoragePlugin.SQLITE3}
_TO_CLOUDS = (
    f"clouds are {CLOUD_TYPE}: play packets, and types such as Livox's CustomMsg, through the "
    "sensor's driver or a converter, and record what it publishes"
)

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
    """Poses of a sensor, where they are from, and the name of the odometry frame.

    Attributes:
        reason: why there are none; "" if there are some.
    """

    source: PoseSource
    fixed_frame: str
    poses: StampedPoses
    reason: str = ""


class BagError(ValueError):
    """A bag is missing or corrupt, or lacks the requested topic or motion."""


class BagReader:
    """Reader of a bag; use it in a `with` statement.

    Metadata is not needed, and topics that cannot be read do not affect others. Of a recording
    that was cut off, what is there is read.

    Args:
        path: a ROS 1 .bag or .bag.active file, a ROS 2 bag folder (sqlite3 or MCAP), a bare .mcap
            or .db3 file (also with .zstd), or a folder that contains one of these or the parts of
            one split recording.

    Attributes:
        path: of the bag.

    Raises:
        BagError: the path is not a bag, or the bag cannot be read.
    """

    def __init__(self, path: str | Path) -> None:
        self._missing: list[str] = []
        self.path, self._files = _locate(Path(path), self._missing)
        self._absent = self._missing
        self._storages: list[Storage] = []
        self._losses = Losses()

    def __enter__(self) -> BagReader:
        self._types = MessageTypes()
        self._storages = []
        self._trees: dict[str, TransformTree] = {}
        self._losses = Losses()
        self._absent = list(self._missing)
        with ExitStack() as opened:
            for file in self._files:
                try:
                    with self._bag_errors():
                        self._storages.append(open_storage(file, opened))
                except BagError as error:
                    if len(self._files) == 1:
                        raise
                    self._absent.append(f"a part is lost: {error}")
            self._opened = opened.pop_all()
        losses = self.losses
        if losses and not any(storage.counts for storage in self._storages):
            self._opened.close()
            raise BagError(f"cannot read bag {self.path}: no message is left; {losses[0]}")
        return self

    def __exit__(self, *exception: object) -> None:
        self._opened.close()

    @property
    def losses(self) -> list[str]:
        """Sentences on what is lost, and why; damage within files is found as they are read."""
        parts = [loss for storage in self._storages for loss in storage.losses]
        return [*self._absent, *parts, *self._losses.sentences()]

    def span(self) -> tuple[int, int]:
        """Return the first and the last receive time, nanoseconds; 0 and 0 without messages."""
        with self._bag_errors():
            spans = [span for storage in self._storages if (span := storage.span())]
        starts, ends = zip(*spans, strict=True) if spans else ((0,), (0,))
        return min(starts), max(ends)

    def mount(self, frame_id: str) -> Pose | None:
        """Return the pose of a sensor in the robot, from transforms that never change.

        Returns:
            [4, 4] float64 from the sensor's frame to the highest frame that does not move against
            it, such as base_link; None if no transform leads from the sensor's frame.
        """
        return self._transforms(frame_id).mount(frame_id)

    def static_transforms(self, frame_id: str) -> list[bytes]:
        """Return the tf2_msgs/TFMessage of the transforms that never change, as CDR bytes.

        They are those of /tf_static; if that has not the sensor's frame, of a namespace with it.
        """
        topics = self._tree_topics(self._namespace(frame_id))
        static = [topic for topic in topics if topic.endswith("/tf_static")]
        return [cdr for _, _, _, cdr in self.raw(static)] if static else []

    def cloud_topics(self) -> dict[str, int]:
        """Return the topics of sensor_msgs/PointCloud2 and their numbers of messages."""
        return self.topics(CLOUD_TYPE)

    def odometry_topics(self) -> dict[str, int]:
        """Return the topics of nav_msgs/Odometry and their numbers of messages."""
        return self.topics(ODOMETRY_TYPE)

    def transform_topics(self) -> dict[str, int]:
        """Return the topics of tf2_msgs/TFMessage and their numbers of messages."""
        return self.topics(TRANSFORMS_TYPE)

    def choose_cloud_topic(self, topic: str | None = None) -> str:
        """Return the given cloud topic, or the only one.

        Raises:
            BagError: the topic is missing, there are none, or there are several and none is
                given; the topics are listed.
        """
        return self._choose("cloud", self.cloud_topics(), topic)

    def clouds(
        self, topic: str, at: int | None = None, since: int | None = None
    ) -> Iterator[tuple[int, Any]]:
        """Yield receive time in nanoseconds and sensor_msgs/PointCloud2 of clouds, in time order.

        Args:
            topic: a cloud topic.
            at: receive time of the clouds, nanoseconds; None for all clouds.
            since: least receive time of the clouds, nanoseconds; None for all clouds.

        Raises:
            BagError: the cloud topic is missing, or the bag is corrupt.
        """
        topic = self.choose_cloud_topic(topic)
        times = (since, None) if at is None else (at, at + 1)
        for _, receive_time, message in self._messages([topic], CLOUD_TYPE, times):
            yield receive_time, message

    def cloud_times(self, topic: str) -> list[int]:
        """Return the receive times of the clouds, nanoseconds, in order.

        Raises:
            BagError: the cloud topic is missing, or the bag is corrupt.
        """
        return [receive_time for receive_time, _ in self.clouds(topic)]

    def raw(
        self, topics: Iterable[str], since: int | None = None
    ) -> Iterator[tuple[str, str, int, bytes]]:
        """Yield messages in the serialization of ROS 2, in time order.

        Args:
            topics: of the messages.
            since: least receive time of the messages, nanoseconds; None for all messages.

        Yields:
            Topic, message type, receive time in nanoseconds, and CDR bytes. Messages of ROS 1 are
            converted; types that differ in ROS 2 keep the fields of ROS 1.

        Raises:
            BagError: a topic is missing (the topics are listed), or the bag is corrupt.
        """
        for channel, stored in self._stored(topics, (since, None)):
            cdr = self._parsed(self._types.cdr, channel, stored)
            if cdr is not None:
                yield channel.topic, _ros2_type(channel), stored.time, cdr

    def poses(
        self, frame_id: str, fixed_frame: str | None = None, topic: str | None = None
    ) -> StampedPoses:
        """Return the poses of a sensor in the odometry frame, by stamp in nanoseconds.

        If a topic is given or there is only one, poses come from nav_msgs/Odometry. If its child
        frame is not the sensor's, the transforms between both frames are applied; without such
        transforms both frames are assumed equal.

        Otherwise poses come from /tf and /tf_static, or those of a namespace: one per stamp of any
        moving transform between the frames, with the other transforms interpolated. Invalid
        transforms (such as quaternions of zeros, which some drivers send at start) are ignored.
        Transforms that never change, or that lead to a frame of the robot itself such as
        base_link, give no poses.

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
        tree = self._transforms(frame_id)
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
        self, topic: str, tree: TransformTree, frame_id: str, fixed_frame: str | None
    ) -> RecordedPoses:
        poses: dict[int, Pose] = {}
        name = ""
        for _, _, message in self._messages([topic], ODOMETRY_TYPE):
            if fixed_frame is not None and plain(message.header.frame_id) != plain(fixed_frame):
                continue
            name = message.header.frame_id
            stamp = nanoseconds(message.header.stamp)
            body = _pose(message.pose.pose.position, message.pose.pose.orientation)
            mount = tree.path(frame_id, message.child_frame_id)
            sensor = np.eye(4) if mount is None else mount.at(stamp)
            if body is not None and sensor is not None:
                poses[stamp] = body @ sensor
        return RecordedPoses("odometry", name, sorted(poses.items(), key=lambda item: item[0]))

    def _transform_poses(
        self, tree: TransformTree, frame_id: str, fixed_frame: str | None
    ) -> RecordedPoses:
        above = tree.above(frame_id)
        chosen = fixed_frame is not None
        if fixed_frame is None:
            fixed_frame = "odom" if "odom" in above else above[-1]
        path = tree.path(frame_id, fixed_frame)
        if path is None:
            if not tree.edges:
                return RecordedPoses("transforms", fixed_frame, [], _NO_MOTION)
            raise BagError(
                f"no transforms of {self.path} connect '{frame_id}' to '{fixed_frame}'; "
                f"the frames above '{frame_id}' are {above[1:]}"
            )
        poses = ((stamp, path.at(stamp)) for stamp in path.stamps())
        known = [(stamp, pose) for stamp, pose in poses if pose is not None]
        reason = ""
        if not known:
            reason = _NO_MOTION
            if tree.invalid:
                reason = f"transforms of the bag are not finite: {', '.join(sorted(tree.invalid))}"
        elif not chosen and fixed_frame.rpartition("/")[2] in _BODY_FRAMES:
            reason = (
                f"the transforms lead to '{fixed_frame}', which moves with the robot, so they are "
                "those of joints"
            )
        elif path.still():
            reason = "the transforms of the bag never change"
        return RecordedPoses("transforms", fixed_frame, [] if reason else known, reason)

    def _transforms(self, frame_id: str) -> TransformTree:
        """Return the tree of /tf; if it lacks the frame, that of the first namespace with it."""
        return self._read_trees().get(self._namespace(frame_id), TransformTree())

    def _namespace(self, frame_id: str) -> str:
        """Return the namespace of the tree with a frame, best one with /tf; else the first one."""
        trees = self._read_trees()
        having = [name for name, tree in trees.items() if plain(frame_id) in tree.edges]
        having.sort(key=lambda name: not self._tree_topics(name)[0].endswith("/tf"))
        return next(iter(having or trees), "")

    def _tree_topics(self, namespace: str) -> list[str]:
        """Return the topics of a namespace's tree; what it lacks of them is that of the root."""
        known = self.transform_topics()
        wanted = ((f"{namespace}/{kind}", f"/{kind}") for kind in ("tf", "tf_static"))
        found = (next((topic for topic in pair if topic in known), None) for pair in wanted)
        return [topic for topic in found if topic is not None]

    def _read_trees(self) -> dict[str, TransformTree]:
        """Return the trees of transforms by namespace."""
        if not self._trees:
            for topic in sorted(self.transform_topics(), key=lambda name: name.count("/")):
                namespace, _, kind = topic.rpartition("/")
                if kind in ("tf", "tf_static"):
                    self._trees.setdefault(namespace, TransformTree())
            for namespace, tree in self._trees.items():
                topics = self._tree_topics(namespace)
                for topic, _, message in self._messages(topics, TRANSFORMS_TYPE):
                    for transform in message.transforms:
                        tree.add(transform, static=topic.endswith("/tf_static"))
        return self._trees

    def _messages(
        self, topics: Iterable[str], kind: str, times: _Times = (None, None)
    ) -> Iterator[tuple[str, int, Any]]:
        """Yield topic, receive time and message of a type, in time order."""
        for channel, stored in self._stored(topics, times, only=kind):
            message = self._parsed(self._types.message, channel, stored)
            if message is not None:
                yield channel.topic, stored.time, message

    def _parsed(
        self, parse: Callable[[Channel, bytes], Any], channel: Channel, stored: Stored
    ) -> Any:
        """Return a message; None if it is damaged, which is noted as a loss.

        Raises:
            BagError: messages of this type cannot be read at all.
        """
        try:
            return parse(channel, stored.data)
        except MessageTypeError as error:
            raise BagError(f"cannot read bag {self.path}: {error}") from error
        except Exception as error:  # parsers raise many kinds on damaged messages
            what = f"damaged messages on {channel.topic}, which are left out"
            self._losses.add(what, stored.time, error)
            return None

    def _stored(
        self, topics: Iterable[str], times: _Times = (None, None), only: str | None = None
    ) -> Iterator[tuple[Channel, Stored]]:
        """Yield channels and stored messages, in time order; all, or those of one type.

        Args:
            topics: of the messages.
            times: receive time of the first one, and that before which the last one is.
            only: type of the messages.
        """
        wanted = set(topics)
        present = {channel.topic for _, channel in self._channels()}
        if not wanted or not wanted <= present:
            raise BagError(
                f"{self.path} has no topics {sorted(wanted - present)}; its topics are "
                f"{', '.join(sorted(present)) or 'none'}"
            )

        def chosen(channel: Channel) -> bool:
            return channel.topic in wanted and (only is None or _ros2_type(channel) == only)

        def of(storage: Storage) -> Iterator[tuple[Channel, Stored]]:
            numbers = [n for n, channel in storage.channels.items() if chosen(channel)]
            for stored in storage.messages(numbers, *times):
                yield storage.channels[stored.channel], stored

        with self._bag_errors():
            yield from heapq.merge(*map(of, self._storages), key=lambda found: found[1].time)

    def _channels(self) -> Iterator[tuple[int, Channel]]:
        """Yield the channels of all files, with their numbers of messages."""
        for storage in self._storages:
            for number, channel in storage.channels.items():
                yield storage.counts[number], channel

    def topics(self, message_type: str) -> dict[str, int]:
        """Return the topics of a message type and their numbers of messages."""
        counts: dict[str, int] = {}
        for count, channel in sorted(self._channels(), key=lambda found: found[1].topic):
            if _ros2_type(channel) == message_type and channel.encoding in ROS_ENCODINGS:
                counts[channel.topic] = counts.get(channel.topic, 0) + count
        return counts

    def _choose(self, kind: str, topics: Mapping[str, int], topic: str | None) -> str:
        if topic in topics:
            return str(topic)
        if topic is None and any(topics.values()):
            topics = {name: count for name, count in topics.items() if count}
        if topic is None and len(topics) == 1:
            return next(iter(topics))
        listed = ", ".join(f"{name} ({count} messages)" for name, count in topics.items())
        if not topics:
            types = {channel.topic: channel.message_type for _, channel in self._channels()}
            present = ", ".join(f"{name} ({types[name]})" for name in sorted(types)) or "none"
            remedy = f"; {_TO_CLOUDS}" if kind == "cloud" and types else ""
            raise BagError(f"{self.path} has no {kind} topic; its topics are {present}{remedy}")
        if topic is None:
            raise BagError(f"{self.path} has several {kind} topics, choose one of {listed}")
        raise BagError(f"{self.path} has no {kind} topic '{topic}'; choose one of {listed}")

    @contextmanager
    def _bag_errors(self) -> Iterator[None]:
        """Convert all exceptions of parsers to BagError.

        On a corrupt file they can raise anything (struct.error, sqlite3.Error, MemoryError ...).
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

    def write_legend(
        self, topic: str, stamp: int, frame_id: str, label_set: LabelSet, axes: Axes
    ) -> None:
        """Write the class names in their colours as visualization_msgs/MarkerArray, latched.

        Args:
            topic: of the legend.
            stamp: nanoseconds.
            frame_id: of the clouds.
            label_set: names and colours.
            axes: of that frame.
        """
        types = self._store.types
        zero = types["builtin_interfaces/msg/Duration"](0, 0)
        empty = np.zeros(0, np.uint8)
        kind: Any = types["visualization_msgs/msg/Marker"]
        markers = [
            kind(
                header=self._header(stamp, frame_id),
                ns=label_set.name,
                id=entry.id,
                type=kind.TEXT_VIEW_FACING,
                action=kind.ADD,
                pose=types["geometry_msgs/msg/Pose"](
                    types["geometry_msgs/msg/Point"](*entry.position),
                    types["geometry_msgs/msg/Quaternion"](0.0, 0.0, 0.0, 1.0),
                ),
                scale=types["geometry_msgs/msg/Vector3"](0.0, 0.0, entry.height),
                color=types["std_msgs/msg/ColorRGBA"](*entry.colour, 1.0),
                lifetime=zero,
                frame_locked=True,
                points=[],
                colors=[],
                texture_resource="",
                texture=types["sensor_msgs/msg/CompressedImage"](self._header(0, ""), "", empty),
                uv_coordinates=[],
                text=entry.name,
                mesh_resource="",
                mesh_file=types["visualization_msgs/msg/MeshFile"]("", empty),
                mesh_use_embedded_materials=False,
            )
            for entry in legend_entries(label_set, view_of(label_set), axes)
        ]
        message_type = "visualization_msgs/msg/MarkerArray"
        self._write(topic, message_type, stamp, types[message_type](markers), latched=True)

    def write_text(self, topic: str, stamp: int, text: str) -> None:
        """Write a text as std_msgs/String, latched."""
        message_type = "std_msgs/msg/String"
        self._write(topic, message_type, stamp, self._store.types[message_type](text), True)

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
        # Storages count from 1970; stamps may be earlier.
        self._writer.write(self._connections[key], max(receive_time, 0), cdr)

    def _write(
        self, topic: str, message_type: str, stamp: int, message: Any, latched: bool = False
    ) -> None:
        cdr = self._store.serialize_cdr(message, message_type)
        self.write_raw(topic, message_type, stamp, bytes(cdr), latched)

    def _header(self, stamp: int, frame_id: str) -> Any:
        time = self._store.types["builtin_interfaces/msg/Time"](*divmod(stamp, 10**9))
        return self._store.types["std_msgs/msg/Header"](time, frame_id)


def _locate(path: Path, losses: list[str]) -> tuple[Path, list[Path]]:
    """Find the bag at or in a path, and its files in order; add what is missing to `losses`."""
    if not path.exists():
        raise BagError(f"no bag at {path}: no such file or folder")
    if not path.is_dir():
        if not path.name.endswith(BAG_SUFFIXES):
            raise BagError(
                f"{path} is not a bag; bags are folders or end in {', '.join(BAG_SUFFIXES)}"
            )
        return path, [path]
    files = sorted((p for p in path.iterdir() if is_bag_file(p)), key=_part)
    if (path / "metadata.yaml").exists():
        return path, _listed_files(path, files, losses)
    bags = [*files, *sorted(p.parent for p in path.glob("*/metadata.yaml"))]
    parts = [_part(file) for file in files]
    of_one = len(files) == len(bags) > 1 and len({part[:2] for part in parts}) == 1
    if of_one and parts[0][2] <= 0:  # recorders count from 0
        return path, files
    if len(bags) != 1:
        listed = ", ".join(sorted(p.name for p in bags)) or "none"
        hint = (
            "; name one of them, or, if they are the parts of one recording, restore its metadata "
            f"with: ros2 bag reindex {path}"
        )
        raise BagError(f"{path} must contain one bag, but contains {listed}{hint if bags else ''}")
    return _locate(bags[0], losses)


def _listed_files(folder: Path, files: list[Path], losses: list[str]) -> list[Path]:
    """Return the files that metadata.yaml lists; all in the folder if it is no help."""
    try:
        metadata = yaml.safe_load((folder / "metadata.yaml").read_text(errors="replace"))
        listed = metadata["rosbag2_bagfile_information"]["relative_file_paths"]
        names = [Path(name).name for name in listed]
    except (OSError, yaml.YAMLError, KeyError, TypeError):
        names = []
    missing = [name for name in names if not (folder / name).exists()]
    if not names or len(missing) == len(names):
        if not files:
            absent = f": {', '.join(missing)} of its metadata.yaml are missing" if missing else ""
            raise BagError(f"cannot read bag {folder}: it has no files of a bag{absent}")
        return files
    if missing:
        losses.append(f"files of metadata.yaml are missing: {', '.join(missing)}")
    return [folder / name for name in names if name not in missing]


def is_bag_file(path: Path) -> bool:
    """Return whether a path is a file with the suffix of a bag, and no `._` file of macOS."""
    # macOS leaves files '._NAME' beside copied ones.
    return path.name.endswith(BAG_SUFFIXES) and not path.name.startswith("._") and path.is_file()


def bag_suffix(name: str) -> str:
    """Return the suffix of a bag that a file's name ends in, the longest; "" if there is none."""
    return max(filter(name.endswith, BAG_SUFFIXES), key=len, default="")


def _part(path: Path) -> tuple[str, str, int, str]:
    """Return suffix, name and number of a part of a split recording; number -1 if it is none."""
    suffix = bag_suffix(path.name)
    stem = path.name.removesuffix(suffix)
    found = _PART.fullmatch(stem)
    kind = suffix.removesuffix(".active").removesuffix(".zstd")
    if found is None:
        return kind, stem, -1, path.name
    return kind, found["name"], int(found["number"]), path.name


def _ros2_type(channel: Channel) -> str:
    return RENAMED_TYPES.get(channel.message_type, channel.message_type)


def _pose(position: Any, quaternion: Any) -> Pose | None:
    """Convert a position and a quaternion of ROS messages to a matrix; None if invalid."""
    try:
        return message_pose(position, quaternion)
    except ValueError:
        return None
