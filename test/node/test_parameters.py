# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import re

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs rclpy: a ROS 2 installation or its wheels")

import rclpy
from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.msg import ParameterValue, SetParametersResult
from rcl_interfaces.srv import SetParameters, SetParametersAtomically
from rclpy.parameter import Parameter

from minkowski_perception.node.parameters import (
    ConfigurationError,
    checked,
    declare,
    read,
    ros_value,
    sensor_matrix,
    serve,
)
from minkowski_perception.settings import SETTINGS, Settings, SettingsError


@pytest.fixture
def make_node():
    context = rclpy.Context()
    rclpy.init(context=context)
    nodes = []

    def make(**overrides):
        values = [Parameter(name, value=value) for name, value in overrides.items()]
        nodes.append(rclpy.create_node("node", context=context, parameter_overrides=values))
        return nodes[-1]

    yield make
    for node in nodes:
        node.destroy_node()
    rclpy.shutdown(context=context)


def configured(node):
    assert not declare(node)
    return read(node)[""]


def test_every_setting_is_declared_with_its_default_description_and_range(make_node):
    node = make_node()
    configured(node)
    for name, setting in SETTINGS.items():
        described = node.describe_parameter(name)
        assert node.get_parameter(name).value == ros_value(setting.default)
        assert described.description == setting.description
        if setting.range:
            ranges = [*described.integer_range, *described.floating_point_range]
            assert (ranges[0].from_value, ranges[0].to_value) == setting.range
        for choice in setting.choices:
            assert choice in described.additional_constraints


def test_a_node_without_overrides_has_the_default_settings(make_node):
    assert configured(make_node()) == Settings()


def test_integers_are_accepted_for_floats(make_node):
    settings = configured(make_node(ego_motion_timeout=1, sensor_pose=[1, 0, 2, 0, 0, 0]))
    assert settings.ego_motion_timeout == 1.0
    assert settings.sensor_pose == (1.0, 0.0, 2.0, 0.0, 0.0, 0.0)


def test_roll_pitch_and_yaw_follow_rep_103():
    turned = sensor_matrix([1.0, 0.0, 2.0, 0.0, 0.0, np.pi / 2])
    assert turned[:3, 3].tolist() == [1.0, 0.0, 2.0]
    np.testing.assert_allclose(turned[:3, 0], [0.0, 1.0, 0.0], atol=1e-12)
    pitched = sensor_matrix([0.0, 0.0, 0.0, 0.0, np.pi / 2, 0.0])
    np.testing.assert_allclose(pitched[:3, 0], [0.0, 0.0, -1.0], atol=1e-12)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (
            "ego_motion",
            "wheels",
            "ego_motion must be one of auto, tf, odometry, kiss_icp, none, not 'wheels'",
        ),
        ("sensor_pose", [1.0, 2.0], r"sensor_pose must be 6 finite numbers, not .*1\.0, 2\.0"),
        ("sensor_pose", "here", "sensor_pose must be 6 finite numbers, not 'here'"),
        ("max_gap", "long", "max_gap must be a number, not 'long'"),
        ("max_gap", True, "max_gap must be a number, not True"),
        ("input_reliability", "hopeful", "one of best_effort, reliable, not 'hopeful'"),
    ],
)
def test_reading_an_invalid_value_raises(make_node, name, value, message):
    node = make_node(**{name: value})
    declare(node)
    with pytest.raises(ConfigurationError, match=message):
        read(node)


@pytest.mark.parametrize(("name", "value"), [("window", 99), ("threads", "many"), ("model", 7)])
def test_a_value_that_ros_refuses_is_reported_and_the_default_is_kept(make_node, name, value):
    node = make_node(**{name: value})
    refused = declare(node)
    assert list(refused) == [name]
    assert name in refused[name]
    assert node.get_parameter(name).value == SETTINGS[name].default


def test_a_mapping_in_place_of_a_text_is_refused_with_the_remedy(make_node):
    refused = declare(make_node(**{"clouds.ground": ["road"], "other.name": 1}))
    assert list(refused) == ["clouds"]
    assert "must be one value, not a mapping (there is a parameter clouds.gr" in refused["clouds"]
    assert "begins with 'clouds: |'" in refused["clouds"]


@pytest.fixture
def request_to(make_node):
    """Return a function that sets parameters as a client would; it returns the results."""
    node = make_node()
    declare(node)

    def check(parameters):
        try:
            checked(parameters)
        except SettingsError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    node.add_on_set_parameters_callback(check)
    serve(node)

    def request(*values, atomically=False):
        kind = SetParametersAtomically if atomically else SetParameters
        [service] = [s for s in node.services if s.srv_type is kind]
        messages = [ParameterMessage(name=name, value=value) for name, value in values]
        response = service.callback(kind.Request(parameters=messages), kind.Response())
        return [response.result] if atomically else list(response.results)

    request.node = node
    return request


def text(value):
    return ParameterValue(type=4, string_value=value)


