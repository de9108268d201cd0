# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The codec compared with clouds that the tests build byte by byte with struct."""

import itertools
import struct
import tracemalloc
from array import array
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minkowski_perception.codec import (
    FLOAT32,
    FLOAT64,
    INT8,
    INT32,
    UINT8,
    UINT16,
    UINT32,
    CloudError,
    Field,
    IntensityScale,
    append_fields,
    decode,
    encode_fields,
    encode_frame,
    field_values,
    fill_message,
)
from minkowski_perception.frame import Frame

CODES = dict(zip(range(1, 9), "bBhHiIfd", strict=True))
STAMP = 1_700_000_000_250_000_000
XYZ = [Field("x", 0, FLOAT32), Field("y", 4, FLOAT32), Field("z", 8, FLOAT32)]


def make(fields, points, *, height=1, big=False, point_step=None, row_padding=0, kind=bytes):
    """Build a message of points, each a tuple of a value (or tuple of values) per field."""
    width = len(points) // height
    if point_step is None:
        point_step = max(f.offset + f.count * struct.calcsize(CODES[f.datatype]) for f in fields)
    row_step = width * point_step + row_padding
    data = bytearray(b"\xa5" * (height * row_step))  # padding must have no effect
    for i, point in enumerate(points):
        start = (i // width) * row_step + (i % width) * point_step
        for field, value in zip(fields, point, strict=True):
            values = value if isinstance(value, tuple) else (value,)
            code = f"{'>' if big else '<'}{field.count}{CODES[field.datatype]}"
            struct.pack_into(code, data, start + field.offset, *values)
    stamp = SimpleNamespace(sec=STAMP // 10**9, nanosec=STAMP % 10**9)
    return SimpleNamespace(
        header=SimpleNamespace(stamp=stamp, frame_id="lidar"),
        height=height,
        width=width,
        fields=fields,
        is_bigendian=big,
        point_step=point_step,
        row_step=row_step,
        data=kind(bytes(data)),
        is_dense=True,
    )


def with_header(cloud):
    """Add a header to a CloudData."""
    return SimpleNamespace(header=make(XYZ, []).header, **vars(cloud))


def arrays_of(number):
    """Return labels, confidence and colours for a number of points."""
    generator = np.random.default_rng(number)
    return (
        generator.integers(0, 256, number, dtype=np.uint8),
        generator.random(number, dtype=np.float32),
        generator.integers(0, 256, (number, 3), dtype=np.uint8),
    )


def labelled(message, labels, confidence, colours):
    """Append the three fields of a labelled cloud."""
    return append_fields(message, {"label": labels, "confidence": confidence, "rgb": colours})


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("row_padding", [0, 5])
@pytest.mark.parametrize("datatype", range(1, 9))
def test_every_datatype_byte_order_and_padding_is_read(datatype, row_padding, big):
    # Fields out of order and unaligned, with another datatype and a field of three values.
    size = struct.calcsize(CODES[datatype])
    fields = [
        Field("ring", 0, UINT16),
        Field("z", 3, datatype),
        Field("normal", 3 + size, INT8, 3),
        Field("x", 6 + size, datatype),
        Field("y", 6 + 2 * size, datatype),
    ]
    points = [(i, 3 * i + 2, (1, 2, 3), 3 * i, 3 * i + 1) for i in range(6)]
    message = make(
        fields, points, height=2, big=big, point_step=12 + 3 * size, row_padding=row_padding
    )

    frame = decode(message)

    assert frame.points.dtype == np.float32
    assert frame.points.tolist() == [[3 * i, 3 * i + 1, 3 * i + 2] for i in range(6)]
    assert (frame.stamp, frame.frame_id) == (STAMP, "lidar")


@pytest.mark.parametrize(
    "kind",
    [bytes, bytearray, memoryview, lambda b: array("B", b), lambda b: np.frombuffer(b, np.uint8)],
    ids=["bytes", "bytearray", "memoryview", "array", "numpy"],
)
def test_data_can_be_any_bytes_like_object(kind):
    message = make(XYZ, [(1, 2, 3), (4, 5, 6)], kind=kind)

    assert decode(message).points.tolist() == [[1, 2, 3], [4, 5, 6]]


def test_an_organised_cloud_is_read_row_by_row():
    points = [(row, column, 10 * row + column) for row in range(3) for column in range(4)]

    frame = decode(make(XYZ, points, height=3, row_padding=7))

    assert frame.points.tolist() == [list(p) for p in points]


def test_padding_of_the_last_row_is_optional():
    message = make(XYZ, [(i, i, i) for i in range(6)], height=2, row_padding=9)
    message.data = message.data[:-9]

    assert decode(message).points[:, 0].tolist() == [0, 1, 2, 3, 4, 5]


def test_non_finite_points_are_kept_whatever_is_dense_says():
    nan, inf = float("nan"), float("inf")
    message = make(XYZ, [(1, 2, 3), (nan, 2, 3), (1, -inf, 3), (4, 5, 6)])
    message.is_dense = True

    frame = decode(message)

    assert frame.valid.tolist() == [True, False, False, True]
    assert np.isnan(frame.points[1, 0])
    assert frame.points[2, 1] == -inf


def test_a_double_beyond_the_range_of_float_is_not_valid():
    fields = [Field(n, 8 * i, FLOAT64) for i, n in enumerate("xyz")]

    assert not decode(make(fields, [(1e300, 0, 0)])).valid.any()


@pytest.mark.parametrize("height", [0, 1])
def test_a_cloud_without_points_is_valid(height):
    message = make([*XYZ, Field("intensity", 12, FLOAT32), Field("t", 16, UINT32)], [])
    message.height = height

    frame = decode(message)
    cloud = labelled(message, *arrays_of(0))

    assert len(frame) == len(frame.intensity) == 0
    assert len(cloud.data) == cloud.row_step == 0


@pytest.mark.parametrize("number", [1, 5])
@pytest.mark.parametrize("big", [False, True])
def test_the_message_is_unchanged_and_shares_no_memory_with_the_frame(big, number):
    fields = [*XYZ, Field("intensity", 12, FLOAT32), Field("rgb", 16, UINT32), Field("l", 20, 2)]
    message = make(fields, [(1, 2, 3, 4, 5, 6)] * number, big=big, kind=lambda b: array("B", b))
    before = bytes(message.data)

    frame = decode(message, label_field="l")
    for column in (frame.points, frame.intensity, frame.colour, frame.labels):
        column[...] = 0
    labelled(message, *arrays_of(number))

    assert bytes(message.data) == before
    assert decode(message, label_field="l").points.tolist() == [[1, 2, 3]] * number
    message.data.append(0)  # raises BufferError if a view is left


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"fields": XYZ[:2]}, r"no single-valued fields \['z'\] among \['x', 'y'\]"),
        ({"fields": [*XYZ[:2], Field("z", 8, UINT8, 2)]}, r"single-valued fields \['z'\]"),
        ({"fields": [*XYZ[:2], Field("z", 8, 9)]}, "datatype of field 'z' is 9.*8 FLOAT64"),
        ({"fields": [*XYZ[:2], Field("z", 8, 0)]}, "datatype of field 'z' is 0.*1 INT8"),
        ({"fields": [*XYZ[:2], Field("z", 8, FLOAT32, -1)]}, "count of field 'z' .* not -1"),
        ({"fields": [*XYZ[:2], Field("z", -4, FLOAT32)]}, "offset of field 'z' .* not -4"),
        ({"fields": [*XYZ[:2], Field("z", "8", FLOAT32)]}, "offset of field 'z' .* integer"),
        ({"fields": [*XYZ, Field("i", 11, UINT16)]}, r"'i' \(1 x UINT16 at offset 11\).*step 12"),
        ({"fields": [*XYZ, Field("h", 0, UINT8, 2**31)]}, "'h' .* does not fit in point_step 12"),
        ({"fields": [*XYZ, Field("x", 0, UINT8)]}, r"fields \['x'\] appear more than once"),
        ({"fields": [*XYZ, Field("a\0b", 0, UINT8)]}, "name must be a string without NUL"),
        ({"fields": [*XYZ, Field(None, 0, UINT8)]}, "name must be a string"),
        ({"fields": [*XYZ, "i"]}, "str has no attribute 'name'"),
        ({"fields": None}, "fields must be a list of PointField"),
        ({"height": -1}, "height must be 0 to 4294967295, not -1"),
        ({"height": 3}, "data has 24 bytes, but height 3, row_step 24.* need 72"),
        ({"width": 3}, "data has 24 bytes, but height 1, row_step 36"),
        ({"height": 2, "row_step": 0}, "row_step 0 is less than width 2 x point_step 12"),
        ({"fields": [*XYZ, Field("i", 0, UINT8), Field("i", 1, UINT8)]}, r"fields \['i', 'i'\]"),
        ({"width": 2**40}, "width must be 0 to"),
        ({"width": 2.0}, "width must be an integer, not 2.0"),
        ({"row_step": 2**32 - 1, "height": 2**32 - 1}, "data has 24 bytes"),
        ({"point_step": 2**20, "row_step": 2**21}, "point_step 1048576 exceeds 65536"),
        ({"point_step": 0, "fields": []}, "no single-valued fields"),
        ({"data": b""}, "data has 0 bytes"),
        ({"data": bytes(23)}, "data has 23 bytes, .* need 24"),
        ({"data": "x" * 24}, "data must be bytes"),
        ({"data": None}, "data must be bytes"),
        ({"data": np.zeros(48, np.uint8)[::2]}, "data must be bytes"),
        ({"is_bigendian": None}, "is_bigendian must be true or false, not None"),
        ({"header": None}, "NoneType has no attribute 'stamp'"),
        ({"header": SimpleNamespace(stamp=None, frame_id="")}, "has no attribute 'sec'"),
    ],
)
def test_a_malformed_cloud_is_refused_with_the_reason(changes, complaint):
    message = make(XYZ, [(1, 2, 3), (4, 5, 6)])
    for name, value in changes.items():
        setattr(message, name, value)

    with pytest.raises(CloudError, match=complaint):
        decode(message)


