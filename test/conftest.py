# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Fixtures for all tests."""

import os
from pathlib import Path

import pytest
import torch
from hypothesis import settings

from minkowski_perception.lab.simulation.open3d_library import provide_libusb

DRIVE_FRAMES = 6

# Tests and the processes that they start share the cores. One thread each is faster than many that
# wait for each other in every parallel loop.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Without a GPU, Triton's kernels run under its interpreter. The variable counts when Triton is
# imported.
if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")

# Before `pytest.importorskip("open3d")`: Open3D needs libusb.
provide_libusb()

# Nodes of tests that run in parallel must not discover each other.
if worker := os.environ.get("PYTEST_XDIST_WORKER"):
    domain = int(os.environ.get("ROS_DOMAIN_ID", 0)) + int(worker.removeprefix("gw"))
    os.environ["ROS_DOMAIN_ID"] = str(domain % 100 + 1)

# On a busy machine the duration of an example means nothing.
settings.register_profile("no_deadline", deadline=None)
settings.load_profile("no_deadline")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real recordings, which are not part of the repository."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("MINKOWSKI_PERCEPTION_SHARED_DATA", beside))
    if not folder.is_dir():
        pytest.skip(f"no recordings at {folder}; set MINKOWSKI_PERCEPTION_SHARED_DATA")
    return folder


_SLOW = (
    "commands/test_benchmark",
    "commands/test_convert",
    "commands/test_evaluate",
    "commands/test_simulate",
    "commands/test_train",
    "lab/benchmarks/",
    "lab/simulation/",
    "lab/training/",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests that simulate, train or measure as slow: `make test-fast` leaves them out."""
    here = Path(__file__).parent
    for item in items:
        if str(item.path.relative_to(here)).startswith(_SLOW):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def drive(tmp_path_factory) -> Path:
    """A bag of six clouds with true labels, and odometry at stamps between theirs."""
    pytest.importorskip("open3d", reason="needs open3d to simulate clouds")
    from minkowski_perception.codec import encode_frame
    from minkowski_perception.lab.simulation.drive import simulate_drive
    from minkowski_perception.recordings.bags import BagWriter

    path = tmp_path_factory.mktemp("bags") / "drive"
    with BagWriter(path) as bag:
        for i, frame in enumerate(simulate_drive(4007, "vlp16", DRIVE_FRAMES + 1)):
            bag.write_odometry("/odometry", frame.stamp - 30_000_000, frame.pose, "odom", "lidar")
            if i < DRIVE_FRAMES:
                cloud = encode_frame(frame, label_field="true_label")
                bag.write_cloud("/points", cloud, frame.stamp, frame.frame_id)
    return path
