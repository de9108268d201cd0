# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""`minkowski-perception precompile`: compile a model's engine before the node first starts."""

from __future__ import annotations

import argparse
import time

from minkowski_perception.commands.segmenters import (
    add_segmenter_arguments,
    load_segmenter,
    settings_of,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add_segmenter_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Do what the node does when it is configured, and print how long it took."""
    from minkowski_perception.warm_up import label_trial_clouds

    started = time.perf_counter()
    segmenter = load_segmenter(settings_of(args))
    clouds = len(list(label_trial_clouds(segmenter)))
    print(
        f"model '{segmenter.model.name}' by engine {segmenter.engine} on {segmenter.device}: "
        f"loaded, and {clouds} clouds labelled, in {time.perf_counter() - started:.1f} s"
    )
    return 0
