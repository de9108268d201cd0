# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import socket

import pytest

pytest.importorskip("rclpy", reason="needs rclpy: a ROS 2 installation or its wheels")

from minkowski_perception.commands import processes
from minkowski_perception.commands.processes import (
    DISCOVERY_PORT,
    FIRST_PROCESS,
    PORTS_OF_DOMAIN,
    ProcessError,
    Processes,
    isolated_environment,
)

pytestmark = pytest.mark.system


@pytest.fixture
def running(tmp_path):
    with Processes(tmp_path, isolated_environment()) as started:
        yield started


def start_recorder(running, tmp_path):
    """Start a process that waits for ever: nothing is published that it could record."""
    running.start("recorder", "recorder", {"bag": str(tmp_path / "bag")})


def test_a_process_that_ends_too_early_is_named_with_the_end_of_its_log(running):
    running.start("player", "player", {"bag": "/no/such/bag"})

    with pytest.raises(ProcessError, match="the player ended with status 2") as failed:
        running.wait_until(lambda: False, "anything", 60)

    assert "player.log" in str(failed.value)
    assert "no bag at /no/such/bag" in str(failed.value)


def test_waiting_times_out(running, tmp_path):
    start_recorder(running, tmp_path)

    with pytest.raises(ProcessError, match=r"a recording did not happen in 0\.2 s"):
        running.wait_until((tmp_path / "bag").exists, "a recording", 0.2)


def test_a_process_is_stopped_in_order(running, tmp_path):
    start_recorder(running, tmp_path)
    log = tmp_path / "recorder.log"
    running.wait_until(lambda: "waiting for" in log.read_text(), "its first output", 60)
    running.stop("recorder")


def test_stopping_a_process_that_failed_raises_an_error(running):
    running.start("player", "player", {"bag": "/no/such/bag"})
    running.wait_until(lambda: running.has_ended("player"), "its end", 60)

    with pytest.raises(ProcessError, match="the player ended with status 2"):
        running.stop("player")


def test_parameters_are_passed_unchanged(running, tmp_path):
    odd = tmp_path / "a bag: 'no. 1'"
    running.start("player", "player", {"bag": str(odd), "rate": 2.0, "loop": False})

    with pytest.raises(ProcessError) as failed:
        running.wait_until(lambda: False, "anything", 60)

    assert f"no bag at {odd}" in str(failed.value)


@pytest.mark.parametrize("port", [0, FIRST_PROCESS])
def test_a_domain_in_use_is_not_chosen(monkeypatch, port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("", DISCOVERY_PORT + 50 * PORTS_OF_DOMAIN + port))
        monkeypatch.setattr(processes.random, "sample", lambda domains, _: [50, 51])
        assert isolated_environment()["ROS_DOMAIN_ID"] == "51"
