# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="the package minkowski_perception.node needs rclpy")

from tiny_models import save_tiny

from minkowski_perception.node import shared_model
from minkowski_perception.node.parameters import ConfigurationError
from minkowski_perception.node.shared_model import BUILD_TIMEOUT, SharedModel
from minkowski_perception.segmenter import Segmenter
from minkowski_perception.settings import Settings
from minkowski_perception.trial import trial_frame


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "tiny"
    save_tiny(path, dimension=3)
    return Settings(model=f"{path}.yaml", engine="torch", device="cpu")


@pytest.fixture
def loads():
    return []


@pytest.fixture
def shared(settings, loads):
    def load(wanted):
        loads.append(wanted)
        return Segmenter.load(wanted.model, **wanted.segmenter_options())

    return SharedModel(settings, load)


def test_streams_have_their_own_settings_and_state_over_one_network(shared, settings, loads):
    front = shared.stream(settings)
    rear = shared.stream(replace(settings, averaging=1, min_confidence=0.2, max_points=1000))
    assert front.model.network is rear.model.network
    assert front.engine is rear.engine
    assert (front.averaging, rear.averaging) == (10, 1)
    assert (front.limits.max_points, rear.limits.max_points) == (1_000_000, 1000)
    frame = trial_frame(1000, 0)
    expected = Segmenter.load(settings.model, engine="torch", averaging=1, min_confidence=0.2)
    assert np.array_equal(rear.segment(frame).labels, expected.segment(frame).labels)
    assert rear.continues(replace(frame, stamp=frame.stamp + 10**8))
    assert not front.continues(frame)
    assert loads == [settings]


def test_settings_that_the_model_cannot_run_with_are_refused(shared, settings):
    with pytest.raises(ConfigurationError, match="is 3D: its window is 1 frame, not 4"):
        shared.stream(replace(settings, window=4))


def test_an_engine_that_is_built_anew_serves_all_streams(shared, settings, loads):
    before = shared.stream(settings)
    shared.build(replace(settings, precision="float32"))
    again = [shared.stream(replace(settings, averaging=frames)) for frames in (10, 2)]
    assert shared.builds == 1
    assert len(loads) == 2
    assert again[0].model.network is again[1].model.network is not before.model.network


def test_a_build_is_overdue_after_its_time_and_over_when_it_fails(
    shared, settings, loads, monkeypatch
):
    now, seen = [0.0], []
    monkeypatch.setattr(shared_model.time, "monotonic", lambda: now[0])

    def fail(_):
        now[0] = BUILD_TIMEOUT + 3.0
        seen.append((shared.is_building, shared.overdue))
        raise RuntimeError("no memory")

    shared._load = fail
    with pytest.raises(RuntimeError, match="no memory"):
        shared.build(settings)
    assert seen == [(True, 3.0)]
    assert (shared.is_building, shared.overdue, shared.builds) == (False, 0.0, 0)
