# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Transports of Fast DDS for large clouds.

Between processes of one machine, Fast DDS passes messages through shared memory. By default that
is 0.5 MB: what does not fit of a cloud is lost and sent again, some milliseconds later, several
times for a large cloud. The profile beside this module has room for whole clouds. Its transports
are those of the default, so all participants still understand each other.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PROFILE = Path(__file__).with_name("fastdds.xml")
"""Profile with the transports."""

_CHOICES = (
    "FASTDDS_BUILTIN_TRANSPORTS",
    "FASTDDS_DEFAULT_PROFILES_FILE",
    "FASTRTPS_DEFAULT_PROFILES_FILE",
)
"""Variables with which users choose the transports themselves."""

_KILTED = 9  # major version of rclpy


def profile_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that let Fast DDS use the profile; none if the user has chosen.

    Args:
        environment: of the process.
    """
    if any(environment.get(name) for name in _CHOICES):
        return {}
    try:
        is_older = int(version("rclpy").partition(".")[0]) < _KILTED
    except PackageNotFoundError:
        is_older = False
    library = "FASTRTPS" if is_older else "FASTDDS"
    return {f"{library}_DEFAULT_PROFILES_FILE": str(PROFILE)}


def use_profile() -> None:
    """Let this process use the profile, before it initialises rclpy."""
    os.environ.update(profile_variables(os.environ))
