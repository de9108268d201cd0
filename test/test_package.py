# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Manifests of the package for pip and ROS, and the files that a colcon build installs."""

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

import minkowski_perception

ROOT = Path(__file__).parents[1]
MANIFEST = ElementTree.parse(ROOT / "package.xml").getroot()

KEYS = {"tf2_ros": "tf2_ros_py", "torch": "python3-pytorch-pip"}
"""rosdep keys of modules whose names differ."""

PROGRAMS = {"ros2launch", "rviz2"}
"""Dependencies that are run, not imported."""

NOT_IN_ROSDEP = {"llvmlite", "pointcloud2", "safetensors"}
OPTIONAL = {
    *("kiss_icp", "laspy", "libusb_package", "open3d", "spconv", "spconv_triton", "trimesh"),
    *("ray", "rerun", "triton"),
}
WITH_ROSBAGS = {"backports", "compression", "lz4"}
"""What rosbags needs and brings."""


def setup_output(*options: str) -> list[str]:
    """Return the output of setup.py for options such as --version, one line each."""
    command = [sys.executable, "-W", "ignore", "setup.py", *options]
    return subprocess.check_output(command, cwd=ROOT, text=True).splitlines()


def imported_modules() -> set[str]:
    """Return the third-party packages that this package and its launch files import."""
    names = set()
    for source in [*ROOT.glob("minkowski_perception/**/*.py"), *ROOT.glob("launch/*.py")]:
        for node in ast.walk(ast.parse(source.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names.add(str(node.module).partition(".")[0])
    return names - sys.stdlib_module_names - {"minkowski_perception"}


def test_setup_and_manifest_have_the_same_name_version_and_license():
    pytest.importorskip("setuptools")
    name, version, license = setup_output("--name", "--version", "--license")
    assert version == MANIFEST.findtext("version") == minkowski_perception.__version__
    assert name == MANIFEST.findtext("name") == minkowski_perception.__name__
    assert license == MANIFEST.findtext("license")


def test_the_changelog_begins_with_this_version_or_with_what_comes_after_it():
    headings = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert minkowski_perception.__version__ in headings[: 2 if headings[0] == "Unreleased" else 1]


def test_the_manifest_is_valid():
    manifest = pytest.importorskip("catkin_pkg.package", reason="catkin_pkg comes with colcon-ros")
    warnings: list[str] = []
    manifest.parse_package(ROOT / "package.xml", warnings=warnings)
    assert warnings == []


def test_the_manifest_declares_exactly_the_imported_packages():
    declared = {depend.text for depend in MANIFEST.iter("exec_depend")}
    missing = set()
    for module in imported_modules() - NOT_IN_ROSDEP - OPTIONAL - WITH_ROSBAGS:
        keys = {KEYS.get(module, module), f"python3-{module}", f"python3-{module}-pip"}
        if not keys & declared:
            missing.add(module)
        declared -= keys
    assert missing == set()
    assert declared == PROGRAMS


@pytest.mark.system
def test_a_colcon_build_installs_all_files(tmp_path):
    beside = Path(sys.executable).parent
    colcon = shutil.which("colcon", path=f"{beside}{os.pathsep}{os.environ.get('PATH', '')}")
    if colcon is None:
        pytest.skip("colcon is not installed")
    subprocess.run([colcon, "build", "--paths", ROOT], cwd=tmp_path, check=True)

    prefix = tmp_path / "install" / "minkowski_perception"
    share, executables = prefix / "share", prefix / "lib" / "minkowski_perception"
    assert (share / "ament_index/resource_index/packages/minkowski_perception").is_file()
    for folder, pattern in (
        ("launch", "*.launch.py"),
        ("config", "*.*"),
        ("config/security", "*.xml"),
    ):
        shipped = {file.name for file in ROOT.glob(f"{folder}/{pattern}")}
        built = {file.name for file in (share / "minkowski_perception" / folder).iterdir()}
        assert shipped, f"{folder}/{pattern}"
        assert shipped <= built
    [package] = prefix.glob("lib/python*/site-packages/minkowski_perception")
    for data in (
        "py.typed",
        "label_sets/*.yaml",
        "node/fastdds.xml",
        "lab/simulation/sensors/*/*.yaml",
        "weights/*.yaml",
        "weights/*.safetensors",
    ):
        shipped = {file.name for file in ROOT.glob(f"minkowski_perception/{data}")}
        assert shipped, data
        assert shipped == {file.name for file in package.glob(data)}
    assert not list(package.rglob("ablation_models/*")), (
        "the wheel contains models of the benchmark"
    )
    names = {file.name for file in executables.iterdir()}
    assert names == {"minkowski-perception", "perception_node", "player", "recorder", "view_frame"}
    for executable in executables.iterdir():
        assert executable.read_text().startswith("#!/usr/bin/env python3\n")

    # Like `ros2 run` in a shell that has sourced the workspace.
    started = f". install/setup.sh && {executables}/minkowski-perception --version"
    environment = {**os.environ, "PATH": f"{beside}{os.pathsep}{os.environ['PATH']}"}
    printed = subprocess.check_output(
        ["bash", "-c", started], cwd=tmp_path, text=True, env=environment
    )
    assert printed.strip() == minkowski_perception.__version__
