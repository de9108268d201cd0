# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""One stream of clouds: message in; labelled cloud out, or one counted drop.

Node, bag labeller and tests label through it, so a bag and a live sensor cannot differ.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from minkowski_perception.accounting import Accounting, DropReason
from minkowski_perception.codec import (
    CloudData,
    CloudError,
    append_fields,
    decode,
    encode_fields,
    existing_field,
)
from minkowski_perception.domain import DomainMonitor
from minkowski_perception.frame import Frame
from minkowski_perception.motion.ego_motion import EgoMotion, InterruptedWaitError, NoPoseError
from minkowski_perception.motion.level import Level
from minkowski_perception.segmenter import Segmentation, Segmenter
from minkowski_perception.streaming.continuity import OutOfOrderError
from minkowski_perception.streaming.map import LabelledMap
from minkowski_perception.voxels import MissingFieldError


class Dropped(Exception):  # noqa: N818 - an outcome, not a fault
    """A cloud gets no labels.

    Attributes:
        reason: why, as it was counted.
    """

    def __init__(self, reason: DropReason, cause: object) -> None:
        super().__init__(cause)
        self.reason = reason


@dataclass(frozen=True)
class Labelled:
    """A labelled cloud.

    Attributes:
        frame: the decoded cloud, with its pose and, where the stream has a truth field, labels
            and, where known, which points move. Its axes are upright if `Stream.level` turned it.
        received: the same with the points as they came, in the axes of the sensor, and its pose.
        up: [3], the direction upwards in the axes of the sensor.
        result: labels and further outputs of each point.
        cloud: the input cloud with `label`, `confidence`, `rgb` and further outputs appended.
        timings: seconds by stage: "decode", "pose", those of `Segmentation`, and "encode".
        intensity_full_scale: the intensity that counts as full reflection.
        fixed_frame: name of the odometry frame.
    """

    frame: Frame
    received: Frame
    up: npt.NDArray[np.float64]
    result: Segmentation
    cloud: CloudData
    timings: Mapping[str, float]
    intensity_full_scale: float = 1.0
    fixed_frame: str = EgoMotion.fixed_frame


@dataclass(frozen=True)
class MapCloud:
    """The map of a stream.

    Attributes:
        voxels: of the map.
        cloud: their centres, with the fields of `LabelledMap.fields`.
        frame_id: name of the odometry frame.
    """

    voxels: LabelledMap
    cloud: CloudData
    frame_id: str