@pytest.mark.parametrize("row_step", [0, 2, 4])
def test_rows_without_padding_need_no_row_step(row_step):
    message = make(XYZ, [(1, 2, 3), (4, 5, 6), (7, 8, 9), (0, 1, 2)])
    message.height, message.width, message.row_step = 2, 2, row_step

    assert decode(message).points.tolist() == [[1, 2, 3], [4, 5, 6], [7, 8, 9], [0, 1, 2]]


def test_one_row_needs_no_row_step():
    message = make(XYZ, [(1, 2, 3), (4, 5, 6)])
    message.row_step, message.data = 0, bytes(message.data) + bytes(100)

    assert decode(message).points.tolist() == [[1, 2, 3], [4, 5, 6]]


def test_a_count_of_zero_means_one():
    message = make([*XYZ, Field("i", 12, UINT8)], [(1, 2, 3, 4)])
    message.fields = [replace(field, count=0) for field in message.fields]

    frame = decode(message)

    assert frame.points.tolist() == [[1, 2, 3]]
    assert frame.intensity.tolist() == [4]
    assert [f.count for f in labelled(message, *arrays_of(1)).fields[:4]] == [1] * 4


def test_fields_that_are_not_read_can_have_one_name():
    fields = [*XYZ, Field("padding", 12, UINT8), Field("padding", 13, UINT8)]

    assert decode(make(fields, [(1, 2, 3, 0, 0)])).points.tolist() == [[1, 2, 3]]


