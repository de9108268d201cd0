# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minkowski_perception.clouds import (
    Cloud,
    Selection,
    default_clouds,
    read_clouds,
    select,
)
from minkowski_perception.codec import (
    append_fields,
    as_message,
    decode,
    encode_fields,
    field_values,
)
from minkowski_perception.frame import Frame
from minkowski_perception.labels import UNLABELLED, LabelSet
from minkowski_perception.networks.model import available_models, load_model
from minkowski_perception.schema import SchemaError
from minkowski_perception.segmenter import Segmentation

KITTI = LabelSet.load("semantickitti19")
INDOOR = LabelSet.load("indoor8")
GROUND = ("road", "parking", "sidewalk", "other-ground", "terrain")
EXAMPLES = settings(max_examples=60, database=None)


def segmentation(labels, confidence=None, moving=None, label_set=INDOOR):
    labels = np.asarray(labels, np.uint8)
    confidence = np.ones(len(labels)) if confidence is None else confidence
    outputs = {} if moving is None else {"moving": np.asarray(moving, np.float32)}
    confidence = np.asarray(confidence, np.float32)
    return Segmentation(labels, confidence, label_set, {}, 1, 1, outputs)


@st.composite
def labelled_frames(draw):
    """A frame with invalid points and points at limits, and its outputs."""
    coordinate = st.sampled_from([-2.0, -1.0, -0.25, 0.0, 0.25, 0.5, 1.0, 3.0, math.nan, math.inf])
    number = draw(st.integers(0, 12))

    def column(values):
        return draw(st.lists(values, min_size=number, max_size=number))

    points = column(st.tuples(coordinate, coordinate, coordinate))
    frame = Frame(
        np.array(points, np.float32).reshape(-1, 3),
        frame_id=draw(st.sampled_from(["lidar", "camera_optical_frame"])),
    )
    return frame, segmentation(
        column(st.sampled_from([*range(len(INDOOR)), UNLABELLED])),
        column(st.sampled_from([0.0, 0.25, 0.5, 1.0])),
        column(st.sampled_from([0.0, 0.25, 0.5, 1.0, math.nan])),
    )


def intervals():
    ends = st.sampled_from([None, -1.0, 0.0, 0.5, 2.0])
    return st.none() | st.tuples(ends, ends).filter(lambda pair: None in pair or pair[0] < pair[1])


@st.composite
def clouds(draw):
    names = st.lists(st.sampled_from([*INDOOR.names, "unlabelled"]), min_size=1).map(tuple)
    probability = st.sampled_from([0.0, 0.25, 0.5, 1.0])
    labels = draw(st.sampled_from([None, "classes", "excluded"]))
    motion = draw(st.sampled_from([None, "moving", "still"]))
    keys = {} if labels is None else {labels: draw(names), "min_confidence": draw(probability)}
    keys |= {} if motion is None else {motion: draw(probability)}
    box = st.sampled_from([None, ((-1.0, -1.0, -1.0), (1.0, 0.25, 1.0))])
    return Cloud(range=draw(intervals()), height=draw(intervals()), box=draw(box), **keys)


def is_in(cloud, point, frame_id, label, confidence, moving):
    """Return whether a point is in a cloud, one condition after the other."""
    x, y, z = map(float, point)
    if not all(map(math.isfinite, (x, y, z))) or x == y == z == 0.0:
        return False
    name = "unlabelled" if label == UNLABELLED else INDOOR.names[label]
    counts_as = "unlabelled" if confidence < cloud.min_confidence else name
    if cloud.classes is not None and counts_as not in cloud.classes:
        return False
    if cloud.excluded is not None and counts_as in cloud.excluded:
        return False
    if cloud.moving is not None and not moving > cloud.moving:
        return False
    if cloud.still is not None:
        if math.isnan(moving):
            if name in INDOOR.movable:
                return False
        elif moving > cloud.still:
            return False
    up = -y if frame_id.endswith("_optical_frame") else z
    for value, limits in ((math.hypot(x, y, z), cloud.range), (up, cloud.height)):
        low, high = limits or (None, None)
        if (low is not None and value < low) or (high is not None and value > high):
            return False
    if cloud.box is not None:
        return all(
            low <= v <= high
            for low, v, high in zip(cloud.box[0], (x, y, z), cloud.box[1], strict=True)
        )
    return True