@pytest.mark.parametrize("atomically", [False, True])
@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("averaging", ParameterValue(type=99), "99 is not a valid"),
        ("averaging", ParameterValue(type=2, integer_value=10**6), ""),
        ("sensor_pose", ParameterValue(type=0), "sensor_pose cannot be deleted; its default is"),
        ("max_gap", ParameterValue(type=0), "max_gap cannot be deleted"),
        ("crf", ParameterValue(type=0), "undeclared"),
        ("max_gap", text("hello"), "max_gap must be a number, not 'hello'"),
        ("max_gap", ParameterValue(type=3, double_value=float("nan")), "max_gap"),
        ("engine", text("nonsense"), "engine must be one of auto, torch, numba"),
        ("device", text("tpu"), "device must be 'auto', 'cpu', 'cuda' or 'cuda:N', not 'tpu'"),
        ("model", text("no_such"), "unknown model 'no_such'; choose one of"),
        ("model", text("/no/such.yaml"), "card /no/such.yaml: cannot be read"),
        ("clouds", text("{ground: {class: [road]}}"), "clouds.ground.class: unknown key; did you"),
        ("no_such", text("x"), "no parameter 'no_such'"),
        ("", text("x"), "no parameter ''"),
    ],
)
def test_a_value_that_is_not_valid_is_refused_and_nothing_changes(
    request_to, name, value, reason, atomically
):
    known = request_to.node.list_parameters([], 0).names
    before = {name: request_to.node.get_parameter(name).value for name in SETTINGS}
    [result] = request_to((name, value), atomically=atomically)
    assert not result.successful
    assert reason in result.reason
    assert before == {name: request_to.node.get_parameter(name).value for name in SETTINGS}
    assert known == request_to.node.list_parameters([], 0).names


def test_several_parameters_have_a_result_each_unless_they_are_set_atomically(request_to):
    good = ("averaging", ParameterValue(type=2, integer_value=4))
    bad = ("engine", text("nonsense"))
    assert [r.successful for r in request_to(good, bad, good)] == [True, False, True]
    other = ("averaging", ParameterValue(type=2, integer_value=5))
    assert [r.successful for r in request_to(other, bad, atomically=True)] == [False]
    assert request_to.node.get_parameter("averaging").value == 4
    assert request_to() == []


def test_the_answer_says_what_takes_effect_later(request_to):
    [live] = request_to(("averaging", ParameterValue(type=2, integer_value=4)))
    [later] = request_to(("engine", text("torch")))
    assert (live.successful, live.reason) == (True, "")
    assert later.successful
    assert later.reason == "engine: takes effect at the next configure"


STREAMS = {
    "streams": ["front", "camera"],
    "cloud_topic": "/front/points",
    "camera.cloud_topic": "/camera/points",
    "camera.model": "indoor_depth",
    "camera.max_gap": 3,
    "max_gap": 0.5,
}


def test_a_stream_has_parameters_of_its_own_and_else_those_of_the_node(make_node):
    node = make_node(**STREAMS)
    assert not declare(node)
    streams = read(node)
    assert list(streams) == ["front", "camera"]
    front, camera = streams.values()
    assert (front.cloud_topic, front.model, front.max_gap) == (
        "/front/points",
        "outdoor_lidar",
        0.5,
    )
    assert (camera.cloud_topic, camera.model, camera.max_gap) == (
        "/camera/points",
        "indoor_depth",
        3.0,
    )
    assert node.describe_parameter("camera.max_gap").description
    node.set_parameters([Parameter("max_gap", value=0.7), Parameter("camera.max_gap", value=2.0)])
    assert [each.max_gap for each in read(node).values()] == [0.7, 2.0]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"front.modell": "x"}, "front.modell: a stream has no .* did you mean 'model'"),
        ({"front.zzz": "x"}, "front.zzz: a stream has no parameter .*; valid: model, execution"),
        ({"front.engine": "torch"}, "front.engine: 'engine' is the same for all streams"),
    ],
)
def test_an_unknown_parameter_of_a_stream_is_refused(make_node, values, message):
    [refusal] = declare(make_node(**STREAMS, **values)).values()
    assert re.search(message, refusal)


def test_a_mapping_in_place_of_a_text_of_a_stream_is_refused_with_the_remedy(make_node):
    refused = declare(make_node(**STREAMS, **{"front.clouds.ground": ["road"]}))
    assert list(refused) == ["front.clouds"]
    assert refused["front.clouds"].startswith("front.clouds must be one value, not a mapping (")
    assert "begins with 'clouds: |'" in refused["front.clouds"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"front.max_gap": "long"}, "front.max_gap: max_gap must be a number, not 'long'"),
        ({"front.cloud_topic": "a b"}, "front.cloud_topic: Invalid topic name"),
        ({"front.model": "no_such"}, "front.model: unknown model 'no_such'"),
        ({"streams": ["front", "front"]}, r"streams: each name once, not \['front', 'front'\]"),
        ({"streams": ["front", "a/b"]}, "streams: a name has letters, .* not 'a/b'"),
        ({"streams": ["model"]}, "streams: 'model' is the name of a parameter; take another"),
        ({"streams": ["a", "b"]}, "streams 'a' and 'b' have the same clouds and model; give 'b'"),
    ],
)
def test_streams_that_are_not_valid_are_refused(make_node, values, message):
    node = make_node(**{**STREAMS, **values})
    declare(node)
    with pytest.raises(ConfigurationError, match=message):
        read(node)


def test_the_streams_of_a_running_node_cannot_be_changed(make_node):
    node = make_node(**STREAMS)
    declare(node)
    [result] = node.set_parameters([Parameter("streams", value=["rear"])])
    assert not result.successful
    assert list(read(node)) == ["front", "camera"]


def test_a_parameter_of_a_stream_is_checked_as_that_of_the_node():
    assert checked([Parameter("front.averaging", value=3)]) == {"front.averaging": 3}
    with pytest.raises(SettingsError, match="averaging must be 1 to 32 frames, not 0"):
        checked([Parameter("front.averaging", value=0)])
    with pytest.raises(SettingsError, match=r"front\.max_gap cannot be deleted"):
        checked([Parameter("front.max_gap", Parameter.Type.NOT_SET)])
