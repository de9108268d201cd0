# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Import Open3D on machines that lack the libusb it links to."""

from __future__ import annotations

import ctypes
from typing import Any

from minkowski_perception.missing import MissingPackageError

_LIBUSB = "libusb-1.0.so.0"


def import_open3d() -> Any:
    """Import and return the module `open3d`.

    Raises:
        MissingPackageError: Open3D, or a system library that it needs, is missing.
    """
    provide_libusb()
    try:
        import open3d
    except ImportError as error:
        raise MissingPackageError(
            f"the simulator casts rays with Open3D, which cannot be imported ({error}); "
            "install it with: pip install open3d-cpu libusb-package"
        ) from error
    return open3d


def provide_libusb() -> None:
    """Load libusb from the package libusb-package where the system has none.

    A library of the same soname, loaded globally, satisfies Open3D's dependency. Without the
    package this does nothing, and the import of Open3D raises an error that names the library.
    """
    try:
        ctypes.CDLL(_LIBUSB)
    except OSError:
        try:
            import libusb_package
        except ImportError:
            return
        ctypes.CDLL(str(libusb_package.get_library_path()), mode=ctypes.RTLD_GLOBAL)
