# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The node's parameters: declared with descriptions and ranges, read as one checked whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.exceptions import ParameterException
from rclpy.node import Node
from scipy.spatial.transform import Rotation

from minkowski_perception.networks.model import DEFAULT_MODEL
from minkowski_perception.segmenter import EXECUTIONS
from minkowski_perception.sparse.selection import ENGINE_CHOICES, PRECISION_CHOICES
from minkowski_perception.streaming import DEFAULT_AVERAGING


class ConfigurationError(ValueError):
    """A parameter has a value that is not possible."""


@dataclass(frozen=True)
class Parameter:
    """One parameter: a default, and what is possible.

    Attributes:
        default: its type is the parameter's type; integers are taken for floats too.
        description: for people who list the parameters.
        choices: the possible strings, where there are few.
        range: least and largest number, both possible.
    """

    default: Any
    description: str
    choices: Sequence[str] = ()
    range: tuple[float, float] | None = None

    def descriptor(self) -> ParameterDescriptor:
        """Return what ROS shows of it."""
        described = ParameterDescriptor(description=self.description)
        if self.choices:
            described.additional_constraints = f"one of: {', '.join(self.choices)}"
        if self.range and isinstance(self.default, float):
            low, high = self.range
            described.floating_point_range = [FloatingPointRange(from_value=low, to_value=high)]
            # A file may say 1 where 1.0 is meant.
            described.dynamic_typing = True
        elif self.range:
            low, high = (int(bound) for bound in self.range)
            described.integer_range = [IntegerRange(from_value=low, to_value=high, step=1)]
        elif isinstance(self.default, list):
            described.dynamic_typing = True
        return described


PARAMETERS = {
    "model": Parameter(
        DEFAULT_MODEL,
        "Model that labels: a name, or the path of a card (.yaml) beside its weights.",
    ),
    "device": Parameter("auto", "Where the network runs: auto, cpu, cuda or cuda:N."),
    "engine": Parameter(
        "auto",
        "What computes the convolutions; auto tries all that can run here and takes the fastest "
        "that agrees with torch.",
        choices=ENGINE_CHOICES,
    ),
    "precision": Parameter(
        "auto",
        "Of the convolutions; auto goes below float32 only where that is faster and the labels "
        "stay.",
        choices=PRECISION_CHOICES,
    ),
    "deterministic": Parameter(
        False, "Give the same bits in every run, on CUDA too; slower there."
    ),
    "threads": Parameter(
        0,
        "CPU threads of the network; 0 for all cores, with engine torch all but one.",
        range=(0, 256),
    ),
    "execution": Parameter(
        "auto",
        "Whether the last frames are computed together, or each once while what later ones look "
        "back to is kept; auto is incremental where the network is causal and no window is given.",
        choices=EXECUTIONS,
    ),
    "window": Parameter(
        0,
        "Frames that execution 'window' computes together; 0 for what the model was trained on.",
        range=(0, 16),
    ),
    "crf": Parameter(
        True,
        "Refine the network's answer by the model's CRF, if it has one; can be set at any time.",
    ),
    "averaging": Parameter(
        DEFAULT_AVERAGING,
        "Frames over which each place's class probabilities are averaged, old ones counting less, "
        "against flicker; 1 for none; can be set at any time.",
        range=(1, 32),
    ),
    "ego_motion": Parameter(
        "auto",
        "Where the sensor's motion comes from: TF, the topic 'odometry', the clouds themselves by "
        "KISS-ICP, or nowhere; auto takes the first of these that is there when a stream begins.",
        choices=("auto", "tf", "odometry", "kiss_icp", "none"),
    ),
    "fixed_frame": Parameter("odom", "Frame that stands still, for motion from TF (REP-105)."),
    "sensor_pose": Parameter(
        [0.0] * 6,
        "Sensor in the odometry's child frame, for motion from odometry: x, y, z in metres, roll, "
        "pitch, yaw in radians.",
    ),
    "ego_motion_timeout": Parameter(
        0.5,
        "Seconds to wait for the pose of a cloud before it is dropped, and with ego_motion 'auto' "
        "for a sign of TF or odometry when a stream begins.",
        range=(0.0, 10.0),
    ),
    "deskew": Parameter(
        True,
        "Move points by the sensor's motion to where they were at the stamp, where clouds have a "
        "field of per-point times; false if their driver has done so already.",
    ),
    "latency_budget": Parameter(
        0.0,
        "Seconds from a cloud's arrival to its labels beyond which the CRF is left out until "
        "there is room again; 0 for no budget.",
        range=(0.0, 60.0),
    ),
    "intensity_full_scale": Parameter(
        0.0, "The sensor's largest intensity, such as 1 or 255; 0 to detect it.", range=(0.0, 1e6)
    ),
    "max_gap": Parameter(
        1.0, "Seconds without a cloud after which the window starts anew.", range=(0.01, 3600.0)
    ),
    "max_step_back": Parameter(
        1.0,
        "Seconds: a stamp further back is a jump of time, a nearer one a cloud out of order.",
        range=(0.0, 3600.0),
    ),
    "input_reliability": Parameter(
        "best_effort",
        "Reliability of the subscriptions to clouds and odometry; best_effort also hears "
        "reliable publishers.",
        choices=("best_effort", "reliable"),
    ),
    "autostart": Parameter(True, "Configure and activate at start, without a lifecycle manager."),
}