@pytest.mark.parametrize("name", ["Intensity", "INTENSITY", "Reflectivity", "remission"])
def test_names_of_fields_match_in_any_case(name):
    assert decode(make([*XYZ, Field(name, 12, UINT8)], [(0, 0, 0, 7)])).intensity.tolist() == [7]


def test_an_exact_name_comes_before_one_in_other_case():
    fields = [*XYZ, Field("Intensity", 12, UINT8), Field("reflectivity", 13, UINT8)]

    assert decode(make(fields, [(0, 0, 0, 7, 8)])).intensity.tolist() == [8]


def test_an_object_that_is_not_a_cloud_is_refused():
    with pytest.raises(CloudError, match="int has no attribute 'height'"):
        decode(5)


def test_padding_fields_can_repeat():
    fields = [
        *XYZ,
        Field("", 12, UINT8),
        Field("", 13, UINT8),
        Field("_", 14, 2),
        Field("_", 15, 2),
    ]

    assert decode(make(fields, [(1, 2, 3, 0, 0, 0, 0)])).points.tolist() == [[1, 2, 3]]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ([Field("reflectivity", 12, UINT16), Field("intensity", 14, UINT8)], 7),
        ([Field("reflectivity", 12, UINT16), Field("i", 14, UINT8)], 7),
        ([Field("ambient", 12, UINT16), Field("reflectivity", 14, UINT8)], 7),
    ],
)
def test_intensity_names_are_tried_in_order(fields, expected):
    frame = decode(make([*XYZ, *fields], [(0, 0, 0, 500, expected)]))

    assert frame.intensity.dtype == np.float32
    assert frame.intensity.tolist() == [expected]


def test_a_cloud_with_only_coordinates_has_no_other_attributes():
    frame = decode(make(XYZ, [(1, 2, 3)]))

    assert frame.intensity is frame.colour is frame.time is frame.labels is None


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("name", ["rgb", "rgba"])
@pytest.mark.parametrize("datatype", [FLOAT32, UINT32, INT32])
def test_packed_colour_is_read_bit_by_bit(datatype, name, big):
    # As floats 0xff8000ff is a NaN and 0x7f800001 a signalling NaN.
    packed = [0x00010203, 0x00FFFEFD, 0xFF8000FF, 0x7F800001]
    message = make([*XYZ, Field(name, 12, UINT32)], [(0, 0, 0, c) for c in packed], big=big)
    message.fields = [*XYZ, Field(name, 12, datatype)]

    colour = decode(message).colour

    assert colour.dtype == np.uint8
    assert colour.tolist() == [[1, 2, 3], [255, 254, 253], [128, 0, 255], [128, 0, 1]]


def test_colour_in_three_fields_is_read():
    fields = [*XYZ, Field("b", 12, UINT8), Field("g", 13, UINT8), Field("r", 14, UINT8)]

    assert decode(make(fields, [(0, 0, 0, 3, 2, 1)])).colour.tolist() == [[1, 2, 3]]


SECONDS = STAMP * 1e-9


