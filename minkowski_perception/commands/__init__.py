# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The command line: one module for each command, each with `add_arguments` and `run`.

They import what is heavy (torch, rosbags, Matplotlib, Open3D) inside `run`, so that `--help` and a
mistyped option are answered at once.
"""


class CommandError(ValueError):
    """The user asked for something that cannot be done; the message says what and why."""