@EXAMPLES
@given(labelled_frames(), clouds())
def test_a_cloud_has_exactly_the_points_that_meet_all_conditions(labelled, cloud):
    frame, found = labelled
    rows = Selection("some", cloud, INDOOR, ["moving"]).rows(frame, found)
    values = zip(
        frame.points, found.labels, found.confidence, found.outputs["moving"], strict=True
    )
    expected = [
        i
        for i, (point, label, confidence, moving) in enumerate(values)
        if is_in(cloud, point, frame.frame_id, label, confidence, moving)
    ]
    assert rows.tolist() == expected


def test_heights_are_above_a_tilted_sensor_and_a_box_is_in_its_axes():
    frame, found = Frame(np.diag([1.0, 2.0, 3.0])), segmentation([0] * 3)
    up = np.array([0.0, 1.0, 0.0])
    high = Selection("high", Cloud(height=(1.5, None)), INDOOR, [])
    assert high.rows(frame, found).tolist() == [2]
    assert high.rows(frame, found, up).tolist() == [1]
    box = Selection("box", Cloud(box=((-1.0, -1.0, -1.0), (5.0, 2.5, 2.5))), INDOOR, [])
    assert box.rows(frame, found, up).tolist() == [0, 1]


@EXAMPLES
@given(labelled_frames(), st.sets(st.sampled_from([*INDOOR.names, "unlabelled"]), min_size=1))
def test_classes_and_except_divide_the_measured_points(labelled, names):
    frame, found = labelled
    clouds = {"in": Cloud(classes=(*names,)), "out": Cloud(excluded=(*names,))}
    parts = [each.rows(frame, found) for each in select(clouds, INDOOR, []).values()]
    assert sorted(np.concatenate(parts)) == np.flatnonzero(frame.measured).tolist()


@EXAMPLES
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.05, 0.3, 5.0]))
def test_thinning_keeps_the_first_point_of_each_voxel(seed, size):
    points = np.random.default_rng(seed).normal(0.0, 1.0, (50, 3)).astype(np.float32)
    selection = Selection("thin", Cloud(voxel_size=size), INDOOR, [])
    rows = selection.rows(Frame(points), segmentation([0] * 50))
    first = {}
    for i, point in enumerate(points.astype(np.float64)):
        first.setdefault(tuple(np.floor(point / size)), i)
    assert rows.tolist() == sorted(first.values())


def test_thinning_takes_points_at_any_distance():
    points = np.array([[1e30, 0, 0], [-1e30, 0, 0], [1, 1, 1], [1, 1, 1]], np.float32)
    selection = Selection("thin", Cloud(voxel_size=0.01), INDOOR, [])
    assert selection.rows(Frame(points), segmentation([0] * 4)).tolist() == [0, 1, 2]


def test_without_known_motion_nothing_moves_and_what_can_move_is_not_static():
    names = ["floor", "person", "wall"]
    frame = Frame(np.ones((3, 3), np.float32))
    unknown = segmentation([INDOOR.names.index(n) for n in names], moving=[math.nan] * 3)
    chosen = select(default_clouds(INDOOR, ["moving"]), INDOOR, ["moving"])
    assert chosen["dynamic"].rows(frame, unknown).tolist() == []
    assert chosen["static"].rows(frame, unknown).tolist() == [0, 2]
    without_head = select(default_clouds(INDOOR, []), INDOOR, [])
    assert "dynamic" not in without_head
    assert without_head["static"].rows(frame, unknown).tolist() == [0, 2]


def test_each_model_has_default_clouds():
    ground = {"outdoor_lidar": GROUND, "indoor_depth": ("floor",)}
    overhead = {"outdoor_lidar": (), "indoor_depth": ("ceiling",)}
    for name in available_models():
        model = load_model(name)
        heads = model.network.options.heads
        clouds = default_clouds(model.label_set, heads)
        assert set(clouds) - {"dynamic"} == {"ground", "obstacles", "static"}
        assert ("dynamic" in clouds) == ("moving" in heads)
        assert clouds["ground"].classes == ground[name]
        assert clouds["obstacles"].excluded == (*ground[name], *overhead[name])
        select(clouds, model.label_set, heads)


def test_label_sets_of_which_nothing_is_known_have_no_default_clouds():
    plain = LabelSet("mine", ("this", "that"), ((0, 0, 0), (1, 1, 1)))
    assert default_clouds(plain, ["classes"]) == {}
    renamed = LabelSet("semantickitti19", ("this", "that"), ((0, 0, 0), (1, 1, 1)))
    assert default_clouds(renamed, ["classes"]) == {}


