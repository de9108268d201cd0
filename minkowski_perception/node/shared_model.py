# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""A model that several streams run over: loaded once, and built anew when its engine fails."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from minkowski_perception.node.parameters import ConfigurationError
from minkowski_perception.node.recovery import Recovery, substitutes
from minkowski_perception.node.warm_up import warm_up
from minkowski_perception.segmenter import Segmenter
from minkowski_perception.settings import Settings
from minkowski_perception.voxels import PointLimits

Load = Callable[[Settings], Segmenter]

BUILD_TIMEOUT = 120.0
"""Seconds that it may take to build an engine anew."""


class SharedModel:
    """One model with its engine, for all streams that name it.

    Args:
        settings: of the first of these streams.
        load: loads and warms up a segmenter with some settings.

    Attributes:
        recovery: from an engine that fails.
        builds: how often the engine was built anew.
    """

    def __init__(self, settings: Settings, load: Load) -> None:
        self._load = load
        self._settings = settings
        self._segmenter = load(settings)
        self.recovery = Recovery(substitutes(settings, self._segmenter))
        self.builds = 0
        self._building_since: float | None = None

    def stream(self, settings: Settings) -> Segmenter:
        """Return a segmenter of a new stream with settings of its own, ready to run.

        Raises:
            ConfigurationError: the model cannot run with these settings.
            Dropped: it fails on a cloud.
        """
        used = self._settings
        settings = replace(
            settings, device=used.device, engine=used.engine, precision=used.precision
        )
        limits = PointLimits(settings.max_points, settings.max_voxels)
        options = settings.segmenter_options()
        if options == used.segmenter_options():
            segmenter = self._segmenter.another_stream()
            segmenter.limits = limits
            return segmenter
        try:
            segmenter = Segmenter(
                self._segmenter.model, **{**options, "engine": self._segmenter.engine}
            )
        except ValueError as error:
            raise ConfigurationError(str(error)) from error
        segmenter.limits = limits
        warm_up(segmenter)
        return segmenter

    def build(self, settings: Settings) -> None:
        """Load the model again with another engine.

        Raises:
            Exception: it cannot be loaded, or fails on a cloud.
        """
        self._building_since = time.monotonic()
        try:
            self._segmenter = self._load(settings)
        finally:
            self._building_since = None
        self._settings = settings
        self.builds += 1

    @property
    def is_building(self) -> bool:
        """Whether the engine is being built anew."""
        return self._building_since is not None

    @property
    def overdue(self) -> float:
        """Seconds by which a build takes longer than it may; 0 without one."""
        since = self._building_since
        return 0.0 if since is None else max(0.0, time.monotonic() - since - BUILD_TIMEOUT)
