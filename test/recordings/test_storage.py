# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Recordings as recorders and converters leave them."""

import bz2
import random
import shutil
import sqlite3
import struct
import zlib

import lz4.frame
import numpy as np
import pytest
import yaml

pytest.importorskip("rosbags", reason="bags need the rosbags package")

from rosbags.rosbag1 import Writer as Ros1Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from minkowski_perception.codec import decode, encode_frame
from minkowski_perception.frame import Frame
from minkowski_perception.recordings import storage
from minkowski_perception.recordings.bags import BagError, BagReader, BagWriter
from minkowski_perception.recordings.storage import zstd

SECOND = 10**9
STORE = get_typestore(Stores.LATEST)
CLOUD = "sensor_msgs/msg/PointCloud2"
TEXT = STORE.generate_msgdef(CLOUD, ros_version=2)[0]
RULE = "=" * 80
TIMES = [100 * SECOND, 101 * SECOND, 102 * SECOND, 103 * SECOND]
COMPRESS = {"": bytes, "zstd": zstd.compress, "lz4": lz4.frame.compress, "bz2": bz2.compress}


def cloud(stamp, points=200):
    types = STORE.types
    frame = Frame(np.random.default_rng(stamp).normal(size=(points, 3)))
    data = encode_frame(frame)
    field = types["sensor_msgs/msg/PointField"]
    header = types["std_msgs/msg/Header"](
        types["builtin_interfaces/msg/Time"](*divmod(stamp, SECOND)), "lidar"
    )
    fields = [field(f.name, f.offset, f.datatype, f.count) for f in data.fields]
    values = np.frombuffer(data.data, np.uint8)
    message = types[CLOUD](
        header, 1, points, fields, False, data.point_step, data.row_step, values, True
    )
    return bytes(STORE.serialize_cdr(message, CLOUD))


def record(opcode, body):
    return struct.pack("<BQ", opcode, len(body)) + body


def text(value):
    data = value.encode()
    return struct.pack("<I", len(data)) + data


def write_mcap(
    path,
    *,
    times=TIMES,
    schema=("ros2msg", TEXT),
    side=(),
    profile="ros2",
    compression="zstd",
    chunked=True,
    index=True,
    repeated=True,
    summary=True,
):
    """Write an MCAP file of clouds on /points, one a chunk, after a message of other topics."""
    definitions = record(
        0x03, struct.pack("<H", 1) + text(CLOUD) + text(schema[0]) + text(schema[1])
    )
    definitions += record(
        0x04, struct.pack("<HH", 1, 1) + text("/points") + text("cdr") + bytes(4)
    )
    messages = []
    for number, (topic, kind, form, definition, encoding, data) in enumerate(side, start=2):
        definitions += record(
            0x03, struct.pack("<H", number) + text(kind) + text(form) + text(definition)
        )
        definitions += record(
            0x04, struct.pack("<HH", number, number) + text(topic) + text(encoding) + bytes(4)
        )
        messages.append((number, times[0], data))
    messages += [(1, time, cloud(time)) for time in times]
    file = [record(0x01, text(profile) + text("test"))]
    if not chunked:
        file.append(definitions)
    for i, (channel, time, data) in enumerate(messages):
        message = record(0x05, struct.pack("<HIQQ", channel, i, time, time) + data)
        if not chunked:
            file.append(message)
            continue
        content = (b"" if i else definitions) + message
        packed = COMPRESS[compression](content)
        checksum = zlib.crc32(content)
        head = struct.pack("<QQQI", time, time, len(content), checksum) + text(compression)
        file.append(record(0x06, head + struct.pack("<Q", len(packed)) + packed))
        if index:
            file.append(record(0x07, struct.pack("<HIQQ", channel, 16, time, 0)))
    file.append(record(0x0F, bytes(4)))
    if summary:
        file.append((definitions if repeated else b"") + record(0x02, bytes(20)))
    magic = b"\x89MCAP0\r\n"
    path.write_bytes(magic + b"".join(file) + magic)
    return path


def times_in(path, topic=None):
    """Return the receive times of the clouds of a bag, and what is lost."""
    with BagReader(path) as bag:
        topic = bag.choose_cloud_topic(topic)
        found = [(time, decode(message).stamp) for time, message in bag.clouds(topic)]
        assert all(time == stamp for time, stamp in found)
        assert bag.cloud_topics()[topic] == len(found)
        assert bag.cloud_times(topic) == [time for time, _ in found]
        return [time for time, _ in found], bag.losses


