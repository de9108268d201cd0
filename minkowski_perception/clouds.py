# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Clouds of selected points: the setting `clouds`, and the selection of points from a frame.

The setting is YAML that maps names to a list of classes, or to a mapping with the keys of `Cloud`:

    ground: [road, parking]
    obstacles: {except: [road, parking], height: [null, 1.5], voxel_size: 0.1, layout: xyz}
    dynamic: {moving: 0.5}
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt

from minkowski_perception.codec import (
    CHANNEL_NAMES,
    RETURN_TYPE_NAMES,
    CloudData,
    encode_fields,
    field_values,
    take_points,
)
from minkowski_perception.frame import Frame
from minkowski_perception.labels import UNLABELLED, LabelSet, LabelSetError
from minkowski_perception.moving import MOVING
from minkowski_perception.schema import (
    Pattern,
    Range,
    error_at,
    joined,
    parse_yaml,
    read,
    unknown_at,
)
from minkowski_perception.segmenter import Segmentation

AUTO, NONE = "auto", "none"
"""Values of the setting: the clouds that suit the model, and no clouds."""

WITHOUT_LABEL = "unlabelled"
"""Name, beside those of the classes, of the points without a label."""

_SETTING = "clouds"
_NAME = Pattern(
    r"[A-Za-z][A-Za-z0-9]*(_[A-Za-z0-9]+)*", "a name of a ROS topic, such as ground or near_cars"
)
_TAKEN = ("labelled", "label_info", "legend", "map")
_SURFACES = {"outdoor_groups7": (("ground",), ()), "indoor8": (("floor",), ("ceiling",))}
"""Label sets, with their classes of what a robot drives on, and of what hangs above it."""

_FARTHEST = 2**20
"""Voxels that are told apart along an axis, in either direction; of 1 cm: 10 km."""

Interval = tuple[float | None, float | None]
_Probability = Annotated[float, Range(0.0, 1.0)]


@dataclass(frozen=True)
class Cloud:
    """The setting of one cloud; a point is in it if it meets all conditions.

    Attributes:
        classes: only points of these classes.
        excluded: key `except`: all points but those of these classes. Unlabelled points are a
            class `unlabelled`.
        min_confidence: a label of a lower confidence counts as `unlabelled`.
        moving: only points that move with a larger probability than this.
        still: only points that move with at most this probability; where that is unknown, those
            whose class cannot move.
        range: smallest and largest distance from the sensor, m.
        height: smallest and largest height above the sensor, m; see `Selection.rows`.
        box: two corners x, y, z in the frame of the cloud, m: the smallest and the largest.
        voxel_size: edge of a voxel of which only the first point is in the cloud, m.
        layout: fields of the points: those of the input, or x, y, z and the others in its name.
    """

    classes: tuple[str, ...] | None = None
    excluded: tuple[str, ...] | None = field(default=None, metadata={"key": "except"})
    min_confidence: _Probability = 0.0
    moving: _Probability | None = None
    still: _Probability | None = None
    range: Interval | None = None
    height: Interval | None = None
    box: tuple[tuple[float, float, float], tuple[float, float, float]] | None = None
    voxel_size: Annotated[float, Range(least=0.01)] | None = None
    layout: Literal["input", "xyz", "xyzi", "xyzirc"] = "input"

    def __post_init__(self) -> None:
        if self.classes is not None and self.excluded is not None:
            raise ValueError("give classes or except, not both")
        if self.moving is not None and self.still is not None:
            raise ValueError("give moving or still, not both")
        if () in (self.classes, self.excluded):
            raise ValueError("a list of classes is empty; leave it out for all points")
        if self.min_confidence and self.classes is None and self.excluded is None:
            raise ValueError(
                "min_confidence needs classes or except: labels below it count as unlabelled"
            )
        for name in ("range", "height"):
            low, high = getattr(self, name) or (None, None)
            if low is not None and high is not None and low >= high:
                raise ValueError(f"{name} must be [smallest, largest], not [{low:g}, {high:g}]")
        if self.box is not None and not np.all(np.less(*self.box)):
            raise ValueError("box must be [[x, y, z], [x, y, z]]: the smallest, then the largest")


