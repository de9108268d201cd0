# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Sub-networks found by SPVNAS, from the `net.config` of each of its checkpoints.

A net.config is a JSON object. `output_channels` has nine widths: stem, encoder and decoder stages.
For stage i of `downsample` and `upsample`:

    {part}.{i}.transition                            width after the down- or upsampling
    {part}.{i}.feature                               blocks: 1 or 2
    {part}.{i}.feature.layers.{j}.net.layers.0       width between block j's convolutions

The other entries follow from these. A sub-network is an SPVCNN whose stages have weights in the
shortcut of the first block even if widths are equal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from minkowski_perception.networks.network import NetworkOptions
from minkowski_perception.networks.registry import register
from minkowski_perception.networks.spvcnn import SPVCNN, LidarArchitecture, Stage

SPVNAS = "SPVNAS"
_STAGES = 4


def architecture_of(config: Mapping[str, Any]) -> LidarArchitecture:
    """Return the architecture that a net.config describes.

    Raises:
        ValueError: an entry is missing or not a positive integer; the message names it.
    """
    if not isinstance(config, Mapping):
        raise ValueError(f"a net.config is a mapping, not {config!r}")
    widths = config.get("output_channels")
    if not isinstance(widths, (list, tuple)) or len(widths) != 1 + 2 * _STAGES:
        raise ValueError(
            f"a net.config needs {1 + 2 * _STAGES} widths as 'output_channels', not {widths!r}"
        )
    checked = [_positive(width, "output_channels") for width in widths]
    encoder, decoder = (
        tuple(_stage(config, f"{part}.{i}", width) for i, width in enumerate(stage_widths))
        for part, stage_widths in (
            ("downsample", checked[1 : 1 + _STAGES]),
            ("upsample", checked[1 + _STAGES :]),
        )
    )
    return LidarArchitecture(checked[0], encoder, decoder)


def _stage(config: Mapping[str, Any], prefix: str, width: int) -> Stage:
    def entry(name: str) -> int:
        return _positive(config.get(f"{prefix}.{name}"), f"{prefix}.{name}")

    blocks = entry("feature")
    middles = (entry(f"feature.layers.{block}.net.layers.0") for block in range(blocks))
    return Stage(entry("transition"), tuple(middles), width)


def _positive(value: Any, name: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"'{name}' of a net.config must be a positive integer, not {value!r}")
    return value


@dataclass(frozen=True, kw_only=True)
class SPVNASOptions(NetworkOptions):
    """Options of SPVNAS.

    Attributes:
        config: contents of the net.config, which holds all widths.
    """

    config: Mapping[str, Any]


@register({SPVNAS: None}, SPVNASOptions)
def _spvnas(_: None, options: SPVNASOptions) -> SPVCNN:
    return SPVCNN(architecture_of(options.config), options)
