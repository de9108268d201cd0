# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""One stream in the node: subscription, mailbox, worker thread, publishers.

The subscription's callback only counts a cloud and puts it into a mailbox with one slot. The
worker thread takes it out, labels it and publishes it. The latest cloud wins, and no callback
waits.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from typing import Any

from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import PointCloud2, PointField
from visualization_msgs.msg import MarkerArray

from minkowski_perception.accounting import Accounting, DropReason
from minkowski_perception.codec import fill_message
from minkowski_perception.moving import MOVING, moving_share
from minkowski_perception.node.diagnostics import Monitor, Stages, count_values
from minkowski_perception.node.ego_motion import create_ego_motion
from minkowski_perception.node.legend import label_info, legend_markers
from minkowski_perception.node.load_shedding import FULL, WITHOUT_CRF, LoadShedding
from minkowski_perception.node.mailbox import Mailbox
from minkowski_perception.node.map_publisher import PERIOD, MapPublisher
from minkowski_perception.node.qos import LATCHED, RELIABLE
from minkowski_perception.segmenter import Segmenter
from minkowski_perception.settings import Settings
from minkowski_perception.sparse.threads import thread_count
from minkowski_perception.stream import Dropped, Labelled, Stream

_RECENT = 3.0
"""Seconds without a labelled cloud after which the rate is 0."""


