# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The lifecycle node: clouds in, labelled clouds and diagnostics out.

A cloud passes through `Channel` (subscription to publisher) and in it through `Stream` (message to
labelled message). The node contains no algorithm.

Transitions run in a thread of the executor while its other thread runs the callbacks. Diagnostics
come from a thread of their own, so that nothing silences them.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import rclpy
import torch
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import SetParametersResult
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.executors import MultiThreadedExecutor
from rclpy.lifecycle import (
    LifecycleNode,
    LifecycleNodeMixin,
    LifecycleState,
    TransitionCallbackReturn,
)
from rclpy.node import Node
from rclpy.parameter import Parameter
from std_srvs.srv import Trigger

from minkowski_perception.allocator import return_freed_memory
from minkowski_perception.device import use_threads
from minkowski_perception.node.bond import Bond
from minkowski_perception.node.channel import STOP_TIMEOUT, Channel
from minkowski_perception.node.diagnostics import Stages, diagnostic_array
from minkowski_perception.node.heartbeat import Heartbeat
from minkowski_perception.node.parameters import (
    ConfigurationError,
    checked,
    declare,
    name_for,
    read,
    serve,
    stream_names,
)
from minkowski_perception.node.qos import RELIABLE
from minkowski_perception.node.shared_model import SharedModel
from minkowski_perception.node.stopping import (
    exit_at_once,
    init_until_signalled,
    wait_until_acknowledged,
)
from minkowski_perception.node.transforms import Transforms
from minkowski_perception.node.turns import Turns
from minkowski_perception.node.warm_up import warm_up
from minkowski_perception.node.watchdog import Watchdog
from minkowski_perception.segmenter import Segmenter
from minkowski_perception.settings import Settings, SettingsError
from minkowski_perception.voxels import PointLimits

_REPORT_PERIOD = 1.0  # seconds, as diagnostic aggregators expect
_BEAT = 0.1  # seconds between looks of the watchdog
_TRANSITION_TIMEOUT = 5.0  # seconds for a transition to end when the process stops
_RETRY_PERIODS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0)
"""Seconds from an error to the next try of a node that starts by itself; the last one repeats."""

_SETTLED = 120.0
"""Seconds without an error after which the periods begin with the first one again."""

_STATES = {
    "on_configure": "configuring",
    "on_activate": "activating",
    "on_deactivate": "deactivating",
    "on_cleanup": "cleaningup",
    "on_shutdown": "shuttingdown",
}
"""State of the lifecycle while a transition runs."""

Transition = Callable[["PerceptionNode", LifecycleState], TransitionCallbackReturn]


def _transition(otherwise: TransitionCallbackReturn) -> Callable[[Transition], Transition]:
    """Log an exception in a transition, which rclpy would swallow.

    Args:
        otherwise: what a transition that raises returns.
    """

    def decorate(transition: Transition) -> Transition:
        @functools.wraps(transition)
        def wrapped(self: PerceptionNode, state: LifecycleState) -> TransitionCallbackReturn:
            self.begin(_STATES[transition.__name__])
            try:
                return transition(self, state)
            except ConfigurationError as error:
                self.problem = f"{transition.__name__} refused: {error}"
            except Exception as error:
                self.problem = f"{transition.__name__} failed: {error!r}"
            finally:
                self.end()
            self.get_logger().error(self.problem)
            return otherwise

        return wrapped

    return decorate


_or_failure = _transition(TransitionCallbackReturn.FAILURE)
_or_error = _transition(TransitionCallbackReturn.ERROR)


