# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
from itertools import chain, repeat
from unittest import mock

import numpy as np
import pytest
from campaigns import Campaign, fuzz
from cloud_campaign import Clouds
from cloud_mutations import LAYOUTS, MUTATIONS, mutated_cloud
from tiny_models import save_tiny

from minkowski_perception.codec import CloudError, decode

SHORT = {"clouds": 300, "parameters": 300, "lifecycle": 3}
"""Cases of the short form; `make fuzz` runs the full one."""


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzz")
    save_tiny(folder / "tiny", dimension=4, kernel="causal")
    return folder / "tiny.yaml"


def failures_of(campaign):
    try:
        return [str(f) for f in fuzz(campaign, SHORT[campaign.name], seed=1)]
    finally:
        campaign.close()


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_mutated_clouds_are_labelled_or_refused(model):
    assert failures_of(Clouds(model)) == []


@pytest.mark.parametrize("name", ["parameters", "lifecycle"])
def test_random_requests_are_answered_and_leave_the_node_whole(model, name):
    pytest.importorskip("rclpy", reason="needs rclpy: a ROS 2 installation or its wheels")
    from node_campaigns import Lifecycle, Parameters

    [kind] = [kind for kind in (Parameters, Lifecycle) if kind.name == name]
    assert failures_of(kind(model)) == []


@pytest.mark.parametrize("layout", range(len(LAYOUTS)))
def test_a_cloud_without_mutations_is_valid(layout):
    frame = decode(mutated_cloud(str(layout)))
    assert len(frame) == 48
    assert np.isfinite(frame.points).all()


@pytest.mark.parametrize("name", MUTATIONS)
def test_each_mutation_changes_clouds_and_some_are_refused(name):
    plain = str(vars(mutated_cloud("3")))
    mutated = [mutated_cloud(f"3+{name}:{seed}") for seed in range(40)]
    assert any(str(vars(cloud)) != plain for cloud in mutated)
    if name in ("cut", "dimension", "field_offset", "field_datatype", "wrong_type"):
        assert any(map(is_refused, mutated))


def is_refused(cloud):
    try:
        decode(cloud)
    except CloudError:
        return True
    return False


def test_the_same_word_gives_the_same_cloud():
    word = "3+noise:7+stamp:2+field_added:5"
    assert str(vars(mutated_cloud(word))) == str(vars(mutated_cloud(word)))


class Sums(Campaign):
    """Fails when a case has the words "a+bad" and "b"."""

    name = "sums"

    def case(self, rng):
        return [str(rng.choice(["a", "b", "a+good+bad", "c+bad"])) for _ in range(6)]

    def check(self, words):
        assert not ("b" in words and any("a" in w and "bad" in w for w in words)), "a and b"


def test_a_failure_is_reduced_to_a_line_that_repeats_it():
    failure, *_ = fuzz(Sums(), 1000, seed=0)
    assert sorted(failure.words) == ["a+bad", "b"]
    assert f"make fuzz CASE='sums {' '.join(failure.words)}'" in str(failure)
    with pytest.raises(AssertionError):
        Sums().check(failure.words)


def test_a_failure_that_does_not_repeat_keeps_its_exception():
    error, campaign = AssertionError("once"), Sums()
    campaign.check = mock.Mock(side_effect=chain([error], repeat(None)))
    [failure] = fuzz(campaign, 20, seed=0)
    assert failure.error is error


def test_a_campaign_without_failures_tries_as_many_as_it_is_told():
    sizes = []
    assert fuzz(Sums(), 0, seed=0, progress=sizes.append) == []
    campaign = Sums()
    campaign.check = lambda words: None
    assert fuzz(campaign, 100, seed=0, progress=sizes.append) == []
    assert 100 <= sum(sizes) < 106
