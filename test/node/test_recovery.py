# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
from types import SimpleNamespace

import pytest
import torch

pytest.importorskip("rclpy", reason="the package minkowski_perception.node needs rclpy")

from minkowski_perception.node.recovery import _SETTLED, RESET, Recovery, substitutes
from minkowski_perception.settings import Settings

ORIGINAL = Settings(engine="numba")
PLAIN = Settings(engine="torch", precision="float32")


def test_each_failure_in_a_row_takes_a_more_drastic_step():
    recovery = Recovery([ORIGINAL, PLAIN])
    steps = [recovery.next_step() for _ in range(5)]
    assert steps == [RESET, ORIGINAL, PLAIN, None, None]
    assert recovery.steps == 5


def test_a_labelled_cloud_starts_over_but_no_engine_is_built_twice():
    recovery = Recovery([ORIGINAL, PLAIN])
    assert [recovery.next_step() for _ in range(2)] == [RESET, ORIGINAL]
    recovery.succeeded()
    assert [recovery.next_step() for _ in range(3)] == [RESET, PLAIN, None]


def test_an_engine_that_labelled_many_clouds_may_be_built_again():
    recovery = Recovery([ORIGINAL, PLAIN])

    def failures(number):
        return [recovery.next_step() for _ in range(number)]

    def labelled(number):
        for _ in range(number):
            recovery.succeeded()

    assert failures(2) == [RESET, ORIGINAL]
    labelled(_SETTLED)
    assert failures(3) == [RESET, ORIGINAL, PLAIN]
    labelled(_SETTLED)
    assert failures(2) == [RESET, PLAIN]
    labelled(_SETTLED - 1)
    assert failures(2) == [RESET, None]


def test_single_failures_only_drop_the_state():
    recovery = Recovery([ORIGINAL])
    for _ in range(100):
        assert recovery.next_step() == RESET
        recovery.succeeded()


@pytest.mark.parametrize(
    ("engine", "device", "expected"),
    [
        ("torch", "cpu", ["auto auto"]),
        ("numba", "cpu", ["auto auto", "torch auto"]),
        ("torch", "cuda", ["auto auto", "torch cpu"]),
        ("spconv", "cuda", ["auto auto", "torch auto", "torch cpu"]),
    ],
)
def test_the_substitutes_of_an_engine_are_slower_and_safer(engine, device, expected):
    segmenter = SimpleNamespace(engine=engine, device=torch.device(device))
    found = substitutes(Settings(), segmenter)
    assert [f"{each.engine} {each.device}" for each in found] == expected
