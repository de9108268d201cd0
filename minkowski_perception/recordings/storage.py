# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Files of ROS recordings: MCAP, sqlite3 and ROS 1 bags, whole, unindexed or cut off.

Files are scanned from the start, so neither an index nor a footer is needed: what a killed
recorder left is read. Messages are returned as bytes; no message definition is parsed here.
"""

from __future__ import annotations

import bz2
import heapq
import shutil
import sqlite3
import struct
import sys
import zlib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import lz4.frame

from minkowski_perception.files import what_instead
from minkowski_perception.recordings.losses import Losses

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_SQLITE_MAGIC = b"SQLite format 3\0"
_MCAP_MAGIC = b"\x89MCAP0\r\n"
_ROS1_MAGIC = b"#ROSBAG V"
ROS_ENCODINGS = ("cdr", "ros1")
"""Encodings of messages of ROS 2 and ROS 1."""

_BESIDE_DATABASE = ("-wal", "-journal")
"""Files of a database that was not closed; a copy is opened with them."""

_MOST_FAILURES = 10_000
"""Rows of a damaged database that are tried in a row before the rest is given up."""

_DECOMPRESSORS: Mapping[str, Callable[[], Any]] = {
    "zstd": zstd.ZstdDecompressor,
    "lz4": lz4.frame.LZ4FrameDecompressor,
    "bz2": bz2.BZ2Decompressor,
}


class StorageError(ValueError):
    """A file is no recording, or is damaged."""


class Channel(NamedTuple):
    """A topic with its message type, from one publisher.

    Attributes:
        topic: its name.
        message_type: such as "sensor_msgs/msg/PointCloud2".
        encoding: of the messages: "cdr", "ros1", "json", ...
        definition: text that defines the type; may be empty, or unusable.
        definition_format: "ros2msg", "ros2idl", "ros1msg", "jsonschema", ...
    """

    topic: str
    message_type: str
    encoding: str
    definition: str = ""
    definition_format: str = ""


class Stored(NamedTuple):
    """A message: its channel's number, receive time in nanoseconds, and bytes."""

    channel: int
    time: int
    data: bytes


