# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Settings of a run, declared once.

ROS parameters, launch arguments, command-line options, config/perception.yaml and the table of
docs/node.md derive from `Settings`. After a change here run tools/write_settings.py.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

AUTO = "auto"
ENGINE_CHOICES = (AUTO, "torch", "numba", "triton", "spconv_triton", "spconv", "minkowski")
PRECISION_CHOICES = (AUTO, "float32", "bfloat16", "float16")
EXECUTION_CHOICES = (AUTO, "window", "incremental")
AXES_CHOICES = (AUTO, "ros", "optical")
EGO_MOTION_CHOICES = (AUTO, "tf", "odometry", "kiss_icp", "none")
RECORDED_EGO_MOTION_CHOICES = (AUTO, "bag", "kiss_icp", "none")
"""Choices of the commands, which read recordings instead of topics."""
RELIABILITY_CHOICES = ("best_effort", "reliable")


class SettingsError(ValueError):
    """A setting is unknown, or its value is not valid."""


@dataclass(frozen=True)
class Setting:
    """Declaration of one setting.

    Attributes:
        name: identifier, the same everywhere; command-line options have dashes for underscores.
        default: its type is the setting's type: bool, int, float, str, a tuple of floats, or the
            empty tuple for a tuple of names.
        description: one sentence for users, without default, choices, range and unit.
        choices: the valid strings, if there are few.
        range: smallest and largest valid number.
        unit: of the number.
        node_only: only the ROS node has it; commands do not.
        live: the node applies a change at once, otherwise when it is configured.
        fixed: the node takes it when it starts, and refuses changes.
        shared: it has one value for all streams of a node.
    """

    name: str
    default: Any
    description: str
    choices: tuple[str, ...] = ()
    range: tuple[float, float] | None = None
    unit: str = ""
    node_only: bool = False
    live: bool = False
    fixed: bool = False
    shared: bool = False

    @property
    def constraint(self) -> str:
        """Valid values in words, such as "0.01 to 3600 s"; empty if all of the type are valid."""
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        if self.range is not None:
            low, high = self.range
            return f"{low:.10g} to {high:.10g} {self.unit}".rstrip()
        return ""

    @property
    def summary(self) -> str:
        """Description and valid values, in sentences."""
        if self.choices:
            return f"{self.description} {self.constraint.capitalize()}."
        if self.range is not None:
            return f"{self.description} Range: {self.constraint}."
        return self.description

    def checked(self, value: Any) -> Any:
        """Return a valid value in the setting's type; integers are valid floats.

        Raises:
            SettingsError: the value is not valid; the message names the valid ones.
        """
        value = self._typed(value)
        if (self.choices and value not in self.choices) or (
            self.range and not self.range[0] <= value <= self.range[1]
        ):
            raise SettingsError(f"{self.name} must be {self.constraint}, not {value!r}")
        return value

    def _typed(self, value: Any) -> Any:
        kind = type(self.default)
        if self.default == ():
            return _names(self.name, value)
        if kind is tuple:
            count = len(self.default)
            if (
                not hasattr(value, "__len__")
                or len(value) != count
                or not all(_is_number(each) and math.isfinite(each) for each in value)
            ):
                raise SettingsError(f"{self.name} must be {count} finite numbers, not {value!r}")
            return tuple(map(float, value))
        if kind is float and _is_number(value):
            return float(value)
        if type(value) is not kind:
            name = {bool: "true or false", int: "an integer", float: "a number", str: "a string"}
            raise SettingsError(f"{self.name} must be {name[kind]}, not {value!r}")
        return value


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _names(setting: str, value: Any) -> tuple[str, ...]:
    """Return names that can be a part of the names of topics and parameters, each once.

    Raises:
        SettingsError: a name is not valid, appears twice, or is that of a setting.
    """
    if not isinstance(value, list | tuple):
        raise SettingsError(f"{setting} must be a list of names, not {value!r}")
    for name in value:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise SettingsError(
                f"{setting}: a name has letters, digits and '_' and begins with a letter, "
                f"not {name!r}"
            )
        if name in SETTINGS:
            raise SettingsError(f"{setting}: '{name}' is the name of a parameter; take another")
    if len(set(value)) < len(value):
        raise SettingsError(f"{setting}: each name once, not {list(value)}")
    return tuple(value)


_NAME = re.compile(r"[A-Za-z]\w*", re.ASCII)


def _setting(default: Any, description: str, **details: Any) -> Any:
    """Declare a field of `Settings`; see `Setting` for the details."""
    return field(default=default, metadata={"description": description, **details})


