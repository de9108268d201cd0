# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Workers of a Ray cluster that label recordings.

They read and write the paths that the command names, so all need the same files, and this package.
A recording whose worker or machine is lost is labelled again by another one.
"""

from __future__ import annotations

import pickle
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any

from minkowski_perception.labelling.folder import OutputFolder
from minkowski_perception.labelling.labeller import Labeller, Recording, Work
from minkowski_perception.labelling.outcome import Outcome, Status, attempt, cut_off
from minkowski_perception.labelling.watch import Watch

_TICK = 0.5
"""Seconds between two checks for a request to stop."""
_RETRIES = 3
"""Times that a recording is begun again after its worker was lost."""


class ClusterError(ValueError):
    """Ray is not installed, or its cluster cannot be reached."""


def run_on_ray(
    work: Work,
    recordings: Sequence[Recording],
    stop: Callable[[], bool],
    show: Callable[[list[Recording]], None],
    *,
    address: str,
    jobs: int | None,
) -> Iterator[Outcome]:
    """Yield the outcomes of recordings, as they finish.

    Args:
        work: what is done with each; its number of threads is that of a recording.
        recordings: in the order of their beginning.
        stop: see `run_on_processes`.
        show: see `run_on_processes`.
        address: of the cluster, such as "auto" or "ray://host:10001".
        jobs: number of recordings at once; None for as many as the cluster has CPUs for.

    Raises:
        ClusterError: Ray is not installed, or the cluster cannot be reached.
    """
    try:
        import ray
    except ImportError as error:
        raise ClusterError("--ray needs Ray: pip install ray") from error
    try:
        ray.init(address=address, ignore_reinit_error=True, log_to_driver=False)
    except Exception as error:  # ConnectionError, RuntimeError, ValueError, ...
        raise ClusterError(f"cannot reach a Ray cluster at '{address}': {error}") from error
    try:
        yield from _run(ray, work, recordings, stop, show, jobs)
    finally:
        ray.shutdown()


def _run(
    ray: Any,
    work: Work,
    recordings: Sequence[Recording],
    stop: Callable[[], bool],
    show: Callable[[list[Recording]], None],
    jobs: int | None,
) -> Iterator[Outcome]:
    on_gpu = work.settings.device != "cpu" and ray.cluster_resources().get("GPU", 0) > 0
    task = ray.remote(
        num_cpus=work.settings.threads,
        num_gpus=1 if on_gpu else 0,
        max_retries=_RETRIES,
    )(_label)
    shared = ray.put(pickle.dumps(work))
    waiting = deque(recordings)
    running: dict[Any, Recording] = {}
    stopping = False
    while waiting or running:
        while waiting and (jobs is None or len(running) < jobs):
            recording = waiting.popleft()
            running[task.remote(shared, recording)] = recording
        finished, _ = ray.wait(list(running), timeout=_TICK)
        for reference in finished:
            recording = running.pop(reference)
            outcome = _outcome(ray, reference, recording)
            if outcome.disk_full:
                waiting.clear()
            if outcome.status is not Status.WAITING:
                yield outcome
        if not stopping and stop():
            stopping = True
            waiting.clear()
            for reference in running:
                ray.cancel(reference)
        show([recording for recording in running.values() if _has_begun(recording)])


def _outcome(ray: Any, reference: Any, recording: Recording) -> Outcome:
    try:
        outcome: Outcome = ray.get(reference)
    except ray.exceptions.TaskCancelledError:
        status = Status.STOPPED if _has_begun(recording) else Status.WAITING
        return cut_off(recording, "stopped", status)
    except ray.exceptions.RayError as error:
        reason = str(error).partition("\n")[0]
        return cut_off(recording, f"its worker was lost: {reason}", Status.FAILED)
    return outcome


def _has_begun(recording: Recording) -> bool:
    return OutputFolder(recording.out).state() is not None


def _label(work: bytes, recording: Recording) -> Outcome:
    return attempt(_labeller(work), recording, Watch())


@lru_cache(maxsize=1)
def _labeller(work: bytes) -> Labeller:
    """Return a labeller that stays in the worker process, with its segmenter."""
    return Labeller(pickle.loads(work))
