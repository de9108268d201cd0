# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Checks of the clouds of one topic, of a recording or live, and of a model against them."""

from __future__ import annotations

from collections import Counter, deque
from typing import Any

import numpy as np
import numpy.typing as npt

from minkowski_perception.accounting import DropReason
from minkowski_perception.checks.finding import Finding, fail, ok, warn
from minkowski_perception.codec import TYPE_NAMES, CloudError, IntensityScale, decode
from minkowski_perception.frame import NANOSECONDS, Frame, nanoseconds
from minkowski_perception.labels import UNLABELLED
from minkowski_perception.motion.ego_motion import EgoMotion
from minkowski_perception.plausibility import doubtful_unit
from minkowski_perception.segmenter import Segmenter
from minkowski_perception.settings import Settings
from minkowski_perception.stream import Dropped, Stream
from minkowski_perception.summary import LabelStatistics

TRIED = 12
"""Consecutive clouds that a model labels; the first one is not timed."""

_CLOCK = 1.0
"""Seconds between a stamp and the clock that received the cloud, above which clocks differ."""

_COLOURS = {"red", "green", "blue"}

_REMEDIES = {
    DropReason.NO_POSE: "publish TF or odometry at the stamps of the clouds, or choose "
    "ego_motion:=kiss_icp (--ego-motion kiss_icp)",
    DropReason.MALFORMED: "mend the driver's layout of PointCloud2 (see docs/node.md)",
    DropReason.OUT_OF_ORDER: "record or play clouds in the order of their stamps",
}


