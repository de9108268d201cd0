# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The faults of a soak: the kinds of docs/reliability.md that can be injected from outside.

A fault is a function that returns when the fault is over. Clouds flow meanwhile.
"""

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from cloud_mutations import TYPED, mutated_cloud, random_word
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.msg import Parameter, ParameterValue
from rcl_interfaces.srv import ListParameters, SetParameters
from rig import RELIABLE, cloud_message, stamped
from sensor_msgs.msg import PointCloud2, PointField
from visualization_msgs.msg import MarkerArray

from minkowski_perception.codec import fill_message
from minkowski_perception.node.stopping import STALLED
from minkowski_perception.trial import trial_frame


@dataclass(frozen=True)
class Fault:
    """A fault.

    Attributes:
        inject: called with the `SoakedNode` and a random generator.
        effects: counts of which one must rise; without any, the fault leaves no trace.
        ends: whether the process must end.
    """

    inject: Callable
    effects: tuple[str, ...] = ()
    ends: bool = False


ATTEMPTS = 5  # of a fault that a busy node may not notice, and of a request
REPORTED = 2.5  # seconds in which a cloud is labelled and reported

FAULTS: dict[str, Fault] = {}


def fault(*effects, ends=False):
    """Enter a fault into the table."""

    def enter(inject):
        FAULTS[inject.__name__] = Fault(inject, effects, ends)
        return inject

    return enter


def now(node):
    return time.time_ns() + node.clock_offset


# Clouds


def damaged(message, rng):
    """Return a cloud that does not describe itself, in one of the ways that are sure to fail."""
    fields = list(message.fields)
    name, offset = fields[0].name, fields[0].offset
    way = rng.integers(6)
    if way == 0:
        message.data = message.data[: len(message.data) // 2]
    elif way == 1:
        fields[0] = PointField(name=name, offset=offset, datatype=99, count=1)
    elif way == 2:
        fields[0] = PointField(name=name, offset=2**32 - 1, datatype=7, count=1)
    elif way == 3:
        fields = fields[1:]
    elif way == 4:
        fields.append(fields[0])
    else:
        message.width = 2**32 - 1
    message.fields = fields
    return message


def special(node, points):
    """Return a cloud of these points, [N, 3], with the intensities of others."""
    frame = node.frames[0]
    few = frame.subset(np.arange(len(frame)) < len(points))
    return cloud_message(replace(few, points=points.astype(np.float32)), 0, "lidar")


def until_counted(node, name, send):
    """Send clouds again until one is counted: newer ones supersede them on a busy machine."""
    before = int(node.values.get(name, 0))
    for _ in range(ATTEMPTS):
        send()
        if node.spin(REPORTED, lambda: int(node.values.get(name, 0)) > before):
            return


def send_alone(node, message):
    """Send a cloud that no other one supersedes, and that is thinned."""
    node.feeding = False
    node.spin(0.3)
    until_counted(node, "thinned_points", lambda: node.send(message))
    node.feeding = True


@fault("dropped_malformed")
def malformed_clouds(node, rng):
    def send():
        for _ in range(5):
            message = cloud_message(node.frames[0], now(node), "lidar")
            node.publish(damaged(message, rng))
            node.spin(0.1)

    until_counted(node, "dropped_malformed", send)


@fault()
def mutated_clouds(node, rng):
    """Clouds of the fuzz: most are malformed, the others strange."""
    for _ in range(10):
        mutated = mutated_cloud(random_word(rng, TYPED))
        message = fill_message(PointCloud2(), mutated, PointField)
        node.publish(stamped(message, now(node), mutated.header.frame_id))
        node.spin(0.1)


@fault()
def clouds_without_points(node, rng):
    for _ in range(5):
        node.send(special(node, np.zeros((0, 3))))
        node.spin(0.1)


@fault()
def points_that_are_no_numbers(node, rng):
    for value in (np.nan, np.inf, 1e30):
        node.send(special(node, np.full((500, 3), value)))
        node.spin(0.1)


@fault("thinned_points")
def a_cloud_of_too_many_points(node, rng):
    send_alone(node, cloud_message(trial_frame(100_000, int(rng.integers(100))), 0, "lidar"))


@fault("thinned_points")
def a_cloud_of_noise(node, rng):
    points = rng.uniform(-100.0, 100.0, (30_000, 3))
    frame = replace(trial_frame(len(points)), points=points.astype(np.float32))
    send_alone(node, cloud_message(frame, 0, "lidar"))


@fault("resets_gap")
def a_gap(node, rng):
    node.feeding = False
    node.spin(rng.uniform(1.5, 3.0))
    node.feeding = True


@fault("dropped_superseded", "lost_before_reception")
def a_burst(node, rng):
    stamp = now(node)
    for index in range(60):
        node.send(stamp=stamp + index * 10**6)


@fault("dropped_out_of_order")
def clouds_out_of_order(node, rng):
    def send():
        for _ in range(5):
            late = now(node) - 5 * 10**8
            node.publish(stamped(cloud_message(node.frames[1]), late, node.frame_id))
            node.spin(0.1)

    until_counted(node, "dropped_out_of_order", send)


@fault("resets_gap", "resets_time_jump", "resets_pose_jump")
def a_jump_of_the_clock(node, rng):
    """The sensor's clock jumps by some minutes, forward or back."""
    node.clock_offset += int(rng.choice([-1, 1]) * rng.integers(10, 300)) * 10**9
    node.spin(1.0)