def test_the_setting_is_auto_none_or_yaml():
    assert read_clouds("auto") is None
    assert read_clouds("none") == read_clouds("") == read_clouds("{}") == {}
    assert read_clouds(
        "ground: [road, parking]\n"
        "near:\n"
        "  except: [road]\n"
        "  height: [null, 1]\n"
        "  box: [[-5, -5, -2], [5, 5, 2]]\n"
        "  layout: xyzi\n"
        "fast: {moving: 0.7}\n"
    ) == {
        "ground": Cloud(classes=("road", "parking")),
        "near": Cloud(
            excluded=("road",),
            height=(None, 1.0),
            box=((-5.0, -5.0, -2.0), (5.0, 5.0, 2.0)),
            layout="xyzi",
        ),
        "fast": Cloud(moving=0.7),
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ground", "clouds: must be auto, none or a mapping of names to classes, not 'ground'"),
        ("[road]", "clouds: must be auto, none or a mapping"),
        ("{ground: road}", "clouds.ground: must be a mapping with the keys classes, except, min"),
        ("{ground: []}", "clouds.ground: a list of classes is empty; leave it out"),
        ("{ground: {class: [road]}}", "clouds.ground.class: unknown key; did you mean 'classes'?"),
        ("{a/b: [road]}", "must be a name of a ROS topic, such as ground or near_cars, not 'a/b'"),
        ("{map: [road]}", "clouds.map: is the name of another topic of the node"),
        ("{a: {moving: 2}}", "clouds.a.moving: must be 0 to 1, not 2.0"),
        ("{a: {moving: 0.5, still: 0.5}}", "clouds.a: give moving or still, not both"),
        ("{a: {classes: [x], except: [y]}}", "clouds.a: give classes or except, not both"),
        ("{a: {min_confidence: 0.5}}", "clouds.a: min_confidence needs classes or except"),
        ("{a: {range: [5, 1]}}", "clouds.a: range must be [smallest, largest], not [5, 1]"),
        ("{a: {range: [5]}}", "clouds.a.range: must be a list of 2, not [5]"),
        ("{a: {box: [[0, 0, 0], [1, 1, 0]]}}", "clouds.a: box must be [[x, y, z], [x, y, z]]"),
        ("{a: {voxel_size: 0}}", "clouds.a.voxel_size: must be at least 0.01, not 0.0"),
        ("{a: {layout: xyzrgb}}", "clouds.a.layout: must be one of input, xyz, xyzi, xyzirc"),
        ("{a: [road]", "is not plain YAML"),
    ],
)
def test_an_error_of_the_setting_names_the_key_and_the_valid_ones(text, message):
    with pytest.raises(SchemaError) as refusal:
        read_clouds(text)
    assert message in str(refusal.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "{ground: [road, raod]}",
            "clouds.ground.classes[1]: unknown class 'raod' of label set 'semantickitti19'; did "
            "you mean 'road'? valid: car, bicycle,",
        ),
        ("{near: {except: [floor]}}", "clouds.near.except[0]: unknown class 'floor' of label set"),
        ("{d: {moving: 0.5}}", "clouds.d.moving: the model does not tell what moves; take a"),
    ],
)
def test_clouds_that_do_not_fit_the_model_are_refused(text, message):
    with pytest.raises(SchemaError) as refusal:
        select(read_clouds(text), KITTI, ["classes"])
    assert message in str(refusal.value)


def test_still_points_of_a_label_set_that_does_not_say_what_can_move_are_refused():
    plain = LabelSet("mine", ("this",), ((0, 0, 0),))
    with pytest.raises(SchemaError, match=r"clouds\.s\.still: neither the model nor the label"):
        select({"s": Cloud(still=0.5)}, plain, ["classes"])


# Layouts


def cloud_of(columns):
    """Return an organised message of 2 x 3 points, and its frame."""
    message = message_of(encode_fields(columns))
    message.height, message.width = 2, 3
    message.row_step = 3 * message.point_step
    return message, decode(message)


def message_of(cloud):
    return as_message(cloud, 10**9, "lidar")


POINTS = np.arange(18, dtype=np.float32).reshape(6, 3)
COLUMNS = {
    "ring": np.array([0, 1, 2, 3, 4, 70], np.uint16),
    **dict(zip("xyz", POINTS.T, strict=True)),
    "intensity": np.array([0, 50, 100, 150, 200, 250], np.float32),
    "time": np.linspace(0.0, 0.1, 6),
}
ROWS = np.array([1, 2, 5])


