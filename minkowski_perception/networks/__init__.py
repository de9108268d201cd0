# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Networks on sparse tensors."""

from minkowski_perception.networks import minkunet, spvcnn, spvnas  # noqa: F401  they register
from minkowski_perception.networks.network import Network
from minkowski_perception.networks.registry import build_network, network_names

__all__ = ["Network", "build_network", "network_names"]