@fault("resets_frame_changed")
def two_frames_on_one_topic(node, rng):
    for frame_id in ["rear", "lidar"] * 5:
        node.frame_id = frame_id
        node.spin(1.1 / node.rate)


@fault("resets_frame_changed")
def clouds_without_a_frame_id(node, rng):
    node.frame_id = ""
    node.spin(1.0)
    node.frame_id = "lidar"


@fault("resets_frame_changed")
def a_second_publisher(node, rng):
    other = node.node.create_publisher(PointCloud2, node.cloud_topic, RELIABLE)
    node.spin(2.0, lambda: other.get_subscription_count() > 0)

    def send():
        for _ in range(10):
            other.publish(stamped(cloud_message(node.frames[2]), now(node), "other"))
            node.record.sent += 1
            node.spin(0.1)

    until_counted(node, "resets_frame_changed", send)
    node.node.destroy_publisher(other)


# Motion


@fault("resets_pose_jump")
def a_jump_of_the_odometry(node, rng):
    node.shift += float(rng.choice([10.0, 50.0, 1000.0]))
    node.spin(1.0)


def without_poses(node, send):
    """Send clouds without a pose, and call `send` meanwhile, until one of them is dropped."""
    node.posed = False
    until_counted(node, "dropped_no_pose", send)
    node.posed = True


@fault("dropped_no_pose")
def absurd_odometry(node, rng):
    def send():
        for x in (np.nan, np.inf, 1e300, -1e300, np.nan):
            node.send_pose(now(node), x)
            node.spin(0.2)

    without_poses(node, send)


@fault("dropped_no_pose")
def silent_odometry(node, rng):
    without_poses(node, lambda: node.spin(rng.uniform(1.0, 3.0)))


# The engine, and faults inside the process


@fault("recovery_steps")
def the_engine_fails_once(node, rng):
    node.order("segment", "fail", 1)


@fault("recovery_steps", "not_active")
def the_engine_fails_twice(node, rng):
    node.order("segment", "fail", 2)


@fault("not_active")
def the_engine_fails_until_the_error_state(node, rng):
    """Each engine that the node builds anew fails too, and the node leaves the state active."""
    node.order("segment", "fail", 0, until=lambda: node.state == "unconfigured")


@fault("dropped_superseded")
def a_slow_engine(node, rng):
    node.order("segment", "slow", 4)


@fault("errors")
def an_error_after_the_count(node, rng):
    node.order("count", "fail", 1)


@fault("errors")
def the_worker_ends(node, rng):
    node.order("segment", "end_the_thread", 1)


@fault()
def reports_fail(node, rng):
    node.order("report", "fail", 2)


# Requests


def answer(node, kind, request):
    """Return the response of a service, which is asked again if none comes."""
    for _ in range(ATTEMPTS):
        response = node.call(kind, request)
        if response is not None:
            return response
        node.record.unanswered += 1
    raise RuntimeError(f"the node '{node.name}' has answered none of {ATTEMPTS} requests")