class Storage(ABC):
    """A file of a recording.

    Attributes:
        path: the file.
        channels: by number.
        counts: messages by number of the channel, at least where the file is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.channels: dict[int, Channel] = {}
        self.counts: Counter[int] = Counter()
        self._cuts: list[str] = []
        self._losses = Losses()

    @property
    def losses(self) -> list[str]:
        """Sentences on what is lost, and why; damage within the file is found as it is read."""
        return [*self._cuts, *self._losses.sentences()]

    @abstractmethod
    def messages(
        self, channels: Collection[int], start: int | None = None, stop: int | None = None
    ) -> Iterator[Stored]:
        """Yield messages of channels in time order, from `start` to before `stop`."""

    @abstractmethod
    def span(self) -> tuple[int, int] | None:
        """Return the first and the last receive time, nanoseconds; None without messages."""

    @abstractmethod
    def close(self) -> None:
        """Close the file."""


def open_storage(path: Path, resources: ExitStack) -> Storage:
    """Open a file, whatever its suffix; decompress it first if it is compressed as a whole.

    Args:
        path: the file.
        resources: closes the file, and removes temporary ones.

    Raises:
        StorageError: the file is no recording, or is damaged.
        OSError: it cannot be read.
    """
    start = _start(path)
    file = path
    if start.startswith(_ZSTD_MAGIC):
        file = _decompressed(path, resources)
        start = _start(file)
    kinds: Mapping[bytes, Callable[[Path, ExitStack], Storage]]
    kinds = {_MCAP_MAGIC: McapStorage, _SQLITE_MAGIC: SqliteStorage, _ROS1_MAGIC: Ros1Storage}
    if not start:
        raise StorageError(f"{path.name} is empty")
    if instead := what_instead(start):
        raise StorageError(f"{path.name} {instead}")
    kind = next((kind for magic, kind in kinds.items() if start.startswith(magic)), None)
    if kind is None and path.name.endswith((".db3", ".db3.zstd")):
        raise StorageError(f"{path.name} is not a database of sqlite3")
    if kind is None:
        raise StorageError(f"{path.name} is neither MCAP, sqlite3 nor a ROS 1 bag")
    storage: Storage = kind(file, resources)
    resources.callback(storage.close)
    storage.path = path
    return storage


def _start(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(100)


def _temporary_folder(resources: ExitStack) -> Path:
    return Path(resources.enter_context(TemporaryDirectory(prefix="minkowski_perception_")))


def _decompressed(path: Path, resources: ExitStack) -> Path:
    """Decompress a file to a temporary one; of a file that was cut off, what there is."""
    target = _temporary_folder(resources) / path.name.removesuffix(".zstd")
    with path.open("rb") as source, target.open("wb") as plain:
        try:
            with zstd.open(source, "rb") as stream:
                shutil.copyfileobj(stream, plain, 1 << 20)
        except EOFError:
            pass  # the reader of the file counts what is lost
    return target


@dataclass
class _Chunk:
    """Part of a file with messages of several channels; or one message that is outside of chunks.

    Attributes:
        position: where its content is.
        size: of its content in the file, bytes.
        compression: key of `_DECOMPRESSORS`, or "".
        start: receive time of the first message, nanoseconds.
        stop: receive time of the last message, nanoseconds.
        counts: messages by channel; None if unknown.
        cut: whether the end of the content is missing.
        checksum: CRC-32 of the content; 0 if unknown.
    """

    position: int
    size: int
    compression: str = ""
    start: int = 0
    stop: int = 0
    counts: Counter[int] | None = None
    cut: bool = False
    checksum: int = 0


class _ChunkedStorage(Storage):
    """A file of chunks that have records of channels and messages."""

    def __init__(self, path: Path, resources: ExitStack) -> None:
        super().__init__(path)
        self._file = path.open("rb")
        self._size = path.stat().st_size
        self._chunks: list[_Chunk] = []
        try:
            self._scan()
            for chunk in self._chunks:
                if chunk.counts is None or not self._known(chunk.counts):
                    self._examine(chunk)
        except BaseException:
            self._file.close()
            raise
        for chunk in self._chunks:
            self.counts.update(chunk.counts or {})

    @abstractmethod
    def _scan(self) -> None:
        """Read the file's records, without the content of chunks."""

    @abstractmethod
    def _records(self, content: bytes) -> Iterator[tuple[int, int, int, memoryview]]:
        """Yield channel, time, position and bytes of the messages; register the channels.

        Raises:
            StorageError: a record is incomplete or invalid.
        """

    @contextmanager
    def _noting_damage(self, position: int) -> Iterator[None]:
        """Note a record at a position that cannot be parsed, and go on with the next one."""
        try:
            yield
        except Exception as error:  # parsers raise many kinds on damaged files
            self._losses.add(f"damaged records of {self.path.name}", position, error)

    def _known(self, channels: Collection[int]) -> bool:
        return all(channel in self.channels for channel in channels)

    def _examine(self, chunk: _Chunk) -> None:
        """Count the messages of a chunk, and register its channels."""
        found = [(channel, time) for channel, time, _, _ in self._messages_in(chunk)]
        chunk.counts = Counter(channel for channel, _ in found)
        if found:
            chunk.start = min(time for _, time in found)
            chunk.stop = max(time for _, time in found)

    def _messages_in(self, chunk: _Chunk) -> Iterator[tuple[int, int, int, memoryview]]:
        """Yield the messages of a chunk as `_records` does; note those that are lost."""
        found = 0
        cause: Exception | None = None
        try:
            for record in self._records(self._content(chunk)):
                found += 1
                yield record
        except Exception as error:  # parsers raise many kinds on damaged files
            cause = error
        lost = max(0, sum((chunk.counts or {}).values()) - found)
        if lost or (cause is not None and not chunk.cut):
            what = "messages lost in damaged chunks of" if lost else "damaged chunks of"
            reason = cause or "records are missing"
            self._losses.add(f"{what} {self.path.name}", chunk.position, reason, lost or 1)

    def _content(self, chunk: _Chunk) -> bytes:
        self._file.seek(chunk.position)
        content = self._file.read(chunk.size)
        if chunk.compression not in ("", "none") and content:
            if chunk.compression not in _DECOMPRESSORS:
                raise StorageError(f"compression '{chunk.compression}' is unknown")
            decompressor = _DECOMPRESSORS[chunk.compression]()
            content = decompressor.decompress(content)
            if not decompressor.eof and not chunk.cut:
                raise StorageError("its end is missing")
        if chunk.checksum and not chunk.cut and zlib.crc32(content) != chunk.checksum:
            what = f"damaged chunks of {self.path.name}, whose messages may be wrong"
            self._losses.add(what, chunk.position, "their checksum differs")
        return content

    def messages(
        self, channels: Collection[int], start: int | None = None, stop: int | None = None
    ) -> Iterator[Stored]:
        """Yield messages of channels in time order; see `Storage.messages`."""
        wanted = set(channels)
        low = -(2**63) if start is None else start
        high = 2**64 if stop is None else stop
        chunks = [
            chunk
            for chunk in sorted(self._chunks, key=lambda c: (c.start, c.position))
            if wanted & (chunk.counts or {}).keys() and chunk.stop >= low and chunk.start < high
        ]
        # Chunks may overlap in time: one is read before any later message is returned.
        waiting: list[tuple[int, int, int, int, memoryview]] = []
        for chunk in chunks:
            while waiting and waiting[0][0] < chunk.start:
                time, _, _, channel, data = heapq.heappop(waiting)
                yield Stored(channel, time, bytes(data))
            for channel, time, position, data in self._messages_in(chunk):
                if channel in wanted and low <= time < high:
                    heapq.heappush(waiting, (time, chunk.position, position, channel, data))
        while waiting:
            time, _, _, channel, data = heapq.heappop(waiting)
            yield Stored(channel, time, bytes(data))

    def span(self) -> tuple[int, int] | None:
        """Return the first and the last receive time; see `Storage.span`."""
        chunks = [chunk for chunk in self._chunks if chunk.counts]
        if not chunks:
            return None
        return min(chunk.start for chunk in chunks), max(chunk.stop for chunk in chunks)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _cut_off(self, position: int, what: str) -> None:
        """Note that the file has no valid record from a position on."""
        lost = self._size - position
        if self._chunks:
            self._chunks[-1].counts = None  # its index may be incomplete
        self._cuts.append(
            f"{self.path.name} {what}, as after a crash of the recorder"
            + (f"; its last {lost:,} bytes cannot be read" if lost else "")
        )


