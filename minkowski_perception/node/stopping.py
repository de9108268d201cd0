# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Processes that end in order: what is under way is finished, told and written first."""

from __future__ import annotations

import signal
import threading

import rclpy
from rclpy.duration import Duration
from rclpy.publisher import Publisher
from rclpy.signals import SignalHandlerOptions


def init_until_signalled(args: list[str] | None = None) -> threading.Event:
    """Initialise rclpy; return an event that SIGINT and SIGTERM set.

    rclpy's own handlers would end all communication at once, and lose what is on its way.
    """
    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    return stop


def wait_until_heard(publisher: Publisher, seconds: float) -> bool:
    """Wait until all who listen reliably have acknowledged what was published.

    Returns:
        False where they have not within that time, or where the middleware cannot tell.
    """
    try:
        return bool(publisher.wait_for_all_acked(Duration(seconds=seconds)))
    except RuntimeError:  # RCLError; rmw_publisher_wait_for_all_acked() need not be there
        return False
