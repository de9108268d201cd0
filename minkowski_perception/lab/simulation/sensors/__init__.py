# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Sensor models as YAML files, one folder for each kind; a new sensor needs no code."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from minkowski_perception.schema import SchemaError, read_yaml

Model = TypeVar("Model")


class SensorError(ValueError):
    """A sensor is missing or malformed; the message names it and lists the available ones."""


def sensor_names(kind: str) -> list[str]:
    """Return the names of the packaged sensors of a kind ("lidar" or "camera")."""
    folder = resources.files(__name__) / kind
    return sorted(Path(str(f)).stem for f in folder.iterdir() if str(f).endswith(".yaml"))


def read_sensor(kind: str, name: str | Path, build: Callable[[Mapping[str, Any]], Model]) -> Model:
    """Return the model of a packaged sensor, by name, or of a YAML file, by path.

    Args:
        kind: "lidar" or "camera".
        name: name of a packaged sensor, or path of a .yaml or .yml file.
        build: makes the model from the content of the file.

    Raises:
        SensorError: no such sensor (the message lists the names) or file, or malformed content.
    """
    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        if str(name) not in sensor_names(kind):
            raise SensorError(
                f"unknown {kind} '{name}'; choose one of {', '.join(sensor_names(kind))}, "
                "or give the path of a .yaml file"
            )
        path = Path(str(resources.files(__name__) / kind / f"{name}.yaml"))
    try:
        content = read_yaml(path)
    except SchemaError as error:
        raise SensorError(f"{kind} {path}: {error}") from error
    try:
        return build(content)
    except (KeyError, TypeError, ValueError) as error:
        raise SensorError(f"{kind} {path} is malformed: {error!r}") from error