class McapStorage(_ChunkedStorage):
    """An MCAP file, with messages in chunks or outside; see https://mcap.dev/spec."""

    def __init__(self, path: Path, resources: ExitStack) -> None:
        self._schemas: dict[int, tuple[str, str, str]] = {}
        self._raw_channels: dict[int, tuple[int, str, str]] = {}
        super().__init__(path, resources)

    def _scan(self) -> None:
        position = len(_MCAP_MAGIC)
        while position + 9 <= self._size:
            self._file.seek(position)
            opcode, length = struct.unpack("<BQ", self._file.read(9))
            body, end = position + 9, position + 9 + length
            available = min(end, self._size) - body
            cut = end > self._size
            if opcode in (0x00, 0x02):  # footer, or no record
                break
            with self._noting_damage(position):
                if opcode == 0x06:
                    self._add_chunk(body, available, cut)
                elif not cut:
                    self._add_record(opcode, body, length)
            if cut:
                break
            position = end
        else:
            opcode = 0
        if opcode != 0x02:
            self._cut_off(position, "ends without a footer")

    def _add_chunk(self, body: int, available: int, cut: bool) -> None:
        head = self._file.read(min(available, 40 + 64))
        if len(head) < 32:
            return
        start, stop, _, checksum, length = struct.unpack_from("<QQQII", head)
        compression = head[32 : 32 + length].decode(errors="replace")
        content = 32 + length + 8
        size = available - content
        if size > 0:
            self._chunks.append(
                _Chunk(body + content, size, compression, start, stop, cut=cut, checksum=checksum)
            )

    def _add_record(self, opcode: int, body: int, length: int) -> None:
        if opcode in (0x03, 0x04):
            self._register(opcode, self._file.read(length))
        elif opcode == 0x05:
            channel, _, time = struct.unpack("<HIQ", self._file.read(14))
            counts = Counter([channel])
            # The record itself is the content: its 9 bytes of opcode and length come first.
            chunk = _Chunk(body - 9, length + 9, "", time, time, counts)
            self._chunks.append(chunk)
        elif opcode == 0x07 and self._chunks:
            channel, size = struct.unpack("<HI", self._file.read(6))
            chunk = self._chunks[-1]
            chunk.counts = Counter() if chunk.counts is None else chunk.counts
            chunk.counts[channel] += size // 16

    def _records(self, content: bytes) -> Iterator[tuple[int, int, int, memoryview]]:
        view = memoryview(content)
        position = 0
        while position + 9 <= len(view):
            opcode, length = struct.unpack_from("<BQ", view, position)
            body, position = position + 9, position + 9 + length
            if position > len(view):
                raise StorageError("a record is incomplete")
            if opcode == 0x05:
                channel, _, time = struct.unpack_from("<HIQ", view, body)
                yield channel, time, body, view[body + 22 : position]
            elif opcode in (0x03, 0x04):
                self._register(opcode, bytes(view[body:position]))

    def _register(self, opcode: int, data: bytes) -> None:
        """Register a schema or a channel, and the channels that are complete now."""
        try:
            if opcode == 0x03:
                (number,) = struct.unpack_from("<H", data)
                name, position = _text(data, 2)
                encoding, position = _text(data, position)
                text, _ = _text(data, position)
                self._schemas[number] = name, encoding, text
            else:
                number, schema = struct.unpack_from("<HH", data)
                topic, position = _text(data, 4)
                encoding, _ = _text(data, position)
                self._raw_channels[number] = schema, topic, encoding
        except struct.error as error:
            raise StorageError(f"{self.path.name} has a damaged record") from error
        for number, (schema, topic, encoding) in self._raw_channels.items():
            if number not in self.channels and (schema in self._schemas or schema == 0):
                name, form, text = self._schemas.get(schema, ("", "", ""))
                kind = _normal_type(name) if encoding in ROS_ENCODINGS else name
                self.channels[number] = Channel(topic, kind, encoding, text, form)


