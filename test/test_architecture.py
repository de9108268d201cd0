# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Imports point one way, and ROS stays in the shell around the algorithm."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "minkowski_perception"
MODULES = sorted(PACKAGE.rglob("*.py"))

# Each part may import itself and the parts before it in this list.
LAYERS = [
    {"files", "schema"},
    {"accounting", "frame", "labels", "registry", "settings"},
    {"codec", "metrics", "scoring", "sparse", "trial"},
    {"device", "voxels", "pictures", "summary"},
    {"networks"},
    {"motion"},
    {"streaming"},
    {"segmenter", "recordings"},
    {"stream"},
    {"node", "lab"},
    {"commands"},
]
# And each room of the workshop itself and those before it.
ROOMS = [
    {"simulation"},
    {"datasets", "importers"},
    {"benchmarks", "evaluation", "training"},
]
LEVEL = {part: level for level, parts in enumerate(LAYERS) for part in parts}
ROOM_LEVEL = {room: level for level, rooms in enumerate(ROOMS) for room in rooms}
ROS = {
    "builtin_interfaces",
    "diagnostic_msgs",
    "geometry_msgs",
    "launch",
    "launch_ros",
    "nav_msgs",
    "rcl_interfaces",
    "rclpy",
    "sensor_msgs",
    "tf2_ros",
    "vision_msgs",
    "visualization_msgs",
}


def part_of(path):
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imported(path):
    """Full names of all modules that a file imports, at the top or inside functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_module_imports_only_parts_of_its_own_layer_or_below(path):
    part = part_of(path)
    if part == "__init__":
        return
    assert part in LEVEL, f"'{part}' has no layer: give it one"
    for name in imported(path):
        names = name.split(".")
        if names[0] == "minkowski_perception" and len(names) > 1 and names[1] in LEVEL:
            assert LEVEL[names[1]] <= LEVEL[part], f"{path} imports {name}"
            assert part != "node" or names[1] != "lab", f"{path} imports {name}"
            if part == names[1] == "lab" and len(names) > 2 and names[2] in ROOM_LEVEL:
                room = path.relative_to(PACKAGE).parts[1]
                assert ROOM_LEVEL[names[2]] <= ROOM_LEVEL[room], f"{path} imports {name}"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_commands_import_the_lab_where_they_use_it(path):
    if part_of(path) != "commands":
        return
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ImportFrom):
            assert not str(node.module).startswith("minkowski_perception.lab"), path


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_ros_is_imported_in_the_node_alone(path):
    ros = {name.split(".")[0] for name in imported(path)} & ROS
    assert part_of(path) == "node" or not ros, f"{path} imports {ros}"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_every_module_names_its_licence(path):
    head = path.read_text().splitlines()[:2]
    assert head == [
        "# Copyright 2026 The minkowski_perception authors",
        "# SPDX-License-Identifier: Apache-2.0",
    ]