@pytest.mark.parametrize("compression", ["", "zstd", "lz4"])
@pytest.mark.parametrize("index", [False, True])
@pytest.mark.parametrize("repeated", [False, True])
def test_mcap_needs_neither_index_nor_repeated_channels(tmp_path, compression, index, repeated):
    path = tmp_path / "a.mcap"
    write_mcap(path, compression=compression, index=index, repeated=repeated)
    assert times_in(path) == (TIMES, [])


@pytest.mark.parametrize("options", [{"chunked": False}, {"profile": ""}])
def test_mcap_without_chunks_or_profile_is_read(tmp_path, options):
    assert times_in(write_mcap(tmp_path / "a.mcap", **options)) == (TIMES, [])


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("index", [False, True])
@pytest.mark.parametrize("kept", [0.99, 0.7, 0.45])
def test_what_a_killed_recorder_left_is_read_and_the_rest_is_counted(
    tmp_path, chunked, index, kept
):
    whole = write_mcap(tmp_path / "a.mcap", chunked=chunked, index=index).read_bytes()
    (tmp_path / "a.mcap").write_bytes(whole[: int(kept * len(whole))])
    found, losses = times_in(tmp_path / "a.mcap")
    assert found == TIMES[: len(found)]
    assert len(found) >= int(4 * kept) - 1
    assert "a.mcap ends without a footer" in losses[0]


def test_an_mcap_file_without_summary_is_read(tmp_path):
    found, losses = times_in(write_mcap(tmp_path / "a.mcap", summary=False))
    assert found == TIMES
    assert "without a footer" in losses[0]


def test_the_zeros_at_the_end_of_a_file_after_a_crash_are_counted(tmp_path):
    path = write_mcap(tmp_path / "a.mcap", summary=False)
    path.write_bytes(path.read_bytes()[:-8] + bytes(5000))
    found, losses = times_in(path)
    assert found == TIMES
    assert "last 5,000 bytes" in losses[0]


def test_messages_of_the_cut_chunk_are_read(tmp_path):
    path = tmp_path / "a.mcap"
    messages = b"".join(
        record(0x05, struct.pack("<HIQQ", 1, 0, t, t) + cloud(t, points=2000)) for t in TIMES
    )
    definitions = record(0x03, struct.pack("<H", 1) + text(CLOUD) + text("") + text(""))
    definitions += record(
        0x04, struct.pack("<HH", 1, 1) + text("/points") + text("cdr") + bytes(4)
    )
    packed = lz4.frame.compress(definitions + messages, block_size=4)  # 64 kB
    head = struct.pack("<QQQI", TIMES[0], TIMES[-1], 0, 0) + text("lz4")
    chunk = record(0x06, head + struct.pack("<Q", len(packed)) + packed)
    start = b"\x89MCAP0\r\n" + record(0x01, text("ros2") + text("test"))
    path.write_bytes(start + chunk[: int(0.85 * len(chunk))])
    found, losses = times_in(path)
    assert found
    assert found == TIMES[: len(found)]
    assert losses


SERVICE = f"{RULE}\nSRV: my_msgs/srv/Toggle\nbool on\n---\nbool done\n"


@pytest.mark.parametrize(
    ("kind", "form", "definition", "encoding"),
    [
        ("Side", "jsonschema", '{"type": "object"}', "json"),
        ("foxglove.SceneUpdate", "protobuf", "\x0a", "protobuf"),
        ("Scene", "flatbuffer", "", "flatbuffer"),
        ("my_msgs/msg/Odd", "ros2msg", "int32 a\nother_msgs/Missing b\n???", "cdr"),
        ("my_msgs/msg/Odd", "ros2msg", "other_msgs/Missing b\n", "cdr"),
        ("my_msgs/msg/Odd", "", "", "cdr"),
        ("my_msgs/msg/Odd", "unknown", "", "cdr"),
        ("my_msgs/srv/Toggle_Event", "ros2msg", SERVICE, "cdr"),
        ("my_msgs/action/Go_FeedbackMessage", "ros2idl", "module {", "cdr"),
    ],
)
def test_a_definition_concerns_its_topic_alone(tmp_path, kind, form, definition, encoding):
    side = [("/side", kind, form, definition, encoding, b"\0\1\0\0" + bytes(60))]
    path = write_mcap(tmp_path / "a.mcap", side=side)
    assert times_in(path) == (TIMES, [])
    with BagReader(path) as bag:
        assert len(list(bag.raw(["/points"]))) == 4
        with pytest.raises(BagError, match="has no cloud topic '/side'"):
            bag.choose_cloud_topic("/side")


