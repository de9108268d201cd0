# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Processes of this machine that label recordings, each one after another."""

from __future__ import annotations

import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import connection, get_context
from typing import Any

from minkowski_perception.labelling.labeller import Labeller, Recording, Work
from minkowski_perception.labelling.outcome import Outcome, Status, attempt, cut_off
from minkowski_perception.labelling.stopping import StopSignals
from minkowski_perception.labelling.watch import Watch

_TICK = 0.5
"""Seconds between two checks for a request to stop."""


class Worker:
    """A process that labels recordings; one that dies harms no other.

    Args:
        work: what is done with each recording.

    Attributes:
        recording: at work; None if there is none.
        connection: receives its outcome.
    """

    def __init__(self, work: Work) -> None:
        context = get_context("spawn")
        self.recording: Recording | None = None
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, work), daemon=True)
        with _interrupts_ignored():  # a terminal sends them to all processes
            self._process.start()
        theirs.close()  # so that `recv` fails when the process ends

    def begin(self, recording: Recording) -> None:
        """Label a recording."""
        self.recording = recording
        with suppress(OSError):  # it has died; `outcome` reports that
            self.connection.send(recording)

    def outcome(self, stopping: bool) -> tuple[Outcome, bool]:
        """Return what became of the recording, and whether the process lives on.

        Args:
            stopping: whether the process was asked to stop.
        """
        assert self.recording is not None
        recording, self.recording = self.recording, None
        try:
            return self.connection.recv(), True
        except (EOFError, OSError):
            self._process.join()
            code = self._process.exitcode or 0
            how = f"signal {signal.Signals(-code).name}" if code < 0 else f"status {code}"
            status = Status.STOPPED if stopping else Status.FAILED
            return cut_off(recording, f"its process ended with {how}", status), False

    def stop(self) -> None:
        """Ask to stop after the cloud at work."""
        self._process.terminate()

    def end(self, now: bool) -> None:
        """End the process; at once, or when it is idle."""
        self.connection.close()
        if now:
            self._process.kill()
        self._process.join()


def run_on_processes(
    work: Work,
    recordings: Sequence[Recording],
    stop: Callable[[], bool],
    show: Callable[[list[Recording]], None],
    *,
    jobs: int,
) -> Iterator[Outcome]:
    """Yield the outcomes of recordings, as they finish.

    Args:
        work: what is done with each.
        recordings: in the order of their beginning.
        stop: returns whether to stop; recordings that have not begun have no outcome then.
        show: gets the recordings at work, twice a second and after each outcome.
        jobs: number of processes.
    """
    waiting = deque(recordings)
    workers = [Worker(work) for _ in range(min(jobs, len(waiting)))]
    stopping, done = False, False
    try:
        for worker in workers:
            worker.begin(waiting.popleft())
        while busy := {w.connection: w for w in workers if w.recording is not None}:
            for ready in connection.wait(list(busy), _TICK):
                worker = busy[ready]  # type: ignore[index]
                outcome, alive = worker.outcome(stopping)
                if outcome.disk_full:
                    waiting.clear()
                if not alive:
                    worker.end(now=True)
                    workers.remove(worker)
                    if waiting:
                        worker = Worker(work)
                        workers.append(worker)
                if waiting:
                    worker.begin(waiting.popleft())
                yield outcome
            if not stopping and stop():
                stopping = True
                waiting.clear()
                for worker in workers:
                    worker.stop()
            show([worker.recording for worker in workers if worker.recording is not None])
        done = True
    finally:
        for worker in workers:
            worker.end(now=not done)


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Let processes that start within the context ignore SIGINT."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _serve(connection: Any, work: Work) -> None:
    """Label the recordings that arrive, until the other end is closed."""
    labeller = Labeller(work)
    with StopSignals((signal.SIGTERM,)) as signals:
        while True:
            try:
                recording = connection.recv()
            except EOFError:
                return
            connection.send(attempt(labeller, recording, Watch(signals.received)))