@dataclass(frozen=True)
class Settings:
    """Settings of a run, checked when they are made.

    Raises:
        SettingsError: a value is not valid.
    """

    model: str = _setting(
        "outdoor_lidar",
        "Name of a model in the package, or path of a model card (.yaml).",
    )
    device: str = _setting(
        AUTO,
        "Device of the network: auto, cpu, cuda or cuda:N; auto takes CUDA if PyTorch finds it.",
        shared=True,
    )
    engine: str = _setting(
        AUTO,
        "Engine that computes the convolutions; auto takes the preferred one that agrees with "
        "torch, unless another is clearly faster.",
        choices=ENGINE_CHOICES,
        shared=True,
    )
    precision: str = _setting(
        AUTO,
        "Precision of the convolutions; auto goes below float32 only where the processor is made "
        "for that and the labels are kept.",
        choices=PRECISION_CHOICES,
        shared=True,
    )
    deterministic: bool = _setting(
        False,
        "Give bit-identical results in every run, on CUDA too; slower there.",
        shared=True,
    )
    threads: int = _setting(
        0,
        "CPU threads of the network; 0 takes all cores, or all but one with engine torch.",
        range=(0, 256),
        shared=True,
    )
    execution: str = _setting(
        AUTO,
        "Execution of the network: window computes the last frames together, incremental "
        "computes each frame once and keeps the features that later frames need; auto is "
        "incremental where the network is causal and no window is set.",
        choices=EXECUTION_CHOICES,
    )
    window: int = _setting(
        0,
        "Frames that execution window computes together; 0 takes the number that the model was "
        "trained with.",
        range=(0, 16),
        unit="frames",
    )
    crf: bool = _setting(
        True, "Refine the network's output with the model's CRF, if it has one.", live=True
    )
    min_confidence: float = _setting(
        0.0,
        "Least confidence of a label; points below it get no label (255); 0 keeps all labels.",
        range=(0.0, 1.0),
    )
    entropy: bool = _setting(
        False,
        "Append the field entropy to the labelled cloud: that of the class probabilities, in "
        "nats, which is larger where the network is less sure.",
    )
    averaging: int = _setting(
        10,  # more gain little and need more memory
        "Frames over which the class probabilities of each voxel are averaged, recent frames "
        "weighing more, to reduce flicker; 1 turns averaging off.",
        range=(1, 32),
        unit="frames",
        live=True,
    )
    map: bool = _setting(
        False,
        "Publish the voxels that the stream has seen, with their labels, on ~/map once a second.",
        node_only=True,  # label has an option --map of its own
    )
    map_range: float = _setting(
        100.0,
        "Distance from the sensor beyond which voxels leave the map.",
        range=(1.0, 1000.0),
        unit="m",
    )
    map_voxels: int = _setting(
        500_000,
        "Largest number of voxels in the map, of 70 bytes each with 19 classes; those that were "
        "seen longest ago go first.",
        range=(1000, 10_000_000),
    )
    map_moving: bool = _setting(
        False,
        "Include moving things in the map and, where it is unknown what moves, the classes that "
        "can move.",
    )
    clouds: str = _setting(
        AUTO,
        "Clouds of selected points, each on a topic of its own: auto for those that suit the "
        "model, none, or a YAML mapping of names to classes and conditions.",
        node_only=True,
    )
    streams: tuple[str, ...] = _setting(
        (),
        "Names of the streams, one for each sensor; a parameter NAME.PARAMETER holds for that "
        "stream alone; without names there is one stream, and its topics have no name in them.",
        node_only=True,
        fixed=True,
        shared=True,
    )
    cloud_topic: str = _setting("cloud", "Topic of the clouds to label.", node_only=True)
    by_frame: str = _setting(
        "",
        "Label only the clouds with this frame_id, where a topic has those of several sensors; "
        "empty labels all.",
        node_only=True,
    )
    odometry_topic: str = _setting(
        "odometry",
        "Topic of nav_msgs/Odometry, for ego_motion odometry and auto.",
        node_only=True,
    )
    ego_motion: str = _setting(
        AUTO,
        "Source of the sensor's motion: tf, the topic odometry, registration of the clouds by "
        "kiss_icp, or none for a sensor that stands still; auto takes the first of tf, odometry "
        "and kiss_icp that is available when a stream begins.",
        choices=EGO_MOTION_CHOICES,
        node_only=True,
    )
    fixed_frame: str = _setting(
        "odom", "Fixed frame (REP-105) for motion from TF.", node_only=True
    )
    sensor_pose: tuple[float, ...] = _setting(
        (0.0,) * 6,
        "Pose of the sensor in the odometry's child frame, for motion from odometry: x, y, z in "
        "metres, roll, pitch, yaw in radians.",
        node_only=True,
    )
    ego_motion_timeout: float = _setting(
        0.5,
        "Time to wait for the pose of a cloud before the cloud is dropped; with ego_motion auto "
        "also the time to wait for TF or odometry when a stream begins.",
        range=(0.0, 10.0),
        unit="s",
        node_only=True,
    )
    axes: str = _setting(
        AUTO,
        "Axes of the clouds' frame, for sensors whose pose is unknown: ros (x forward, z up) or "
        "optical (z forward, y down); auto goes by the name of the frame and by organised clouds.",
        choices=AXES_CHOICES,
    )
    deskew: bool = _setting(
        True,
        "Correct the points for the sensor's motion during the sweep, where clouds have a field "
        "of per-point times; set it to false if the driver has done so.",
    )
    timing: bool = _setting(
        False,
        "Publish the milliseconds that each stage of a cloud takes, on ~/timing/STAGE.",
        node_only=True,
    )
    level: bool = _setting(
        True,
        "Find the tilt of a sensor from the ground in its clouds and turn them upright, if the "
        "source of ego motion does not know how the sensor is mounted; tilts below 8 degrees "
        "change nothing.",
    )
    latency_budget: float = _setting(
        0.0,
        "Longest time from a cloud's arrival to its labels; beyond it the node sheds load until "
        "there is time again; 0 sets no limit.",
        range=(0.0, 60.0),
        unit="s",
        node_only=True,
    )
    max_superseded: float = _setting(
        1.0,
        "Largest share of clouds that newer ones may supersede; beyond it the node sheds load; 1 "
        "sets no limit.",
        range=(0.0, 1.0),
        node_only=True,
    )
    stall_timeout: float = _setting(
        10.0,
        "Longest time that the engine may take for one cloud; beyond it the process ends with "
        "status 70, so that a launch file starts it again; 0 sets no limit.",
        range=(0.0, 3600.0),
        unit="s",
        node_only=True,
        shared=True,
    )
    max_points: int = _setting(
        1_000_000,
        "Largest number of points of a cloud that get labels; of more, evenly spaced ones.",
        range=(1000, 100_000_000),
        node_only=True,
    )
    max_voxels: int = _setting(
        300_000,
        "Largest number of voxels of a cloud that are computed; of more, the nearest. One million "
        "take about 3.5 GB.",
        range=(1000, 100_000_000),
        node_only=True,
    )
    intensity_full_scale: float = _setting(
        0.0,
        "Largest intensity of the sensor, such as 1 or 255; 0 detects it from the last 20 clouds.",
        range=(0.0, 1e6),
    )
    max_gap: float = _setting(
        1.0,
        "Longest time between two clouds of a stream; after a longer one a new stream begins.",
        range=(0.01, 3600.0),
        unit="s",
    )
    max_step_back: float = _setting(
        1.0,
        "Largest step back in time of a cloud that arrives out of order and is dropped; with a "
        "larger one, or where the next cloud confirms it, a new stream begins.",
        range=(0.0, 3600.0),
        unit="s",
    )
    max_speed: float = _setting(
        60.0,
        "Highest speed of the sensor; a faster motion between two clouds is a jump of the "
        "odometry, and a new stream begins.",
        range=(0.1, 1000.0),
        unit="m/s",
    )
    max_acceleration: float = _setting(
        50.0,
        "Highest acceleration of the sensor; a pose that is further from the expected one is a "
        "jump of the odometry, and a new stream begins.",
        range=(0.1, 10000.0),
        unit="m/s^2",
    )
    input_reliability: str = _setting(
        "best_effort",
        "Reliability (QoS) of the subscriptions to clouds and odometry; best_effort receives "
        "from reliable publishers too.",
        choices=RELIABILITY_CHOICES,
        node_only=True,
    )
    autostart: bool = _setting(
        True,
        "Configure and activate the node at start, without a lifecycle manager.",
        node_only=True,
        shared=True,
    )

    def __post_init__(self) -> None:
        for name, setting in SETTINGS.items():
            object.__setattr__(self, name, setting.checked(getattr(self, name)))

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Settings:
        """Return settings with these values by name; others keep their defaults.

        Raises:
            SettingsError: a name is unknown, or a value is not valid.
        """
        for name in values:
            if name not in SETTINGS:
                near = difflib.get_close_matches(name, SETTINGS, n=1)
                hint = f"did you mean '{near[0]}'?" if near else f"valid: {', '.join(SETTINGS)}"
                raise SettingsError(f"unknown setting '{name}'; {hint}")
        return cls(**values)

    def segmenter_options(self) -> dict[str, Any]:
        """Return the keyword arguments of `Segmenter`, all but the model."""
        not_options = ("model", "threads", "level")
        return {
            **{
                name: getattr(self, name)
                for name, setting in SETTINGS.items()
                if not setting.node_only and name not in not_options
            },
            "map": self.map,
            "window": self.window or None,
            "crf": None if self.crf else False,
            "intensity_full_scale": self.intensity_full_scale or None,
        }


SETTINGS: Mapping[str, Setting] = {
    f.name: Setting(f.name, f.default, **f.metadata) for f in fields(Settings)
}
"""Declarations of all settings by name."""