@pytest.mark.parametrize("schema", [("", ""), ("ros2msg", "int32 data"), ("ros2msg", "???")])
def test_clouds_need_no_definition(tmp_path, schema):
    side = [("/count", "std_msgs/msg/Int32", "ros2msg", "int32 data", "cdr", bytes(8))]
    path = write_mcap(tmp_path / "a.mcap", schema=schema, side=side)
    assert times_in(path) == (TIMES, [])


def test_the_other_type_on_a_cloud_topic_is_passed_over(tmp_path):
    side = [("/points", "std_msgs/msg/Int32", "ros2msg", "int32 data", "cdr", bytes(8))]
    assert times_in(write_mcap(tmp_path / "a.mcap", side=side)) == (TIMES, [])


def test_clouds_of_overlapping_chunks_are_in_time_order(tmp_path):
    path = write_mcap(tmp_path / "a.mcap", times=[TIMES[i] for i in (2, 0, 3, 1)])
    assert times_in(path)[0] == TIMES


def test_a_cloud_topic_without_messages_is_no_choice(tmp_path):
    side = [("/rear", CLOUD, "ros2msg", TEXT, "cdr", b"")]
    whole = write_mcap(tmp_path / "a.mcap", side=side, chunked=False).read_bytes()
    message = record(0x05, struct.pack("<HIQQ", 2, 0, TIMES[0], TIMES[0]))
    (tmp_path / "a.mcap").write_bytes(whole.replace(message, b""))
    with BagReader(tmp_path / "a.mcap") as bag:
        assert bag.cloud_topics() == {"/points": 4, "/rear": 0}
        assert bag.choose_cloud_topic() == "/points"


# Folders


def write_bag(path, storage="mcap", times=TIMES):
    with BagWriter(path, storage) as bag:
        for time in times:
            bag.write_raw("/points", CLOUD, time, cloud(time))
    return path


def test_messages_without_a_format_are_those_of_ros(tmp_path):
    path = write_bag(tmp_path / "bag", "sqlite3")
    database = sqlite3.connect(next(path.glob("*.db3")))
    database.execute("UPDATE topics SET serialization_format = ''")
    database.commit()
    database.close()

    with BagReader(path) as bag:
        assert len(list(bag.clouds("/points"))) == len(TIMES)


def write_parts(folder, names):
    folder.mkdir()
    for i, name in enumerate(names):
        part = write_bag(folder.parent / f"part{i}", times=TIMES[2 * i : 2 * i + 2])
        shutil.move(part / f"part{i}.mcap", folder / name)
    return folder


@pytest.mark.parametrize(
    "names",
    [
        ["drive_0.mcap", "drive_1.mcap"],
        ["drive_0.mcap", "drive_10.mcap"],
        ["d_2026-11-27-14-30-00_0.mcap", "d_2026-11-27-14-31-00_1.mcap"],
    ],
)
def test_the_parts_of_a_split_bag_without_metadata_are_one_bag(tmp_path, names):
    assert times_in(write_parts(tmp_path / "split", names)) == (TIMES, [])


@pytest.mark.parametrize(
    "names", [["monday.mcap", "tuesday.mcap"], ["run_1.mcap", "run_2.mcap"], ["a.db3", "a.mcap"]]
)
def test_several_bags_in_a_folder_are_a_choice(tmp_path, names):
    folder = write_parts(tmp_path / "two", names)
    with pytest.raises(BagError, match=rf"contains {', '.join(names)}; .* ros2 bag reindex"):
        BagReader(folder)


