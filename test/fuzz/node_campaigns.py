# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Requests to the node in this process: parameters, and walks through the lifecycle."""

import threading

import numpy as np
import rclpy
from campaigns import Campaign
from cloud_mutations import TYPED, mutated_cloud, random_word
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.msg import Parameter, ParameterValue
from rcl_interfaces.srv import SetParameters, SetParametersAtomically
from rclpy.executors import SingleThreadedExecutor
from sensor_msgs.msg import PointCloud2, PointField

from minkowski_perception.codec import fill_message
from minkowski_perception.node.parameters import read
from minkowski_perception.node.perception_node import PerceptionNode
from minkowski_perception.settings import SETTINGS

WORDS = 6  # of a case
PRIMARY = {
    State.PRIMARY_STATE_UNCONFIGURED,
    State.PRIMARY_STATE_INACTIVE,
    State.PRIMARY_STATE_ACTIVE,
    State.PRIMARY_STATE_FINALIZED,
}
INTEGERS = (0, 1, 2, -1, 10, 16, 17, 256, 2**31, 2**63 - 1, -(2**63))
FLOATS = (0.0, -0.0, 0.5, 1.0, 1e-300, 1e300, -1.0, float("nan"), float("inf"), float("-inf"))
TEXTS = ("", "auto", "cpu", "cuda:99", "torch", "nonsense", "outdoor_lidar", "/etc/passwd", "..")
TEXTS += ("x" * 5000, "\u00fc\n", "{}", "window", "none", "true")
TRANSITIONS = {
    "configure": Transition.TRANSITION_CONFIGURE,
    "cleanup": Transition.TRANSITION_CLEANUP,
    "activate": Transition.TRANSITION_ACTIVATE,
    "deactivate": Transition.TRANSITION_DEACTIVATE,
    "shutdown_unconfigured": Transition.TRANSITION_UNCONFIGURED_SHUTDOWN,
    "shutdown_inactive": Transition.TRANSITION_INACTIVE_SHUTDOWN,
    "shutdown_active": Transition.TRANSITION_ACTIVE_SHUTDOWN,
    "nonsense": 99,
}


class _OfTheNode(Campaign):
    """Cases that run in a ROS context of their own.

    Args:
        model: for the nodes.
    """

    def __init__(self, model):
        self._overrides = [
            rclpy.Parameter(name, value=value)
            for name, value in {
                "model": str(model),
                "engine": "torch",
                "threads": 1,
                "ego_motion": "none",
                "autostart": False,
                "stall_timeout": 0.0,
                "input_reliability": "reliable",
            }.items()
        ]
        self.context = rclpy.Context()
        rclpy.init(context=self.context)

    def new_node(self):
        return PerceptionNode(context=self.context, parameter_overrides=self._overrides)

    def close(self):
        rclpy.shutdown(context=self.context)


def answer(node, kind, request):
    """Return a node's answer to a request of a service."""
    [service] = [s for s in node.services if s.srv_type is kind]
    return service.callback(request, kind.Response())


class Parameters(_OfTheNode):
    """Requests to set parameters; a word is a request of the parameters NAME:SEED.

    Each request is answered, and whatever was accepted, the node's settings are valid.
    """

    name = "parameters"
    number = 10_000

    def __init__(self, model):
        super().__init__(model)
        self._node = self.new_node()

    def case(self, rng):
        return [
            "+".join(["set" if rng.random() < 0.7 else "atomically", *self._parameters(rng)])
            for _ in range(WORDS)
        ]

    def _parameters(self, rng):
        names = [*SETTINGS, "no_such", "", "use_sim_time"]
        number = rng.integers(1, 4)
        return [f"{rng.choice(names)}:{rng.integers(10**6)}" for _ in range(number)]

    def check(self, words):
        for word in words:
            how, *parts = word.split("+")
            parameters = [self._parameter(*part.rsplit(":", 1)) for part in parts]
            if how == "atomically":
                request = SetParametersAtomically.Request(parameters=parameters)
                results = [answer(self._node, SetParametersAtomically, request).result]
            else:
                request = SetParameters.Request(parameters=parameters)
                results = answer(self._node, SetParameters, request).results
                assert len(results) == len(parameters)
            for result in results:
                assert result.successful or result.reason, "refused without a reason"
            read(self._node)

    @staticmethod
    def _parameter(name, seed):
        rng = np.random.default_rng(int(seed))
        kind = int(rng.integers(10)) if rng.random() < 0.9 else int(rng.integers(10, 256))
        few = int(rng.choice([0, 1, 6, 100]))
        value = ParameterValue(
            type=kind,
            bool_value=bool(rng.integers(2)),
            integer_value=int(rng.choice(INTEGERS)),
            double_value=float(rng.choice(FLOATS)),
            string_value=str(rng.choice(TEXTS)),
            byte_array_value=[bytes([b]) for b in rng.integers(0, 256, few)],
            bool_array_value=[True] * few,
            integer_array_value=rng.choice(INTEGERS, few).tolist(),
            double_array_value=rng.choice(FLOATS, few).tolist(),
            string_array_value=[str(t) for t in rng.choice(TEXTS, few)],
        )
        return Parameter(name=name, value=value)

    def close(self):
        self._node.destroy_node()
        super().close()


class Lifecycle(_OfTheNode):
    """Walks of a new node through its lifecycle, with clouds between; a word is a step.

    Each request is answered; the node is in a primary state after it and its counts are balanced;
    at the end no thread of the node is left.
    """

    name = "lifecycle"
    number = 1_000

    def __init__(self, model):
        super().__init__(model)
        self._client = rclpy.create_node("fuzz", context=self.context)
        self._clouds = self._client.create_publisher(PointCloud2, "cloud", 10)

    def size(self, words):
        return 1

    def case(self, rng):
        usual = ["configure", "activate", "deactivate", "cleanup"]
        steps = []
        for _ in range(int(rng.integers(2, 9))):
            if rng.random() < 0.25:
                steps.append(f"cloud{random_word(rng, TYPED)[1:]}")
            steps.append(str(rng.choice(usual if rng.random() < 0.8 else list(TRANSITIONS))))
        return steps if rng.random() < 0.3 else ["configure", "activate", *steps]

    def check(self, words):
        threads = set(threading.enumerate())
        node = self.new_node()
        executor = SingleThreadedExecutor(context=self.context)
        executor.add_node(node)
        try:
            for word in words:
                self._step(node, word)
                for _ in range(3):
                    executor.spin_once(timeout_sec=0.0)
                state = answer(node, GetState, GetState.Request()).current_state
                assert state.id in PRIMARY, f"after {word}: {state.label}"
                self._check_counts(node)
            node.stop()
            self._check_counts(node, most=0)
        finally:
            executor.shutdown()
            node.destroy_node()
        left = set(threading.enumerate()) - threads
        for thread in left:
            thread.join(30.0)
            assert not thread.is_alive(), f"the thread '{thread.name}' is left"

    def _step(self, node, word):
        name, *cloud = word.split("+")
        if name != "cloud":
            request = ChangeState.Request(transition=Transition(id=TRANSITIONS[name]))
            assert answer(node, ChangeState, request).success in (True, False)
        else:
            mutated = mutated_cloud("+".join(["1", *cloud]))
            message = fill_message(PointCloud2(), mutated, PointField)
            message.header.frame_id = mutated.header.frame_id
            self._clouds.publish(message)

    @staticmethod
    def _check_counts(node, most=2):
        """Check that at most one cloud waits and one is being labelled."""
        for channel in node._channels:
            assert 0 <= channel.accounting.snapshot().pending <= most

    def close(self):
        self._client.destroy_node()
        super().close()
