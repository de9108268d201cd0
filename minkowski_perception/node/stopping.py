# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Orderly shutdown: finish the current work and deliver the last messages first."""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import Any, NoReturn

import rclpy
from rclpy.duration import Duration
from rclpy.publisher import Publisher
from rclpy.signals import SignalHandlerOptions

from minkowski_perception.node import fast_dds

STALLED = 70
"""Exit status of a process that ended itself because it hung; EX_SOFTWARE of sysexits.h."""


def init_until_signalled(args: list[str] | None = None) -> threading.Event:
    """Initialise rclpy for large clouds, and return an event that SIGINT and SIGTERM set.

    The handlers of rclpy would shut down its context at once, and lose messages in transit.
    """
    fast_dds.prepare()
    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    return stop


def wait_until_acknowledged(publisher: Publisher[Any], seconds: float) -> bool:
    """Wait until all reliable subscribers have acknowledged all messages of a publisher.

    Returns:
        Whether they did so in time; False if the middleware does not support this.
    """
    try:
        return bool(publisher.wait_for_all_acked(Duration(seconds=seconds)))
    except RuntimeError:  # RCLError: rmw_publisher_wait_for_all_acked() is optional
        return False


def exit_at_once(status: int) -> NoReturn:
    """End the process without waiting for its threads, which may never return."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(status)