def read_clouds(text: str) -> Mapping[str, Cloud] | None:
    """Read the setting `clouds`.

    Returns:
        the clouds by name; None for `auto`.

    Raises:
        SchemaError: the text is not valid; the message names the key and the valid ones.
    """
    if text.strip() == AUTO:
        return None
    given = {} if text.strip() in ("", NONE) else parse_yaml(text)
    if not isinstance(given, Mapping):
        raise error_at(
            _SETTING, f"must be {AUTO}, {NONE} or a mapping of names to classes, not {text!r:.80}"
        )
    clouds = read(Mapping[Annotated[str, _NAME], Annotated[Any, _read_cloud]], given, _SETTING)  # type: ignore[type-abstract]
    for name in clouds:
        if name in _TAKEN:
            raise error_at(joined(_SETTING, name), "is the name of another topic of the node")
    return clouds


def _read_cloud(value: Any, path: str) -> Cloud:
    """Read one cloud; a list is that of its classes."""
    return read(Cloud, {"classes": value} if isinstance(value, list) else value, path)


def default_clouds(label_set: LabelSet, outputs: Collection[str]) -> dict[str, Cloud]:
    """Return the clouds that suit a model.

    `ground` is what a robot drives on. `obstacles` is all the rest but what is overhead, with the
    points without a label. Both are for the label sets of `_SURFACES` and those that map to one.
    `static` is what does not move, for models with the output `moving` and label sets that name
    the movable classes. `dynamic` is what moves, for models with that output.

    Args:
        label_set: of the model.
        outputs: names of the model's outputs.
    """
    clouds = {}
    for name, (ground, overhead) in _SURFACES.items():
        surfaces = LabelSet.load(name)
        if label_set.name != name and label_set.name not in surfaces.sources:
            continue
        try:
            below, above = (_members(label_set, surfaces, names) for names in (ground, overhead))
        except LabelSetError:
            continue  # it has other classes than the set of that name
        clouds["ground"] = Cloud(classes=below)
        clouds["obstacles"] = Cloud(excluded=(*below, *above))
    if MOVING in outputs or label_set.movable:
        clouds["static"] = Cloud(still=0.5)
    if MOVING in outputs:
        clouds["dynamic"] = Cloud(moving=0.5)
    return clouds


def _members(label_set: LabelSet, other: LabelSet, names: Collection[str]) -> tuple[str, ...]:
    """Return the classes of a label set that belong to classes of another one."""
    targets = other.mapping_from(label_set)[: len(label_set)]
    wanted = {other.names.index(name) for name in names}
    return tuple(
        name for name, target in zip(label_set.names, targets, strict=True) if target in wanted
    )


