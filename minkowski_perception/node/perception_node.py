# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The lifecycle node: clouds in, labelled clouds and diagnostics out.

A cloud passes through `Channel` (subscription to publisher) and in it through `Stream` (message to
labelled message). The node contains no algorithm.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import rclpy
import torch
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import SetParametersResult
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter

from minkowski_perception.device import use_threads
from minkowski_perception.node.channel import Channel
from minkowski_perception.node.diagnostics import diagnostic_array
from minkowski_perception.node.parameters import ConfigurationError, declare, read
from minkowski_perception.node.qos import RELIABLE
from minkowski_perception.node.stopping import init_until_signalled, wait_until_acknowledged
from minkowski_perception.segmenter import Segmenter
from minkowski_perception.settings import Settings

_REPORT_PERIOD = 1.0  # seconds, as diagnostic aggregators expect

Transition = Callable[["PerceptionNode", LifecycleState], TransitionCallbackReturn]


def _logged(transition: Transition) -> Transition:
    """Log an exception in a transition, which rclpy would swallow, and let the transition fail."""

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
    """Labels the points of clouds.

    Subscribes `cloud` (sensor_msgs/PointCloud2) and, depending on `ego_motion`, `odometry` or TF.
    Publishes `~/labelled` (PointCloud2), `~/legend` (MarkerArray, latched), `~/label_info`
    (vision_msgs/LabelInfo, latched, where that package is installed), `~/map` (PointCloud2,
    latched, with the setting `map`) and `/diagnostics`.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__("minkowski_perception", **kwargs)
        self.problem = ""
        self._state = "unconfigured"
        self._refused_parameters = declare(self)
        self._channels = [Channel(self)]
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", RELIABLE)
        self.create_timer(_REPORT_PERIOD, self.report)
        self.add_on_set_parameters_callback(self._on_parameters)

    def _on_parameters(self, parameters: Sequence[Parameter[Any]]) -> SetParametersResult:
        """Apply `crf` and `averaging` at once; the others are read when the node is configured."""
        for parameter in parameters:
            for channel in self._channels:
                if parameter.name == "crf":
                    channel.set_crf(parameter.value)
                elif parameter.name == "averaging":
                    channel.set_averaging(parameter.value)
        return SetParametersResult(successful=True)

    # Transitions

    @_logged
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Check the parameters and load the model."""
        if self._refused_parameters:
            refused, self._refused_parameters = self._refused_parameters, {}
            raise ConfigurationError("; ".join(refused.values()))
        settings = read(self)
        segmenter = _load(settings)
        for channel in self._channels:
            channel.configure(segmenter.another_stream(), settings)
        self._state = "inactive"
        return TransitionCallbackReturn.SUCCESS

    @_logged
    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start to label."""
        super().on_activate(state)
        for channel in self._channels:
            channel.activate()
        self._state = "active"
        return TransitionCallbackReturn.SUCCESS

    @_logged
    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Finish the current clouds and stop."""
        for channel in self._channels:
            channel.deactivate()
        self._state = "inactive"
        return super().on_deactivate(state)

    @_logged
    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free the model and the streams."""
        self._release()
        self._state = "unconfigured"
        return TransitionCallbackReturn.SUCCESS

    @_logged
    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop, from any state, and report for the last time."""
        for channel in self._channels:
            channel.deactivate()
        self._release()
        self._state = "finalized"
        self.report()
        # Subscribers must receive it before the process ends.
        wait_until_acknowledged(self._diagnostics, 1.0)
        return TransitionCallbackReturn.SUCCESS

    def _release(self) -> None:
        for channel in self._channels:
            channel.release()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    # Diagnostics

    def report(self) -> None:
        """Publish diagnostics, and the legend once the frame of the clouds is known."""
        for channel in self._channels:
            channel.publish_legend()
            level, message, values = channel.status(self._state, self.problem)
            self._diagnostics.publish(
                diagnostic_array(
                    self.get_clock().now().to_msg(),
                    f"{self.get_name()}: labelling",
                    channel.frame_id or "unknown",
                    level,
                    message,
                    values,
                )
            )


def _load(settings: Settings) -> Segmenter:
    """Load the model.

    Raises:
        ConfigurationError: it cannot be loaded, or not run with these settings.
    """
    use_threads(settings.threads)  # before engines are timed
    try:
        return Segmenter.load(settings.model, **settings.segmenter_options())
    except ValueError as error:
        raise ConfigurationError(str(error)) from error


def main(args: list[str] | None = None) -> None:
    """Run the node until SIGINT or SIGTERM, then shut it down in order."""
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