@pytest.mark.parametrize(
    ("name", "datatype", "values", "expected"),
    [
        ("t", UINT32, [0, 50_000_000, 99_999_000], [0, 0.05, 0.099999]),  # Ouster
        ("time", FLOAT32, [-0.1, -0.05, 0], [-0.1, -0.05, 0]),  # Velodyne
        ("timestamp", FLOAT64, [SECONDS, SECONDS + 0.1], [0, 0.1]),  # Hesai, RoboSense
        ("timestamp", FLOAT64, [STAMP - 5e7, STAMP + 5e7], [-0.05, 0.05]),  # Livox
        ("time_stamp", UINT32, [2_000_000, 98_000_000], [0.002, 0.098]),  # Nebula
        ("offset_time", UINT32, [0, 49_000, 99_000], [0, 0.049, 0.099]),  # in microseconds
        ("t", INT32, [-99_000_000, 0], [-0.099, 0]),
        ("time", FLOAT32, [0, 99.5], [0, 0.0995]),  # in milliseconds
        ("timestamp", FLOAT64, [5000.0, 5000.1], [0, 0.1]),  # since the sensor started
        ("t", UINT32, [3_500_000_000, 3_599_000_000], [0, 0.099]),  # likewise
        ("time", FLOAT32, [0, float("nan"), 0.1], [0, float("nan"), 0.1]),
    ],
)
def test_time_of_points_is_in_seconds_since_the_stamp(name, datatype, values, expected):
    message = make([*XYZ, Field(name, 12, datatype)], [(0, 0, 0, v) for v in values])

    time = decode(message).time

    assert time.dtype == np.float32
    np.testing.assert_allclose(time, expected, atol=2e-6)


@pytest.mark.parametrize("point", [(np.nan, 0, 0), (0, 0, np.inf), (0, 0, 0)])
@pytest.mark.parametrize(
    ("datatype", "start", "wrong"), [(FLOAT64, SECONDS, 0.0), (FLOAT32, 0.0, 1e9)]
)
def test_rays_without_a_return_do_not_change_the_times_of_points(datatype, start, wrong, point):
    rows = [(1, 2, 3, start + 0.001 * i) for i in range(100)]
    rows[::3] = [(*point, wrong)] * len(rows[::3])

    time = decode(make([*XYZ, Field("timestamp", 12, datatype)], rows)).time

    returned = np.arange(100) % 3 > 0
    np.testing.assert_allclose(time[returned], 0.001 * np.arange(100)[returned], atol=2e-6)
    assert np.isnan(time[~returned]).all()


@pytest.mark.parametrize(
    ("datatype", "unit", "wrong"),
    [
        (UINT32, 1e-9, 2**32 - 500),  # an offset below zero that wrapped
        (FLOAT32, 1.0, 50.0),  # would make seconds milliseconds
        (FLOAT32, 1.0, 1e30),
    ],
)
def test_an_outlier_does_not_change_the_times_of_other_points(datatype, unit, wrong):
    ticks = np.linspace(0, 0.1, 400) / unit
    ticks[7] = wrong
    rows = [(1, 2, 3, int(t) if datatype == UINT32 else t) for t in ticks]

    time = decode(make([*XYZ, Field("t", 12, datatype)], rows)).time

    others = np.arange(400) != 7
    np.testing.assert_allclose(time[others], np.linspace(0, 0.1, 400)[others], atol=2e-6)
    assert np.isnan(time[7])


@pytest.mark.parametrize(
    ("datatype", "values"),
    [
        (UINT32, [0, 4_000_000_000]),  # 4 s even in nanoseconds
        (FLOAT64, [0, 1e300]),
        (FLOAT32, [float("nan"), float("inf")]),
        (UINT8, [0, 100]),  # too small for a clock
    ],
)
def test_implausible_time_is_ignored(datatype, values):
    message = make([*XYZ, Field("t", 12, datatype)], [(0, 0, 0, v) for v in values])

    assert decode(message).time is None


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("datatype", range(1, 9))
def test_labels_are_read_from_the_requested_field(datatype, big):
    message = make([*XYZ, Field("class", 12, datatype)], [(0, 0, 0, 7), (0, 0, 0, 100)], big=big)

    labels = decode(message, label_field="class").labels

    assert labels.dtype.isnative
    assert np.issubdtype(labels.dtype, np.integer)
    assert labels.tolist() == [7, 100]


def test_a_missing_label_field_is_refused_and_the_fields_are_listed():
    with pytest.raises(CloudError, match=r"label field 'label' among \['x', 'y', 'z', 'class'\]"):
        decode(make([*XYZ, Field("class", 12, UINT8)], [(0, 0, 0, 1)]), label_field="label")


@pytest.mark.parametrize("value", [0.5, float("nan"), float("inf")])
def test_labels_that_are_not_integers_are_refused(value):
    message = make([*XYZ, Field("label", 12, FLOAT32)], [(0, 0, 0, value)])

    with pytest.raises(CloudError, match="'label' has values that are not integers"):
        decode(message, label_field="label")


def test_a_declared_intensity_scale_does_not_change():
    scale = IntensityScale(100.0)

    normalised = scale.normalise(np.float32([0, 50, 200, -1, np.nan, np.inf]))

    assert normalised.dtype == np.float32
    assert normalised.tolist() == [0, 0.5, 1, 0, 0, 1]
    assert (scale.full_scale, scale.how) == (100.0, "declared")


UNITS = {1.0: 1.0, 255.0: 255.0, 1023.0: 800.0, 65535.0: 60_000.0}
"""Largest values of a sensor, by the scale that should be detected."""