@dataclass(frozen=True)
class Settings:
    """All parameters, checked, in the units and types that the node works with.

    Attributes:
        sensor_pose: [4, 4] float64, takes points of the sensor to the odometry's child frame.
        window: None for the model's own.
        intensity_full_scale: None to detect it.
    """

    model: str
    device: str
    engine: str
    precision: str
    deterministic: bool
    threads: int
    execution: str
    window: int | None
    crf: bool
    averaging: int
    latency_budget: float
    ego_motion: str
    fixed_frame: str
    sensor_pose: npt.NDArray[np.float64]
    ego_motion_timeout: float
    deskew: bool
    intensity_full_scale: float | None
    max_gap: float
    max_step_back: float
    input_reliability: str
    autostart: bool


def declare(node: Node) -> dict[str, str]:
    """Declare all parameters on a node.

    Returns:
        What was wrong with values given at start, by parameter: those keep their defaults until
        they are set anew, and `read` should be told.
    """
    refused = {}
    for name, parameter in PARAMETERS.items():
        try:
            node.declare_parameter(name, parameter.default, parameter.descriptor())
        except ParameterException as error:
            refused[name] = str(error)
            node.declare_parameter(
                name, parameter.default, parameter.descriptor(), ignore_override=True
            )
    return refused


def read(node: Node) -> Settings:
    """Read and check all parameters.

    Raises:
        ConfigurationError: a value is not possible; parameter, value and choices are named.
    """
    values = {name: node.get_parameter(name).value for name in PARAMETERS}
    for name, parameter in PARAMETERS.items():
        values[name] = _checked(name, parameter, values[name])
    x, y, z, roll, pitch, yaw = values["sensor_pose"]
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_euler("xyz", [roll, pitch, yaw]).as_matrix()
    pose[:3, 3] = x, y, z
    return Settings(
        **{
            **values,
            "sensor_pose": pose,
            "window": values["window"] or None,
            "intensity_full_scale": values["intensity_full_scale"] or None,
        }
    )


def _checked(name: str, parameter: Parameter, value: Any) -> Any:
    if isinstance(parameter.default, list):
        numbers = isinstance(value, Sequence) and not isinstance(value, str)
        count = len(parameter.default)
        if not numbers or len(value) != count or not np.isfinite(np.asarray(value, float)).all():
            raise ConfigurationError(f"{name} must be {count} finite numbers, not {value!r}")
        return [float(v) for v in value]
    if isinstance(parameter.default, float):
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ConfigurationError(f"{name} must be a number, not {value!r}")
        value = float(value)
    if parameter.choices and value not in parameter.choices:
        raise ConfigurationError(
            f"{name} must be one of {', '.join(parameter.choices)}, not {value!r}"
        )
    if parameter.range and not parameter.range[0] <= value <= parameter.range[1]:
        low, high = parameter.range
        raise ConfigurationError(f"{name} must be {low:g} to {high:g}, not {value!r}")
    return value
