# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Arguments of the launch files, with stubs in place of the packages launch and launch_ros."""

import runpy
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from minkowski_perception.settings import SETTINGS

FOLDER = Path(__file__).resolve().parents[2] / "launch"
STUBBED = [
    "launch",
    "launch.actions",
    "launch.conditions",
    "launch.launch_description_sources",
    "launch.substitutions",
    "launch_ros",
    "launch_ros.actions",
    "launch_ros.parameter_descriptions",
    "launch_ros.substitutions",
]


class Stub:
    """Keeps the arguments that an action or a substitution is made with."""

    def __init__(self, *args, **kwargs):
        self.args, self.kwargs = args, kwargs


class LaunchConfiguration(Stub):
    def perform(self, context):
        return context[self.args[0]]


CLASSES = {"LaunchConfiguration": LaunchConfiguration}


def stub_class(name):
    if name.startswith("_"):
        raise AttributeError(name)
    return CLASSES.setdefault(name, type(name, (Stub,), {}))


@pytest.fixture
def load(monkeypatch):
    """Return a function that runs a launch file: its globals, and its arguments by name."""
    for name in STUBBED:
        module = ModuleType(name)
        module.__getattr__ = stub_class
        monkeypatch.setitem(sys.modules, name, module)

    def run(name):
        file = runpy.run_path(str(FOLDER / name))
        entities = file["generate_launch_description"]().args[0]
        declared = [e for e in entities if type(e).__name__ == "DeclareLaunchArgument"]
        arguments = {e.args[0]: e.kwargs for e in declared}
        assert len(arguments) == len(declared)
        return SimpleNamespace(**file, arguments=arguments)

    return run


def context(file, **given):
    """Return the value of every argument, with "default" for defaults that are substitutions."""
    defaults = {name: kwargs["default_value"] for name, kwargs in file.arguments.items()}
    return {n: d if isinstance(d, str) else "default" for n, d in defaults.items()} | given


def node_parameters(file, **given):
    [node] = file.perception_node(context(file, **given))
    _, parameters = node.kwargs["parameters"]
    return {
        name: value if isinstance(value, list) else value.kwargs["value_type"]
        for name, value in parameters.items()
    }


def rviz_of(file, **given):
    """Return the configuration and the fixed frame of RViz, and what is launched beside it."""
    node, *others = file.rviz(context(file, **given))
    assert node.kwargs["executable"] == "rviz2"
    option, config, frame_option, frame = node.kwargs["arguments"]
    assert (option, frame_option) == ("-d", "-f")
    return config if isinstance(config, str) else config.args[0][-1], frame, others


def test_every_node_parameter_has_an_argument_that_is_empty_by_default(load):
    arguments = load("perception.launch.py").arguments
    for name, setting in SETTINGS.items():
        assert arguments[name]["default_value"] == ""
        assert arguments[name]["description"].startswith(setting.summary)


def test_an_empty_argument_leaves_the_parameter_to_the_file(load):
    assert node_parameters(load("perception.launch.py")) == {}


LISTS = {
    "sensor_pose": ("[1, 2.5, 3, 0, 0, 0]", [1.0, 2.5, 3.0, 0.0, 0.0, 0.0]),
    "streams": ("[front, rear]", ["front", "rear"]),
}


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=lambda s: s.name)
def test_an_argument_is_passed_to_the_node_in_the_type_of_the_setting(load, setting):
    value, expected = LISTS.get(setting.name, ("given", type(setting.default)))
    parameters = node_parameters(load("perception.launch.py"), **{setting.name: value})
    assert parameters == {setting.name: expected}


def test_one_stream_needs_no_brackets(load):
    parameters = node_parameters(load("perception.launch.py"), streams="front")
    assert parameters == {"streams": ["front"]}


@pytest.mark.parametrize(("given", "expected"), [({}, True), ({"respawn": "false"}, False)])
def test_a_node_whose_process_ends_is_started_again_unless_that_is_turned_off(
    load, given, expected
):
    file = load("perception.launch.py")
    [node] = file.perception_node(context(file, **given))
    assert node.kwargs["respawn"] is expected


def test_rviz_takes_its_own_fixed_frame_then_that_of_the_node(load):
    file = load("perception.launch.py")
    both = {"fixed_frame": "world", "rviz_fixed_frame": "lidar"}
    assert rviz_of(file, **both)[1:] == ("lidar", [])
    assert rviz_of(file, fixed_frame="world")[1:] == ("world", [])


def test_without_a_fixed_frame_the_launch_publishes_an_upright_one(load):
    _, frame, [publisher] = rviz_of(load("perception.launch.py"), axes="optical")
    assert frame == "minkowski_view"
    assert publisher.kwargs["executable"] == "view_frame"
    assert publisher.kwargs["parameters"] == [{"axes": "optical"}]


def test_the_configuration_of_rviz_follows_from_the_model_of_the_argument_or_the_file(
    load, tmp_path
):
    file = load("perception.launch.py")
    assert rviz_of(file)[0] == "perception.rviz"
    assert rviz_of(file, model="indoor_depth")[0] == "indoor.rviz"
    assert rviz_of(file, model="indoor_depth", rviz_config="mine.rviz")[0] == "mine.rviz"
    path = tmp_path / "robot.yaml"
    path.write_text("/**: {ros__parameters: {model: indoor_depth, axes: ros}}\n")
    config, _, [publisher] = rviz_of(file, params_file=str(path))
    assert config == "indoor.rviz"
    assert publisher.kwargs["parameters"] == [{"axes": "ros"}]
    path.write_text("- nonsense\n")
    assert rviz_of(file, params_file=str(path))[0] == "perception.rviz"


def test_rviz_and_its_fixed_frame_take_the_clouds_of_the_argument_or_the_file(load, tmp_path):
    file = load("perception.launch.py")
    path = tmp_path / "robot.yaml"
    path.write_text("/**: {ros__parameters: {cloud_topic: /front/points}}\n")
    for given, topic in (
        ({}, "cloud"),
        ({"params_file": str(path)}, "/front/points"),
        ({"params_file": str(path), "cloud_topic": "/points"}, "/points"),
    ):
        nodes = file.rviz(context(file, **given))
        assert [node.kwargs["remappings"] for node in nodes] == [[("cloud", topic)]] * 2


def test_the_replay_leaves_the_node_s_fixed_frame_alone(load):
    assert "fixed_frame" not in load("replay.launch.py").arguments


@pytest.mark.parametrize("name", ["perception.launch.py", "replay.launch.py"])
def test_every_argument_has_a_description(load, name):
    for argument in load(name).arguments.values():
        assert argument["description"].endswith(".")