def cloud_of(brightest: float, seed: int, points: int = 300) -> np.ndarray:
    """Intensities up to a largest value, most of them dark, as real sensors measure."""
    share = np.random.default_rng(seed).beta(1.0, 3.0, points)
    share[: points // 25] = 1.0
    values = brightest * share
    return (values if brightest == 1.0 else np.round(values)).astype(np.float32)


@given(st.sampled_from(list(UNITS)), st.integers(0, 1000))
def test_the_intensity_scale_is_that_of_the_first_cloud(full_scale, seed):
    scale = IntensityScale()
    values = cloud_of(UNITS[full_scale], seed)
    np.testing.assert_allclose(scale.normalise(values), values / full_scale, rtol=1e-6)
    assert (scale.full_scale, scale.how) == (full_scale, "detected")


@given(
    st.sampled_from(list(UNITS)),
    st.lists(st.floats(0, 1e30), min_size=1, max_size=2),
    st.integers(0, 10),
)
def test_a_few_outliers_never_change_the_intensity_scale(full_scale, outliers, before):
    scale = IntensityScale()
    for seed in range(before):
        scale.normalise(cloud_of(UNITS[full_scale], seed))
    values = cloud_of(UNITS[full_scale], 99)
    values[: len(outliers)] = outliers
    normalised = scale.normalise(values)
    assert scale.full_scale == full_scale
    assert normalised.min() >= 0.0
    assert normalised.max() <= 1.0


@pytest.mark.parametrize("brightest", [1.004, 256.0])
def test_drivers_that_round_up_have_the_usual_scale(brightest):
    scale = IntensityScale()
    scale.normalise(cloud_of(brightest, 0))
    assert scale.full_scale == np.floor(brightest / 255.0) * 255.0 or brightest < 2.0
    assert scale.full_scale < brightest


@given(st.sampled_from([*itertools.permutations(UNITS, 2)]), st.integers(11, 60))
def test_the_intensity_scale_follows_a_lasting_change_only(units, after):
    before, then = units
    scale = IntensityScale()
    for seed in range(20):
        scale.normalise(cloud_of(UNITS[before], seed))
    for seed in range(5):
        scale.normalise(cloud_of(UNITS[then], seed))
        assert scale.full_scale == before
    for seed in range(after):
        scale.normalise(cloud_of(UNITS[then], seed))
    assert scale.full_scale == then


def test_clouds_that_fit_every_scale_do_not_change_it():
    scale = IntensityScale()
    scale.normalise(cloud_of(255.0, 0))
    for _ in range(50):
        for values in ([], [0, 0], [1, 0, 1], [np.nan, -1.0, np.inf]):
            assert len(scale.normalise(np.float32(values))) == len(values)
    assert scale.full_scale == 255.0


def test_a_cloud_of_one_intensity_has_an_unknown_one():
    scale = IntensityScale()
    scale.normalise(cloud_of(255.0, 0))
    for value in (0.0, 1.0, 100.0, 1e6):
        assert scale.normalise(np.full(100, value, np.float32)) is None
    assert IntensityScale(255.0).normalise(np.zeros(5000, np.float32)) is None
    assert scale.normalise(np.zeros(99, np.float32)).tolist() == [0.0] * 99
    assert scale.full_scale == 255.0


@given(st.lists(st.sampled_from(list(UNITS)), max_size=40), st.integers(0, 40))
def test_a_restored_intensity_scale_continues_as_the_original(units, split):
    whole, first, restored = IntensityScale(), IntensityScale(), IntensityScale()
    for seed, unit in enumerate(units[:split]):
        first.normalise(cloud_of(UNITS[unit], seed))
    restored.restore(first.state())
    for seed, unit in enumerate(units):
        values = cloud_of(UNITS[unit], seed)
        expected = whole.normalise(values)
        if seed >= split:
            np.testing.assert_array_equal(restored.normalise(values), expected)
            assert restored.full_scale == whole.full_scale


@pytest.mark.parametrize("full_scale", [0.0, -1.0, float("nan"), float("inf")])
def test_an_intensity_scale_that_is_not_positive_and_finite_is_refused(full_scale):
    with pytest.raises(ValueError, match="full scale"):
        IntensityScale(full_scale)


@st.composite
def messages(draw):
    """Valid clouds of random layouts with random bytes."""
    names = draw(
        st.lists(
            st.sampled_from(["label", "rgb", "confidence", "input_label", "t", "i", "", "ring"]),
            unique=True,
        )
    )
    names = draw(st.permutations([*"xyz", *names]))
    fields, step = [], 0
    for name in names:
        step += draw(st.integers(0, 3))
        count = 1 if name in "xyz" else draw(st.integers(1, 3))
        fields.append(Field(name, step, draw(st.integers(1, 8)), count))
        step += fields[-1].size
    step += draw(st.integers(0, 5))
    height, width = draw(st.integers(0, 3)), draw(st.integers(0, 4))
    padding = draw(st.integers(0, 9))
    message = make(XYZ, [])
    message.fields, message.height, message.width = fields, height, width
    message.point_step, message.row_step = step, width * step + padding
    message.is_bigendian, message.is_dense = draw(st.booleans()), draw(st.booleans())
    size = height * message.row_step
    message.data = draw(st.binary(min_size=size, max_size=size))
    return message


@given(messages())
@settings(deadline=None)
def test_a_labelled_cloud_is_the_input_with_three_more_fields(message):
    number, step = message.height * message.width, message.point_step
    labels, confidence, colours = arrays_of(number)

    cloud = labelled(message, labels, confidence, colours)

    assert (cloud.height, cloud.width) == (message.height, message.width)
    assert cloud.is_bigendian == message.is_bigendian
    assert cloud.row_step == cloud.width * cloud.point_step
    assert type(cloud.data) is array
    assert len(cloud.data) == cloud.height * cloud.row_step
    inputs, appended = cloud.fields[:-3], cloud.fields[-3:]
    for before, after in zip(message.fields, inputs, strict=True):
        assert (after.offset, after.datatype, after.count) == (
            before.offset,
            before.datatype,
            before.count,
        )
        assert after.name.removeprefix("input_").removeprefix("input_") == (
            before.name.removeprefix("input_")
        )
    names = [f.name for f in cloud.fields if f.name]
    assert len(set(names)) == len(names)
    assert [(f.name, f.datatype) for f in appended] == [
        ("label", UINT8),
        ("confidence", FLOAT32),
        ("rgb", FLOAT32),
    ]
    assert all(f.offset % 4 == 0 and f.offset >= step for f in appended)
    order = ">" if message.is_bigendian else "<"
    for i in range(number):
        row, column = divmod(i, message.width)
        start = row * message.row_step + column * step
        point = bytes(cloud.data[i * cloud.point_step : (i + 1) * cloud.point_step])
        assert point[:step] == message.data[start : start + step]
        label, score, rgb = (
            struct.unpack_from(order + code, point, f.offset)[0]
            for code, f in zip("BfI", appended, strict=True)
        )
        red, green, blue = colours[i].tolist()
        assert (label, score) == (labels[i], confidence[i])
        assert rgb == red * 65536 + green * 256 + blue
    again = decode(with_header(cloud), label_field="label")
    np.testing.assert_array_equal(again.points, decode(message).points)
    np.testing.assert_array_equal(again.labels, labels)
    np.testing.assert_array_equal(again.colour, colours)
    assert cloud.is_dense == (message.is_dense and bool(again.valid.all()))


@pytest.mark.parametrize("big", [False, True])
def test_any_array_of_a_supported_dtype_is_appended_at_an_aligned_offset(big):
    message = make([*XYZ, Field("moving", 12, UINT8)], [(1, 2, 3, 4), (5, 6, 7, 8)], big=big)
    columns = {
        "small": np.array([-1, 2], np.int8),
        "moving": np.array([0.25, np.nan], np.float32),
        "id": np.array([1, 60000], np.uint16),
        "exact": np.array([0.1, -np.inf]),
    }
    cloud = append_fields(message, columns)
    assert [(f.name, f.offset, f.datatype) for f in cloud.fields[3:]] == [
        ("input_moving", 12, UINT8),
        ("small", 16, INT8),
        ("moving", 20, FLOAT32),
        ("id", 24, UINT16),
        ("exact", 32, FLOAT64),
    ]
    assert cloud.point_step == 40
    order = ">" if big else "<"
    for i in range(2):
        point = bytes(cloud.data[40 * i : 40 * (i + 1)])
        for field, column in zip(cloud.fields[4:], columns.values(), strict=True):
            (value,) = struct.unpack_from(order + CODES[field.datatype], point, field.offset)
            np.testing.assert_equal(value, column[i])


def test_a_cloud_without_room_for_the_fields_is_refused():
    message = make(XYZ, [], point_step=65536)
    with pytest.raises(CloudError, match="point_step 65536 leaves no room for"):
        append_fields(message, {"label": np.empty(0, np.uint8)})


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"x": np.zeros(1, np.float32)}, "'x' cannot be appended: it is a coordinate"),
        ({"": np.zeros(1, np.float32)}, "'' cannot be appended"),
        ({"id": np.zeros(1, np.int64)}, "id has type INT64; choose one of INT8"),
    ],
)
def test_arrays_of_unsupported_names_or_dtypes_are_refused(columns, message):
    with pytest.raises(ValueError, match=message):
        append_fields(make(XYZ, [(1, 2, 3)]), columns)


