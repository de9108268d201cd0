# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Clouds in the layouts of drivers, and mutations of them. A word describes a mutated cloud.

The word `2+cut:17+field_offset:4` is the layout 2, cut with the seed 17, and then with the offset
of a field changed with the seed 4.
"""

from array import array
from types import SimpleNamespace

import numpy as np

START = 1_700_000_000  # seconds
POINTS = 48
NUMBERS = (0, 1, 2, 3, 4, 7, 8, 16, 47, 48, 49, 255, 65_536, 65_537, 2**31, 2**32 - 1)
NAMES = ("x", "y", "z", "X", "intensity", "i", "I", "t", "time", "timestamp", "rgb", "rgba", "r")
NAMES += ("label", "confidence", "moving", "input_label", "", "_", "ring", "\u00e4", "n" * 5000)
FRAMES = ("", "lidar", "camera_optical", "/lidar", "f" * 5000, "\u00fc")


def _layouts():
    """Yield dtype, height, row padding in bytes and byte order of clouds."""
    xyz = [("x", "f4"), ("y", "f4"), ("z", "f4")]
    yield xyz, 1, 0, "<"
    yield [*xyz, ("intensity", "f4")], 1, 0, "<"
    yield [*xyz, ("intensity", "f4"), ("ring", "u2"), ("time", "f4")], 1, 0, "<"
    yield [*xyz, ("_", "f4"), ("intensity", "f4"), ("t", "u4"), ("ring", "u1")], 4, 24, "<"
    yield [*xyz, ("_", "f4"), ("rgb", "f4")], 6, 0, "<"
    yield [(name, "f8") for name, _ in xyz] + [("timestamp", "f8")], 1, 0, "<"
    yield [("intensity", "u1"), *reversed(xyz), ("label", "u1")], 1, 0, ">"
    yield [(name, "i2") for name, _ in xyz], 2, 8, ">"


LAYOUTS = list(_layouts())
DATATYPES = {"i1": 1, "u1": 2, "i2": 3, "u2": 4, "i4": 5, "u4": 6, "f4": 7, "f8": 8}


def plain_cloud(number, index=0):
    """Return a cloud of a layout, with the attributes of a PointCloud2, at 10 Hz."""
    columns, height, padding, order = LAYOUTS[number]
    rng = np.random.default_rng(number)
    dtype = np.dtype([(name, order + kind) for name, kind in columns])
    width = POINTS // height
    points = np.zeros((height, width), dtype)
    for name, kind in columns:
        span = (-20.0, 20.0) if name in "xyz" else (0.0, 100.0)
        points[name] = rng.uniform(*span, points.shape).astype(kind)
    rows = np.zeros((height, width * dtype.itemsize + padding), np.uint8)
    rows[:, : width * dtype.itemsize] = points.view(np.uint8).reshape(height, -1)
    fields = [
        SimpleNamespace(name=name, offset=dtype.fields[name][1], datatype=DATATYPES[kind], count=1)
        for name, kind in columns
    ]
    stamp = SimpleNamespace(sec=START + index // 10, nanosec=index % 10 * 10**8)
    return SimpleNamespace(
        header=SimpleNamespace(stamp=stamp, frame_id="lidar"),
        height=height,
        width=width,
        fields=fields,
        is_bigendian=order == ">",
        point_step=dtype.itemsize,
        row_step=rows.shape[1],
        data=array("B", rows.tobytes()),
        is_dense=True,
    )


# Mutations: functions of a cloud and a random generator, which change the cloud.


def cut(cloud, rng):
    cloud.data = cloud.data[: rng.integers(len(cloud.data) + 1)]


def lengthen(cloud, rng):
    cloud.data = cloud.data + array("B", rng.bytes(int(rng.integers(1, 200))))


def noise(cloud, rng):
    """Replace bytes by random ones, or by those of NaN."""
    if len(cloud.data):
        first = int(rng.integers(len(cloud.data)))
        length = int(rng.integers(len(cloud.data) - first)) + 1
        byte = bytes([int(rng.choice([0x00, 0x7F, 0xFF]))]) * length
        cloud.data = array("B", cloud.data)
        cloud.data[first : first + length] = array(
            "B", rng.bytes(length) if rng.random() < 0.5 else byte
        )


def dimension(cloud, rng):
    name = str(rng.choice(["height", "width", "point_step", "row_step"]))
    setattr(cloud, name, int(rng.choice(NUMBERS)))


def transposed(cloud, rng):
    cloud.height, cloud.width = cloud.width, cloud.height


def _of_a_field(attribute, choose):
    def change(cloud, rng):
        if cloud.fields:
            field = cloud.fields[int(rng.integers(len(cloud.fields)))]
            setattr(field, attribute, choose(rng))

    return change


def field_removed(cloud, rng):
    if cloud.fields:
        del cloud.fields[int(rng.integers(len(cloud.fields)))]


def field_added(cloud, rng):
    name, offset = str(rng.choice(NAMES)), int(rng.integers(cloud.point_step % 1000 + 1))
    datatype = int(rng.integers(1, 9))
    cloud.fields.append(SimpleNamespace(name=name, offset=offset, datatype=datatype, count=1))


def fields_shuffled(cloud, rng):
    rng.shuffle(cloud.fields)


def flags(cloud, rng):
    cloud.is_bigendian, cloud.is_dense = bool(rng.integers(2)), bool(rng.integers(2))


def stamp(cloud, rng):
    cloud.header.stamp.sec = int(rng.choice([0, 1, -1, START, START + 5, 2**31 - 1, -(2**31)]))
    cloud.header.stamp.nanosec = int(rng.choice([0, 1, 10**9 - 1, 2**32 - 1]))


def frame_id(cloud, rng):
    cloud.header.frame_id = str(rng.choice(FRAMES))


def emptied(cloud, rng):
    cloud.width, cloud.data = 0, array("B")


def wrong_type(cloud, rng):
    name = str(rng.choice(["height", "fields", "data", "is_dense", "point_step", "header"]))
    values = (None, 1.5, "text", b"", [], -1, 2**40, object())
    setattr(cloud, name, values[int(rng.integers(len(values)))])


TYPED = {
    "cut": cut,
    "lengthen": lengthen,
    "noise": noise,
    "dimension": dimension,
    "transposed": transposed,
    "field_name": _of_a_field("name", lambda rng: str(rng.choice(NAMES))),
    "field_offset": _of_a_field("offset", lambda rng: int(rng.choice(NUMBERS))),
    "field_datatype": _of_a_field("datatype", lambda rng: int(rng.integers(0, 256))),
    "field_type_swap": _of_a_field("datatype", lambda rng: int(rng.integers(1, 9))),
    "field_count": _of_a_field("count", lambda rng: int(rng.choice(NUMBERS))),
    "field_removed": field_removed,
    "field_added": field_added,
    "fields_shuffled": fields_shuffled,
    "flags": flags,
    "stamp": stamp,
    "frame_id": frame_id,
    "emptied": emptied,
}
"""Mutations that keep the types of the message, by name."""

MUTATIONS = {**TYPED, "wrong_type": wrong_type}
"""All mutations, by name. `wrong_type` comes last in a word: the others need the types."""


def random_word(rng, mutations=MUTATIONS):
    """Return the word of a random cloud with up to four mutations."""
    names = sorted(rng.choice(list(mutations), rng.integers(0, 5)), key="wrong_type".__eq__)
    parts = [f"{name}:{rng.integers(10**6)}" for name in names]
    return "+".join([str(rng.integers(len(LAYOUTS))), *parts])


def mutated_cloud(word, index=0):
    """Return the cloud of a word; unless mutated, its stamp is `index` tenths after the first."""
    layout, *parts = word.split("+")
    cloud = plain_cloud(int(layout), index)
    for part in parts:
        name, seed = part.split(":")
        MUTATIONS[name](cloud, np.random.default_rng(int(seed)))
    return cloud
