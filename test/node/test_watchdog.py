# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The watchdog in processes of its own, since it ends them."""

import subprocess
import sys
import textwrap

import pytest

pytest.importorskip("rclpy", reason="the package minkowski_perception.node needs rclpy")

from minkowski_perception.node.stopping import STALLED

pytestmark = pytest.mark.system


def run(code):
    head = """
        import time
        from minkowski_perception.node import watchdog as module
        from minkowski_perception.node.watchdog import Watchdog
        watchdog = Watchdog(lambda reason: print("last words:", reason))
        watchdog.limit = 0.5
    """
    program = textwrap.dedent(head) + textwrap.dedent(code)
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120
    )


def test_a_process_that_hangs_ends_with_its_status_last_words_and_the_place():
    done = run("""
        watchdog.check("the engine has not returned", 0.4)
        watchdog.check("the engine has not returned", 0.6)
        time.sleep(1000)
    """)
    assert done.returncode == STALLED
    assert "last words: the engine has not returned for 0.6 s" in done.stdout
    assert "most recent call first" in done.stderr


def test_a_process_without_a_running_interpreter_ends_too():
    done = run("""
        import ctypes
        module._MARGIN = 0.5
        watchdog.beat()
        ctypes.PyDLL(None).sleep(1000)  # holds the interpreter's lock
    """)
    assert done.returncode == 1
    assert "Timeout" in done.stderr


@pytest.mark.parametrize("limit", ["watchdog.limit = 0.0", "watchdog.close()"])
def test_without_a_limit_a_process_may_hang(limit):
    done = run(f"""
        module._MARGIN = 0.1
        watchdog.beat()
        {limit}
        watchdog.beat()
        watchdog.check("something", 1000.0)
        time.sleep(1.5)
        print("alive")
    """)
    assert (done.returncode, done.stdout) == (0, "alive\n")