class Selection:
    """The points of a stream's frames that belong to one cloud.

    Args:
        name: of the cloud.
        cloud: its setting.
        label_set: of the model.
        outputs: names of the model's outputs.

    Raises:
        SchemaError: the label set has no such class (the valid ones are listed), or `moving` or
            `still` cannot be known.
    """

    def __init__(
        self, name: str, cloud: Cloud, label_set: LabelSet, outputs: Collection[str]
    ) -> None:
        path = joined(_SETTING, name)
        if cloud.moving is not None and MOVING not in outputs:
            raise error_at(
                joined(path, "moving"),
                "the model does not tell what moves; take a model with the output 'moving', or "
                "give classes",
            )
        if cloud.still is not None and MOVING not in outputs and not label_set.movable:
            raise error_at(
                joined(path, "still"),
                f"neither the model nor the label set '{label_set.name}' tells what can move",
            )
        self.cloud = cloud
        self._wanted = np.full(256, cloud.classes is None)
        for key, names, wanted in (
            ("classes", cloud.classes, True),
            ("except", cloud.excluded, False),
        ):
            for i, each in enumerate(names or ()):
                self._wanted[_id(each, label_set, f"{joined(path, key)}[{i}]")] = wanted
        self._movable = np.zeros(256, bool)
        self._movable[label_set.movable_ids] = True

    def rows(
        self, frame: Frame, found: Segmentation, up: npt.NDArray[np.float64] | None = None
    ) -> npt.NDArray[np.intp]:
        """Return the points that are in the cloud.

        Points without a measurement (NaN, infinite, exactly at the sensor) never are.

        Args:
            frame: of N points, in the axes of the sensor.
            found: its labels and outputs.
            up: [3], the direction upwards in these axes; None if the sensor stands upright.

        Returns:
            [M] row numbers, ascending.
        """
        cloud, labels = self.cloud, found.labels
        if cloud.min_confidence:
            labels = np.where(found.confidence < cloud.min_confidence, UNLABELLED, labels)
        chosen = frame.measured & self._wanted[labels]
        if cloud.moving is not None:
            chosen &= found.outputs[MOVING] > cloud.moving  # false for NaN
        if cloud.still is not None:
            chosen &= self._still(found, cloud.still)
        rows = np.flatnonzero(chosen)
        points = frame.points.take(rows, axis=0)
        inside = np.ones(len(rows), bool)
        if cloud.range is not None:
            inside &= _within(np.sqrt(np.einsum("ij,ij->i", points, points)), cloud.range)
        if cloud.height is not None:
            up = frame.upright[2, :3] if up is None else up
            inside &= _within(points @ up.astype(np.float32), cloud.height)
        if cloud.box is not None:
            low, high = cloud.box
            for axis, (least, most) in enumerate(zip(low, high, strict=True)):
                inside &= _within(points[:, axis], (least, most))
        if not inside.all():
            rows, points = rows[inside], points[inside]
        return rows if cloud.voxel_size is None else rows[_first(points, cloud.voxel_size)]

    def _still(self, found: Segmentation, most: float) -> npt.NDArray[np.bool_]:
        """Return which points [N] do not move, as far as that is known."""
        cannot_move = ~self._movable[found.labels]
        probability = found.outputs.get(MOVING)
        if probability is None:
            return cannot_move
        return np.where(np.isnan(probability), cannot_move, probability <= most)

    def encode(
        self, message: Any, frame: Frame, rows: npt.NDArray[np.intp], full_scale: float
    ) -> CloudData:
        """Return points of a cloud in its layout.

        Args:
            message: the input, a sensor_msgs/PointCloud2.
            frame: decoded from it, in the axes of the sensor.
            rows: [M] row numbers of the points.
            full_scale: largest intensity of the sensor.
        """
        layout = self.cloud.layout
        if layout == "input":
            return take_points(message, rows)
        columns: dict[str, npt.NDArray[Any]] = dict(zip("xyz", frame.points[rows].T, strict=True))
        intensity = np.zeros(len(rows), np.float32)
        if frame.intensity is not None:
            intensity = frame.intensity[rows]
        if layout == "xyzi":
            columns["intensity"] = intensity
        if layout == "xyzirc":
            columns["intensity"] = _integers(intensity * (255.0 / full_scale), np.uint8)
            for name, names, dtype in (
                ("return_type", RETURN_TYPE_NAMES, np.uint8),
                ("channel", CHANNEL_NAMES, np.uint16),
            ):
                values = field_values(message, *names)
                columns[name] = (
                    np.zeros(len(rows), dtype)
                    if values is None
                    else _integers(values[rows], dtype)
                )
        return encode_fields(columns)


def select(
    clouds: Mapping[str, Cloud] | None, label_set: LabelSet, outputs: Collection[str]
) -> dict[str, Selection]:
    """Return the selections of clouds by name, for a model.

    Args:
        clouds: of `read_clouds`.
        label_set: of the model.
        outputs: names of the model's outputs.

    Raises:
        SchemaError: see `Selection`.
    """
    if clouds is None:
        clouds = default_clouds(label_set, outputs)
    return {name: Selection(name, cloud, label_set, outputs) for name, cloud in clouds.items()}


def _id(name: str, label_set: LabelSet, path: str) -> int:
    if name == WITHOUT_LABEL:
        return UNLABELLED
    if name not in label_set.names:
        valid = (*label_set.names, WITHOUT_LABEL)
        raise unknown_at(path, f"class '{name}' of label set '{label_set.name}'", name, valid)
    return label_set.names.index(name)


def _within(values: npt.NDArray[np.floating], limits: Interval) -> npt.NDArray[np.bool_]:
    low, high = limits
    return (values >= (-np.inf if low is None else low)) & (
        values <= (np.inf if high is None else high)
    )


def _first(points: npt.NDArray[np.float32], size: float) -> npt.NDArray[np.intp]:
    """Return the rows, ascending, of the first point in each voxel of an edge length."""
    voxels = np.floor(points.astype(np.float64) / size).clip(-_FARTHEST, _FARTHEST - 1)
    x, y, z = (voxels + _FARTHEST).astype(np.int64).T
    keys = (x * 2 * _FARTHEST + y) * 2 * _FARTHEST + z
    order = np.argsort(keys)  # not stable, which is many times as fast
    starts = np.flatnonzero(np.diff(keys[order], prepend=-1))
    return np.sort(np.minimum.reduceat(order, starts)) if len(starts) else starts


def _integers(values: npt.NDArray[Any], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Round to an unsigned integer type, within its limits; NaN becomes 0."""
    finite = np.nan_to_num(values.astype(np.float64), nan=0.0)
    return np.rint(finite).clip(0, np.iinfo(dtype).max).astype(dtype)
