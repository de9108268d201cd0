# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import threading
import time

import pytest

pytest.importorskip("rclpy", reason="the package minkowski_perception.node needs rclpy")

from minkowski_perception.node.turns import Turns

PATIENCE = 30.0  # seconds


def wait_until_waiting(turns, count):
    deadline = time.monotonic() + PATIENCE
    while len(turns._waiting) < count:
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_threads_have_their_turns_in_the_order_in_which_they_asked():
    turns, order = Turns(), []

    def take(name):
        with turns:
            order.append(name)

    threads = [threading.Thread(target=take, args=[name]) for name in "abcd"]
    with turns:
        for count, thread in enumerate(threads, start=1):
            thread.start()
            wait_until_waiting(turns, count)
        assert order == []
    for thread in threads:
        thread.join(PATIENCE)
    assert order == ["a", "b", "c", "d"]
    with turns:  # nobody waits: at once
        pass


def test_a_stream_that_asks_again_and_again_comes_after_all_that_wait():
    turns, order = Turns(), []

    def stream(name):
        """Compute five clouds, without a pause between them, while both others wait."""
        for _ in range(5):
            with turns:
                order.append(name)
                wait_until_waiting(turns, min(2, 15 - len(order)))

    # Towards the end fewer streams have clouds: one waits for none.
    threads = [threading.Thread(target=stream, args=[name]) for name in ("front", "rear", "low")]
    with turns:
        for count, thread in enumerate(threads, start=1):
            thread.start()
            wait_until_waiting(turns, count)
    for thread in threads:
        thread.join(PATIENCE)
    assert order == ["front", "rear", "low"] * 5


def test_an_error_passes_the_turn_on():
    turns = Turns()
    with pytest.raises(ValueError, match="odd"), turns:
        raise ValueError("odd")
    with turns:
        pass
