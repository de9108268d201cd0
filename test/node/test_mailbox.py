# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import threading
import time

import pytest

pytest.importorskip("rclpy", reason="the package minkowski_perception.node needs rclpy")

from minkowski_perception.node.mailbox import Mailbox


def test_a_new_item_replaces_one_that_was_not_taken():
    box = Mailbox()
    assert box.put(1) is None
    assert box.put(2) == 1
    assert box.take() == 2


def test_take_waits_for_an_item():
    box = Mailbox()
    threading.Timer(0.05, box.put, args=["late"]).start()
    assert box.take() == "late"


def test_closing_wakes_the_waiting_thread_and_returns_the_remaining_item():
    box = Mailbox()
    taken = []
    waiting = threading.Thread(target=lambda: taken.append(box.take()))
    waiting.start()
    time.sleep(0.05)
    assert box.close() is None
    waiting.join(5.0)
    assert taken == [None]

    box = Mailbox()
    box.put("left")
    assert box.close() == "left"
    assert box.take() is None
    assert box.put("refused") == "refused"


def test_every_item_is_either_taken_or_replaced_when_they_come_fast():
    box, taken, replaced = Mailbox(), [], []

    def consume():
        while (item := box.take()) is not None:
            taken.append(item)

    consumer = threading.Thread(target=consume)
    consumer.start()
    for item in range(1, 5001):
        old = box.put(item)
        if old is not None:
            replaced.append(old)
    left = box.close()
    consumer.join(5.0)
    remaining = [] if left is None else [left]
    assert sorted(taken + replaced + remaining) == list(range(1, 5001))
    assert taken == sorted(taken)


def test_a_wait_that_is_too_long_raises_and_the_next_item_still_comes():
    box = Mailbox()
    with pytest.raises(TimeoutError):
        box.take(0.01)
    box.put(1)
    assert box.take(0.01) == 1
    box.close()
    assert box.take(0.01) is None


def test_a_new_item_takes_over_from_the_one_that_it_replaces():
    box = Mailbox(merge=lambda new, old: new.extend(old))
    box.put(["a"])
    box.put(["b"])
    box.put(["c"])
    assert box.take() == ["c", "b", "a"]
    box.put(["d"])
    assert box.take() == ["d"]
