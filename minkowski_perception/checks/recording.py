# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Checks of a recording: topics, clouds, motion, and a model against its clouds."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from minkowski_perception.checks.clouds import CloudTopic, model_findings
from minkowski_perception.checks.finding import Finding, fail, ok, warn
from minkowski_perception.frame import NANOSECONDS, Frame
from minkowski_perception.motion.ego_motion import EgoMotion, NoPoseError
from minkowski_perception.recordings.bags import BagError, BagReader
from minkowski_perception.recordings.motion import choose_ego_motion
from minkowski_perception.recordings.scan_files import FrameReader, open_recording
from minkowski_perception.segmenter import Segmenter

_FASTEST = 60.0
"""Metres per second above which poses are taken to jump."""


def recording(
    path: Path,
    segmenter: Segmenter | None = None,
    topic: str | None = None,
    odometry_topic: str | None = None,
) -> list[Finding]:
    """Check a recording.

    Args:
        path: of a bag, a scan, or a folder of scans.
        segmenter: model that labels some clouds; None for none.
        topic: its cloud topic; None for all.
        odometry_topic: where there are several.
    """
    try:
        with open_recording(path) as bag:
            return _recording(bag, segmenter, topic, odometry_topic)
    except BagError as error:
        remedy = "name a bag (.bag, .db3, .mcap or its folder) or scans, or record again"
        return [fail("recording", str(error), remedy)]


def _recording(
    bag: BagReader | FrameReader,
    segmenter: Segmenter | None,
    topic: str | None,
    odometry_topic: str | None,
) -> list[Finding]:
    counts = bag.cloud_topics()
    listed = ", ".join(f"{name} ({count})" for name, count in counts.items()) or "none"
    found = f"clouds: {listed}"
    if isinstance(bag, BagReader):
        odometry = (f"{name} ({count})" for name, count in bag.odometry_topics().items())
        found += f"; odometry: {', '.join(odometry) or 'none'}"
    if not counts:
        return [fail("topics", found, "record a topic of sensor_msgs/PointCloud2")]
    findings = [ok("topics", found)]
    for name in counts if topic is None else [bag.choose_cloud_topic(topic)]:
        if not counts[name]:
            findings.append(ok(name, "no clouds"))
            continue
        if len(counts) > 1:
            findings.append(ok(name, "the following is about this topic"))
        findings += _topic(bag, name, segmenter, odometry_topic)
    remedy = "copy or record it again; the rest can be used"
    return findings + [warn("losses", loss, remedy) for loss in bag.losses]


def _topic(
    bag: BagReader | FrameReader,
    topic: str,
    segmenter: Segmenter | None,
    odometry_topic: str | None,
) -> list[Finding]:
    clouds = CloudTopic(topic)
    for received_at, message in bag.clouds(topic):
        clouds.add(received_at, message)
    features = () if segmenter is None else segmenter.model.input.features
    findings = clouds.findings(features)
    try:
        motion = choose_ego_motion(bag, topic, odometry_topic=odometry_topic)
    except BagError as error:
        remedy = "choose the odometry with --odometry-topic, or label with --ego-motion kiss_icp"
        findings.append(fail("motion", str(error), remedy))
        motion = EgoMotion()
    else:
        findings.append(_motion(motion, clouds))
    if segmenter is not None:
        findings += model_findings(segmenter, clouds, motion)
    return findings


def _motion(motion: EgoMotion, clouds: CloudTopic) -> Finding:
    """Return the source of motion; of recorded poses, how many clouds have one, and the path."""
    if motion.name != "bag":
        found = f"{motion.name}: {motion.reason}"
        if motion.name == EgoMotion.name:
            return warn("motion", found, "record odometry or TF, or: pip install kiss-icp")
        return ok("motion", found)
    frame_id = clouds.last[-1][1].header.frame_id
    poses = []
    for stamp, received_at in zip(clouds.stamps, clouds.received, strict=True):
        frame = Frame(np.zeros((0, 3), np.float32), stamp or received_at, frame_id)
        try:
            pose = motion.locate(frame)
        except NoPoseError:
            continue
        if pose is not None:
            poses.append((frame.stamp, pose[:3, 3]))
    found = f"{motion.reason}, in frame '{motion.fixed_frame}'"
    absent = len(clouds) - len(poses)
    if not poses:
        return fail(
            "motion",
            f"{found}: no pose at the stamp of any cloud",
            "give clouds and odometry stamps of one clock, or label with --ego-motion kiss_icp",
        )
    steps = np.linalg.norm(np.diff([place for _, place in poses], axis=0), axis=-1)
    seconds = np.diff([stamp for stamp, _ in poses]) / NANOSECONDS
    fastest = float(np.max(steps / np.maximum(seconds, 1e-3), initial=0.0))
    found += f": {steps.sum():.1f} m, at most {fastest:.1f} m/s"
    if fastest > _FASTEST:
        return warn("motion", f"{found}: poses jump", "label with --ego-motion kiss_icp")
    if absent > 2:  # before the first and after the last pose
        return warn(
            "motion",
            f"{found}; {absent} of {len(clouds)} clouds have no pose and are dropped",
            "record odometry or TF as long as the clouds, or label with --ego-motion kiss_icp",
        )
    return ok("motion", found + f"; {absent} clouds without a pose" * (absent > 0))
