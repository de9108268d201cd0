# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Semantic perception of 3D streams on robots: 4D sparse convolution behind a ROS 2 node.

    from minkowski_perception import Segmenter

    segmenter = Segmenter.load("outdoor_lidar")
    result = segmenter.segment(points, intensity=intensity)

The names below are imported on first use, so that importing the package is instant.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from minkowski_perception.former_modules import FormerModules

if TYPE_CHECKING:
    from minkowski_perception.frame import Frame
    from minkowski_perception.labels import LabelSet
    from minkowski_perception.networks.model import available_models, load_model
    from minkowski_perception.segmenter import Segmenter

__version__ = "0.2.0"

__all__ = ["Frame", "LabelSet", "Segmenter", "available_models", "load_model"]

_MODULES = {
    "Frame": "frame",
    "LabelSet": "labels",
    "Segmenter": "segmenter",
    "available_models": "networks.model",
    "load_model": "networks.model",
}

sys.meta_path.insert(0, FormerModules())


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
