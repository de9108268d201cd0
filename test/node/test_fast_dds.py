# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import fcntl
import os
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

import pytest

pytest.importorskip("rclpy", reason="needs rclpy: a ROS 2 installation or its wheels")

from minkowski_perception.node import fast_dds
from minkowski_perception.node.fast_dds import PROFILE, profile_variables, remove_left_memory

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

MESSAGES = """
import sys
from array import array

import rclpy
from sensor_msgs.msg import PointCloud2

from minkowski_perception.node.stopping import init_until_signalled

def resident():
    status = open("/proc/self/status").read()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024

if sys.argv[1] == "with":
    init_until_signalled()
else:
    rclpy.init()
node = rclpy.create_node("messages")
received = []
publisher = node.create_publisher(PointCloud2, "clouds", 10)
node.create_subscription(PointCloud2, "clouds", lambda cloud: received.append(cloud.width), 10)
def exchange(count, size):
    for _ in range(count):
        publisher.publish(PointCloud2(width=size, data=array("B", bytes(size))))
    received.clear()
    while len(received) < count:
        rclpy.spin_once(node, timeout_sec=1.0)
exchange(10, 100)
before = resident()
exchange(10, 8_000_000)
exchange(10, 100)
print(resident() - before)
"""


def test_the_profile_has_room_for_a_large_cloud_beside_another():
    [size] = (e.text for e in ElementTree.parse(PROFILE).iter() if e.tag.endswith("segment_size"))
    assert int(size) > 2 * 131_072 * 31


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
    assert profile_variables({}) == {name: str(PROFILE), "RMW_FASTRTPS_USE_QOS_FROM_XML": "1"}


def test_an_rclpy_without_a_version_gets_the_profile(monkeypatch):
    def unknown(name):
        raise fast_dds.PackageNotFoundError(name)

    monkeypatch.setattr(fast_dds, "version", unknown)
    assert str(PROFILE) in profile_variables({}).values()


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

    assert segment("without") < 2**23 <= segment("with")


@pytest.fixture
def shared_memory(tmp_path):
    """Memory of two processes: of one that ended a while ago, and of one that has just started."""
    for name in ("fastdds_0123456789abcdef", "fastrtps_fedcba9876543210"):
        (tmp_path / name).write_bytes(bytes(1000))
        (tmp_path / f"{name}_el").touch()
        os.utime(tmp_path / f"{name}_el", (time.time() - 60,) * 2)
    young = tmp_path / "fastdds_00000000000000aa_el"
    young.touch()
    (tmp_path / "fastdds_port7001_el").touch()
    os.utime(tmp_path / "fastdds_port7001_el", (0, 0))
    return tmp_path


def test_the_memory_of_a_killed_process_is_removed_and_no_other(shared_memory):
    with (shared_memory / "fastrtps_fedcba9876543210_el").open() as used:
        fcntl.flock(used, fcntl.LOCK_EX)
        assert remove_left_memory(shared_memory) == 1
    assert {file.name for file in shared_memory.iterdir()} == {
        "fastdds_00000000000000aa_el",
        "fastdds_port7001_el",
        "fastrtps_fedcba9876543210",
        "fastrtps_fedcba9876543210_el",
    }
    assert remove_left_memory(shared_memory) == 1
    assert remove_left_memory(shared_memory) == 0


@pytest.mark.system
def test_fast_dds_locks_the_memory_that_it_uses():
    """What the removal relies on."""
    locked = (
        SEGMENTS
        + """
import fcntl
for file in files:
    if "port" not in file:
        try:
            fcntl.flock(open(file + "_el"), fcntl.LOCK_EX | fcntl.LOCK_NB)
            print("free")
        except OSError:
            print("locked")
"""
    )
    done = subprocess.run(
        [sys.executable, "-c", locked, "with"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert set(done.stdout.split()[1:]) == {"locked"}, done.stderr


@pytest.mark.system
@pytest.mark.skipif(sys.platform != "linux", reason="reads the process's resident memory")
def test_a_node_gives_back_the_memory_of_large_messages():
    free = {name: value for name, value in os.environ.items() if "FAST" not in name}
    # So that the C library gives back what is freed.
    free |= {"MALLOC_MMAP_THRESHOLD_": "100000", "RMW_IMPLEMENTATION": "rmw_fastrtps_cpp"}
    kept = {}
    for how in ("with", "without"):
        command = [sys.executable, "-c", MESSAGES, how]
        kept[how] = float(subprocess.check_output(command, env=free, text=True, timeout=60))
    assert kept["with"] < 20 < 60 < kept["without"], kept