class Ros1Storage(_ChunkedStorage):
    """A ROS 1 bag of version 2.0; see http://wiki.ros.org/Bags/Format/2.0."""

    def _scan(self) -> None:
        magic = self._file.readline(64)
        if magic != b"#ROSBAG V2.0\n":
            raise StorageError(f"{self.path.name}: version {magic[8:12]!r} is unknown")
        position, indexed = len(magic), False
        while position < self._size:
            self._file.seek(position)
            try:
                header, size = self._header()
            except (struct.error, ValueError):
                break
            body = self._file.tell()
            available = min(size, self._size - body)
            if header.get(b"op", b"\0")[:1] == b"\3":
                if header.get(b"encryptor"):
                    raise StorageError(f"{self.path.name} is encrypted")
                indexed = any(header.get(b"index_pos", b""))
            with self._noting_damage(position):
                self._add_record(header, position, body, size, available)
            if available < size:
                break
            position = body + size
        if position < self._size or not indexed:
            self._cut_off(position, "has no index")

    def _add_record(
        self, header: Mapping[bytes, bytes], position: int, body: int, size: int, available: int
    ) -> None:
        operation = header.get(b"op", b"\0")[0]
        if operation == 5:
            compression = header.get(b"compression", b"none").decode(errors="replace")
            self._chunks.append(_Chunk(body, available, compression, cut=available < size))
        elif available < size:
            return
        elif operation == 2:
            # A chunk that was never closed has its messages outside.
            channel, time = _connection_and_time(header)
            length = body + size - position
            self._chunks.append(_Chunk(position, length, "", time, time, Counter([channel])))
        elif operation == 4 and self._chunks:
            self._add_index(header, self._file.read(size))
        elif operation == 7:
            self._register(header, self._file.read(size))

    def _header(self) -> tuple[dict[bytes, bytes], int]:
        """Read a record's header and the size of its data.

        Raises:
            struct.error, ValueError: the header is incomplete or invalid.
        """
        (length,) = struct.unpack("<I", self._file.read(4))
        data = self._file.read(min(length, self._size))
        if len(data) < length:
            raise ValueError("incomplete")
        (size,) = struct.unpack("<I", self._file.read(4))
        return _ros1_fields(data), size

    def _add_index(self, header: Mapping[bytes, bytes], data: bytes) -> None:
        chunk = self._chunks[-1]
        (channel,) = struct.unpack("<I", header[b"conn"])
        times = [s * 10**9 + n for s, n, _ in struct.iter_unpack("<III", data)]
        if times:
            first = chunk.counts is None
            chunk.start = min(times) if first else min(chunk.start, *times)
            chunk.stop = max(chunk.stop, *times)
        chunk.counts = Counter() if chunk.counts is None else chunk.counts
        chunk.counts[channel] += len(times)

    def _records(self, content: bytes) -> Iterator[tuple[int, int, int, memoryview]]:
        view = memoryview(content)
        position = 0
        while position + 8 <= len(view):
            (length,) = struct.unpack_from("<I", view, position)
            body = position + 4 + length + 4
            if body > len(view):
                raise StorageError("a record is incomplete")
            header = _ros1_fields(bytes(view[position + 4 : position + 4 + length]))
            (size,) = struct.unpack_from("<I", view, body - 4)
            position = body + size
            if position > len(view):
                raise StorageError("a record is incomplete")
            operation = header.get(b"op", b"\0")[0]
            if operation == 2:
                channel, time = _connection_and_time(header)
                yield channel, time, body, view[body:position]
            elif operation == 7:
                self._register(header, bytes(view[body:position]))

    def _register(self, header: Mapping[bytes, bytes], data: bytes) -> None:
        (number,) = struct.unpack("<I", header[b"conn"])
        described = _ros1_fields(data)
        topic = header.get(b"topic", described.get(b"topic", b"")).decode(errors="replace")
        topic = "/" * topic.startswith("/") + "/".join(filter(None, topic.split("/")))
        kind = _normal_type(described.get(b"type", b"").decode(errors="replace"))
        text = described.get(b"message_definition", b"").decode(errors="replace")
        self.channels.setdefault(number, Channel(topic, kind, "ros1", text, "ros1msg"))