@fault("refused")
def absurd_parameters(node, rng):
    values = [
        ParameterValue(type=int(rng.integers(10, 256))),
        ParameterValue(type=0),
        ParameterValue(type=2, integer_value=-(2**63)),
        ParameterValue(type=3, double_value=float("nan")),
        ParameterValue(type=4, string_value="x" * 10_000),
        ParameterValue(type=8, double_array_value=[float("inf")] * 1000),
    ]
    names = ["averaging", "sensor_pose", "engine", "max_gap", "model", "no_such_parameter", ""]
    parameters = [
        Parameter(name=str(rng.choice(names)), value=values[int(rng.integers(len(values)))])
        for _ in range(20)
    ]
    response = answer(node, SetParameters, SetParameters.Request(parameters=parameters))
    node.counts["refused"] += sum(not result.successful for result in response.results)


@fault()
def live_parameters(node, rng):
    """The last values are those before, so that the node needs as much memory as before."""
    node.spin(until=lambda: "averaging" in node.values)
    before = int(node.values["averaging"]), node.values["crf"] == "true"
    values = [(int(rng.integers(1, 32)), bool(rng.integers(2))) for _ in range(5)]
    for frames, crf in [*values, before]:
        parameters = [
            Parameter(name="averaging", value=ParameterValue(type=2, integer_value=frames)),
            Parameter(name="crf", value=ParameterValue(type=1, bool_value=crf)),
        ]
        answer(node, SetParameters, SetParameters.Request(parameters=parameters))
        node.spin(0.2)


@fault()
def many_requests(node, rng):
    for _ in range(30):
        answer(node, ListParameters, ListParameters.Request())


# Transitions


def change_state(node, transition):
    request = ChangeState.Request(transition=Transition(id=int(transition)))
    response = node.call(ChangeState, request, 30.0)
    if response is not None and not response.success:
        node.counts["refused"] += 1


@fault("dropped_inactive")
def deactivated_and_activated(node, rng):
    change_state(node, Transition.TRANSITION_DEACTIVATE)
    node.spin(rng.uniform(0.2, 1.0))
    change_state(node, Transition.TRANSITION_ACTIVATE)


@fault("not_active")
def a_walk_through_the_lifecycle(node, rng):
    for transition in (
        Transition.TRANSITION_DEACTIVATE,
        Transition.TRANSITION_CLEANUP,
        Transition.TRANSITION_CONFIGURE,
        Transition.TRANSITION_ACTIVATE,
    ):
        change_state(node, transition)
        node.spin(rng.uniform(0.2, 1.0))


@fault("refused")
def impossible_transitions(node, rng):
    possible = (Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_ACTIVE_SHUTDOWN)
    choices = [n for n in range(256) if n not in possible]
    for transition in rng.choice(choices, 5):
        change_state(node, transition)


# The graph and the process


@fault()
def subscribers_come_and_go(node, rng):
    kinds = {"labelled": PointCloud2, "map": PointCloud2, "legend": MarkerArray}
    for _ in range(5):
        made = [
            node.node.create_subscription(kind, f"{node.prefix}/{name}", lambda _: None, RELIABLE)
            for name, kind in kinds.items()
        ]
        node.spin(0.3)
        for subscription in made:
            node.node.destroy_subscription(subscription)


@fault()
def a_paused_process(node, rng):
    node.process.send_signal(signal.SIGSTOP)
    node.spin(rng.uniform(0.5, 2.0))
    node.process.send_signal(signal.SIGCONT)


@fault(ends=True)
def killed(node, rng):
    node.process.send_signal(signal.SIGKILL)
    node.wait_for_end(-signal.SIGKILL)


@fault(ends=True)
def terminated(node, rng):
    node.process.send_signal(int(rng.choice([signal.SIGTERM, signal.SIGINT])))
    node.wait_for_end(0)


@fault(ends=True)
def shut_down_by_service(node, rng):
    change_state(node, Transition.TRANSITION_ACTIVE_SHUTDOWN)
    node.process.send_signal(signal.SIGINT)
    node.wait_for_end(0)


@fault(ends=True)
def the_engine_hangs(node, rng):
    node.expected = {STALLED}
    node.order("segment", "hang", 1)
    node.wait_for_end(STALLED)


@fault(ends=True)
def native_code_hangs_with_the_lock(node, rng):
    node.expected = {1}
    node.order("segment", "hang_with_the_lock", 1)
    node.wait_for_end(1)