class Stream:
    """The clouds of one sensor: continuity, ego motion, segmenter state and accounts.

    The one who receives a cloud counts it as received, then calls `label`, which counts a drop.
    The one who delivers the labelled cloud calls `delivered`.

    Args:
        segmenter: at the start of a stream; no other stream may use it (see
            `Segmenter.another_stream`).
        ego_motion: source of the sensor's poses.
        accounting: what became of the clouds; None for new accounts.
        truth_field: field of the clouds that holds true labels; clouds may lack it.
        level: whether the mount of a sensor is found from the ground where ego motion does not
            know it.
        turn: returns a context manager that is held while the segmenter computes; for streams
            that share a network.

    Attributes:
        level: finds the mounts.
        domain: warns where clouds or labels are unlike those of the model's training.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        ego_motion: EgoMotion,
        accounting: Accounting | None = None,
        truth_field: str | None = None,
        level: bool = True,
        turn: Callable[[], AbstractContextManager[Any]] = nullcontext,
    ) -> None:
        self.segmenter = segmenter
        self.ego_motion = ego_motion
        self.accounting = Accounting() if accounting is None else accounting
        self.domain = DomainMonitor(segmenter.model, segmenter.intensity_scale.declared)
        self.level = Level(level)
        self._truth_field = truth_field
        self._turn = turn

    def label(
        self,
        message: Any,
        received_at: int = 0,
        segment: Callable[[Frame], Segmentation] | None = None,
    ) -> Labelled:
        """Label a received cloud, the next one of the stream.

        Args:
            message: sensor_msgs/PointCloud2, or anything with its attributes.
            received_at: nanoseconds; replaces a stamp of 0, which drivers without a clock send.
            segment: computes the labels; None for the segmenter.

        Raises:
            Dropped: the cloud cannot be labelled. The drop is counted, and the stream goes on.
        """
        try:
            return self._label(message, received_at, segment or self.segmenter.segment)
        except CloudError as error:
            raise self.drop(DropReason.MALFORMED, error) from error
        except OutOfOrderError as error:
            raise self.drop(DropReason.OUT_OF_ORDER, error) from error
        except InterruptedWaitError as error:
            raise self.drop(DropReason.SHUTDOWN, error) from error
        except MissingFieldError as error:
            raise self.drop(DropReason.UNSUITABLE, error) from error
        except NoPoseError as error:
            raise self.drop(DropReason.NO_POSE, error) from error
        except Exception as error:
            # A cloud that the network fails on must not end a run over thousands, nor the node.
            raise self.drop(DropReason.INFERENCE_FAILED, repr(error)) from error

    def delivered(self, labelled: Labelled) -> None:
        """Count a cloud as labelled, and compare it with the model's training."""
        self.accounting.labelled()
        self.domain.update(labelled.frame, labelled.result)

    def skip(self, stamp: int, frame_id: str) -> None:
        """Note a received cloud that is not labelled; see `Continuity.skip`."""
        self.segmenter.skip(stamp, frame_id)

    def map(self) -> MapCloud | None:
        """Return the map of the stream so far; None if its segmenter keeps none."""
        voxels = self.segmenter.labelled_map()
        if voxels is None:
            return None
        return MapCloud(voxels, encode_fields(voxels.fields()), self._fixed_frame())

    def drop(self, reason: DropReason, cause: object) -> Dropped:
        """Count a received cloud as dropped; return the exception that says so."""
        self.accounting.dropped(reason)
        return Dropped(reason, cause)

    def close(self) -> None:
        """Release what the source of ego motion holds."""
        self.ego_motion.close()

    def _label(
        self, message: Any, received_at: int, segment: Callable[[Frame], Segmentation]
    ) -> Labelled:
        started = time.perf_counter()
        frame = decode(message, label_field=existing_field(message, self._truth_field))
        frame.stamp = frame.stamp or received_at
        frame = self.segmenter.oriented(frame)
        decoded = time.perf_counter()
        if not self.segmenter.continues(frame):
            self.ego_motion.reset()
            self.level.begin()
        frame.pose = self.ego_motion.locate(frame)
        received = frame
        if not self.ego_motion.source.knows_up:
            if self.level.observe(frame):
                self.segmenter.reset()  # its voxels have other axes
            frame = self.level.apply(frame)
            received.pose = self.level.sensor_pose(frame)
        located = time.perf_counter()
        with self._turn():
            result = segment(frame)
        segmented = time.perf_counter()
        cloud = append_fields(message, result.fields())
        timings = {
            "decode": decoded - started,
            "pose": located - decoded,
            **result.timings,
            "encode": time.perf_counter() - segmented,
        }
        full_scale = self.segmenter.intensity_scale.full_scale
        up = self._up(received)
        return Labelled(
            frame, received, up, result, cloud, timings, full_scale, self._fixed_frame()
        )

    def _up(self, frame: Frame) -> npt.NDArray[np.float64]:
        """Return the direction upwards [3] in the axes of a frame's sensor."""
        mount = self.ego_motion.source.mount(frame.frame_id)
        return self.level.up(frame) if mount is None else mount[2, :3]

    def _fixed_frame(self) -> str:
        """Return the name of the odometry frame, in which turned clouds are upright."""
        source = self.ego_motion.source
        turned = self.level.found and not source.knows_up
        return EgoMotion.fixed_frame if turned else source.fixed_frame