class CloudTopic:
    """Statistics of the clouds of one topic.

    Args:
        topic: the topic.
        live: whether clouds arrive now; the clock that received them is then this machine's.
    """

    def __init__(self, topic: str, live: bool = False) -> None:
        self.topic = topic
        self.stamps: list[int] = []
        self.last: deque[tuple[int, Any]] = deque(maxlen=TRIED)
        self.largest = 0
        self._live = live
        self.received: list[int] = []
        self._frames: Counter[str] = Counter()
        self._points = self._bytes = 0

    def add(self, received_at: int, message: Any) -> None:
        """Count a cloud.

        Args:
            received_at: nanoseconds.
            message: sensor_msgs/PointCloud2.
        """
        self.stamps.append(nanoseconds(message.header.stamp))
        self.received.append(received_at)
        self._frames[message.header.frame_id] += 1
        self._points += int(message.height) * int(message.width)
        self._bytes += len(message.data)
        self.largest = max(self.largest, len(message.data))
        self.last.append((received_at, message))

    def __len__(self) -> int:
        return len(self.stamps)

    @property
    def period(self) -> float | None:
        """Median time between two clouds in seconds; None for fewer than two clouds."""
        steps = np.diff(self._times())
        return float(np.median(steps)) / NANOSECONDS if len(steps) else None

    def _times(self) -> npt.NDArray[np.int64]:
        """Return stamps; where any is 0, the times at which clouds were received."""
        return np.array(self.stamps if all(self.stamps) else self.received, dtype=np.int64)

    def findings(self, features: tuple[str, ...] = ()) -> list[Finding]:
        """Return findings on number, rate, fields, stamps, gaps, frames and units.

        Args:
            features: that the model computes from the points.
        """
        if not self.stamps:
            remedy = "choose another topic with --topic; if the driver runs, check its output"
            return [fail("clouds", f"no cloud on {self.topic}", remedy)]
        message = self.last[-1][1]
        return [
            self._size(),
            self._frame(),
            *self._stamps(),
            *_content(message, features),
        ]

    def _size(self) -> Finding:
        count = len(self)
        found = f"{count:,}"
        if self.period:
            span = (self.received[-1] - self.received[0]) / NANOSECONDS
            found += f" in {span:.1f} s, {1 / self.period:.1f} Hz"
        size = self._bytes / count
        return ok(
            "clouds", f"{found}, {self._points / count:,.0f} points, {size / 1e6:.2f} MB each"
        )

    def _frame(self) -> Finding:
        listed = ", ".join(f"'{frame}' ({count})" for frame, count in self._frames.most_common())
        if "" in self._frames:
            remedy = "set the frame_id of the driver: without it there is no motion from TF"
            return warn("frame", listed, remedy)
        if len(self._frames) > 1:
            return warn(
                "frame",
                f"{listed}: several sensors on one topic",
                "give each sensor its own topic",
            )
        return ok("frame", listed)

    def _stamps(self) -> list[Finding]:
        findings = []
        zeros = self.stamps.count(0)
        if zeros:
            findings.append(
                warn(
                    "stamps",
                    f"{zeros} of {len(self)} are 0; the time of arrival takes their place",
                    "configure the driver to stamp clouds",
                )
            )
        steps = np.diff(self._times())
        back = int(np.count_nonzero(steps < 0))
        same = int(np.count_nonzero(steps == 0))
        if back or same:
            findings.append(
                warn(
                    "stamps",
                    f"{back} steps back, {same} repeated: such clouds are dropped as out of order",
                    "let one driver alone publish on this topic; play bags with --clock",
                )
            )
        late = (np.array(self.received) - np.array(self.stamps)) / NANOSECONDS
        offset = float(np.median(late))
        clock = "this machine's clock" if self._live else "the recorder's clock"
        if not zeros and abs(offset) > _CLOCK:
            findings.append(
                warn(
                    "stamps",
                    f"{offset:+.1f} s from {clock} to the stamps: transforms of the other clock "
                    "do not fit",
                    "synchronise the sensor by PTP, or let the driver stamp by the host's clock; "
                    "for a bag that is played: use_sim_time:=true",
                )
            )
        if not findings:
            text = f"in order; {1e3 * offset:.0f} ms later by {clock}"
            findings.append(ok("stamps", text))
        return [*findings, *self._gaps(steps)]

    def _gaps(self, steps: npt.NDArray[np.int64]) -> list[Finding]:
        """Return a finding on missing clouds, from the steps between stamps."""
        if not self.period:
            return []
        relative = steps / NANOSECONDS / self.period
        missing = int(np.maximum(np.round(relative) - 1, 0).sum())
        longest = float(steps.max()) / NANOSECONDS
        found = f"{missing} clouds are missing between the others; the longest step is "
        found += f"{longest:.2f} s" if longest >= 1.0 else f"{1e3 * longest:.0f} ms"
        if longest > max(Settings.max_gap, 2 * self.period):
            return [
                warn(
                    "gaps",
                    f"{found}; after {Settings.max_gap:g} s a new stream begins",
                    f"max_gap:={np.ceil(longest):.0f} (--max-gap) joins them; find out why clouds "
                    "were lost",
                )
            ]
        if missing > 0.05 * len(self):
            remedy = "record to a faster disk, or with a larger cache"
            if self._live:
                remedy = "raise net.core.rmem_max, or publish fewer points"
            return [warn("gaps", found, remedy)]
        return [ok("gaps", found if missing else "none")]


def _content(message: Any, features: tuple[str, ...]) -> list[Finding]:
    """Return findings on the fields and values of a cloud."""
    fields = ", ".join(f"{f.name} {_type_name(f.datatype)}" for f in message.fields)
    try:
        frame = decode(message)
    except CloudError as error:
        return [fail("fields", f"{fields}: {error}", _REMEDIES[DropReason.MALFORMED])]
    findings = []
    lacking = []
    if "intensity" in features and frame.intensity is None:
        lacking.append("intensity")
    if _COLOURS & set(features) and frame.colour is None:
        lacking.append("rgb")
    if lacking:
        findings.append(
            warn(
                "fields",
                f"{fields}; the model uses {' and '.join(lacking)}, which is not among them",
                "let the driver publish it, or choose another model with --model",
            )
        )
    else:
        findings.append(ok("fields", fields))
    shape = f"{message.height} x {message.width}, " if message.height > 1 else ""
    findings.append(_points(frame, shape))
    if doubt := doubtful_unit(frame):
        problem, _, remedy = doubt.partition("; ")
        findings.append(fail("unit", problem, remedy))
    if frame.intensity is not None:
        findings.append(_intensity(frame.intensity))
    findings.append(_times_of_points(frame))
    return findings


