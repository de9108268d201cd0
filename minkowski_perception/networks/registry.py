# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Networks by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from minkowski_perception.networks.network import Network, NetworkOptions
from minkowski_perception.registry import Registry
from minkowski_perception.schema import error_at, read

V = TypeVar("V")
Options = TypeVar("Options", bound=NetworkOptions)


@dataclass(frozen=True)
class _Entry:
    options: type[NetworkOptions]
    build: Callable[[Any], Network]


_NETWORKS: Registry[_Entry] = Registry("network")


def register(
    variants: Mapping[str, V], options: type[Options]
) -> Callable[[Callable[[V, Options], Network]], Callable[[V, Options], Network]]:
    """Return a decorator that registers a function as the builder of networks.

    Args:
        variants: by name of the network, the builder's first argument.
        options: dataclass of the builder's second argument.
    """

    def enter(build: Callable[[V, Options], Network]) -> Callable[[V, Options], Network]:
        for name, variant in variants.items():
            _NETWORKS.register(name)(_Entry(options, partial(build, variant)))
        return build

    return enter


def network_names() -> list[str]:
    """Return the names that `build_network` takes.

    MinkUNet* are those of MinkowskiEngine's examples, Res16UNet* those of
    SpatioTemporalSegmentation; they differ in the variants without a letter only. Those that end
    in a width, and SPVNAS, are the networks of SPVNAS and mmdetection3d.
    """
    return list(_NETWORKS)


def build_network(name: str, **options: Any) -> Network:
    """Build a network with fresh weights.

    Args:
        name: one of `network_names()`.
        options: fields of the family's options: see `NetworkOptions`, `MinkUNetOptions`,
            `LidarOptions` and `SPVNASOptions`.

    Raises:
        SchemaError: an unknown name, option or value, or a missing option; the valid ones are
            listed.
        ValueError: the family refuses the options.
    """
    return _NETWORKS[name].build(network_options({"name": name, **options}))


def network_options(settings: Mapping[str, Any], path: str = "network") -> NetworkOptions:
    """Return the options of a network.

    Args:
        settings: its name and options, as `build_network` takes them.
        path: of the settings in their file, for errors.

    Raises:
        SchemaError, ValueError: as `build_network`.
    """
    if not isinstance(settings.get("name"), str):
        raise error_at(f"{path}.name", f"missing; valid: {', '.join(_NETWORKS)}")
    options = {key: value for key, value in settings.items() if key != "name"}
    return read(_NETWORKS[settings["name"]].options, options, path)