class PerceptionNode(LifecycleNode):
    """Labels the points of clouds, of one stream or several.

    Subscribes `cloud` (sensor_msgs/PointCloud2) and, depending on `ego_motion`, `odometry` or TF.
    Publishes `~/labelled` (PointCloud2), `~/legend` (MarkerArray, latched), `~/label_info`
    (vision_msgs/LabelInfo, latched, where that package is installed), `~/map` (PointCloud2,
    latched, with the setting `map`), the clouds of the setting `clouds` and `/diagnostics`. With
    the setting `streams` each stream has its own clouds, and its topics are `~/STREAM/labelled`
    and so on. The service `~/reset` (std_srvs/Trigger) begins new streams.
    """

    def __init__(self, **kwargs: Any) -> None:
        # As LifecycleNode does, but with a group that lets services answer during a transition.
        Node.__init__(self, "minkowski_perception", **kwargs)
        LifecycleNodeMixin.__init__(self, callback_group=ReentrantCallbackGroup())
        self.problem = ""
        self._state = "unconfigured"
        self._running = ""
        self._failure = ""
        self._retries = 0
        self._retry_at = math.inf
        self._failed_at = -math.inf
        self._is_stopping = False
        self._refused_parameters = declare(self)
        self._watchdog = Watchdog(self._on_hang)
        self._transforms: Transforms | None = None
        turns = Turns()
        self._channels = [
            Channel(self, name, Stages(), turns, self._watchdog, self._give_up)
            for name in stream_names(self) or ("",)
        ]
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", RELIABLE)
        self.add_on_set_parameters_callback(self._on_parameters)
        serve(self)
        self._bond = Bond(self, _BEAT)
        self.create_service(Trigger, "~/reset", self._on_reset)
        if self.get_parameter("autostart").value:
            self.begin(_STATES["on_configure"])  # which `start` does next
        self._report_due = time.monotonic()
        self._heartbeat = Heartbeat(_BEAT, self._beat, self._on_beat_failed)

    # Parameters

    def _on_parameters(self, parameters: Sequence[Parameter[Any]]) -> SetParametersResult:
        """Apply `crf` and `averaging` at once; the others are read when the node is configured."""
        try:
            values = checked(parameters)
        except SettingsError as error:
            return SetParametersResult(successful=False, reason=str(error))
        for channel in self._channels:
            crf, averaging = (name_for(self, channel.name, name) for name in ("crf", "averaging"))
            if crf in values:
                channel.set_crf(values[crf])
            if averaging in values:
                channel.set_averaging(values[averaging])
        for name in values:
            self._refused_parameters.pop(name, None)
        return SetParametersResult(successful=True)

    def _on_reset(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        """Answer the service `reset`."""
        answers = [channel.request_reset() for channel in self._channels]
        response.success = all(answers)
        response.message = (
            "a new stream begins with the next cloud"
            if response.success
            else f"there is no stream: the node is {self._running or self._state}"
        )
        return response

    # Transitions

    def begin(self, state: str) -> None:
        """Note the start of a transition, and the state while it runs."""
        self.problem = ""
        self._running = state

    def end(self) -> None:
        """Note the end of a transition."""
        self._running = ""

    @_or_failure
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Check the parameters, load the model and warm it up."""
        if self._refused_parameters:
            refused, self._refused_parameters = self._refused_parameters, {}
            raise ConfigurationError("; ".join(refused.values()))
        settings = read(self)
        self._watchdog.limit = settings[self._channels[0].name].stall_timeout
        models: dict[str, SharedModel] = {}
        self._transforms = transforms = Transforms(self)  # static ones come while models load
        try:
            for channel in self._channels:
                own = settings[channel.name]
                if own.model not in models:
                    models[own.model] = SharedModel(own, _load)
                channel.configure(models[own.model], own, transforms)
        except Exception:
            self._release()
            raise
        return_freed_memory()  # of models that were tried and warmed up
        self._state = "inactive"
        return TransitionCallbackReturn.SUCCESS

    @_or_failure
    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start to label."""
        super().on_activate(state)
        for channel in self._channels:
            channel.activate()
        self._state = "active"
        if not self.get_parameter("autostart").value:
            self._form_bond()
        return TransitionCallbackReturn.SUCCESS

    @_or_error
    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Finish the current clouds and stop; an error if the engine has failed."""
        self._bond.end()
        self._stop_streams(self._watchdog.limit or STOP_TIMEOUT)
        if self._failure:
            return TransitionCallbackReturn.ERROR
        self._state = "inactive"
        return super().on_deactivate(state)

    @_or_error
    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free the model and the streams."""
        self._release()
        self._state = "unconfigured"
        return TransitionCallbackReturn.SUCCESS

    @_or_error
    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop, from any state, and report for the last time."""
        self._bond.end()
        self._stop_streams()
        self._release()
        self._state = "finalized"
        self._running = ""
        self.report()
        # Subscribers must receive it before the process ends.
        wait_until_acknowledged(self._diagnostics, 1.0)
        return TransitionCallbackReturn.SUCCESS

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free everything after a transition failed; the node can be configured again."""
        problem, self._failure = self._failure or self.problem, ""
        self.begin("errorprocessing")
        try:
            super().on_deactivate(state)
            self._stop_streams()
            self._release()
        except Exception as error:
            self.get_logger().error(f"clean-up after an error failed: {error!r}")
            self._state = "finalized"
            return TransitionCallbackReturn.FAILURE
        finally:
            self.end()
            self.problem = problem
        self._state = "unconfigured"
        self._plan_retry()
        return TransitionCallbackReturn.SUCCESS

    def _form_bond(self) -> None:
        """Begin the bond with the lifecycle manager that activated the node."""
        if not self._bond.is_available:
            self.get_logger().info(
                "no bond with a lifecycle manager: the package 'bond' is not installed; set "
                "bond_timeout: 0.0 in nav2_lifecycle_manager"
            )
        self._bond.form()

    def _stop_streams(self, timeout: float = STOP_TIMEOUT) -> None:
        for channel in self._channels:
            channel.finish()  # all of them first: they wait for each other's clouds
        for channel in self._channels:
            channel.deactivate(timeout)

    def _release(self) -> None:
        for channel in self._channels:
            channel.release()
        if self._transforms is not None:
            self._transforms.close()
        self._transforms = None
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return_freed_memory()

    def _LifecycleNodeMixin__on_change_state(  # noqa: N802
        self, request: Any, response: Any
    ) -> Any:
        """Answer a request of a transition that is not possible.

        rclpy does so since Kilted. On Jazzy its error leaves the callback, and clients wait on.
        """
        try:
            return super()._LifecycleNodeMixin__on_change_state(request, response)  # type: ignore[misc]
        except RuntimeError as error:  # RCLError
            self.get_logger().warning(f"transition {request.transition.id} refused: {error}")
            response.success = False
            return response

    def _give_up(self, reason: str) -> None:
        """Go from active through the lifecycle's error state to unconfigured."""
        if self._failure:
            return
        self.get_logger().fatal(reason)
        self._failure = reason
        assert self.executor is not None
        self.executor.create_task(self.trigger_deactivate)

    # Start and stop

    def start(self) -> bool:
        """Configure and activate; return whether both succeeded."""
        success = TransitionCallbackReturn.SUCCESS
        return self.trigger_configure() == success and self.trigger_activate() == success

    def _plan_retry(self) -> None:
        """Let a node that starts by itself start again later; otherwise its manager decides."""
        now = time.monotonic()
        if now - self._failed_at > _SETTLED:
            self._retries = 0
        self._failed_at = now
        if self.get_parameter("autostart").value and not self._is_stopping:
            self._retry_at = now + _RETRY_PERIODS[min(self._retries, len(_RETRY_PERIODS) - 1)]

    def _retry(self) -> None:
        self._retries += 1
        if self._state == "unconfigured" and not self.start() and self._state == "unconfigured":
            self._plan_retry()

    def stop(self) -> None:
        """Shut down from any state, a transition that is running included."""
        deadline = time.monotonic() + _TRANSITION_TIMEOUT
        self._is_stopping, self._retry_at = True, math.inf
        while self._state != "finalized":
            if time.monotonic() > deadline:
                self._watchdog.end(f"the node is still {self._running or self._state}")
            try:
                self.trigger_shutdown()
            except RuntimeError:  # RCLError: a transition is running
                time.sleep(_BEAT)

    def destroy_node(self) -> None:
        """Stop the node's threads, and destroy it."""
        self._heartbeat.stop()
        self._watchdog.close()
        super().destroy_node()

    # Diagnostics

    def _beat(self) -> None:
        self._watchdog.beat()
        self._bond.beat()
        for channel in self._channels:
            channel.supervise()
        if time.monotonic() >= self._report_due:
            self._report_due = time.monotonic() + _REPORT_PERIOD
            self.report()
        if time.monotonic() >= self._retry_at and self.executor is not None:
            self._retry_at = math.inf
            self.executor.create_task(self._retry)

    def _on_beat_failed(self, error: Exception) -> None:
        self.get_logger().error(f"diagnostics failed: {error!r}", throttle_duration_sec=5.0)

    def _on_hang(self, reason: str) -> None:
        """Report before the process ends itself."""
        self.get_logger().fatal(f"{reason}: the process ends")
        self.problem = reason
        for channel in self._channels:
            channel.abandon()
        self.report()
        wait_until_acknowledged(self._diagnostics, 0.5)

    def report(self) -> None:
        """Publish diagnostics, and the legend once the frame of the clouds is known."""
        state = self._running or self._state
        entries = [channel.diagnostics(state, self.problem) for channel in self._channels]
        self._diagnostics.publish(diagnostic_array(self.get_clock().now().to_msg(), entries))
        for channel in self._channels:
            channel.publish_legend()


def _load(settings: Settings) -> Segmenter:
    """Load a model and warm it up.

    Raises:
        ConfigurationError: it cannot be loaded, or not run with these settings.
        Dropped: it fails on a cloud.
    """
    use_threads(settings.threads)  # before engines are timed
    try:
        segmenter = Segmenter.load(settings.model, **settings.segmenter_options())
    except ValueError as error:
        raise ConfigurationError(str(error)) from error
    segmenter.limits = PointLimits(settings.max_points, settings.max_voxels)
    warm_up(segmenter)
    return segmenter


def main(args: list[str] | None = None) -> NoReturn:
    """Run the node until SIGINT or SIGTERM, then shut it down in order, and end the process."""
    stop = init_until_signalled(args)
    node = PerceptionNode()
    executor = MultiThreadedExecutor(num_threads=2)
    executor.add_node(node)
    try:
        if node.get_parameter("autostart").value:
            executor.create_task(node.start)
        while not stop.is_set():
            _spin(executor, node)
    finally:
        node.stop()
        executor.shutdown()
        node.destroy_node()
        rclpy.try_shutdown()
    # Unloading PyTorch and the rest takes seconds on a busy machine, and gives nothing back.
    exit_at_once(0)


def _spin(executor: MultiThreadedExecutor, node: PerceptionNode) -> None:
    """Run the callbacks that are due; an exception in one ends neither the others nor the node."""
    try:
        executor.spin_once(timeout_sec=0.1)
    except Exception as error:
        node.get_logger().error(f"a callback failed: {error!r}", throttle_duration_sec=1.0)
        time.sleep(0.01)


if __name__ == "__main__":
    main()