def edit_metadata(folder, change):
    file = folder / "metadata.yaml"
    metadata = yaml.safe_load(file.read_text())
    change(metadata["rosbag2_bagfile_information"])
    file.write_text(yaml.safe_dump(metadata))


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
@pytest.mark.parametrize(
    "change",
    [
        lambda i: i.update(storage_identifier=""),
        lambda i: i.update(topics_with_message_count=[]),
        lambda i: i.update(version=99),
        lambda i: i["topics_with_message_count"][0].update(message_count=0),
        lambda i: i["topics_with_message_count"][0]["topic_metadata"].update(
            type_description_hash="RIHS01_" + "0" * 64, offered_qos_profiles="[{history: x}]"
        ),
        lambda i: i.clear(),
    ],
)
def test_wrong_metadata_does_not_matter(tmp_path, storage, change):
    folder = write_bag(tmp_path / "bag", storage)
    edit_metadata(folder, change)
    assert times_in(folder) == (TIMES, [])


@pytest.mark.parametrize("content", ["", "a: [", "[]", "rosbag2_bagfile_information:"])
def test_unreadable_metadata_does_not_matter(tmp_path, content):
    folder = write_bag(tmp_path / "bag")
    (folder / "metadata.yaml").write_text(content)
    assert times_in(folder) == (TIMES, [])


def test_a_renamed_file_is_read(tmp_path):
    folder = write_bag(tmp_path / "bag")
    (folder / "bag.mcap").rename(folder / "monday.mcap")
    (folder / "._monday.mcap").write_bytes(b"\0\5\x16\7")  # of macOS
    assert times_in(folder) == (TIMES, [])


def test_a_missing_part_is_reported(tmp_path):
    folder = write_bag(tmp_path / "bag")
    edit_metadata(folder, lambda i: i.update(relative_file_paths=["bag.mcap", "bag_1.mcap"]))
    assert times_in(folder) == (TIMES, ["files of metadata.yaml are missing: bag_1.mcap"])


# sqlite3


def interrupted(folder, logged):
    """Leave the last clouds of a bag in the -wal file of its database, as after a kill."""
    file = next(folder.glob("*.db3"))
    database = sqlite3.connect(file)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA wal_autocheckpoint=0")
    rows = database.execute("SELECT * FROM messages ORDER BY id").fetchall()
    database.execute("DELETE FROM messages WHERE id > ?", (len(rows) - logged,))
    database.commit()
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.executemany("INSERT INTO messages VALUES(?, ?, ?, ?)", rows[len(rows) - logged :])
    database.commit()
    kept = {end: (folder / f"{file.name}{end}").read_bytes() for end in ("", "-wal")}
    database.close()
    for end, data in kept.items():
        (folder / f"{file.name}{end}").write_bytes(data)
    return kept


@pytest.mark.parametrize("logged", [1, 4])
def test_clouds_in_the_log_of_a_database_are_read(tmp_path, logged):
    folder = write_bag(tmp_path / "bag", "sqlite3")
    kept = interrupted(folder, logged)
    assert times_in(folder) == (TIMES, [])
    for end, data in kept.items():
        assert (folder / f"bag.db3{end}").read_bytes() == data


@pytest.mark.parametrize("metadata", [True, False])
@pytest.mark.parametrize("whole", [True, False])
def test_compressed_databases_are_read(tmp_path, metadata, whole):
    folder = write_bag(tmp_path / "bag", "sqlite3")
    file = folder / "bag.db3"
    if whole:
        (folder / "bag.db3.zstd").write_bytes(zstd.compress(file.read_bytes()))
        file.unlink()
        edit_metadata(folder, lambda i: i.update(relative_file_paths=["bag.db3.zstd"]))
    else:
        with sqlite3.connect(file) as database:
            for number, data in database.execute("SELECT id, data FROM messages").fetchall():
                packed = zstd.compress(data)
                database.execute("UPDATE messages SET data = ? WHERE id = ?", (packed, number))
    if not metadata:
        (folder / "metadata.yaml").unlink()
    assert times_in(folder) == (TIMES, [])


def test_definitions_of_a_database_concern_their_topics_alone(tmp_path):
    folder = write_bag(tmp_path / "bag", "sqlite3")
    with sqlite3.connect(folder / "bag.db3") as database:
        database.execute("UPDATE message_definitions SET encoding = 'unknown'")
        database.execute("UPDATE topics SET type_description_hash = 'RIHS01_0'")
        database.execute("INSERT INTO topics VALUES(9, '/side', 'a/srv/B_Event', 'cdr', '', '')")
        database.execute("INSERT INTO messages VALUES(99, 9, 5, x'00010000')")
    assert times_in(folder) == (TIMES, [])


