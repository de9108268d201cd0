# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Transports and memory of Fast DDS for large clouds.

Between processes of one machine, Fast DDS passes messages through shared memory. By default that
is 0.5 MB: what does not fit of a cloud is lost and sent again, some milliseconds later, several
times for a large cloud. The profile beside this module has room for a whole cloud. Its transports
are those of the default, so all participants still understand each other. It also lets queues
free the memory of messages, which by default they keep for the largest message so far.

A process that is killed leaves its shared memory behind, and Fast DDS never removes it. A node
that is started again and again would fill the memory of the machine.
"""

from __future__ import annotations

import fcntl
import os
import re
import time
from collections.abc import Mapping
from contextlib import suppress
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

_MEMORY = "RMW_FASTRTPS_USE_QOS_FROM_XML"
"""Variable with which the profile also says what memory queues keep; it leaves QoS as they are."""

_KILTED = 9  # major version of rclpy

_SHARED_MEMORY = Path("/dev/shm")
_LOCK = re.compile(r"(fast(?:dds|rtps)_[0-9a-f]{16})_el")
"""Name of the file that a process locks as long as it uses the memory of the first group."""

_YOUNG = 10.0
"""Seconds in which a process surely locks such a file that it has made."""


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
    return {f"{library}_DEFAULT_PROFILES_FILE": str(PROFILE), _MEMORY: "1"}


def prepare() -> None:
    """Let this process use the profile, and remove what killed ones left.

    Call it before rclpy is initialised.
    """
    os.environ.update(profile_variables(os.environ))
    remove_left_memory(_SHARED_MEMORY)


def remove_left_memory(folder: Path) -> int:
    """Remove the shared memory of processes that were killed; return of how many.

    Args:
        folder: of the files of shared memory; that of other users stays.
    """
    return sum(_remove_if_left(lock) for lock in folder.glob("fast*_el"))


def _remove_if_left(lock: Path) -> bool:
    name = _LOCK.fullmatch(lock.name)
    if name is None:
        return False
    with suppress(OSError):  # another user's, in use, or removed by another process
        if time.time() - lock.stat().st_mtime < _YOUNG:
            return False
        with lock.open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            lock.with_name(name[1]).unlink(missing_ok=True)
            lock.unlink()
        return True
    return False
