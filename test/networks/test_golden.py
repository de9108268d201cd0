# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Tests of networks against recorded logits of MinkowskiEngine 0.5.4 (tools/record_golden.py)."""

import json
from pathlib import Path

import pytest
from safetensors import safe_open

from minkowski_perception.lab.benchmarks.exactness import (
    LIMIT,
    cpu_engines,
    infer,
    relative_difference,
    set_weights,
)
from minkowski_perception.networks import build_network

GOLDEN = sorted((Path(__file__).parent / "golden").glob("*.safetensors"))


def test_all_golden_outputs_exist():
    assert {file.stem for file in GOLDEN} == {
        "minkunet14a_3d",
        "minkunet34c_3d",
        "minkunet50_3d",
        "minkunet14a_4d",
    }


@pytest.mark.parametrize("engine", cpu_engines(), ids=lambda engine: engine.name)
@pytest.mark.parametrize("file", GOLDEN, ids=lambda file: file.stem)
def test_logits_match_minkowski_engine(file, engine):
    with safe_open(file, framework="pt") as golden:
        network = build_network(**json.loads(golden.metadata()["network"]))
        coordinates = golden.get_tensor("coordinates").long()
        features = golden.get_tensor("features").float()
        expected = golden.get_tensor("logits")
    assert len(coordinates) > 300
    assert expected.std(dim=0).min() > 0.01 * (expected.max() - expected.min()), "all voxels alike"
    set_weights(network)
    logits = infer(network, coordinates, features, engine)
    assert relative_difference(logits, expected) < LIMIT