# ROS 1

ROS1 = get_typestore(Stores.ROS1_NOETIC)
ROS1.register(
    get_types_from_msg("geometry_msgs/TransformStamped[] transforms", "tf2_msgs/msg/TFMessage")
)


def write_ros1(path, times=TIMES, side=(), compression=None):
    writer = Ros1Writer(path)
    if compression is not None:
        writer.set_compression(compression)
    with writer:
        points = writer.add_connection("/points", CLOUD, typestore=ROS1)
        for topic, kind, definition, digest in side:
            other = writer.add_connection(topic, kind, msgdef=definition, md5sum=digest)
            writer.write(other, times[0], bytes(20))
        for time in times:
            message = STORE.deserialize_cdr(cloud(time), CLOUD)
            types = ROS1.types
            header = types["std_msgs/msg/Header"](
                7, types["builtin_interfaces/msg/Time"](*divmod(time, SECOND)), "lidar"
            )
            values = {**vars(message), "header": header}
            old = types[CLOUD](**{k: v for k, v in values.items() if k != "__msgtype__"})
            writer.write(points, time, bytes(ROS1.serialize_ros1(old, CLOUD)))
    return path


@pytest.mark.parametrize("compression", [None, *Ros1Writer.CompressionFormat])
def test_bags_of_ros_1_are_read(tmp_path, compression):
    assert times_in(write_ros1(tmp_path / "a.bag", compression=compression)) == (TIMES, [])


@pytest.mark.parametrize(
    ("definition", "digest"),
    [("", "ff6baa58985b528481871cbaf1bb342f"), ("Header header\nother/Thing thing\n", "0" * 32)],
)
def test_definitions_of_ros_1_concern_their_topics_alone(tmp_path, definition, digest):
    side = [("/packets", "my_msgs/msg/Scan", definition, digest)]
    assert times_in(write_ros1(tmp_path / "a.bag", side=side)) == (TIMES, [])


@pytest.mark.parametrize("name", ["a.bag", "a.bag.active"])
@pytest.mark.parametrize("kept", [1.0, 0.6])
def test_bags_of_ros_1_need_no_index(tmp_path, name, kept):
    data = bytearray(write_ros1(tmp_path / "whole.bag").read_bytes())
    index = data.find(b"index_pos=") + len(b"index_pos=")
    data[index : index + 8] = bytes(8)
    (tmp_path / name).write_bytes(data[: int(kept * len(data))])
    found, losses = times_in(tmp_path / name)
    assert found == TIMES[: len(found)]
    assert len(found) == 4 if kept == 1.0 else found
    assert f"{name} has no index" in losses[0]


def test_the_parts_of_a_split_bag_of_ros_1_are_one_bag(tmp_path):
    for i in range(2):
        write_ros1(tmp_path / f"drive_{i}.bag", times=TIMES[2 * i : 2 * i + 2])
    assert times_in(tmp_path) == (TIMES, [])


def test_an_encrypted_bag_is_refused(tmp_path):
    path = write_ros1(tmp_path / "a.bag")
    data = path.read_bytes()
    length, found = struct.unpack_from("<I", data, 13)[0], data.find(b"op=\x03")
    extra = struct.pack("<I", 15) + b"encryptor=rosba"
    assert found > 0
    path.write_bytes(data[:13] + struct.pack("<I", length + len(extra)) + extra + data[17:])
    with pytest.raises(BagError, match=r"a\.bag is encrypted"), BagReader(path):
        pass


# Damage


def write_database(path):
    return next(write_bag(path.with_suffix(""), "sqlite3").glob("*.db3"))


KINDS = {
    "zstd": lambda path: write_mcap(path, compression="zstd"),
    "lz4": lambda path: write_mcap(path, compression="lz4", index=False),
    "plain": lambda path: write_mcap(path, compression=""),
    "unchunked": lambda path: write_mcap(path, chunked=False),
    "sqlite3": write_database,
    "ros1": write_ros1,
    "ros1_bz2": lambda path: write_ros1(path, compression=Ros1Writer.CompressionFormat.BZ2),
}


