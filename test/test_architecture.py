# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Layers of the package: imports point down, and only the node and its checks import ROS."""

import ast
from collections import Counter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "minkowski_perception"
MODULES = sorted(PACKAGE.rglob("*.py"))

# Each part may import itself and the parts before it in this list.
LAYERS = [
    {"allocator", "colours", "files", "former_modules", "missing", "schema"},
    {"accounting", "frame", "labels", "registry", "settings"},
    {"axes"},
    {"codec", "metrics", "moving", "objects", "plausibility", "scoring", "sparse", "trial"},
    {"compiled_voxels", "view"},
    {"device", "legend", "voxels", "pictures", "summary"},
    {"report", "temperature"},
    {"networks"},
    {"motion"},
    {"streaming"},
    {"segmenter", "recordings"},
    {"clouds", "domain"},
    {"stream"},
    {"warm_up"},
    {"node", "lab"},
    {"checks", "labelling"},
    {"commands"},
]
# Each part of the lab may import itself and the parts before it in this list.
LAB_LAYERS = [
    {"simulation"},
    {"datasets", "importers"},
    {"benchmarks", "evaluation", "training"},
    {"adaptation"},
]
LEVEL = {part: level for level, parts in enumerate(LAYERS) for part in parts}
LAB_LEVEL = {part: level for level, parts in enumerate(LAB_LAYERS) for part in parts}
ROS = {
    "bond",
    "builtin_interfaces",
    "diagnostic_msgs",
    "geometry_msgs",
    "launch",
    "launch_ros",
    "nav_msgs",
    "rcl_interfaces",
    "rclpy",
    "sensor_msgs",
    "std_msgs",
    "std_srvs",
    "tf2_msgs",
    "tf2_ros",
    "vision_msgs",
    "visualization_msgs",
}


def part_of(path):
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imported(path):
    """Yield the full names of all modules that a file imports, also inside functions."""
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
    assert part in LEVEL, f"add '{part}' to LAYERS"
    for name in imported(path):
        names = name.split(".")
        if names[0] == "minkowski_perception" and len(names) > 1 and names[1] in LEVEL:
            assert LEVEL[names[1]] <= LEVEL[part], f"{path} imports {name}"
            assert part != "node" or names[1] != "lab", f"{path} imports {name}"
            if part == names[1] == "lab" and len(names) > 2 and names[2] in LAB_LEVEL:
                lab_part = path.relative_to(PACKAGE).parts[1]
                assert LAB_LEVEL[names[2]] <= LAB_LEVEL[lab_part], f"{path} imports {name}"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_commands_import_the_lab_only_inside_functions(path):
    if part_of(path) != "commands":
        return
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ImportFrom):
            assert not f"{node.module}.".startswith("minkowski_perception.lab."), path


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_only_the_node_and_its_checks_import_ros(path):
    ros = {name.split(".")[0] for name in imported(path)} & ROS
    allowed = part_of(path) == "node" or path == PACKAGE / "checks" / "graph.py"
    assert allowed or not ros, f"{path} imports {ros}"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_every_module_has_the_license_header(path):
    head = path.read_text().splitlines()[:2]
    assert head == [
        "# Copyright 2026 The minkowski_perception authors",
        "# SPDX-License-Identifier: Apache-2.0",
    ]


def test_no_two_test_files_have_the_same_name():
    # Folders of tests are no packages, so pytest imports files by their names alone.
    names = Counter(path.name for path in Path(__file__).parent.rglob("test_*.py"))
    assert [name for name, count in names.items() if count > 1] == []