def test_input_fields_with_the_new_names_are_renamed():
    fields = [
        *XYZ,
        Field("label", 12, UINT16),
        Field("rgb", 16, UINT32),
        Field("input_label", 20, UINT8),
        Field("confidence", 21, UINT8),
    ]
    message = make(fields, [(1, 2, 3, 300, 5, 6, 7)])

    cloud = labelled(message, *arrays_of(1))

    assert [f.name for f in cloud.fields[3:]] == [
        "input_input_label",
        "input_rgb",
        "input_label",
        "input_confidence",
        "label",
        "confidence",
        "rgb",
    ]
    assert decode(with_header(cloud), label_field="input_input_label").labels.tolist() == [300]


@pytest.mark.parametrize("wrong", [0, 1, 2])
def test_arrays_of_another_length_are_refused(wrong):
    arrays = list(arrays_of(2))
    arrays[wrong] = arrays_of(3)[wrong]

    with pytest.raises(ValueError, match="the cloud has 2 points"):
        labelled(make(XYZ, [(1, 2, 3)] * 2), *arrays)


@given(st.data())
@settings(deadline=None)
def test_a_frame_is_decoded_as_it_was_encoded(data):
    number = data.draw(st.integers(0, 5))
    floats = hnp.arrays(np.float32, number, elements=st.floats(width=32))
    times = hnp.arrays(np.float32, number, elements=st.floats(-0.5, 0.5, width=32))
    frame = Frame(
        points=data.draw(hnp.arrays(np.float32, (number, 3), elements=st.floats(width=32))),
        stamp=STAMP,
        frame_id="lidar",
        intensity=data.draw(st.none() | floats),
        colour=data.draw(st.none() | hnp.arrays(np.uint8, (number, 3))),
        time=data.draw(st.none() | times) if number else None,
        labels=data.draw(hnp.arrays(st.sampled_from([np.uint8, np.int16, np.uint32]), number)),
    )

    cloud = encode_frame(frame, "label")
    again = decode(with_header(cloud), label_field="label")

    assert cloud.is_dense == bool(frame.valid.all())
    for name, column in vars(frame).items():
        np.testing.assert_array_equal(getattr(again, name), column)
    assert again.labels.dtype == frame.labels.dtype