def clouds_in(path):
    """Return the clouds that are read of a bag, and what is lost."""
    with BagReader(path) as bag:
        found = [time for time, _ in bag.clouds(bag.choose_cloud_topic())]
        return found, bag.losses


def damaged(data, rng):
    """Return a file that was cut, or has a bit, zeros or noise in its middle."""
    at, size = rng.randrange(len(data)), rng.randrange(1, 1500)
    kind = rng.choice(["cut", "bit", "zeros", "noise"])
    if kind == "cut":
        return data[:at]
    changed = {"bit": bytes([data[at] ^ 16]), "zeros": bytes(size), "noise": rng.randbytes(size)}
    part = changed[kind][: len(data) - at]
    return data[:at] + part + data[at + len(part) :]


@pytest.mark.parametrize("kind", KINDS)
def test_what_damage_takes_is_said_and_the_rest_is_read(tmp_path, kind, monkeypatch):
    monkeypatch.setattr(storage, "_MOST_FAILURES", 50)
    suffix = {"sqlite3": ".db3", "ros1": ".bag", "ros1_bz2": ".bag"}.get(kind, ".mcap")
    path = KINDS[kind](tmp_path / f"a{suffix}")
    whole, rng, read = path.read_bytes(), random.Random(kind), 0
    for _ in range(20):
        path.write_bytes(damaged(whole, rng))
        try:
            found, losses = clouds_in(path)
        except BagError:
            continue
        assert found or losses
        if len(found) < len(TIMES):
            assert losses, f"{len(found)} clouds"
        read += len(found)
    assert read > 10


@pytest.mark.parametrize("index", [False, True])
@pytest.mark.parametrize("compression", ["zstd", "lz4"])
def test_a_damaged_chunk_costs_its_own_messages(tmp_path, compression, index):
    path = write_mcap(tmp_path / "a.mcap", compression=compression, index=index)
    data, times = bytearray(path.read_bytes()), []
    second = [i for i in range(len(data)) if data.startswith(compression.encode(), i)][1]
    data[second + 12 : second + 60] = bytes(48)
    path.write_bytes(data)
    times, losses = clouds_in(path)
    assert times == [TIMES[0], *TIMES[2:]]
    assert len(losses) == 1
    assert losses[0].startswith(
        "messages lost in damaged chunks of a.mcap: 1" if index else "damaged chunks of a.mcap: 1"
    )


def test_a_wrong_checksum_is_said(tmp_path):
    path = write_mcap(tmp_path / "a.mcap", compression="")
    data = bytearray(path.read_bytes())
    data[data.index(cloud(TIMES[1])[200:300])] ^= 16  # in a point
    path.write_bytes(data)
    wrong = "damaged chunks of a.mcap, whose messages may be wrong: 1 (their checksum differs)"
    assert times_in(path) == (TIMES, [wrong])


def test_a_database_that_was_copied_in_part_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "_MOST_FAILURES", 50)
    path = write_database(tmp_path / "a.db3")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(0.8 * len(whole))])
    found, losses = clouds_in(path)
    assert TIMES[0] in found
    assert len(found) < len(TIMES)
    assert "is damaged (database disk image is malformed)" in losses[0]


@pytest.mark.parametrize("kept", [0, 30, 300])
def test_a_damaged_message_is_left_out_and_counted(tmp_path, kept):
    path = write_database(tmp_path / "a.db3")
    with sqlite3.connect(path) as database:
        database.execute("UPDATE messages SET data = substr(data, 1, ?) WHERE id = 2", (kept,))
    database.close()
    found, [loss] = clouds_in(path)
    assert found == [TIMES[0], *TIMES[2:]]
    assert loss.startswith("damaged messages on /points, which are left out: 1 (")


def test_stamps_before_1970_can_be_written(tmp_path):
    frame = Frame(np.ones((3, 3)), stamp=-SECOND, frame_id="lidar")
    with BagWriter(tmp_path / "bag") as bag:
        bag.write_cloud("/points", encode_frame(frame), frame.stamp, "lidar")
    with BagReader(tmp_path / "bag") as bag:
        ((time, message),) = bag.clouds("/points")
    assert (time, decode(message).stamp) == (0, -SECOND)
