# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Conversion between sensor_msgs/PointCloud2 and `Frame`.

Messages are read by their attributes, whatever their class, so those of rclpy and rosbags both
work. Of `sensor_msgs_py.point_cloud2` only the conversion of fields to a NumPy dtype is used: its
readers ignore row padding or scramble organised clouds in several ROS releases.
"""

from __future__ import annotations

import operator
import sys
from array import array
from collections import Counter, deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt

from minkowski_perception.frame import NANOSECONDS, Frame
from minkowski_perception.missing import MissingPackageError

INT8, UINT8, INT16, UINT16, INT32, UINT32, FLOAT32, FLOAT64 = range(1, 9)
"""Datatypes of sensor_msgs/PointField."""

TYPE_NAMES = ("INT8", "UINT8", "INT16", "UINT16", "INT32", "UINT32", "FLOAT32", "FLOAT64")
"""Their names, in order from 1."""

INTENSITY_NAMES = ("intensity", "i", "reflectivity", "intensities", "remission", "reflectance")
"""Names of intensity fields, in order of precedence."""

COLOUR_NAMES = ("rgb", "rgba")
"""Names of packed colour fields, 0xAARRGGBB, in order of precedence."""

TIME_NAMES = (
    "t",  # Ouster: ns since the stamp
    "time",  # Velodyne: s since the stamp
    "timestamp",  # Hesai, RoboSense: s, absolute; Livox: ns, absolute
    "time_stamp",  # Autoware, Nebula: ns since the stamp
    "offset_time",  # Livox: ns since the stamp
    "time_offset",
    "t_offset",
)
"""Names of per-point time fields, in order of precedence."""

CHANNEL_NAMES = ("channel", "ring", "line")
"""Names of fields with the number of a LiDAR's beam, in order of precedence."""

RETURN_TYPE_NAMES = ("return_type",)
"""Names of fields with the kind of a return, such as the strongest or the last."""

TRUE_MOVING = "true_moving"
"""Name of the field, beside that of true labels, that is not 0 for points that truly move."""

_TYPE_SIZES = (1, 1, 2, 2, 4, 4, 4, 8)
_PADDING_NAMES = ("", "_")  # names of gaps in PCD files; they can repeat
_MAX_POINT_STEP = 65536  # larger layouts are refused as invalid
_MAX_SWEEP = 1.1  # longest duration of a cloud, seconds: 1 Hz plus jitter
_SAMPLED_TIMES = 4096  # points from which the unit and origin of times are detected
_OUTLIERS = 100  # one point in so many may have a wrong time at each end


class CloudError(ValueError):
    """A cloud is malformed; the message names the field and the values."""


@dataclass(frozen=True)
class Field:
    """A field of a cloud, with the attributes of sensor_msgs/PointField."""

    name: str
    offset: int
    datatype: int
    count: int = 1

    @property
    def size(self) -> int:
        """Size of the field in bytes."""
        return _TYPE_SIZES[self.datatype - 1] * self.count


@dataclass
class CloudData:
    """A PointCloud2 without its header."""

    height: int
    width: int
    fields: list[Field]
    is_bigendian: bool
    point_step: int
    row_step: int
    data: array[int]
    is_dense: bool


