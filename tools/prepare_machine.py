# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Install what `make env` needs and pip cannot give: Python's venv and Open3D's libraries.

Packages are installed where this user may: as root, or by sudo without a password. Elsewhere the
command that installs them is printed, and the exit status is 1.
"""

import ctypes
import importlib.util
import os
import platform
import shutil
import subprocess
import sys

OLDEST, NEWEST = (3, 10), (3, 13)
"""The Python versions for which ROS 2 wheels exist."""

LIBRARIES = {
    "libEGL.so.1": "libegl1",
    "libGL.so.1": "libgl1",
    "libX11.so.6": "libx11-6",
    "libgomp.so.1": "libgomp1",
    "libidn2.so.0": "libidn2-0",
    "libudev.so.1": "libudev1",
}
"""Libraries that Open3D loads, even where it draws nothing, and their Debian packages.

A wheel brings the other one, libusb (`lab/simulation/open3d_library.py`).
"""


def missing_packages() -> list[str]:
    """Return the names of the Debian and Ubuntu packages that this machine lacks."""
    missing = []
    if importlib.util.find_spec("ensurepip") is None:
        missing.append(f"python3.{sys.version_info.minor}-venv")
    for library, package in LIBRARIES.items():
        try:
            ctypes.CDLL(library)
        except OSError:
            missing.append(package)
    return missing


def problem() -> str:
    """Return why no environment can be made on this machine; empty where one can."""
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        return (
            f"This is {sys.platform} on {platform.machine()}, but ROS 2 wheels exist for Linux on "
            "x86_64. With a ROS installation, use colcon build instead."
        )
    if not OLDEST <= sys.version_info[:2] <= NEWEST:
        return (
            f"{sys.executable} is Python {sys.version_info.major}.{sys.version_info.minor}, but "
            f"ROS 2 wheels exist for {OLDEST[0]}.{OLDEST[1]} to {NEWEST[0]}.{NEWEST[1]}. "
            "Name another one: make env PYTHON=python3.11"
        )
    return ""


def root_prefix() -> list[str] | None:
    """Return what to put before a command to run it as root; None where that needs a person."""
    if os.geteuid() == 0:
        return []
    allowed = shutil.which("sudo") and not subprocess.call(
        ["sudo", "-n", "true"], stderr=subprocess.DEVNULL
    )
    return ["sudo", "-n"] if allowed else None


def install(packages: list[str], prefix: list[str]) -> bool:
    """Install Debian packages; return whether that succeeded."""
    print(f"Installing {' '.join(packages)} ...", flush=True)
    apt = [*prefix, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq"]
    steps = (["update"], ["install", "--no-install-recommends", "-y", *packages])
    return all(subprocess.call([*apt, *step], stdout=subprocess.DEVNULL) == 0 for step in steps)


def main() -> None:
    """Install the missing system packages; exit with a message if that is not possible."""
    if reason := problem():
        sys.exit(reason)
    packages = missing_packages()
    if not packages:
        return
    prefix = root_prefix() if shutil.which("apt-get") else None
    if prefix is None or not install(packages, prefix):
        sys.exit(
            f"Missing on this machine: {' '.join(packages)}\nInstall with: "
            f"sudo apt-get install --no-install-recommends {' '.join(packages)}"
        )


if __name__ == "__main__":
    main()