def _points(frame: Frame, shape: str) -> Finding:
    present = frame.measured
    if not present.any():
        return fail(
            "points",
            f"{shape}{len(frame.points):,}, none with a measurement",
            "uncover the sensor, or choose another topic with --topic",
        )
    distances = np.linalg.norm(frame.points[present].astype(np.float64), axis=1)
    median, far = np.percentile(distances, [50, 99])
    found = (
        f"{shape}{present.mean():.0%} with a measurement, at {median:.3g} m in the median and "
        f"{far:.3g} m for the farthest hundredth"
    )
    return ok("points", found)


def _intensity(intensity: npt.NDArray[np.float32]) -> Finding:
    scale = IntensityScale()
    if scale.normalise(intensity) is None:
        return warn(
            "intensity",
            f"{intensity[0]:g} at all points, so it counts as unknown",
            "let the driver fill it, or choose a model without intensity with --model",
        )
    top = np.max(intensity, initial=0.0, where=np.isfinite(intensity))
    return ok("intensity", f"up to {top:g}, full scale {scale.full_scale:g} if it is detected")


def _times_of_points(frame: Frame) -> Finding:
    if frame.time is None:
        return ok("point times", "none: no correction for motion during the sweep")
    known = frame.time[np.isfinite(frame.time)]
    if not len(known):
        return warn("point times", "not finite", "deskew:=false (--no-deskew)")
    return ok("point times", f"{known.min():+.3f} to {known.max():+.3f} s from the stamp")


def _type_name(datatype: int) -> str:
    return TYPE_NAMES[datatype - 1] if 0 < datatype <= len(TYPE_NAMES) else f"type {datatype}"


def model_findings(
    segmenter: Segmenter, clouds: CloudTopic, motion: EgoMotion | None = None
) -> list[Finding]:
    """Label the last clouds of a topic; return findings on labels and time.

    Args:
        segmenter: of any stream; another one labels.
        clouds: of the topic.
        motion: of the sensor; None if it is unknown.
    """
    if not clouds.last:
        return []
    stream = Stream(segmenter.another_stream(), motion or EgoMotion("not used"))
    statistics = LabelStatistics(segmenter.label_set, segmenter.label_set)
    confidence, seconds, drops = [], [], []
    for received_at, message in clouds.last:
        stream.accounting.received()
        try:
            labelled = stream.label(message, received_at)
        except Dropped as drop:
            drops.append(drop)
            continue
        stream.delivered(labelled)
        result = labelled.result
        statistics.add(labelled.frame, result.labels)
        confidence.append(result.confidence[result.labels != UNLABELLED])
        seconds.append(sum(labelled.timings.values()))
    if drops and not seconds:
        problem = f"none of {len(drops)} clouds can be labelled: {drops[0]}"
        remedy = _REMEDIES.get(drops[0].reason, "choose another model with --model")
        return [fail("labels", problem, remedy)]
    most = list(statistics.shares.items())[:4]
    if not most:
        return [fail("labels", "clouds have no points", "choose another topic with --topic")]
    found = ", ".join(f"{name} {share:.0%}" for name, share in most)
    certain = np.concatenate(confidence)
    if len(certain):
        found += f"; mean confidence {certain.mean():.2f}"
    findings = [_judged(found, *most[0])]
    for warning in stream.domain.warnings:
        problem, _, remedy = warning.rpartition(": ")
        findings.append(warn("domain", problem, remedy))
    findings.append(_speed(seconds[1:] or seconds, clouds.period))
    return findings


def _judged(found: str, top: str, share: float) -> Finding:
    """Return the finding on labels, given the most frequent one and its share."""
    if top == "unlabelled" and share > 0.99:
        return fail("labels", found, "check unit, frame and range of the points")
    if share > 0.9:
        return warn(
            "labels",
            f"{found}: nearly all points are alike",
            "check unit and mount of the sensor (is z up, by static TF?), or choose a model for "
            "this sensor with --model",
        )
    return ok("labels", found)


def _speed(seconds: list[float], period: float | None) -> Finding:
    median = float(np.median(seconds))
    found = f"{1e3 * median:.0f} ms for a cloud"
    if period is None:
        return ok("speed", found)
    found += f", one comes every {1e3 * period:.0f} ms"
    if median > period:
        return warn(
            "speed",
            f"{found}: the node skips clouds to keep up",
            "crf:=false, a model of larger voxels, fewer points, or a GPU",
        )
    return ok("speed", found)