@dataclass(frozen=True)
class _Layout:
    """The validated layout of a message, and a view of the message's bytes."""

    height: int
    width: int
    fields: tuple[Field, ...]
    is_bigendian: bool
    point_step: int
    row_step: int
    data: npt.NDArray[np.uint8]

    @classmethod
    def of(cls, message: Any) -> _Layout:
        """Validate a message's layout.

        Raises:
            CloudError: the layout is inconsistent, or does not match the data.
        """
        height, width, point_step, row_step = (
            _uint32(_attribute(message, name), name)
            for name in ("height", "width", "point_step", "row_step")
        )
        try:
            fields = tuple(_field(f) for f in _attribute(message, "fields"))
        except TypeError as error:
            raise CloudError(f"fields must be a list of PointField: {error}") from error
        try:
            data = np.frombuffer(_attribute(message, "data"), dtype=np.uint8)
        except (TypeError, ValueError, BufferError) as error:
            raise CloudError(f"data must be bytes: {error}") from error

        if point_step > _MAX_POINT_STEP:
            raise CloudError(f"point_step {point_step} exceeds {_MAX_POINT_STEP}")
        for field in fields:
            if field.offset + field.size > point_step:
                raise CloudError(
                    f"field '{field.name}' ({field.count} x {TYPE_NAMES[field.datatype - 1]} at "
                    f"offset {field.offset}) does not fit in point_step {point_step}"
                )
        names = Counter(f.name for f in fields if f.name not in _PADDING_NAMES)
        if repeated := [name for name in "xyz" if names[name] > 1]:
            raise CloudError(f"fields {repeated} appear more than once")
        axes = {f.name for f in fields if f.count == 1} & set("xyz")
        if absent := sorted(set("xyz") - axes):
            raise CloudError(f"no single-valued fields {absent} among {[*filter(None, names)]}")
        if row_step < width * point_step:
            # Drivers leave it out, or count it in points. It is not needed if rows lie closely.
            if height > 1 and len(data) != height * width * point_step:
                raise CloudError(
                    f"row_step {row_step} is less than width {width} x point_step {point_step}"
                )
            row_step = width * point_step
        # Some writers omit the padding of the last row.
        needed = (height - 1) * row_step + width * point_step if height and width else 0
        if len(data) < needed:
            raise CloudError(
                f"data has {len(data)} bytes, but height {height}, row_step {row_step}, width "
                f"{width} and point_step {point_step} need {needed}"
            )
        big = _flag(message, "is_bigendian")
        return cls(height, width, fields, big, point_step, row_step, data)

    def __len__(self) -> int:
        return self.height * self.width

    def find(self, *names: str, datatypes: Collection[int] = range(1, 9)) -> Field | None:
        """Return the first named field with a single value of an allowed datatype, or None.

        Names of two letters or more also match in other case, after all exact matches.

        Raises:
            CloudError: two such fields have the same name.
        """
        usable = [f for f in self.fields if f.count == 1 and f.datatype in datatypes]
        for convert in (str, str.lower):
            for name in names:
                if convert is str.lower and len(name) == 1:
                    continue
                found = [field for field in usable if convert(field.name) == name]
                if len(found) > 1:
                    raise CloudError(f"fields {[f.name for f in found]} appear more than once")
                if found:
                    return found[0]
        return None

    def records(self, offset: int, size: int) -> npt.NDArray[np.void]:
        """Return a view [height, width] of some bytes of each point, to copy them at once."""
        shape, strides = (self.height, self.width), (self.row_step, self.point_step)
        data = self.data if len(self) else np.empty(offset, np.uint8)
        return np.ndarray(shape, np.dtype((np.void, size)), data, offset, strides)

    def view(self, field: Field) -> npt.NDArray[Any]:
        """Return a view [height, width] of a single-valued field, in the message's byte order."""
        dtype = _dtype_from_fields()([field], self.point_step)
        dtype = dtype.newbyteorder(">" if self.is_bigendian else "<")
        points: npt.NDArray[Any] = np.ndarray(
            (self.height, self.width), dtype, self.data, strides=(self.row_step, self.point_step)
        )
        return points[field.name]

    def values(self, field: Field, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """Return a copy [N] of a single-valued field, converted to a dtype."""
        with np.errstate(over="ignore", invalid="ignore"):  # infinity and NaN are valid
            return self.view(field).astype(dtype, order="C").reshape(-1)

    def points(self) -> npt.NDArray[np.float32]:
        """Return a copy [N, 3] float32 of the coordinates."""
        axes = [field for name in "xyz" for field in self.fields if field.name == name]
        x = axes[0].offset
        adjoin = [(f.datatype, f.offset) for f in axes] == [(FLOAT32, x + 4 * i) for i in range(3)]
        if adjoin and self.is_bigendian == (sys.byteorder == "big"):
            return self.records(x, 12).copy().view(np.float32).reshape(-1, 3)
        points = np.empty((self.height, self.width, 3), dtype=np.float32)
        with np.errstate(over="ignore", invalid="ignore"):
            for axis, field in enumerate(axes):
                points[..., axis] = self.view(field)
        return points.reshape(-1, 3)


def decode(message: Any, *, label_field: str | None = None) -> Frame:
    """Convert a PointCloud2 message to a frame; all arrays are copies.

    All points are kept, row by row, including NaN and infinite ones (`is_dense` is ignored).
    As in PCL, a count of 0 means 1. `row_step` may be too small if the rows have no padding.
    Intensity, colour and time are read from fields with a known name and a single value of a
    suitable datatype: `INTENSITY_NAMES` of any type; `COLOUR_NAMES` of 32 bits, else r, g, b of
    UINT8; `TIME_NAMES` of 32 bits or floating-point. Other fields are ignored.

    The unit and origin of per-point time are detected, see `_relative_time`.

    Args:
        message: sensor_msgs/PointCloud2, or any object with its attributes.
        label_field: name of the field with true labels, beside which `moving` is read from
            `TRUE_MOVING` if there is that field; None to read neither.

    Raises:
        CloudError: the message is malformed, or lacks the label field.
    """
    layout = _Layout.of(message)
    header = _attribute(message, "header")
    time = _attribute(header, "stamp")
    seconds = _integer(_attribute(time, "sec"), "header.stamp.sec")
    stamp = seconds * 10**9 + _integer(_attribute(time, "nanosec"), "header.stamp.nanosec")
    frame_id = _attribute(header, "frame_id")
    if not isinstance(frame_id, str):
        raise CloudError(f"header.frame_id must be a string, not {frame_id!r:.80}")
    intensity = layout.find(*INTENSITY_NAMES)
    moving = None if label_field is None else layout.find(TRUE_MOVING)
    points = layout.points()
    return Frame(
        points=points,
        stamp=stamp,
        frame_id=frame_id,
        intensity=None if intensity is None else layout.values(intensity, np.float32),
        colour=_colour(layout),
        time=_time(layout, stamp, points),
        labels=None if label_field is None else _labels(layout, label_field),
        moving=None if moving is None else layout.values(moving, np.bool_),
        height=max(layout.height, 1),
    )


def field_values(message: Any, *names: str) -> npt.NDArray[Any] | None:
    """Return a copy [N] of the first of the named fields with a single value, None without one.

    Raises:
        CloudError: the message is malformed.
    """
    layout = _Layout.of(message)
    field = layout.find(*names)
    if field is None:
        return None
    return layout.values(field, layout.view(field).dtype.newbyteorder("="))


def existing_field(message: Any, name: str | None) -> str | None:
    """Return the name if the message has a field of that name, else None."""
    try:
        return name if name in [field.name for field in message.fields] else None
    except (AttributeError, TypeError):
        return None  # `decode` will refuse the message


class IntensityScale:
    """Normalises intensity to 0..1 by a declared or detected full scale.

    The detected scale is the smallest of `SCALES` that covers the 99th percentile of a cloud's
    positive values, in the median of the recent clouds. So neither a few outliers nor a few dark
    or bright clouds change it, and it grows and shrinks with the stream. Clouds without a
    positive value, or with zeros and ones alone, which fit every scale, do not count.

    Attributes:
        full_scale: the intensity that becomes 1.
        how: "declared" or "detected".
    """

    SCALES = (1.0, 255.0, 1023.0, 4095.0, 16383.0, 65535.0)
    """Full scales that can be detected: shares, and integers of 8, 10, 12, 14 and 16 bits."""

    _PERCENTILE = 99.0
    _RECENT = 20  # clouds
    _TOLERANCE = 1.02  # drivers that round up send 256, or 1.004
    _SHRINK = 0.8  # of the smaller scale, lest a percentile near a limit flips the scale
    _CONSTANT = 100  # points of one intensity that are no coincidence

    def __init__(self, full_scale: float | None = None) -> None:
        """Set the full scale; None to detect it.

        Raises:
            ValueError: the full scale is not positive and finite.
        """
        if full_scale is not None and not 0.0 < full_scale < np.inf:
            raise ValueError(
                f"full scale of intensity must be positive and finite, not {full_scale}"
            )
        self.full_scale = 1.0 if full_scale is None else float(full_scale)
        self.how = "detected" if full_scale is None else "declared"
        self._percentiles: deque[float] = deque(maxlen=self._RECENT)

    def normalise(self, intensity: npt.NDArray[np.float32]) -> npt.NDArray[np.float32] | None:
        """Normalise the intensities of the stream's next cloud.

        Args:
            intensity: [N], in the sensor's unit.

        Returns:
            [N] float32 in 0..1, NaN as 0; None if intensity is unknown, because a hundred points
            or more all have the same, as drivers of sensors without intensity send it.
        """
        if len(intensity) >= self._CONSTANT and (intensity == intensity[0]).all():
            return None
        if self.how == "detected":
            self._detect(intensity)
        with np.errstate(invalid="ignore"):  # a signalling NaN
            scaled = np.nan_to_num(intensity.astype(np.float32) / np.float32(self.full_scale))
        clipped: npt.NDArray[np.float32] = scaled.clip(0.0, 1.0)
        return clipped

    def _detect(self, intensity: npt.NDArray[np.float32]) -> None:
        positive = intensity[np.isfinite(intensity) & (intensity > 0.0)]
        if not len(positive) or (positive == 1.0).all():
            return
        index = int((len(positive) - 1) * self._PERCENTILE / 100.0)
        self._percentiles.append(float(np.partition(positive, index)[index]))
        # Of two clouds the darker one: a single bright cloud never decides.
        middle = sorted(self._percentiles)[(len(self._percentiles) - 1) // 2]
        if middle > self._TOLERANCE * self.full_scale:
            self.full_scale = self._covering(middle)
        else:
            self.full_scale = min(self.full_scale, self._covering(middle, self._SHRINK))

    def _covering(self, value: float, share: float = _TOLERANCE) -> float:
        """Return the smallest scale that covers a value; beyond 255 its given share does."""
        for scale in self.SCALES[:2]:  # usual units, which sensors use up to their end
            if value <= self._TOLERANCE * scale:
                return scale
        wider = self.SCALES[2:]
        return next((scale for scale in wider if value <= share * scale), wider[-1])

    @property
    def declared(self) -> float | None:
        """The declared full scale; None if it is detected."""
        return self.full_scale if self.how == "declared" else None

    def state(self) -> npt.NDArray[np.float64]:
        """Return the state: the full scale, and the percentiles of the recent clouds."""
        return np.array([self.full_scale, *self._percentiles])

    def restore(self, state: npt.NDArray[np.float64]) -> None:
        """Replace the state by one that `state` returned."""
        self.full_scale = float(state[0])
        self._percentiles = deque(map(float, state[1:]), maxlen=self._RECENT)


def append_fields(message: Any, columns: Mapping[str, npt.NDArray[Any]]) -> CloudData:
    """Append per-point arrays to a message's cloud as named fields.

    The order and bytes of the input points are unchanged, with the same offsets and byte order;
    padding between rows is removed. An input field with one of the new names is renamed to
    `input_<name>` (with as many `input_` as needed to be unique). The result is dense if the
    message is marked dense and all points are finite.

    Args:
        message: sensor_msgs/PointCloud2, or any object with its attributes.
        columns: arrays [N] by name, of a dtype that PointField supports (uint8, float32, ...).
            `rgb` is [N, 3] uint8, red, green, blue; it is packed as 0x00RRGGBB in a FLOAT32, the
            format of RViz.

    Raises:
        CloudError: the message is malformed, or has no room for the fields.
        ValueError: an array has the wrong number of entries or an unsupported dtype, or its name
            is that of a coordinate or of padding.
    """
    layout = _Layout.of(message)
    columns = _with_packed_colour(columns)
    for name, column in columns.items():
        if name in ("x", "y", "z", *_PADDING_NAMES):
            raise ValueError(f"field '{name}' cannot be appended: it is a coordinate or padding")
        if column.shape != (len(layout),):
            raise ValueError(
                f"{name} has shape {list(column.shape)}, but the cloud has {len(layout)} points"
            )
    appended, end = _fields_of(columns, _aligned(layout.point_step, 4))
    if end > _MAX_POINT_STEP:
        raise CloudError(
            f"point_step {layout.point_step} leaves no room for {[*columns]}: with them it would "
            f"be {end}, more than {_MAX_POINT_STEP}"
        )
    cloud = _new_cloud(
        layout.height,
        layout.width,
        [*_renamed(layout.fields, columns), *appended],
        _aligned(end, 4),
        layout.is_bigendian,
    )
    _Layout.of(cloud).records(0, layout.point_step)[:] = layout.records(0, layout.point_step)
    _write_columns(cloud, columns)
    cloud.is_dense = _flag(message, "is_dense") and bool(np.isfinite(layout.points()).all())
    return cloud


def take_points(message: Any, rows: npt.NDArray[np.intp]) -> CloudData:
    """Return points of a message's cloud, as one row, with the bytes and fields of the input.

    Args:
        message: sensor_msgs/PointCloud2, or any object with its attributes.
        rows: [M] numbers of the points, of `decode`'s.

    Raises:
        CloudError: the message is malformed.
    """
    layout = _Layout.of(message)
    fields, step = list(layout.fields), layout.point_step
    cloud = _new_cloud(1, len(rows), fields, step, layout.is_bigendian)
    points = layout.records(0, step)
    np.frombuffer(cloud.data, points.dtype)[:] = points[np.divmod(rows, max(layout.width, 1))]
    cloud.is_dense = bool(np.isfinite(_Layout.of(cloud).points()).all())
    return cloud


def encode_frame(frame: Frame, label_field: str | None = None) -> CloudData:
    """Encode a frame: x, y, z and, if present, intensity, rgb, time, labels and `TRUE_MOVING`.

    Args:
        frame: the frame.
        label_field: name of the field for the frame's labels; None to omit them and `moving`.

    Raises:
        ValueError: `label_field` is given, but the frame has no labels, their dtype is unsupported
            by PointField, or the name is in use.
    """
    columns: dict[str, npt.NDArray[Any]] = dict(zip("xyz", frame.points.T, strict=True))
    if frame.intensity is not None:
        columns["intensity"] = frame.intensity
    if frame.colour is not None:
        columns["rgb"] = frame.colour
    if frame.time is not None:
        columns["time"] = frame.time
    if label_field is not None:
        if frame.labels is None:
            raise ValueError("the frame has no labels to encode")
        if label_field in (*columns, *_PADDING_NAMES, TRUE_MOVING):
            raise ValueError(
                f"label field cannot be named '{label_field}': padding, or one of "
                f"{[*columns, TRUE_MOVING]}"
            )
        columns[label_field] = frame.labels
        if frame.moving is not None:
            columns[TRUE_MOVING] = frame.moving.astype(np.uint8)
    cloud = encode_fields(columns, frame.height)
    cloud.is_dense = bool(frame.valid.all())
    return cloud


def encode_fields(columns: Mapping[str, npt.NDArray[Any]], height: int = 1) -> CloudData:
    """Encode per-point arrays as a dense cloud, with a field for each in this order.

    Args:
        columns: arrays [N] by name, as in `append_fields`, with x, y and z.
        height: rows of the cloud, a divisor of N.

    Raises:
        ValueError: a dtype is unsupported by PointField.
    """
    columns = _with_packed_colour(columns)
    fields, end = _fields_of(columns, 0)
    width = len(columns["x"]) // height
    cloud = _new_cloud(height, width, fields, end, is_bigendian=False)
    _write_columns(cloud, columns)
    return cloud


def as_message(cloud: CloudData, stamp: int, frame_id: str) -> SimpleNamespace:
    """Return a cloud with a header, as an object with the attributes of a PointCloud2.

    Args:
        cloud: the cloud.
        stamp: nanoseconds.
        frame_id: name of the sensor's frame.
    """
    seconds, nanoseconds = divmod(stamp, NANOSECONDS)
    time = SimpleNamespace(sec=seconds, nanosec=nanoseconds)
    return SimpleNamespace(header=SimpleNamespace(stamp=time, frame_id=frame_id), **vars(cloud))


def fill_message(message: Any, cloud: CloudData, point_field_type: type) -> Any:
    """Copy a cloud to a PointCloud2 of rclpy, except the header, and return the message.

    The data is set by the property and as array.array: rclpy copies other types byte by byte,
    which is a thousand times slower.

    Args:
        message: sensor_msgs.msg.PointCloud2.
        cloud: the cloud.
        point_field_type: sensor_msgs.msg.PointField.
    """
    message.height = cloud.height
    message.width = cloud.width
    message.fields = [
        point_field_type(name=f.name, offset=f.offset, datatype=f.datatype, count=f.count)
        for f in cloud.fields
    ]
    message.is_bigendian = cloud.is_bigendian
    message.point_step = cloud.point_step
    message.row_step = cloud.row_step
    message.data = cloud.data
    message.is_dense = cloud.is_dense
    return message


def _attribute(message: Any, name: str) -> Any:
    try:
        return getattr(message, name)
    except AttributeError as error:
        raise CloudError(f"{type(message).__name__} has no attribute '{name}'") from error


def _integer(value: Any, name: str) -> int:
    try:
        return operator.index(value)
    except TypeError as error:
        raise CloudError(f"{name} must be an integer, not {value!r:.80}") from error


def _flag(message: Any, name: str) -> bool:
    value = _attribute(message, name)
    if not isinstance(value, int | np.bool_):
        raise CloudError(f"{name} must be true or false, not {value!r:.80}")
    return bool(value)


def _uint32(value: Any, name: str) -> int:
    number = _integer(value, name)
    if not 0 <= number < 2**32:
        raise CloudError(f"{name} must be 0 to {2**32 - 1}, not {number}")
    return number


def _field(field: Any) -> Field:
    name = _attribute(field, "name")
    if not isinstance(name, str) or "\0" in name:
        raise CloudError(f"a field's name must be a string without NUL, not {name!r:.80}")
    offset, datatype, count = (
        _uint32(_attribute(field, attribute), f"{attribute} of field '{name}'")
        for attribute in ("offset", "datatype", "count")
    )
    if not INT8 <= datatype <= FLOAT64:
        choices = ", ".join(f"{i} {n}" for i, n in enumerate(TYPE_NAMES, start=1))
        raise CloudError(f"datatype of field '{name}' is {datatype}; choose one of {choices}")
    return Field(name, offset, datatype, max(count, 1))


def _colour(layout: _Layout) -> npt.NDArray[np.uint8] | None:
    packed = layout.find(*COLOUR_NAMES, datatypes=(INT32, UINT32, FLOAT32))
    if packed is not None:
        # Read as an integer: loading a signalling NaN as float can change its bits.
        words = layout.values(replace(packed, datatype=UINT32), "<u4").view(np.uint8)
        colour = np.empty((len(layout), 3), dtype=np.uint8)
        for channel in range(3):  # one by one: NumPy is slow along axes of length 3
            colour[:, channel] = words[2 - channel :: 4]
        return colour
    channels = [layout.find(name, datatypes=(UINT8,)) for name in "rgb"]
    present = [layout.values(channel, np.uint8) for channel in channels if channel is not None]
    return np.stack(present, axis=1) if len(present) == 3 else None


def _time(
    layout: _Layout, stamp: int, points: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32] | None:
    field = layout.find(*TIME_NAMES, datatypes=(INT32, UINT32, FLOAT32, FLOAT64))
    if field is None:
        return None
    units = (1.0, 1e-3, 1e-6, 1e-9) if field.datatype in (FLOAT32, FLOAT64) else (1e-6, 1e-9)
    ticks = layout.values(field, np.float64)
    timed = np.isfinite(ticks)
    # Drivers give rays without a return any time, such as 0 among absolute times.
    x, y, z = points.T
    with np.errstate(over="ignore", invalid="ignore"):
        returned = timed & np.isfinite(x + y + z) & ((x != 0.0) | (y != 0.0) | (z != 0.0))
    return _relative_time(ticks, returned if returned.any() else timed, units, stamp)


def _relative_time(
    ticks: npt.NDArray[np.float64],
    returned: npt.NDArray[np.bool_],
    units: Sequence[float],
    stamp: int,
) -> npt.NDArray[np.float32] | None:
    """Convert per-point times of unknown unit and origin to seconds since the stamp.

    The unit is the coarsest for which the duration of the cloud is at most `_MAX_SWEEP`: 1e8 ticks
    can be nanoseconds (0.1 s), but not microseconds (100 s). The origin is the stamp (small
    values), the epoch of the stamp (values near it), or an unknown clock; for the latter the
    earliest point gets the stamp.

    Args:
        ticks: [N] times.
        returned: [N] bool, points whose times count. One in `_OUTLIERS` may be wrong at each end.
        units: seconds of a tick, coarsest first.
        stamp: nanoseconds.

    Returns:
        [N] seconds, NaN for times that are too far from the others; None if no unit fits.
    """
    counted = ticks[returned]
    if not len(counted):
        return None
    sample = np.sort(counted[:: -(-len(counted) // _SAMPLED_TIMES)])
    trimmed = len(sample) // _OUTLIERS
    first, last = float(sample[trimmed]), float(sample[len(sample) - 1 - trimmed])
    unit = next((u for u in units if (last - first) * u <= _MAX_SWEEP), None)
    if unit is None:
        return None
    near = np.abs(counted - sample[len(sample) // 2]) * unit <= _MAX_SWEEP
    earliest = float(counted[near].min())
    for origin in (0.0, stamp * 1e-9 / unit, earliest):
        if max(abs(first - origin), abs(last - origin)) * unit <= _MAX_SWEEP:
            break
    with np.errstate(over="ignore", invalid="ignore"):
        seconds = ((ticks - origin) * unit).astype(np.float32)
        seconds[np.abs(seconds) > 2.0 * _MAX_SWEEP] = np.nan
    return seconds


def _labels(layout: _Layout, name: str) -> npt.NDArray[np.integer]:
    field = layout.find(name)
    if field is None:
        names = [f.name for f in layout.fields]
        raise CloudError(f"no single-valued label field '{name}' among {names}")
    if field.datatype not in (FLOAT32, FLOAT64):
        return layout.values(field, layout.view(field).dtype.newbyteorder("="))
    labels = layout.values(field, np.int64)
    if not np.array_equal(labels, layout.values(field, np.float64)):
        raise CloudError(f"label field '{name}' has values that are not integers")
    return labels


def _packed(colours: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint32]:
    """Pack colours [N, 3] uint8 to [N] uint32, 0x00RRGGBB."""
    words = np.zeros((len(colours), 4), dtype=np.uint8)
    for channel in range(3):  # one by one: NumPy is slow along axes of length 3
        words[:, 2 - channel] = colours[:, channel]
    return words.view("<u4").reshape(-1)


def _with_packed_colour(columns: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
    return {name: _packed(c) if name == "rgb" else c for name, c in columns.items()}


def _fields_of(columns: Mapping[str, npt.NDArray[Any]], start: int) -> tuple[list[Field], int]:
    """Return aligned fields for columns (packed `rgb`) from an offset on, and where they end."""
    fields = []
    for name, column in columns.items():
        field = Field(name, 0, FLOAT32 if name == "rgb" else _datatype(name, column))
        field = replace(field, offset=_aligned(start, field.size))
        fields.append(field)
        start = field.offset + field.size
    return fields, start


def _datatype(name: str, column: npt.NDArray[Any]) -> int:
    """Return PointField's datatype of an array."""
    kind = column.dtype.name.upper()
    if kind not in TYPE_NAMES:
        raise ValueError(f"{name} has type {kind}; choose one of {', '.join(TYPE_NAMES)}")
    return TYPE_NAMES.index(kind) + 1


def _aligned(offset: int, size: int) -> int:
    """Round an offset up to a multiple of a size."""
    return -(-offset // size) * size


def _renamed(fields: Sequence[Field], names: Collection[str]) -> list[Field]:
    """Rename the fields with one of the names to unique ones."""
    taken = {*names, *(f.name for f in fields)}
    renamed = []
    for field in fields:
        name = field.name
        if name in names:
            while name in taken:
                name = f"input_{name}"
        renamed.append(replace(field, name=name))
    return renamed


@cache
def _dtype_from_fields() -> Callable[[list[Field], int], np.dtype[Any]]:
    """Import what decodes clouds: arrays and scans are labelled without it.

    Raises:
        MissingPackageError: it is not installed.
    """
    try:
        from sensor_msgs_py.point_cloud2 import dtype_from_fields
    except ImportError:
        try:
            from pointcloud2 import dtype_from_fields
        except ImportError as error:
            raise MissingPackageError(
                "clouds are decoded with sensor_msgs_py (ROS 2) or its port: "
                "pip install pointcloud2"
            ) from error
    found: Callable[[list[Field], int], np.dtype[Any]] = dtype_from_fields
    return found


def _new_cloud(
    height: int, width: int, fields: list[Field], point_step: int, is_bigendian: bool
) -> CloudData:
    """Create a cloud of zeros."""
    row_step = width * point_step
    data = array("B", [0]) * (height * row_step)
    return CloudData(height, width, fields, is_bigendian, point_step, row_step, data, True)


def _write_columns(cloud: CloudData, columns: Mapping[str, npt.NDArray[Any]]) -> None:
    """Write columns [N] to the fields of their names; `rgb` is packed."""
    for field in cloud.fields:
        if field.name in columns:
            bits = replace(field, datatype=UINT32) if field.name == "rgb" else field
            dtype = _dtype_from_fields()([bits], cloud.point_step)
            dtype = dtype.newbyteorder(">" if cloud.is_bigendian else "<")
            np.frombuffer(cloud.data, dtype)[field.name] = columns[field.name]
