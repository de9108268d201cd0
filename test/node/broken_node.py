# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The node with a fault inside: python broken_node.py FAULT --ros-args ..."""

import ctypes
import os
import sys
import time
from pathlib import Path

from minkowski_perception.node.start import importing

with importing():  # as the node starts
    from minkowski_perception.node import perception_node
from minkowski_perception.node.channel import Channel
from minkowski_perception.node.diagnostics import Stages
from minkowski_perception.segmenter import Segmenter

HEALTHY = 3
"""Calls of `Segmenter.segment` before a fault: two of the warm-up, and one cloud."""

segment, diagnostics = Segmenter.segment, Channel.diagnostics
load = perception_node._load
calls = 0


def after_a_while(fault):
    """Return `Segmenter.segment` with a fault that begins after the first cloud."""

    def broken(self, frame):
        global calls
        calls += 1
        if calls > HEALTHY:
            fault(calls - HEALTHY)
        return segment(self, frame)

    return broken


def fail(*_):
    raise RuntimeError("CUDA error: an illegal memory access was encountered")


def fail_twice(call):
    if call <= 2:
        fail(call)


def hang(_):
    time.sleep(10**6)


def hang_with_the_lock(_):
    ctypes.PyDLL(None).sleep(10**6)


def fail_until_built_anew():
    """The engine fails until it is loaded for the second time."""
    loads = 0

    def counting(settings):
        nonlocal loads
        loads += 1
        return load(settings)

    def broken(self, frame):
        global calls
        calls += 1
        if calls > HEALTHY and loads < 2:
            fail(calls)
        return segment(self, frame)

    perception_node._load = counting
    Segmenter.segment = broken


def fail_to_report():
    """Every second report raises."""
    reports = 0

    def broken(self, *args):
        nonlocal reports
        reports += 1
        if reports % 2:
            raise RuntimeError("no report")
        return diagnostics(self, *args)

    Channel.diagnostics = broken


def fail_after_the_count():
    """The statistics of the second cloud fail, after it was counted and published."""
    add, added = Stages.add, []

    def broken(self, timings):
        added.append(timings)
        if len(added) == 2:
            raise RuntimeError("a fault after the cloud was counted")
        return add(self, timings)

    Stages.add = broken


def end_the_worker():
    """The worker's thread ends after its first cloud, with an exception that it cannot note."""

    on_error = Channel._on_error

    def once(self, error):
        if "thread ended" in str(error):
            return on_error(self, error)
        raise error

    Channel._on_error = once
    Segmenter.segment = after_a_while(exit_once)


def exit_once(call):
    if call == 1:
        raise SystemExit("the thread ends")


def slow_start():
    """The model takes four seconds to load."""

    def slow(settings):
        time.sleep(4.0)
        return load(settings)

    perception_node._load = slow


def count_loads():
    """Each load of a model is printed."""

    def counting(settings):
        print("loads", settings.model, flush=True)
        return load(settings)

    perception_node._load = counting


def never_configured():
    """The model is never loaded."""
    perception_node._load = lambda settings: time.sleep(10**6)


def as_told():
    """Faults that a client orders while the node runs: see `told`."""
    Segmenter.segment = told("segment", Segmenter.segment)
    Stages.add = told("count", Stages.add)
    Channel.diagnostics = told("report", Channel.diagnostics)


def told(place, function):
    """Return a function with the faults of the file $FAULT_ORDER: 'PLACE FAULT CALLS'.

    The fault happens at the next calls. The last of them removes the file; if CALLS is 0, they
    fail until the client does.
    """
    order = Path(os.environ["FAULT_ORDER"])
    done = 0

    def broken(*args):
        nonlocal done
        try:
            where, fault, number = order.read_text().split()
        except FileNotFoundError:
            return function(*args)
        if where == place:
            done += 1
            if done == int(number):
                order.unlink()
            if done >= int(number):
                done = 0
            ORDERED[fault](args)
        return function(*args)

    return broken


def end_the_thread(_):
    """End the worker's thread with an exception that it cannot note."""
    on_error = Channel._on_error

    def once(self, error):
        Channel._on_error = on_error
        raise error

    Channel._on_error = once
    raise SystemExit("the thread ends")


ORDERED = {
    "fail": fail,
    "slow": lambda _: time.sleep(0.5),
    "hang": hang,
    "hang_with_the_lock": hang_with_the_lock,
    "end_the_thread": end_the_thread,
}

FAULTS = {
    "fail_at_once": lambda: setattr(Segmenter, "segment", fail),
    "fail": lambda: setattr(Segmenter, "segment", after_a_while(fail)),
    "fail_twice": lambda: setattr(Segmenter, "segment", after_a_while(fail_twice)),
    "fail_until_built_anew": fail_until_built_anew,
    "hang": lambda: setattr(Segmenter, "segment", after_a_while(hang)),
    "hang_with_the_lock": lambda: setattr(Segmenter, "segment", after_a_while(hang_with_the_lock)),
    "slow": lambda: setattr(Segmenter, "segment", after_a_while(lambda _: time.sleep(0.5))),
    "fail_to_report": fail_to_report,
    "fail_after_the_count": fail_after_the_count,
    "end_the_worker": end_the_worker,
    "slow_start": slow_start,
    "never_configured": never_configured,
    "as_told": as_told,
    "count_loads": count_loads,
}

if __name__ == "__main__":
    FAULTS[sys.argv.pop(1)]()
    perception_node.main()