class Channel:
    """Labels the clouds of the topic `cloud` of a node and publishes them on `~/labelled`.

    With the setting `map`, it also publishes the map on `~/map`.

    Attributes:
        accounting: counts of the clouds since the node was created.
        frame_id: frame of the last labelled cloud.
    """

    def __init__(self, node: LifecycleNode) -> None:
        self.accounting = Accounting()
        self.frame_id = ""
        self._node = node
        self._stages = Stages()
        self._monitor = Monitor()
        self._last_drop = ""
        self._stream: Stream | None = None
        self._subscription: Any = None
        self._mailbox: Mailbox[tuple[PointCloud2, float]] | None = None
        self._worker: threading.Thread | None = None
        self._answers: deque[float] = deque(maxlen=50)
        self._state_bytes = 0
        self._moving_share: float | None = None
        self._crf_wanted = False
        self._shedding = LoadShedding(0.0, (FULL,))
        self._legend_frame = ""
        self._labelled = node.create_lifecycle_publisher(PointCloud2, "~/labelled", RELIABLE)
        self._legend = node.create_publisher(MarkerArray, "~/legend", LATCHED)
        self._label_info: Any = None
        self._map: MapPublisher | None = None

    # Lifecycle

    def configure(self, segmenter: Segmenter, settings: Settings) -> None:
        """Subscribe; clouds are counted as `inactive` until `activate`.

        Raises:
            ConfigurationError: the ego-motion source needs a package that is not installed.
        """
        ego_motion = create_ego_motion(self._node, settings)
        self._stream = Stream(segmenter, ego_motion, self.accounting)
        self._crf_wanted = segmenter.crf
        has_crf = segmenter.model.crf is not None
        self._shedding = LoadShedding(
            settings.latency_budget, (FULL, WITHOUT_CRF) if has_crf else (FULL,)
        )
        self._publish_label_info(segmenter)
        self._map = MapPublisher(self._node) if settings.map else None
        reliability = ReliabilityPolicy[settings.input_reliability.upper()]
        depth = 10 if reliability == ReliabilityPolicy.RELIABLE else 1
        self._subscription = self._node.create_subscription(
            PointCloud2, "cloud", self._on_cloud, QoSProfile(depth=depth, reliability=reliability)
        )
        self._node.get_logger().info(
            f"model '{segmenter.model.name}' on {segmenter.device} by engine {segmenter.engine} "
            f"({segmenter.engine.reason}), execution '{segmenter.execution}', ego motion "
            f"'{settings.ego_motion}', clouds from '{self._subscription.topic_name}'"
        )

    def activate(self) -> None:
        """Start the worker thread."""
        assert self._stream is not None
        self._mailbox = Mailbox()
        self._worker = threading.Thread(
            target=self._work, args=(self._mailbox, self._stream), daemon=True
        )
        self._worker.start()

    def deactivate(self) -> None:
        """Finish the current cloud and stop."""
        if self._mailbox is None or self._worker is None:
            return
        if self._mailbox.close() is not None:
            self.accounting.dropped(DropReason.SHUTDOWN)
        self._worker.join()
        self._mailbox = self._worker = None

    def release(self) -> None:
        """Unsubscribe and free the stream."""
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
        if self._stream is not None:
            self._stream.close()
        if self._map is not None:
            self._map.close()
        self._subscription = self._stream = self._map = None
        self._legend_frame = ""

    # Settings that can change at any time

    def set_crf(self, wanted: bool) -> None:
        """Switch the CRF, if the model has one; load shedding may still leave it out."""
        if self._stream is not None:
            self._crf_wanted = wanted and self._stream.segmenter.model.crf is not None
            self._switch_crf(self._stream)

    def set_averaging(self, frames: int) -> None:
        """Set the number of frames over which probabilities are averaged."""
        if self._stream is not None:
            self._stream.segmenter.averaging = frames

    def _switch_crf(self, stream: Stream) -> None:
        stream.segmenter.crf = self._crf_wanted and self._shedding.level == FULL

    # Clouds

    def _on_cloud(self, message: PointCloud2) -> None:
        self.accounting.received()
        if self._mailbox is None:
            self.accounting.dropped(DropReason.INACTIVE)
        elif self._mailbox.put((message, time.perf_counter())) is not None:
            self.accounting.dropped(DropReason.SUPERSEDED)

    def _work(self, mailbox: Mailbox[tuple[PointCloud2, float]], stream: Stream) -> None:
        while (item := self._take(mailbox, stream)) is not None:
            message, arrival = item
            started = time.perf_counter()
            try:
                labelled = stream.label(message, self._node.get_clock().now().nanoseconds)
            except Dropped as drop:
                self._note_drop(drop)
                continue
            encoded = time.perf_counter()
            header = message.header
            self._labelled.publish(
                fill_message(PointCloud2(header=header), labelled.cloud, PointField)
            )
            finished = time.perf_counter()
            self.accounting.labelled()
            self._note_labelled(
                stream,
                labelled,
                {
                    "latency": finished - arrival,
                    "queue": started - arrival,
                    **labelled.timings,
                    "publish": finished - encoded,
                },
            )
            if self._map is not None:
                self._map.note_labelled()
                self._map.publish(stream)
        if self._map is not None:
            self._map.publish(stream, at_once=True)

    def _take(
        self, mailbox: Mailbox[tuple[PointCloud2, float]], stream: Stream
    ) -> tuple[PointCloud2, float] | None:
        """Return the next cloud, None at the end; the map is published while there is none."""
        if self._map is None:
            return mailbox.take()
        while True:
            try:
                return mailbox.take(PERIOD)
            except TimeoutError:
                self._map.publish(stream)

    def _note_labelled(
        self, stream: Stream, labelled: Labelled, timings: dict[str, float]
    ) -> None:
        self.frame_id = labelled.frame.frame_id
        # Read here, since no other thread may access the segmenter's state.
        self._state_bytes = stream.segmenter.state_bytes
        moving = labelled.result.outputs.get(MOVING)
        self._moving_share = None if moving is None else moving_share(moving)
        self._answers.append(time.perf_counter())
        self._stages.add(timings)
        if self._shedding.add(timings["latency"]):
            self._switch_crf(stream)
            self._node.get_logger().warning(f"latency budget: now '{self._shedding.level}'")

    def _note_drop(self, drop: Dropped) -> None:
        self._last_drop = f"{drop.reason.value}: {drop}"
        self._node.get_logger().warning(
            f"cloud dropped, {self._last_drop}", throttle_duration_sec=5.0
        )

    # Legend and diagnostics

    def _publish_label_info(self, segmenter: Segmenter) -> None:
        info = label_info(segmenter.label_set)
        if info is None:
            return
        if self._label_info is None:
            self._label_info = self._node.create_publisher(type(info), "~/label_info", LATCHED)
        self._label_info.publish(info)

    def publish_legend(self) -> None:
        """Publish the legend if the frame of the clouds has become known or changed."""
        stream, frame_id = self._stream, self.frame_id
        if stream is not None and frame_id != self._legend_frame:
            self._legend.publish(legend_markers(stream.segmenter.label_set, frame_id))
            self._legend_frame = frame_id

    def status(self, state: str, problem: str) -> tuple[bytes, str, dict[str, str]]:
        """Return level, message and key-values for the diagnostics.

        Args:
            state: lifecycle state.
            problem: why the last transition failed; "" if it succeeded.
        """
        counts = self.accounting.snapshot()
        unlike = () if self._stream is None else self._stream.domain.warnings
        level, message = self._monitor.judge(state, problem, counts, unlike)
        values = {"state": state, **count_values(counts)}
        if self._stream is not None:
            values |= self._stream_values(self._stream)
        values |= {f"{stage}_ms": f"{ms:.1f}" for stage, ms in self._stages.medians().items()}
        return level, message, values | {"last_refusal": self._last_drop}

    def _stream_values(self, stream: Stream) -> dict[str, str]:
        segmenter, motion = stream.segmenter, stream.ego_motion.source
        scale = segmenter.intensity_scale
        return {
            "model": segmenter.model.name,
            "device": str(segmenter.device),
            "engine": str(segmenter.engine),
            "engine_reason": segmenter.engine.reason,
            "threads": str(thread_count()),
            "execution": segmenter.execution,
            "crf": str(segmenter.crf).lower(),
            "averaging": str(segmenter.averaging),
            "load_level": self._shedding.level,
            "state_mb": f"{self._state_bytes / 1e6:.2f}",
            "voxel_size": f"{segmenter.model.input.voxel_size:g}",
            "ego_motion": motion.name,
            "ego_motion_reason": motion.reason,
            "ego_motion_coasted": str(motion.coasted),
            "intensity_full_scale": f"{scale.full_scale} ({scale.how})",
            "rate_hz": f"{self._rate():.2f}",
            **self._moving_value(),
            **{f"resets_{reason}": str(n) for reason, n in sorted(segmenter.resets.items())},
        }

    def _moving_value(self) -> dict[str, str]:
        """Return the share of moving points in the last cloud, if the model has that output."""
        share = self._moving_share
        if share is None:
            return {}
        return {"moving_share": "unknown" if math.isnan(share) else f"{share:.4f}"}

    def _rate(self) -> float:
        """Return the labelled clouds per second."""
        answers = list(self._answers)
        if len(answers) < 2 or time.perf_counter() - answers[-1] > _RECENT:
            return 0.0
        return (len(answers) - 1) / (answers[-1] - answers[0])
