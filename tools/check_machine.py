# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Check that this machine has what `make env` builds on and pip cannot install.

Run without arguments it says what is missing and which command installs it, and fails; with
`--packages` it only prints the names of the missing Debian packages.
"""

import ctypes
import importlib.util
import platform
import sys

OLDEST, NEWEST = (3, 10), (3, 13)
"""The Python versions for which ROS 2 wheels exist."""

LIBRARIES = {
    "libEGL.so.1": "libegl1",
    "libGL.so.1": "libgl1",
    "libX11.so.6": "libx11-6",
    "libidn2.so.0": "libidn2-0",
    "libudev.so.1": "libudev1",
}
"""Libraries that Open3D loads, even where it draws nothing, and their Debian packages."""


def missing_packages() -> list[str]:
    """Names of the Debian and Ubuntu packages that this machine lacks."""
    missing = []
    if importlib.util.find_spec("ensurepip") is None:
        missing.append("python3-venv")
    for library, package in LIBRARIES.items():
        try:
            ctypes.CDLL(library)
        except OSError:
            missing.append(package)
    return missing


def main() -> None:
    """Print what is missing; exit with a message where there is something."""
    packages = " ".join(missing_packages())
    if "--packages" in sys.argv:
        print(packages)
        return
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        sys.exit(
            f"This is {sys.platform} on {platform.machine()}, but ROS 2 wheels exist for Linux on "
            "x86_64. With a ROS installation, use colcon build instead."
        )
    if not OLDEST <= sys.version_info[:2] <= NEWEST:
        sys.exit(
            f"{sys.executable} is Python {sys.version_info.major}.{sys.version_info.minor}, but "
            f"ROS 2 wheels exist for {OLDEST[0]}.{OLDEST[1]} to {NEWEST[0]}.{NEWEST[1]}. "
            "Name another one: make env PYTHON=python3.11"
        )
    if packages:
        sys.exit(
            f"Missing on this machine: {packages}\n"
            f"Install with: sudo apt-get install --no-install-recommends {packages}"
        )


if __name__ == "__main__":
    main()
