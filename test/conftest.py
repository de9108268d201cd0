# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Fixtures for all tests."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

from minkowski_perception.lab.simulation.open3d_library import provide_libusb

# Tests and the processes that they start share few cores: a thread each is faster than all of
# them waiting for each other at every parallel loop.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Tests ask for Open3D by `pytest.importorskip`, which knows nothing of the library it needs.
provide_libusb()

# Nodes of tests that run at the same time must not meet.
if worker := os.environ.get("PYTEST_XDIST_WORKER"):
    domain = int(os.environ.get("ROS_DOMAIN_ID", 0)) + int(worker.removeprefix("gw"))
    os.environ["ROS_DOMAIN_ID"] = str(domain % 100 + 1)

# And on a busy machine the time of an example says nothing.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real recordings, which are no part of the repository."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("MINKOWSKI_PERCEPTION_SHARED_DATA", beside))
    if not folder.is_dir():
        pytest.skip(f"no recordings at {folder}; MINKOWSKI_PERCEPTION_SHARED_DATA can name them")
    return folder


_SLOW = [Path(__file__).parent / "lab" / folder for folder in ("simulation", "training")]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that simulate or train as slow: `make test-fast` leaves them out."""
    for item in items:
        if any(folder in item.path.parents for folder in _SLOW):
            item.add_marker(pytest.mark.slow)