@pytest.mark.parametrize(
    ("labels", "field", "complaint"),
    [
        (None, "label", "no labels"),
        (np.zeros(1, np.int64), "label", "label has type INT64; choose one of INT8"),
        (np.zeros(1, np.uint8), "x", "cannot be named 'x': padding, or one of"),
        (np.zeros(1, np.uint8), "", "cannot be named '': padding, or one of"),
    ],
)
def test_labels_that_cannot_be_encoded_are_refused(labels, field, complaint):
    with pytest.raises(ValueError, match=complaint):
        encode_frame(Frame(np.zeros((1, 3), np.float32), labels=labels), field)


ANYTHING = st.one_of(
    st.none(), st.booleans(), st.floats(), st.text(max_size=3), st.binary(max_size=9)
)
SIZES = st.one_of(
    st.integers(0, 40),
    st.sampled_from([-1, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**64]),
    ANYTHING,
)
FIELDS = st.builds(
    SimpleNamespace,
    name=st.sampled_from([*"xyzxyzxyz", "intensity", "t", "rgb", "r", "label", ""]) | ANYTHING,
    offset=st.integers(0, 40) | SIZES,
    datatype=st.integers(0, 9) | SIZES,
    count=st.just(1) | SIZES,
)


def exactly(field_name):
    return FIELDS.map(lambda f: SimpleNamespace(**{**vars(f), "name": field_name}))


CLOUDS = st.builds(
    SimpleNamespace,
    header=st.builds(
        SimpleNamespace,
        stamp=st.builds(SimpleNamespace, sec=SIZES, nanosec=SIZES) | ANYTHING,
        frame_id=st.text(max_size=3) | ANYTHING,
    )
    | ANYTHING,
    height=st.integers(0, 3) | SIZES,
    width=st.integers(0, 3) | SIZES,
    fields=st.tuples(*(exactly(n) for n in "xyz"), FIELDS, FIELDS) | st.lists(FIELDS) | ANYTHING,
    is_bigendian=st.booleans() | ANYTHING,
    point_step=SIZES,
    row_step=SIZES,
    data=st.binary(max_size=400) | ANYTHING,
    is_dense=st.booleans() | ANYTHING,
)


@given(CLOUDS, st.none() | st.sampled_from(["label", "x", ""]))
@settings(deadline=None, max_examples=400)
@pytest.mark.filterwarnings("error")
def test_garbage_is_decoded_or_refused_without_other_errors(message, label_field):
    tracemalloc.start()
    try:
        frame = decode(message, label_field=label_field)
        labelled(message, *arrays_of(len(frame)))
    except CloudError:
        pass
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 1_000_000


@given(messages(), st.data())
@settings(deadline=None, max_examples=300)
@pytest.mark.filterwarnings("error")
def test_a_cloud_with_one_wrong_value_is_decoded_or_refused(message, data):
    target = data.draw(st.sampled_from([message, *message.fields]))
    if target is not message:
        index = message.fields.index(target)
        target = message.fields[index] = SimpleNamespace(**vars(target))
    name = data.draw(st.sampled_from(sorted(set(vars(target)) - {"header", "is_dense"})))
    setattr(target, name, data.draw(SIZES))
    try:
        frame = decode(message)
    except CloudError:
        return
    assert len(frame) == message.height * message.width


@given(messages().filter(lambda m: not m.is_bigendian and m.height * m.width))
@settings(deadline=None)
def test_points_equal_those_of_the_ros_reader(message):
    pointcloud2 = pytest.importorskip(
        "pointcloud2", reason="the port of sensor_msgs_py is missing"
    )
    read = pointcloud2.read_points(message, ["x", "y", "z"])

    with np.errstate(over="ignore", invalid="ignore"):
        expected = np.stack([read[n].astype(np.float32) for n in "xyz"], axis=1)
    np.testing.assert_array_equal(decode(message).points, expected)