def encoded(layout, columns=COLUMNS, rows=ROWS, full_scale=250.0):
    message, frame = cloud_of(columns)
    selection = Selection("a", Cloud(layout=layout), INDOOR, [])
    return message, selection.encode(message, frame, rows, full_scale)


def test_the_layout_of_the_input_keeps_the_bytes_of_all_fields():
    message, cloud = encoded("input")
    before = np.frombuffer(message.data, np.uint8).reshape(6, -1)
    assert np.array_equal(np.frombuffer(cloud.data, np.uint8).reshape(3, -1), before[ROWS])
    assert [vars(f) for f in cloud.fields] == [vars(f) for f in message.fields]
    assert (cloud.height, cloud.width, cloud.is_dense) == (1, 3, True)


@pytest.mark.parametrize(
    ("layout", "step", "fields"),
    [
        ("xyz", 12, ["x", "y", "z"]),
        ("xyzi", 16, ["x", "y", "z", "intensity"]),
        ("xyzirc", 16, ["x", "y", "z", "intensity", "return_type", "channel"]),
    ],
)
def test_other_layouts_are_packed_as_pcl_and_autoware_do(layout, step, fields):
    _, cloud = encoded(layout)
    assert cloud.point_step == step
    assert [f.name for f in cloud.fields] == fields
    assert np.array_equal(decode(message_of(cloud)).points, POINTS[ROWS])


def test_intensity_ring_and_return_type_are_those_of_the_input():
    _, cloud = encoded("xyzi")
    assert field_values(message_of(cloud), "intensity").tolist() == [50.0, 100.0, 250.0]
    message = message_of(encoded("xyzirc", COLUMNS | {"return_type": np.full(6, 3, np.uint8)})[1])
    assert field_values(message, "intensity").tolist() == [51, 102, 255]
    assert field_values(message, "return_type").tolist() == [3, 3, 3]
    assert field_values(message, "channel").tolist() == [1, 2, 70]


def test_what_the_input_lacks_is_zero():
    plain = dict(zip("xyz", POINTS.T, strict=True))
    message = message_of(encoded("xyzirc", plain)[1])
    for name in ("intensity", "return_type", "channel"):
        assert field_values(message, name).tolist() == [0, 0, 0]


def test_a_selection_of_a_padded_big_endian_cloud_keeps_its_bytes():
    big = {name: column.astype(column.dtype.newbyteorder(">")) for name, column in COLUMNS.items()}
    little, _ = cloud_of(COLUMNS)
    step = little.point_step
    points = np.zeros(
        6,
        np.dtype(
            {
                "names": list(big),
                "formats": [column.dtype for column in big.values()],
                "offsets": [f.offset for f in little.fields],
                "itemsize": step,
            }
        ),
    )
    for name, column in big.items():
        points[name] = column
    padded = np.full((2, 3 * step + 5), 9, np.uint8)
    padded[:, : 3 * step] = points.view(np.uint8).reshape(2, -1)
    little.is_bigendian, little.row_step, little.data = True, 3 * step + 5, padded.tobytes()
    frame = decode(little)
    assert np.array_equal(frame.points, POINTS)
    cloud = Selection("a", Cloud(), INDOOR, []).encode(little, frame, ROWS, 1.0)
    assert cloud.is_bigendian
    assert np.array_equal(decode(message_of(cloud)).points, POINTS[ROWS])
    assert np.array_equal(field_values(message_of(cloud), "ring"), COLUMNS["ring"][ROWS])


@pytest.mark.parametrize("layout", ["input", "xyz", "xyzi", "xyzirc"])
def test_a_cloud_without_a_point_is_empty_and_valid(layout):
    _, cloud = encoded(layout, rows=np.array([], np.intp))
    assert (cloud.width, cloud.row_step, len(cloud.data)) == (0, 0, 0)
    assert len(decode(message_of(cloud))) == 0


def test_the_rows_of_a_selection_are_those_of_the_labelled_cloud():
    message, frame = cloud_of(COLUMNS)
    found = segmentation([0, 1, 0, 1, 0, 255])
    labelled = append_fields(message, found.fields())
    rows = Selection("floor", Cloud(classes=("floor",)), INDOOR, []).rows(frame, found)
    assert field_values(message_of(labelled), "label")[rows].tolist() == [0, 0, 0]
