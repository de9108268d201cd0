# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""One stream in the node: subscription, mailbox, worker thread, publishers.

The subscription's callback only counts a cloud and puts it into a mailbox with one slot. The
worker thread takes it out, labels it and publishes it. The latest cloud wins, and no callback
waits. Only the worker thread touches the segmenter.

Each stream has a worker, so one that waits for a pose delays no other. They compute by turns.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.exceptions import NameValidationException
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import PointCloud2, PointField
from visualization_msgs.msg import MarkerArray

from minkowski_perception.accounting import Accounting, DropReason
from minkowski_perception.allocator import Peaks, return_freed_memory
from minkowski_perception.clouds import Selection, read_clouds, select
from minkowski_perception.codec import fill_message
from minkowski_perception.frame import ROS, nanoseconds
from minkowski_perception.moving import MOVING, moving_share
from minkowski_perception.node.cloud_publishers import CloudPublishers
from minkowski_perception.node.diagnostics import (
    REQUESTED,
    Increase,
    Monitor,
    Recurrence,
    Stages,
    count_values,
    diagnostic_status,
)
from minkowski_perception.node.ego_motion import create_ego_motion
from minkowski_perception.node.legend import label_info, legend_markers
from minkowski_perception.node.load_shedding import FULL, LoadShedding, levels
from minkowski_perception.node.mailbox import Mailbox
from minkowski_perception.node.map_publisher import MapPublisher
from minkowski_perception.node.parameters import ConfigurationError, name_for
from minkowski_perception.node.qos import LATCHED, RELIABLE
from minkowski_perception.node.reception import Reception
from minkowski_perception.node.recovery import RESET, Recovery
from minkowski_perception.node.shared_model import SharedModel
from minkowski_perception.node.timing_publishers import TimingPublishers
from minkowski_perception.node.transforms import Transforms
from minkowski_perception.node.turns import Turns
from minkowski_perception.node.watchdog import SLOW, Watchdog
from minkowski_perception.node.worker import Worker
from minkowski_perception.schema import SchemaError
from minkowski_perception.segmenter import Segmenter
from minkowski_perception.settings import Settings
from minkowski_perception.sparse.threads import thread_count
from minkowski_perception.stream import Dropped, Labelled, Stream
from minkowski_perception.view import view_of

_QUEUE = 10
"""Clouds that the subscription holds while the executor is busy."""

_RECENT = 3.0
"""Seconds without a labelled cloud after which the rate is 0."""

STOP_TIMEOUT = 5.0
"""Seconds that the worker may take to finish its cloud when the process stops."""

_NO_LEGEND = ("", ROS)
"""Frame of the clouds, and its axes, before the first legend."""

_MOST_SKIPPED = 1000
"""Clouds between two labelled ones whose stamps are kept."""


@dataclass
class _Cloud:
    """A received cloud.

    Attributes:
        message: the cloud.
        arrival: seconds of `time.perf_counter`.
        received_at: nanoseconds of the node's clock.
        skipped: stamp and frame_id of the clouds since the one that was taken last.
        superseded: how many of them this cloud supersedes.
    """

    message: PointCloud2
    arrival: float
    received_at: int
    skipped: deque[tuple[int, str]] = field(default_factory=lambda: deque(maxlen=_MOST_SKIPPED))
    superseded: int = 0

    @property
    def key(self) -> tuple[int, str]:
        """Stamp and frame_id."""
        header = self.message.header
        return nanoseconds(header.stamp) or self.received_at, header.frame_id

    def supersede(self, other: _Cloud) -> None:
        """Take the place of an earlier cloud."""
        other.skipped.extend((other.key, *self.skipped))
        self.skipped, self.superseded = other.skipped, other.superseded + 1