class SqliteStorage(Storage):
    """A sqlite3 file of rosbag2, of any version of its tables."""

    def __init__(self, path: Path, resources: ExitStack) -> None:
        super().__init__(path)
        self._found: list[tuple[int, int, int]] | None = None  # of a damaged database
        beside = [path.with_name(path.name + end) for end in _BESIDE_DATABASE]
        unsaved = [file for file in beside if file.exists() and file.stat().st_size]
        if unsaved:
            # SQLite would change the files while it reads them.
            folder = _temporary_folder(resources)
            for file in (path, *unsaved):
                shutil.copy(file, folder / file.name)
            address = f"file:{_quoted(folder / path.name)}"
        else:
            address = f"file:{_quoted(path)}?immutable=1&mode=ro"
        self._database = sqlite3.connect(address, uri=True, check_same_thread=False)
        self._database.text_factory = lambda data: data.decode(errors="replace")
        try:
            try:
                self._read_topics()
            except sqlite3.DatabaseError:
                # Lets SQLite open a file that is shorter than it should be.
                self._database.execute("PRAGMA writable_schema = ON")
                self._read_topics()
        except sqlite3.Error as error:
            self._database.close()
            raise StorageError(f"{path.name}: {error}; copy or record it again") from error

    def _read_topics(self) -> None:
        definitions = {}
        if self._columns("message_definitions"):
            definitions = {
                name: (text, form)
                for name, form, text in self._database.execute(
                    "SELECT topic_type, encoding, encoded_message_definition "
                    "FROM message_definitions"
                )
            }
        if not self._columns("topics") or not self._columns("messages"):
            raise StorageError(f"{self.path.name} has no tables of rosbag2")
        for number, topic, kind, encoding in self._database.execute(
            "SELECT id, name, type, serialization_format FROM topics ORDER BY id"
        ):
            if not all(isinstance(text, str) for text in (topic, kind, encoding)):
                self._losses.add(f"damaged topics of {self.path.name}", number, "no text")
                continue
            text, form = definitions.get(kind, ("", ""))
            # Some tools leave the format out; messages of ROS 2 are in CDR.
            self.channels[number] = Channel(topic, kind, encoding or "cdr", text, form)
        try:
            counts = self._database.execute(
                "SELECT topic_id, count(*) FROM messages GROUP BY topic_id"
            )
            self.counts.update(dict(counts))
        except sqlite3.DatabaseError as error:
            self._salvage(error)

    def _salvage(self, error: sqlite3.DatabaseError) -> None:
        """List the messages that can be found in a damaged database, and count them."""
        if self._found is not None:
            return
        self._cuts.append(
            f"{self.path.name} is damaged ({error}), as after an incomplete copy; messages are "
            "lost"
        )
        self._found, following, failures = [], 0, 0
        while failures < _MOST_FAILURES:
            # Row by row in the order of the file, past those that cannot be read.
            try:
                for row in self._database.execute(
                    "SELECT timestamp, id, topic_id FROM messages NOT INDEXED "
                    "WHERE id >= ? ORDER BY id",
                    (following,),
                ):
                    self._found.append(row)
                    following, failures = row[1] + 1, 0
                break
            except sqlite3.DatabaseError:
                following, failures = following + 1, failures + 1
        self._found = sorted(row for row in self._found if all(isinstance(n, int) for n in row))
        self.counts = Counter(channel for _, _, channel in self._found)

    def _columns(self, table: str) -> list[Any]:
        return self._database.execute(f"PRAGMA table_info({table})").fetchall()

    def messages(
        self, channels: Collection[int], start: int | None = None, stop: int | None = None
    ) -> Iterator[Stored]:
        """Yield messages of channels in time order; see `Storage.messages`."""
        low, high = -(2**63) if start is None else start, 2**63 - 1 if stop is None else stop
        last = low, -1
        if self._found is None:
            marks = ",".join("?" * len(channels))
            try:
                for channel, time, number, data in self._database.execute(
                    f"SELECT topic_id, timestamp, id, data FROM messages WHERE topic_id IN "
                    f"({marks}) AND timestamp >= ? AND timestamp < ? ORDER BY timestamp, id",
                    (*channels, low, high),
                ):
                    last = time, number
                    yield Stored(channel, time, _plain(data))
                return
            except sqlite3.DatabaseError as error:
                self._salvage(error)
        for time, number, channel in self._found or ():
            if channel not in channels or not low <= time < high or (time, number) <= last:
                continue
            try:
                query = "SELECT data FROM messages WHERE id = ?"
                ((data,),) = self._database.execute(query, (number,))
                stored = Stored(channel, time, _plain(data))
            except Exception as error:  # of the database, or of decompression
                what = f"messages lost in damaged pages of {self.path.name}"
                self._losses.add(what, number, error)
            else:
                yield stored

    def span(self) -> tuple[int, int] | None:
        """Return the first and the last receive time; see `Storage.span`."""
        if self._found is not None:
            return (self._found[0][0], self._found[-1][0]) if self._found else None
        query = "SELECT min(timestamp), max(timestamp) FROM messages"
        first, last = self._database.execute(query).fetchone()
        return None if first is None else (first, last)

    def close(self) -> None:
        """Close the database."""
        self._database.close()


