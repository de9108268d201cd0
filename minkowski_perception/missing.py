# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The error of an optional package that is not installed."""


class MissingPackageError(ImportError):
    """An optional package is needed and cannot be imported; the message says what to install."""
