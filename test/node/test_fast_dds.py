# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

pytest.importorskip("rclpy", reason="needs rclpy: a ROS 2 installation or its wheels")

from minkowski_perception.node import fast_dds
from minkowski_perception.node.fast_dds import PROFILE, profile_variables

SEGMENTS = """
import sys
from pathlib import Path

import rclpy

from minkowski_perception.node.stopping import init_until_signalled

if sys.argv[1] == "with":
    init_until_signalled()
else:
    rclpy.init()
node = rclpy.create_node("segments")
maps = Path("/proc/self/maps").read_text().splitlines()
files = {line.split()[-1] for line in maps if "/dev/shm/fast" in line}
print(max(Path(file).stat().st_size for file in files))
"""


def test_the_profile_has_room_for_several_large_clouds():
    [size] = (e.text for e in ElementTree.parse(PROFILE).iter() if e.tag.endswith("segment_size"))
    assert int(size) > 4 * 131_072 * 31


@pytest.mark.parametrize(
    ("rclpy", "name"),
    [
        ("7.1.5", "FASTRTPS_DEFAULT_PROFILES_FILE"),
        ("9.1.2", "FASTDDS_DEFAULT_PROFILES_FILE"),
        ("10.0.1", "FASTDDS_DEFAULT_PROFILES_FILE"),
    ],
)
def test_each_release_of_ros_gets_the_profile_by_its_own_variable(monkeypatch, rclpy, name):
    monkeypatch.setattr(fast_dds, "version", lambda _: rclpy)
    assert profile_variables({}) == {name: str(PROFILE)}


def test_an_rclpy_without_a_version_gets_the_profile(monkeypatch):
    def unknown(name):
        raise fast_dds.PackageNotFoundError(name)

    monkeypatch.setattr(fast_dds, "version", unknown)
    assert set(profile_variables({}).values()) == {str(PROFILE)}


@pytest.mark.parametrize(
    "name",
    [
        "FASTDDS_BUILTIN_TRANSPORTS",
        "FASTDDS_DEFAULT_PROFILES_FILE",
        "FASTRTPS_DEFAULT_PROFILES_FILE",
    ],
)
def test_transports_that_the_user_has_chosen_are_kept(name):
    assert profile_variables({name: "mine"}) == {}


@pytest.mark.system
def test_fast_dds_of_this_release_uses_the_profile():
    environment = {k: v for k, v in os.environ.items() if not k.startswith("FAST")}
    environment.pop("RMW_IMPLEMENTATION", None)

    def segment(how):
        done = subprocess.run(
            [sys.executable, "-c", SEGMENTS, how],
            env=environment,
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return int(done.stdout)

    assert segment("without") < 2**24 <= segment("with")