def _plain(data: bytes) -> bytes:
    """Return a message of a database, decompressed if it was compressed by itself."""
    # No CDR starts like this.
    return zstd.decompress(data) if data[:4] == _ZSTD_MAGIC else bytes(data)


def _text(data: bytes, position: int) -> tuple[str, int]:
    """Return a string of MCAP, [length, bytes], and where it ends."""
    (length,) = struct.unpack_from("<I", data, position)
    end = position + 4 + length
    return data[position + 4 : end].decode(errors="replace"), end


def _ros1_fields(data: bytes) -> dict[bytes, bytes]:
    """Return the fields of a header of a ROS 1 bag.

    Raises:
        struct.error, ValueError: the header is invalid.
    """
    fields, position = {}, 0
    while position < len(data):
        (length,) = struct.unpack_from("<I", data, position)
        name, found, value = data[position + 4 : position + 4 + length].partition(b"=")
        position += 4 + length
        if not found or position > len(data):
            raise ValueError("invalid header")
        fields[name] = value
    return fields


def _connection_and_time(header: Mapping[bytes, bytes]) -> tuple[int, int]:
    seconds, nanoseconds = struct.unpack("<II", header[b"time"])
    (number,) = struct.unpack("<I", header[b"conn"])
    return number, seconds * 10**9 + nanoseconds


def _normal_type(name: str) -> str:
    """Return a message type as ROS 2 writes it, package/msg/Type."""
    package, _, rest = name.partition("/")
    return name if "/" in rest or not rest else f"{package}/msg/{rest}"


def _quoted(path: Path) -> str:
    """Return a path for a URI of SQLite."""
    text = str(path.absolute())
    return "".join(f"%{ord(c):02x}" if c in "%?#" else c for c in text)