def test_messages_of_rclpy_are_read_and_filled(monkeypatch):
    sensor_msgs = pytest.importorskip("sensor_msgs.msg", reason="ROS 2's messages are missing")
    # Equals ROS_PYTHON_CHECK_FIELDS=1, which is read only at the first import.
    for module in (sensor_msgs._point_cloud2, sensor_msgs._point_field):
        monkeypatch.setattr(module, "ros_python_check_fields", "1", raising=False)
    source = make([*XYZ, Field("label", 12, UINT8)], [(1, 2, 3, 4), (5, 6, 7, 8)], height=2)
    labels, confidence, colours = arrays_of(2)
    cloud = labelled(source, labels, confidence, colours)
    message = sensor_msgs.PointCloud2()
    message.header.frame_id = "lidar"
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(STAMP, 10**9)

    assert fill_message(message, cloud, sensor_msgs.PointField) is message

    assert type(message.data) is array
    assert bytes(message.data) == bytes(cloud.data)
    assert [f.name for f in message.fields][3:] == ["input_label", "label", "confidence", "rgb"]
    frame = decode(message, label_field="input_label")
    assert frame.labels.tolist() == [4, 8]
    assert frame.points.tolist() == [[1, 2, 3], [5, 6, 7]]
    assert (frame.stamp, frame.frame_id) == (STAMP, "lidar")
    np.testing.assert_array_equal(frame.colour, colours)


def test_a_real_organised_cloud_fits_a_pinhole_camera(shared_data):
    """For a pinhole camera x / z is linear in the column and y / z in the row."""
    highlevel = pytest.importorskip("rosbags.highlevel", reason="rosbags is missing")
    with highlevel.AnyReader([*(shared_data / "moveit_depthcam_bag").glob("*.bag")]) as reader:
        ((connection, _, raw),) = reader.messages()
        message = reader.deserialize(raw, connection.msgtype)

    frame = decode(message)

    assert (message.height, message.width) == (480, 640)
    assert 0.5 < frame.valid.mean() < 1.0
    rows, columns = np.divmod(np.flatnonzero(frame.valid), 640)
    x, y, z = frame.points[frame.valid].astype(np.float64).T
    for pixel, slope in ((columns, x / z), (rows, y / z)):
        fit = np.polynomial.Polynomial.fit(pixel, slope, 1)
        assert np.abs(fit(pixel) - slope).max() < 0.002  # a pixel is 0.0019 wide for f = 525
    assert frame.colour[frame.valid].std(axis=0).min() > 10

    cloud = labelled(message, *arrays_of(len(frame)))
    again = decode(with_header(cloud))
    np.testing.assert_array_equal(again.points, frame.points)
    assert not cloud.is_dense


def test_which_points_truly_move_is_a_field_beside_the_true_labels():
    frame = Frame(
        np.ones((3, 3), np.float32),
        labels=np.array([0, 1, 2], np.uint8),
        moving=np.array([True, False, True]),
    )
    message = with_header(encode_frame(frame, "truth"))
    assert [f.name for f in message.fields][-2:] == ["truth", "true_moving"]
    again = decode(message, label_field="truth")
    assert again.moving.tolist() == [True, False, True]
    assert again.labels.tolist() == [0, 1, 2]
    assert decode(message).moving is None
    assert field_values(message, "true_moving").tolist() == [1, 0, 1]
    assert field_values(message, "moving") is None
    without = with_header(encode_frame(frame))
    assert "true_moving" not in [f.name for f in without.fields]
    with pytest.raises(ValueError, match="label field cannot be named 'true_moving'"):
        encode_frame(frame, "true_moving")


def test_encoded_fields_are_aligned_and_read_back():
    columns = {
        **{axis: np.arange(3, dtype=np.float32) for axis in "xyz"},
        "label": np.array([1, 2, 255], np.uint8),
        "age": np.array([0.5, np.nan, 1.0], np.float32),
        "rgb": np.array([[1, 2, 3], [4, 5, 6], [7, 8, 9]], np.uint8),
    }
    cloud = encode_fields(columns)

    assert [(f.name, f.offset) for f in cloud.fields] == [
        *(("x", 0), ("y", 4), ("z", 8), ("label", 12), ("age", 16), ("rgb", 20))
    ]
    assert (cloud.height, cloud.width, cloud.point_step, cloud.is_dense) == (1, 3, 24, True)
    stamp = SimpleNamespace(sec=1, nanosec=2)
    message = SimpleNamespace(header=SimpleNamespace(stamp=stamp, frame_id="odom"), **vars(cloud))
    frame = decode(message, label_field="label")
    np.testing.assert_array_equal(frame.points[:, 1], columns["y"])
    np.testing.assert_array_equal(frame.labels, columns["label"])
    np.testing.assert_array_equal(frame.colour, columns["rgb"])