class Channel:
    """Labels the clouds of a topic and publishes them on `labelled`.

    It also publishes the clouds of the setting `clouds`, and with the setting `map` the map. The
    topics of the output are below the node's name, with the stream's name between if it has one.

    Args:
        node: owner of the topics.
        name: of the stream; "" if it is the node's only one and has none.
        stages: filled with the times of each cloud.
        turns: of the streams that compute.
        watchdog: ends a process whose engine hangs.
        give_up: called with the reason when an engine cannot be recovered.

    Attributes:
        name: of the stream.
        accounting: counts of the clouds since the node was created.
        frame_id: frame of the last labelled cloud.
    """

    def __init__(
        self,
        node: LifecycleNode,
        name: str,
        stages: Stages,
        turns: Turns,
        watchdog: Watchdog,
        give_up: Callable[[str], None],
    ) -> None:
        self.name = name
        self.accounting = Accounting()
        self.frame_id = ""
        self._axes = ROS
        self._node = node
        self._log = node.get_logger().get_child(name) if name else node.get_logger()
        self._title = f"{node.get_fully_qualified_name().lstrip('/')}: {name or 'labelling'}"
        self._sensor = self._configured_sensor()
        self._turns = turns
        self._watchdog = watchdog
        self._give_up = give_up
        self._stages = stages
        self._monitor = Monitor()
        self._recurrence = Recurrence()
        self._last_drop = ""
        self._stream: Stream | None = None
        self._reception: Reception | None = None
        self._mailbox: Mailbox[_Cloud] | None = None
        self._worker: Worker[_Cloud] | None = None
        self._shed: list[tuple[int, str]] = []
        self._arrivals = 0
        self._is_open = False
        self._reset_requested = False
        self._answers: deque[float] = deque(maxlen=50)
        self._peaks = Peaks()
        self._state_bytes = 0
        self._moving_share: float | None = None
        self._crf_wanted = False
        self._averaging_wanted = 1
        self._shedding = LoadShedding((FULL,))
        self._model: SharedModel | None = None
        self._recovery = Recovery(())
        self._builds = 0
        self._waited = 0.0
        self._settings = Settings()
        self._errors = self._thinned = self._lost_before = 0
        self._new_errors = Increase()
        self._newly_thinned = Increase()
        self._newly_lost = Increase()
        self._legend_frame = _NO_LEGEND
        self._labelled = node.create_lifecycle_publisher(
            PointCloud2, self.topic("labelled"), RELIABLE
        )
        self._legend = node.create_publisher(MarkerArray, self.topic("legend"), LATCHED)
        self._label_info: Any = None
        self._map: MapPublisher | None = None
        self._clouds: CloudPublishers | None = None
        self._timing: TimingPublishers | None = None

    def topic(self, name: str) -> str:
        """Return the topic of an output."""
        return f"~/{self.name}/{name}" if self.name else f"~/{name}"

    # Lifecycle

    def configure(self, model: SharedModel, settings: Settings, transforms: Transforms) -> None:
        """Subscribe; clouds are counted as `inactive` until `activate`.

        Args:
            model: that the settings name.
            settings: of this stream.
            transforms: of the node.

        Raises:
            ConfigurationError: the model cannot run with these settings, the ego-motion source
                needs a package that is not installed, or the setting `clouds` does not fit the
                model.
            Dropped: the model fails on a cloud.
        """
        segmenter = model.stream(settings)
        selections = _selections(settings, segmenter)
        self._model, self._settings, self._builds = model, settings, model.builds
        self._recovery = model.recovery
        ego_motion = create_ego_motion(self._node, settings, transforms)
        self._stream = Stream(
            segmenter, ego_motion, self.accounting, level=settings.level, turn=self._turn
        )
        self._crf_wanted, self._averaging_wanted = segmenter.crf, segmenter.averaging
        has_crf = segmenter.model.crf is not None
        self._shedding = LoadShedding(
            levels(has_crf, segmenter.averaging), settings.latency_budget, settings.max_superseded
        )
        self._publish_label_info(segmenter)
        self._map = MapPublisher(self._node, self.topic("map")) if settings.map else None
        self._clouds = CloudPublishers(self._node, selections, self.topic)
        self._timing = TimingPublishers(self._node, self.topic) if settings.timing else None
        reliability = ReliabilityPolicy[settings.input_reliability.upper()]
        qos = QoSProfile(depth=_QUEUE, reliability=reliability)
        self._reception = Reception(
            self._node, settings.cloud_topic, qos, self._on_cloud, settings.by_frame
        )
        self._sensor = _sensor(self._reception.topic, settings.by_frame)
        self._log.info(
            f"model '{segmenter.model.name}' on {segmenter.device} by engine {segmenter.engine} "
            f"({segmenter.engine.reason}), execution '{segmenter.execution}', ego motion "
            f"'{settings.ego_motion}', clouds from '{self._reception.topic}', selected points on "
            f"{', '.join(self._clouds.topics) or 'no topic'}"
        )

    def activate(self) -> None:
        """Start the worker thread."""
        assert self._stream is not None
        self._stream.ego_motion.resume()
        self._mailbox = Mailbox(_Cloud.supersede)
        self._start_worker(self._mailbox)

    def finish(self) -> None:
        """Take no further clouds; the worker thread ends after the current one."""
        mailbox, self._mailbox = self._mailbox, None
        if mailbox is None:
            return
        if mailbox.close() is not None:
            self.accounting.dropped(DropReason.SHUTDOWN)
        if self._stream is not None:
            self._stream.ego_motion.interrupt()

    def deactivate(self, timeout: float = STOP_TIMEOUT) -> None:
        """Finish the current cloud and stop; end the process if that takes longer than allowed.

        Args:
            timeout: seconds.
        """
        self.finish()
        if self._worker is not None and not self._worker.join(timeout):
            self._watchdog.end(f"the engine did not return within {timeout:g} s of the stop")
        self._worker = None

    def release(self) -> None:
        """Unsubscribe and free the stream."""
        if self._reception is not None:
            self._lost_before += self._reception.lost
            self._reception.close()
        if self._stream is not None:
            self._stream.close()
        if self._map is not None:
            self._map.close()
        if self._clouds is not None:
            self._clouds.close()
        if self._timing is not None:
            self._timing.close()
        self._reception = self._stream = self._model = None
        self._map = self._clouds = self._timing = None
        self._legend_frame = _NO_LEGEND
        self._reset_requested = False

    def supervise(self) -> None:
        """Restart a dead worker, and end the process if the engine hangs."""
        worker, mailbox, model = self._worker, self._mailbox, self._model
        if worker is None or model is None:
            return
        if worker.is_dead and mailbox is not None:
            self._on_error(RuntimeError("the worker thread ended"))
            self._start_worker(mailbox)
        self._watchdog.check(
            "the engine has not returned", model.overdue if model.is_building else worker.busy
        )

    def abandon(self) -> None:
        """Count the cloud that the engine hangs on, before the process ends."""
        if self._is_open:
            self._is_open = False
            self.accounting.dropped(DropReason.STALLED)

    def request_reset(self) -> bool:
        """Forget the stream before its next cloud; return whether there is a stream."""
        self._reset_requested = self._stream is not None
        return self._reset_requested

    def _reset_if_requested(self, stream: Stream) -> None:
        """Forget the stream, in the thread that may."""
        if self._reset_requested:
            self._reset_requested = False
            stream.segmenter.reset(REQUESTED)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Hold the turn to compute, while no other stream does."""
        assert self._worker is not None
        began = time.perf_counter()
        with self._worker.turn(self._turns):
            self._waited = time.perf_counter() - began
            yield

    def _start_worker(self, mailbox: Mailbox[_Cloud]) -> None:
        self._worker = Worker(mailbox, self._handle, self._on_error, self._idle)
        self._worker.start()

    # Settings that can change at any time

    def set_crf(self, wanted: bool) -> None:
        """Switch the CRF, if the model has one; load shedding may still leave it out."""
        self._crf_wanted = wanted

    def set_averaging(self, frames: int) -> None:
        """Set the number of frames over which probabilities are averaged."""
        self._averaging_wanted = frames

    def _apply_quality(self, segmenter: Segmenter) -> None:
        """Set what the parameters and the level of load shedding ask for."""
        level, frames = self._shedding.level, self._averaging_wanted
        if level.averaging is not None:
            frames = min(frames, level.averaging)
        if segmenter.averaging != frames:
            segmenter.averaging = frames
        segmenter.crf = self._crf_wanted and level.crf and segmenter.model.crf is not None
        segmenter.limits = replace(segmenter.limits, stride=level.stride)

    # Clouds

    def _on_cloud(self, message: PointCloud2) -> None:
        self.accounting.received()
        mailbox = self._mailbox
        if mailbox is None:
            self.accounting.dropped(DropReason.INACTIVE)
            return
        cloud = _Cloud(message, time.perf_counter(), self._node.get_clock().now().nanoseconds)
        self._arrivals += 1
        if self._arrivals % self._shedding.level.period:
            self._shed.append(cloud.key)
            self.accounting.dropped(DropReason.SHED)
            return
        cloud.skipped.extend(self._shed)
        self._shed.clear()
        replaced = mailbox.put(cloud)
        if replaced is cloud:
            self.accounting.dropped(DropReason.INACTIVE)
        elif replaced is not None:
            self.accounting.dropped(DropReason.SUPERSEDED)

    def _handle(self, cloud: _Cloud) -> None:
        stream, model = self._stream, self._model
        assert stream is not None
        assert model is not None
        self._is_open = True
        if self._builds != model.builds:
            with self._turn():
                self._follow(stream, model)
        self._reset_if_requested(stream)
        self._apply_quality(stream.segmenter)
        for skipped in cloud.skipped:
            stream.skip(*skipped)
        started = time.perf_counter()
        labelled = failure = None
        try:
            labelled = stream.label(cloud.message, cloud.received_at)
        except Dropped as drop:
            self._is_open = False
            self._note_drop(drop)
            if drop.reason is DropReason.INFERENCE_FAILED:
                failure = str(drop)
        if failure is not None:  # no longer the exception, which holds what the engine computed
            self._recover(stream, model, failure)
        if labelled is None:
            return
        encoded = time.perf_counter()
        header = cloud.message.header
        self._labelled.publish(
            fill_message(PointCloud2(header=header), labelled.cloud, PointField)
        )
        finished = time.perf_counter()
        self._is_open = False
        stream.delivered(labelled)
        self._recovery.succeeded()
        timings = {
            "latency": finished - cloud.arrival,
            "queue": started - cloud.arrival,
            **labelled.timings,
            **({"turn": self._waited} if self.name else {}),
            "publish": finished - encoded,
            **self._publish_clouds(cloud.message, labelled),
        }
        self._note_labelled(stream, labelled, timings, cloud.superseded)
        if self._map is not None:
            self._map.note_labelled()
            self._map.publish(stream)
        if labelled.result.thinned:
            self._peaks.note()
        self._peaks.give_back()

    def _publish_clouds(self, message: PointCloud2, labelled: Labelled) -> dict[str, float]:
        """Publish the clouds of selected points; return the seconds that it took."""
        assert self._clouds is not None
        started = time.perf_counter()
        if not self._clouds.publish(message, labelled):
            return {}
        return {"clouds": time.perf_counter() - started}

    def _idle(self) -> None:
        """Publish the map while no cloud comes, and once more at the end; give memory back."""
        stream = self._stream
        assert stream is not None
        self._reset_if_requested(stream)
        self._peaks.note()
        self._peaks.give_back()
        if self._map is not None:
            self._map.publish(stream, at_once=self._mailbox is None)

    def _on_error(self, error: BaseException) -> None:
        """Note an exception outside the network; the cloud is lost, the worker goes on."""
        self._errors += 1
        self._last_drop = f"{DropReason.INTERNAL_ERROR.value}: {error!r}"
        self._log.error(f"error while labelling: {error!r}")
        if self._is_open:
            self._is_open = False
            self.accounting.dropped(DropReason.INTERNAL_ERROR)

    def _note_labelled(
        self, stream: Stream, labelled: Labelled, timings: dict[str, float], superseded: int
    ) -> None:
        self.frame_id = labelled.frame.frame_id
        self._axes = labelled.frame.axes or ROS
        # Read here, since no other thread may access the segmenter's state.
        self._state_bytes = stream.segmenter.state_bytes
        moving = labelled.result.outputs.get(MOVING)
        self._moving_share = None if moving is None else moving_share(moving)
        if self._shedding.level.stride == 1:
            self._thinned += labelled.result.thinned
        self._answers.append(time.perf_counter())
        self._stages.add(timings)
        if self._timing is not None:
            self._timing.publish(timings)
        if self._shedding.add(timings["latency"], superseded):
            self._log.warning(
                f"load shedding: now '{self._shedding.level.name}', {self._shedding.reason}"
            )

    def _note_drop(self, drop: Dropped) -> None:
        self._last_drop = f"{drop.reason.value}: {drop}"
        self._log.warning(f"cloud dropped, {self._last_drop}", throttle_duration_sec=5.0)

    # Recovery

    def _recover(self, stream: Stream, model: SharedModel, failure: str) -> None:
        """Take the next step of recovery from an engine that failed."""
        with self._turn():  # another stream's step must have ended
            if self._builds != model.builds:
                return
            while (step := self._recovery.next_step()) is not None:
                if step == RESET:
                    self._log.warning("the engine failed: the stream's state is dropped")
                    stream.segmenter.reset()
                    return
                assert isinstance(step, Settings)
                self._log.error(
                    f"the engine failed again: building engine '{step.engine}' on '{step.device}'"
                )
                try:
                    model.build(step)
                    self._follow(stream, model)
                    return
                except Exception as error:
                    failure = repr(error)
                    self._log.error(f"the engine cannot be built: {failure}")
        self._give_up(f"the engine fails on every cloud: {failure}")

    def _follow(self, stream: Stream, model: SharedModel) -> None:
        """Go on with the engine that was built last."""
        builds = model.builds
        segmenter = model.stream(self._settings)
        segmenter.resets.update(stream.segmenter.resets)
        stream.segmenter, self._builds = segmenter, builds
        return_freed_memory()  # of the engine that failed

    # Legend and diagnostics

    def _configured_sensor(self) -> str:
        """Return topic and frame of the clouds as the parameters name them."""
        topic, frame_id = (
            str(self._node.get_parameter(name_for(self._node, self.name, name)).value)
            for name in ("cloud_topic", "by_frame")
        )
        with suppress(NameValidationException):  # configure refuses a name that is not valid
            topic = self._node.resolve_topic_name(topic)
        return _sensor(topic, frame_id)

    def _publish_label_info(self, segmenter: Segmenter) -> None:
        info = label_info(segmenter.label_set)
        if info is None:
            return
        if self._label_info is None:
            self._label_info = self._node.create_publisher(type(info), "~/label_info", LATCHED)
        self._label_info.publish(info)

    def publish_legend(self) -> None:
        """Publish the legend if the frame of the clouds has become known or changed."""
        stream, frame = self._stream, (self.frame_id, self._axes)
        if stream is not None and frame != self._legend_frame:
            model = stream.segmenter.model
            view = view_of(model.label_set, model.domain)
            self._legend.publish(legend_markers(model.label_set, view, *frame))
            self._legend_frame = frame

    def diagnostics(self, state: str, problem: str) -> DiagnosticStatus:
        """Return the entry of this stream in the diagnostics.

        Args:
            state: lifecycle state.
            problem: why the last transition failed; "" if it succeeded.
        """
        counts, stream, reception = self.accounting.snapshot(), self._stream, self._reception
        lost = self._lost_before + (reception.lost if reception else 0)
        errors = self._current_errors()
        warnings = self._current_warnings(lost)
        if stream is not None:
            resets = dict(stream.segmenter.resets)
            warnings += self._recurrence.warnings(resets, time.monotonic())
            if unlike := stream.domain.warnings:
                warnings.append(f"unlike the training: {'; '.join(unlike)}")
        level, message = self._monitor.judge(state, problem, counts, errors, warnings)
        values = {"state": state, **count_values(counts), "lost_before_reception": str(lost)}
        values |= {
            "errors": str(self._errors),
            "recovery_steps": str(self._recovery.steps),
            "thinned_points": str(self._thinned),
        }
        if stream is not None:
            values |= self._stream_values(stream)
        values |= {f"{stage}_ms": f"{ms:.1f}" for stage, ms in self._stages.medians().items()}
        values |= {"last_refusal": self._last_drop}
        return diagnostic_status(self._title, self._sensor, level, message, values)

    def _current_errors(self) -> list[str]:
        errors = []
        if self._new_errors(self._errors):
            errors.append(f"error outside the network, {self._last_drop}")
        busy = 0.0 if self._worker is None else self._worker.busy
        if self._model is not None and self._model.is_building:
            errors.append("the engine failed and is being built anew")
        elif busy > SLOW:
            errors.append(f"the engine has not returned for {busy:.0f} s")
        return errors

    def _current_warnings(self, lost: int) -> list[str]:
        warnings = []
        if new := self._newly_lost(lost):
            warnings.append(f"{new} clouds lost before reception")
        if new := self._newly_thinned(self._thinned):
            warnings.append(f"{new} points beyond max_points or max_voxels have no label")
        frames = [] if self._reception is None else self._reception.frames
        names = ", ".join(f"'{frame}'" for frame in frames)
        wanted = self._settings.by_frame
        if wanted and frames and wanted not in frames:
            warnings.append(f"no clouds of by_frame '{wanted}' on the topic, but of {names}")
        if not wanted and len(frames) > 1:
            warnings.append(
                f"clouds of the frames {names} on one topic, each restarts the stream; by_frame "
                "makes streams of them"
            )
        if "" in frames:
            warnings.append("clouds have no frame_id: no legend, no TF")
        clouds = self._clouds
        if clouds is not None and clouds.without_motion:
            names = ", ".join(map(self.topic, clouds.without_motion))
            warnings.append(f"no points on {names}: it is unknown how the sensor moves")
        if self._shedding.level is not FULL:
            warnings.append(f"load shedding: {self._shedding.level.name}")
        return warnings

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
            "load_level": self._shedding.level.name,
            "load_reason": self._shedding.reason,
            "state_mb": f"{self._state_bytes / 1e6:.2f}",
            "voxel_size": f"{segmenter.model.input.voxel_size:g}",
            "ego_motion": motion.name,
            "ego_motion_reason": motion.reason,
            "ego_motion_coasted": str(motion.coasted),
            "mount": self._mount(stream),
            "axes": str(segmenter.axes),
            "intensity_full_scale": f"{scale.full_scale} ({scale.how})",
            "rate_hz": f"{self._rate():.2f}",
            **self._moving_value(),
            **{f"resets_{reason}": str(n) for reason, n in sorted(dict(segmenter.resets).items())},
        }

    def _mount(self, stream: Stream) -> str:
        """Return how the sensor is mounted, and how that is known."""
        if stream.ego_motion.source.knows_up:
            return "from the ego motion"
        tilt = stream.level.tilt(self.frame_id)
        return f"tilted by {tilt:.1f} degrees, found in the clouds" if tilt else "upright, assumed"

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


def _selections(settings: Settings, segmenter: Segmenter) -> dict[str, Selection]:
    """Return the selections of the setting `clouds`.

    Raises:
        ConfigurationError: it is not valid, or does not fit the model.
    """
    heads = segmenter.model.network.options.heads
    try:
        return select(read_clouds(settings.clouds), segmenter.label_set, heads)
    except SchemaError as error:
        raise ConfigurationError(str(error)) from error


def _sensor(topic: str, frame_id: str) -> str:
    """Return what names the sensor of a stream, for diagnostics."""
    return f"{topic} ({frame_id})" if frame_id else topic
