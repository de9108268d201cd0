# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The lifecycle node: clouds in, labelled clouds and diagnostics out. No algorithm lives here.

A cloud passes from the subscription's callback, which only counts it, through a mailbox of one
slot to the inference thread, which waits for its pose, labels it and publishes it.
"""

from __future__ import annotations

import functools
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import rclpy
import torch
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import SetParametersResult
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import PointCloud2, PointField
from visualization_msgs.msg import MarkerArray

from minkowski_perception.accounting import Accounting, DropReason
from minkowski_perception.codec import CloudError, decode, encode_labelled, fill_message
from minkowski_perception.device import use_threads
from minkowski_perception.motion.ego_motion import EgoMotion, NoPoseError
from minkowski_perception.networks.model import load_model
from minkowski_perception.node.diagnostics import (
    Monitor,
    Stages,
    count_values,
    diagnostic_array,
)
from minkowski_perception.node.ego_motion import create_ego_motion
from minkowski_perception.node.ladder import FULL, WITHOUT_CRF, Ladder
from minkowski_perception.node.legend import label_info, legend_markers
from minkowski_perception.node.mailbox import Mailbox
from minkowski_perception.node.parameters import (
    ConfigurationError,
    declare,
    read,
)
from minkowski_perception.node.stopping import init_until_signalled, wait_until_heard
from minkowski_perception.segmenter import Segmenter
from minkowski_perception.sparse.threads import thread_count
from minkowski_perception.streaming.continuity import OutOfOrderError

_REPORT_PERIOD = 1.0  # seconds, as diagnostic aggregators expect
_LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
_RELIABLE = QoSProfile(depth=10)

Transition = Callable[["PerceptionNode", LifecycleState], TransitionCallbackReturn]


def _logged(transition: Transition) -> Transition:
    """Log an exception in a transition, which rclpy would swallow, and refuse the transition."""

    @functools.wraps(transition)
    def wrapped(self: PerceptionNode, state: LifecycleState) -> TransitionCallbackReturn:
        self.problem = ""
        try:
            return transition(self, state)
        except ConfigurationError as error:
            self.problem = f"{transition.__name__} refused: {error}"
            self.get_logger().error(self.problem)
        except Exception as error:
            self.problem = f"{transition.__name__} failed: {error!r}"
            self.get_logger().error(self.problem)
        return TransitionCallbackReturn.FAILURE

    return wrapped


class PerceptionNode(LifecycleNode):
    """Labels every point of every cloud that it can.

    Subscribes `cloud` (sensor_msgs/PointCloud2) and, if asked to, `odometry` or TF. Publishes
    `~/labelled` (PointCloud2), `~/legend` (MarkerArray, latched), `~/label_info`
    (vision_msgs/LabelInfo, latched, where that package is installed) and `/diagnostics`.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__("minkowski_perception", **kwargs)
        self.problem = ""
        self.accounting = Accounting()
        self._state = "unconfigured"
        self._refused_parameters = declare(self)
        self._segmenter: Segmenter | None = None
        self._ego_motion: EgoMotion | None = None
        self._subscription: Any = None
        self._mailbox: Mailbox[tuple[PointCloud2, float]] | None = None
        self._worker: threading.Thread | None = None
        self._stages = Stages()
        self._monitor = Monitor()
        self._answers: deque[float] = deque(maxlen=50)
        self._state_bytes = 0
        self._crf_wanted = False
        self._ladder = Ladder(0.0, (FULL,))
        self._last_refusal = ""
        self._legend_frame = ""
        self._frame_id = ""
        self._labelled = self.create_lifecycle_publisher(PointCloud2, "~/labelled", _RELIABLE)
        self._legend = self.create_publisher(MarkerArray, "~/legend", _LATCHED)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", _RELIABLE)
        self._label_info: Any = None
        self.create_timer(_REPORT_PERIOD, self.report)
        self.add_on_set_parameters_callback(self._on_parameters)

    def _on_parameters(self, parameters: Sequence[Parameter]) -> SetParametersResult:
        """Switch CRF and averaging at once; all else is read when the node is configured."""
        segmenter = self._segmenter
        for parameter in parameters:
            if segmenter is None:
                break
            if parameter.name == "crf":
                self._crf_wanted = parameter.value and segmenter.model.crf is not None
                self._switch_crf(segmenter)
            elif parameter.name == "averaging":
                segmenter.averaging = parameter.value
        return SetParametersResult(successful=True)

    def _switch_crf(self, segmenter: Segmenter) -> None:
        segmenter.crf = self._crf_wanted and self._ladder.rung == FULL

    # Transitions

    @_logged
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Check the parameters and load the model."""
        if self._refused_parameters:
            refused, self._refused_parameters = self._refused_parameters, {}
            raise ConfigurationError("; ".join(refused.values()))
        settings = read(self)
        use_threads(settings.threads)  # before engines are timed
        try:
            segmenter = Segmenter(
                load_model(settings.model),
                device=settings.device,
                execution=settings.execution,
                window=settings.window,
                crf=None if settings.crf else False,
                averaging=settings.averaging,
                intensity_full_scale=settings.intensity_full_scale,
                deskew=settings.deskew,
                max_gap=settings.max_gap,
                max_step_back=settings.max_step_back,
                engine=settings.engine,
                precision=settings.precision,
                deterministic=settings.deterministic,
            )
        except ValueError as error:
            raise ConfigurationError(str(error)) from error
        self._ego_motion = create_ego_motion(self, settings)
        self._crf_wanted = segmenter.crf
        rungs = (FULL,) if segmenter.model.crf is None else (FULL, WITHOUT_CRF)
        self._ladder = Ladder(settings.latency_budget, rungs)
        self._segmenter = segmenter
        self._publish_label_info(segmenter)
        reliability = ReliabilityPolicy[settings.input_reliability.upper()]
        depth = 10 if reliability == ReliabilityPolicy.RELIABLE else 1
        profile = QoSProfile(depth=depth, reliability=reliability)
        self._subscription = self.create_subscription(
            PointCloud2, "cloud", self._on_cloud, profile
        )
        self._state = "inactive"
        self.get_logger().info(
            f"model '{segmenter.model.name}' on {segmenter.device} by engine {segmenter.engine} "
            f"({segmenter.engine.reason}), execution "
            f"'{segmenter.execution}', ego motion '{settings.ego_motion}', clouds from "
            f"'{self._subscription.topic_name}'"
        )
        return TransitionCallbackReturn.SUCCESS

    @_logged
    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start to label."""
        super().on_activate(state)
        self._mailbox = Mailbox()
        self._worker = threading.Thread(target=self._work, args=(self._mailbox,), daemon=True)
        self._worker.start()
        self._state = "active"
        return TransitionCallbackReturn.SUCCESS

    @_logged
    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Finish the cloud at hand and stop."""
        self._stop_work()
        self._state = "inactive"
        return super().on_deactivate(state)

    @_logged
    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free the model and all that belongs to the stream."""
        self._release()
        self._state = "unconfigured"
        return TransitionCallbackReturn.SUCCESS

    @_logged
    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop, from whichever state, and report for the last time."""
        self._stop_work()
        self._release()
        self._state = "finalized"
        self.report()
        # Whoever listens shall have heard it before the process is gone.
        wait_until_heard(self._diagnostics, 1.0)
        return TransitionCallbackReturn.SUCCESS

    def _stop_work(self) -> None:
        if self._mailbox is None or self._worker is None:
            return
        if self._mailbox.close() is not None:
            self.accounting.dropped(DropReason.SHUTDOWN)
        self._worker.join()
        self._mailbox = self._worker = None

    def _release(self) -> None:
        if self._subscription is not None:
            self.destroy_subscription(self._subscription)
        if self._ego_motion is not None:
            self._ego_motion.close()
        self._subscription = self._ego_motion = self._segmenter = None
        self._legend_frame = ""
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    # Clouds

    def _on_cloud(self, message: PointCloud2) -> None:
        self.accounting.received()
        if self._mailbox is None:
            self.accounting.dropped(DropReason.INACTIVE)
        elif self._mailbox.put((message, time.perf_counter())) is not None:
            self.accounting.dropped(DropReason.SUPERSEDED)

    def _work(self, mailbox: Mailbox[tuple[PointCloud2, float]]) -> None:
        while (item := mailbox.take()) is not None:
            message, arrival = item
            try:
                self._label(message, arrival)
            except CloudError as error:
                self._refuse(DropReason.MALFORMED, error)
            except OutOfOrderError as error:
                self._refuse(DropReason.OUT_OF_ORDER, error)
            except NoPoseError as error:
                self._refuse(DropReason.NO_POSE, error)
            except Exception as error:  # a fault in one cloud must not end the stream
                self._refuse(DropReason.INFERENCE_FAILED, error)

    def _label(self, message: PointCloud2, arrival: float) -> None:
        segmenter, ego_motion = self._segmenter, self._ego_motion
        assert segmenter is not None
        assert ego_motion is not None
        started = time.perf_counter()
        frame = decode(message)
        if frame.stamp == 0:
            frame.stamp = self.get_clock().now().nanoseconds  # the driver gave none
        decoded = time.perf_counter()
        if not segmenter.continues(frame):
            ego_motion.reset()
        frame.pose = ego_motion.locate(frame)
        located = time.perf_counter()
        result = segmenter.segment(frame)
        segmented = time.perf_counter()
        colours = segmenter.label_set.palette[result.labels]
        cloud = encode_labelled(message, result.labels, result.confidence, colours)
        labelled = fill_message(PointCloud2(header=message.header), cloud, PointField)
        encoded = time.perf_counter()
        self._labelled.publish(labelled)
        finished = time.perf_counter()
        self.accounting.labelled()
        self._frame_id = frame.frame_id
        self._state_bytes = segmenter.state_bytes  # asked here: no other thread may look into it
        self._answers.append(finished)
        if self._ladder.add(finished - arrival):
            self._switch_crf(segmenter)
            self.get_logger().warning(f"latency budget: now '{self._ladder.rung}'")
        self._stages.add(
            {
                "latency": finished - arrival,
                "queue": started - arrival,
                "decode": decoded - started,
                "pose": located - decoded,
                **result.timings,
                "encode": encoded - segmented,
                "publish": finished - encoded,
            }
        )

    def _refuse(self, reason: DropReason, error: Exception) -> None:
        self.accounting.dropped(reason)
        self._last_refusal = f"{reason.value}: {error}"
        self.get_logger().warning(
            f"cloud dropped, {self._last_refusal}", throttle_duration_sec=5.0
        )

    # What is said of it

    def _publish_label_info(self, segmenter: Segmenter) -> None:
        info = label_info(segmenter.label_set)
        if info is None:
            return
        if self._label_info is None:
            self._label_info = self.create_publisher(type(info), "~/label_info", _LATCHED)
        self._label_info.publish(info)

    def report(self) -> None:
        """Publish diagnostics, and the legend once a cloud has told where the sensor is."""
        segmenter, frame_id = self._segmenter, self._frame_id
        if segmenter is not None and frame_id != self._legend_frame:
            self._legend.publish(legend_markers(segmenter.label_set, frame_id))
            self._legend_frame = frame_id
        counts = self.accounting.snapshot()
        level, message = self._monitor.judge(self._state, self.problem, counts)
        values = {"state": self._state, **count_values(counts)}
        if segmenter is not None and self._ego_motion is not None:
            values |= self._stream_values(segmenter, self._ego_motion.source)
        values |= {f"{k}_ms": f"{v:.1f}" for k, v in self._stages.medians().items()}
        values["last_refusal"] = self._last_refusal
        self._diagnostics.publish(
            diagnostic_array(
                self.get_clock().now().to_msg(),
                f"{self.get_name()}: labelling",
                frame_id or "unknown",
                level,
                message,
                values,
            )
        )

    def _stream_values(self, segmenter: Segmenter, motion: EgoMotion) -> dict[str, str]:
        scale = segmenter.intensity_scale
        answers = list(self._answers)
        span = answers[-1] - answers[0] if len(answers) > 1 else 0.0
        recent = bool(answers) and time.perf_counter() - answers[-1] < 3.0 * _REPORT_PERIOD
        return {
            "model": segmenter.model.name,
            "device": str(segmenter.device),
            "engine": str(segmenter.engine),
            "engine_reason": segmenter.engine.reason,
            "threads": str(thread_count()),
            "execution": segmenter.execution,
            "crf": str(segmenter.crf).lower(),
            "averaging": str(segmenter.averaging),
            "ladder": self._ladder.rung,
            "state_mb": f"{self._state_bytes / 1e6:.2f}",
            "voxel_size": f"{segmenter.model.input.voxel_size:g}",
            "ego_motion": motion.name,
            "ego_motion_reason": motion.reason,
            "ego_motion_coasted": str(motion.coasted),
            "intensity_full_scale": f"{scale.full_scale} ({scale.how})",
            "rate_hz": f"{(len(answers) - 1) / span if recent and span else 0.0:.2f}",
            **{f"resets_{reason}": str(n) for reason, n in sorted(segmenter.resets.items())},
        }


def main(args: list[str] | None = None) -> None:
    """Run the node until SIGINT or SIGTERM, then stop in order."""
    stop = init_until_signalled(args)
    node = PerceptionNode()
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        if (
            node.get_parameter("autostart").value
            and node.trigger_configure() == TransitionCallbackReturn.SUCCESS
        ):
            node.trigger_activate()
        while not stop.is_set():
            executor.spin_once(timeout_sec=0.1)
    finally:
        node.trigger_shutdown()
        executor.shutdown()
        node.destroy_node()
        rclpy.try_shutdown()


if __name__ == "__main__":
    main()
