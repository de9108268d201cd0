# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Runs ROS nodes as child processes, which all end with this process."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

_POLL = 0.05  # seconds
_STOP = 30.0  # seconds that a process gets to stop
_TAIL = 15  # lines of a log in an error

DISCOVERY_PORT, PORTS_OF_DOMAIN = 7400, 250
"""Discovery port of a ROS domain: 7400 + 250 * domain (DDSI-RTPS 9.6.1)."""

FIRST_PROCESS = 10
"""From it to the port of the first process, the only one in use where nodes do not multicast."""


class ProcessError(Exception):
    """A process failed; the message names it and shows the end of its log."""


def isolated_environment() -> dict[str, str]:
    """Return an environment for nodes that see only each other."""
    return {
        **os.environ,
        "ROS_DOMAIN_ID": str(_unused_domain()),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
    }


def _unused_domain() -> int:
    """Return a random ROS domain on whose ports no process on this machine listens."""
    domains = random.sample(range(1, 101), 100)
    for domain in domains:
        port = DISCOVERY_PORT + PORTS_OF_DOMAIN * domain
        if _is_free(port) and _is_free(port + FIRST_PROCESS):
            return domain
    return domains[0]


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("", port))
        except OSError:
            return False
        return True


class Processes:
    """Child processes by name, each with a log; leaving the `with` statement kills them all.

    They do not get the terminal's Ctrl-C, so they can be stopped in order. Within the `with`
    statement, SIGINT and SIGTERM take effect only in `wait_until` and at the end, so that no
    process is lost between its start and its registration.

    Args:
        logs: folder for NAME.log.
        environment: of all processes.
    """

    def __init__(self, logs: Path, environment: Mapping[str, str]) -> None:
        self._logs = logs
        self._environment = environment
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._handlers: dict[int, Any] = {}
        self._signal: int | None = None

    def __enter__(self) -> Processes:
        def note(number: int, frame: FrameType | None) -> None:
            self._signal = number

        for number in (signal.SIGINT, signal.SIGTERM):
            self._handlers[number] = signal.signal(number, note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for process in self._running.values():
            process.kill()
        for process in self._running.values():
            process.wait()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        if self._signal is not None:
            signal.raise_signal(self._signal)

    def start(
        self,
        name: str,
        module: str,
        parameters: Mapping[str, object],
        remappings: Mapping[str, str] | None = None,
    ) -> None:
        """Start a module of the package as a node.

        Args:
            name: of the process, for its log and for messages.
            module: in `minkowski_perception.node`.
            parameters: of the node.
            remappings: of its topics.
        """
        command = [sys.executable, "-m", f"minkowski_perception.node.{module}", "--ros-args"]
        for parameter, value in parameters.items():
            command += ["-p", f"{parameter}:={json.dumps(value)}"]  # JSON is YAML
        for topic, other in (remappings or {}).items():
            command += ["-r", f"{topic}:={other}"]
        with open(self._log(name), "wb") as log:
            self._running[name] = subprocess.Popen(
                command,
                env=dict(self._environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def has_ended(self, name: str) -> bool:
        """Return whether a process has ended."""
        return self._running[name].poll() is not None

    def wait_until(
        self, done: Callable[[], bool], what: str, timeout: float = float("inf")
    ) -> None:
        """Wait for a condition.

        Args:
            done: returns whether the condition holds.
            what: names the condition in messages.
            timeout: seconds.

        Raises:
            ProcessError: a process ended before, the timeout passed, or this process was
                interrupted.
        """
        deadline = time.monotonic() + timeout
        while not done():
            if self._signal is not None:
                raise ProcessError(f"interrupted before {what}")
            ended = [name for name in self._running if self.has_ended(name)]
            if ended and not done():
                raise self._error(ended[0], f"ended with status {self._status(ended[0])}")
            if time.monotonic() > deadline:
                name = next(reversed(self._running))
                raise self._error(name, f"is not ready: {what} did not happen in {timeout:g} s")
            time.sleep(_POLL)

    def stop(self, name: str) -> None:
        """Interrupt a process, unless it has ended, and wait until it ends.

        Raises:
            ProcessError: it does not end within 30 s, or its exit status is not 0.
        """
        if not self.has_ended(name):
            self._running[name].send_signal(signal.SIGINT)
        try:
            self._running[name].wait(_STOP)
        except subprocess.TimeoutExpired:
            raise self._error(name, f"did not stop within {_STOP:g} s") from None
        if self._status(name) != 0:
            raise self._error(name, f"ended with status {self._status(name)}")
        del self._running[name]

    def _status(self, name: str) -> int | None:
        return self._running[name].returncode

    def _log(self, name: str) -> Path:
        return self._logs / f"{name}.log"

    def _error(self, name: str, what: str) -> ProcessError:
        lines = [f"the {name} {what}"]
        for log in dict.fromkeys([self._log(name), *map(self._log, self._running)]):
            tail = log.read_text(errors="replace").splitlines()[-_TAIL:]
            lines += [f"--- the end of {log}:", *tail]
        return ProcessError("\n".join(lines))
