# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import threading
import time

import pytest

pytest.importorskip("rclpy", reason="the package minkowski_perception.node needs rclpy")

from minkowski_perception.node.heartbeat import Heartbeat
from minkowski_perception.node.mailbox import Mailbox
from minkowski_perception.node.worker import Worker


def wait_for(condition):
    deadline = time.monotonic() + 30.0
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.parametrize("error", [ValueError("odd"), SystemExit(1), KeyboardInterrupt()])
def test_an_exception_ends_neither_the_worker_nor_the_process(error):
    handled, failures, mailbox = [], [], Mailbox()

    def handle(item):
        if item == "bad":
            raise error
        handled.append(item)

    worker = Worker(mailbox, handle, failures.append)
    worker.start()
    mailbox.put("bad")
    wait_for(lambda: failures)
    mailbox.put("good")
    wait_for(lambda: handled)
    assert (handled, failures) == (["good"], [error])
    assert not worker.is_dead
    mailbox.close()
    assert worker.join(30.0)


def test_a_worker_that_finishes_is_not_dead():
    mailbox = Mailbox()
    worker = Worker(mailbox, print, print)
    worker.start()
    mailbox.close()
    assert worker.join(30.0)
    assert not worker.is_dead


def test_a_worker_whose_error_handler_raises_is_dead():
    mailbox = Mailbox()

    def raises(_):
        raise RuntimeError("twice")

    worker = Worker(mailbox, raises, raises)
    worker.start()
    threading.excepthook, hook = (lambda _: None), threading.excepthook
    try:
        mailbox.put(1)
        wait_for(lambda: worker.is_dead)
    finally:
        threading.excepthook = hook


def test_a_worker_is_busy_while_it_handles_an_item():
    mailbox, go = Mailbox(), threading.Event()
    worker = Worker(mailbox, lambda _: go.wait(30.0), print)
    worker.start()
    assert worker.busy == 0.0
    mailbox.put(1)
    wait_for(lambda: worker.busy > 0.01)
    mailbox.close()
    assert not worker.join(0.01)
    go.set()
    assert worker.join(30.0)


def test_the_last_call_of_idle_comes_after_the_last_item():
    mailbox, calls = Mailbox(), []
    worker = Worker(mailbox, calls.append, print, lambda: calls.append("idle"))
    worker.start()
    mailbox.put("item")
    wait_for(lambda: "item" in calls)
    mailbox.close()
    assert worker.join(30.0)
    assert calls[-1] == "idle"


def test_a_heartbeat_goes_on_after_an_exception():
    beats, failures = [], []

    def beat():
        beats.append(len(beats))
        if len(beats) == 1:
            raise ValueError("odd")

    heartbeat = Heartbeat(0.01, beat, failures.append)
    wait_for(lambda: len(beats) > 2)
    heartbeat.stop()
    assert [str(f) for f in failures] == ["odd"]


def test_the_wait_for_a_turn_is_no_time_in_which_a_worker_is_busy():
    mailbox, turns, busy = Mailbox(), threading.Lock(), []

    def handle(_):
        time.sleep(0.05)
        busy.append(worker.busy)
        with worker.turn(turns):
            busy.append(worker.busy)
        busy.append(worker.busy)

    turns.acquire()
    worker = Worker(mailbox, handle, busy.append)
    worker.start()
    mailbox.put(1)
    wait_for(lambda: busy and worker.busy == 0.0)
    turns.release()
    mailbox.put(2)  # the first one has ended when the second one is taken
    wait_for(lambda: len(busy) == 6)
    mailbox.close()
    assert worker.join(30.0)
    assert busy[0] >= 0.05
    assert busy[1] < busy[0]
    assert busy[2] >= busy[1]
