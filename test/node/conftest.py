# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Nodes in processes of their own, which end with the test."""

import pytest
from tiny_models import save_tiny


@pytest.fixture
def rig(tmp_path):
    """Return a function that starts a node; see `Rig` for its arguments."""
    from rig import Rig  # it needs rclpy

    started = []

    def start(fault=None, **parameters):
        started.append(Rig(tmp_path / f"node{len(started)}.log", fault, **parameters))
        return started[-1]

    yield start
    for each in started:
        each.close()


@pytest.fixture
def tiny_rig(rig, tmp_path):
    """Return a function that starts a node with a tiny model, tiny.yaml, and without motion."""
    save_tiny(tmp_path / "tiny", dimension=4, kernel="causal")

    def start(fault=None, **parameters):
        known = {"model": tmp_path / "tiny.yaml", "ego_motion": "none", **parameters}
        return rig(fault, **known)

    return start
