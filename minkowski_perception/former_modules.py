# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Former names of modules: importing one warns, and returns the module of the current name."""

from __future__ import annotations

import sys
import warnings
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

_PACKAGE = "minkowski_perception."
_MOVED = {
    "benchmarks": "lab.benchmarks",
    "datasets": "lab.datasets",
    "datasets.bags": "recordings.bags",
    "evaluation": "lab.evaluation",
    "networks.importers": "lab.importers",
    "simulation": "lab.simulation",
    "temporal": "streaming",
    "temporal.deskew": "motion.deskew",
    "temporal.motion": "motion.ego_motion",
    "temporal.poses": "motion.poses",
    "temporal.registration": "motion.registration",
    "temporal.twist": "motion.twist",
    "training": "lab.training",
}
"""Current names by those of version 0.1; the modules of a package moved with it."""


class FormerModules(MetaPathFinder, Loader):
    """Imports modules by their former names."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Return the specification of a module that moved; None for any other module."""
        return None if _current_name(name) is None else ModuleSpec(name, self)

    def exec_module(self, module: ModuleType) -> None:
        """Replace a module of a former name by the one of its current name.

        Raises:
            ModuleNotFoundError: there is no module of its current name.
        """
        former, current = module.__name__, _current_name(module.__name__)
        assert current is not None
        sys.modules[former] = import_module(current)
        warnings.warn(f"{former} is now {current}", DeprecationWarning, stacklevel=2)


def _current_name(name: str) -> str | None:
    """Return the current name of a module that moved; None for any other."""
    if not name.startswith(_PACKAGE):
        return None
    former, rest = name.removeprefix(_PACKAGE), ""
    while former not in _MOVED:
        former, _, last = former.rpartition(".")
        if not former:
            return None
        rest = f".{last}{rest}"
    return f"{_PACKAGE}{_MOVED[former]}{rest}"
