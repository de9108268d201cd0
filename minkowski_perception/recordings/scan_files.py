# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Scans in files, and sequences of frames, read like a bag.

Formats: KITTI's .bin (x, y, z, intensity as float32), nuScenes' .pcd.bin (with ring), .pcd, .ply,
.npy, .npz, .las, .laz.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from minkowski_perception.codec import INTENSITY_NAMES, as_message, encode_frame
from minkowski_perception.frame import NANOSECONDS, Frame
from minkowski_perception.missing import MissingPackageError
from minkowski_perception.motion.ego_motion import EgoMotion, NoPoseError
from minkowski_perception.motion.poses import Pose
from minkowski_perception.recordings.bags import BAG_SUFFIXES, BagError, BagReader
from minkowski_perception.recordings.losses import Losses

PERIOD = 0.1
"""Seconds between scans whose names are no stamps."""

Columns = Mapping[str, npt.NDArray[Any]]
"""Columns [N] of a scan by name; [height, width] of an organised one."""

_DOUBTFUL = 0.01
"""Share of intensities below -1 from which a .bin file has other columns."""
_GZIP_MAGIC = b"\x1f\x8b"
_COLOUR_SCALE = 257  # of 16-bit colours in .las to 8 bits
_STAMP = re.compile(r"\d{16,19}")
"""Name of a scan that is its stamp, in nanoseconds or microseconds."""
_END_OF_TIME = 2**31 * NANOSECONDS  # of ROS
_DIGITS = re.compile(r"(\d+)")


class FrameReader:
    """Reader of sequences of frames, with the methods of `BagReader` that `label` uses.

    Args:
        path: where the frames are from, for messages.
        sequences: frames in time order, by name, which is the topic.
        label_field: name of the field for true labels of frames that have them.
    """

    def __init__(
        self,
        path: Path,
        sequences: Mapping[str, Sequence[Frame]],
        label_field: str | None = None,
    ) -> None:
        self.path = path
        self._losses = Losses()
        self._sequences = sequences
        self._label_field = label_field
        self._poses: dict[int, Pose] = {}

    def __enter__(self) -> FrameReader:
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    @property
    def losses(self) -> list[str]:
        """Sentences on the frames that could not be read, and why."""
        return self._losses.sentences()

    def cloud_topics(self) -> dict[str, int]:
        """Return the numbers of frames by sequence."""
        return {name: len(frames) for name, frames in self._sequences.items()}

    def choose_cloud_topic(self, topic: str | None = None) -> str:
        """Return the given sequence, or the only one.

        Raises:
            BagError: there is no such sequence, or there are several; they are listed.
        """
        if topic is None and len(self._sequences) == 1:
            return next(iter(self._sequences))
        if topic in self._sequences:
            return str(topic)
        listed = ", ".join(f"{name} ({n} scans)" for name, n in self.cloud_topics().items())
        problem = "several sequences" if topic is None else f"no sequence '{topic}'"
        raise BagError(f"{self.path} has {problem}; choose one of {listed} with --topic")

    def clouds(self, topic: str, since: int | None = None) -> Iterator[tuple[int, Any]]:
        """Yield stamp in nanoseconds and sensor_msgs/PointCloud2 of the frames, in time order.

        Args:
            topic: a sequence.
            since: least stamp of the frames, nanoseconds; None for all.
        """
        for frame in self._frames(self.choose_cloud_topic(topic)):
            if since is not None and frame.stamp < since:
                continue
            if frame.pose is not None:
                self._poses[frame.stamp] = frame.pose
            labelled = frame.labels is not None and self._label_field is not None
            cloud = encode_frame(frame, self._label_field if labelled else None)
            yield frame.stamp, as_message(cloud, frame.stamp, frame.frame_id)

    def recorded_motion(self, topic: str, reason: str) -> EgoMotion | None:
        """Return the motion that the frames of a sequence have; None if they have no poses."""
        first = next(self._frames(topic), None)
        return None if first is None or first.pose is None else FrameMotion(self._poses, reason)

    def _frames(self, topic: str) -> Iterator[Frame]:
        """Yield the frames of a sequence that can be read."""
        frames = self._sequences[topic]
        for i in range(len(frames)):
            try:
                frame = frames[i]
            except ValueError as error:  # BagError, or that of a data set
                self._losses.add(f"scans of {topic} that cannot be read", i, error)
            else:
                yield frame


class FrameMotion(EgoMotion):
    """Poses of the frames that a `FrameReader` has read.

    Args:
        poses: by stamp.
        reason: see `EgoMotion`.
    """

    name = "bag"
    fixed_frame = "odom"
    knows_up = True

    def __init__(self, poses: Mapping[int, Pose], reason: str) -> None:
        super().__init__(reason)
        self._poses = poses

    def locate(self, frame: Frame) -> Pose:
        """Return the pose that the frame was recorded with; see `EgoMotion.locate`."""
        pose = self._poses.get(frame.stamp)
        if pose is None:
            raise NoPoseError(f"the recording has no pose at stamp {frame.stamp} ns")
        return pose


class Scans(Sequence[Frame]):
    """Frames of scan files, each read on access.

    The name of a file is its stamp if it is an integer of 16 to 19 digits; otherwise scans are
    `PERIOD` apart.

    Args:
        files: in time order.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = files
        self._stamps = _stamps_of(files)

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: Any) -> Any:
        """Read a frame, or select some.

        Raises:
            BagError: a file is damaged, or has no points.
        """
        if isinstance(index, slice):
            return Scans(self._files[index])
        frame = read_scan(self._files[index])
        frame.stamp = self._stamps[index]
        return frame


_PACKED = (".gz", ".bz2", ".xz", ".zip", ".tar", ".tgz", ".7z", ".rar", ".lz4", ".zst", ".zstd")


def is_scan(path: Path) -> bool:
    """Return whether a file has the suffix of a scan and is not hidden, as those of macOS."""
    return path.suffix.lower() in _READERS and not path.name.startswith(".") and path.is_file()


def open_recording(path: Path) -> BagReader | FrameReader:
    """Return the reader of a bag, a scan, or a folder of scans.

    Raises:
        BagError: the path is none of these.
    """
    if path.is_file() and not (is_scan(path) or path.name.endswith(BAG_SUFFIXES)):
        raise BagError(
            f"{path} is neither a bag ({', '.join(BAG_SUFFIXES)}) nor a scan "
            f"({', '.join(_READERS)}); folders of them are read too"
            + ("; unpack it first" if path.suffix.lower() in _PACKED else "")
        )
    return open_scans(path) or BagReader(path)


def open_scans(path: Path) -> FrameReader | None:
    """Open a scan, or a folder of scans of one format; return None if it is neither.

    Raises:
        BagError: the folder has scans of several formats.
    """
    if path.is_file():
        return FrameReader(path, {path.stem: Scans([path])}) if is_scan(path) else None
    folder = path / "velodyne" if (path / "velodyne").is_dir() else path
    files = sorted(filter(is_scan, folder.iterdir()), key=_natural) if folder.is_dir() else []
    if not files:
        return None
    formats = sorted({file.suffix.lower() for file in files})
    if len(formats) > 1:
        raise BagError(f"{folder} has scans of several formats: {', '.join(formats)}")
    return FrameReader(path, {path.name: Scans(files)})


def _natural(path: Path) -> list[tuple[int, str]]:
    """Return a key that sorts 2.bin before 10.bin."""
    return [
        (int(part or 0), part) if part.isdecimal() else (0, part)
        for part in _DIGITS.split(path.name)
    ]


def read_scan(path: Path) -> Frame:
    """Read the points of a file, with intensity, colour and time if it has them.

    Raises:
        BagError: the format is unknown, or the file is damaged or has no x, y, z.
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise BagError(f"{path} is no scan; known are {', '.join(_READERS)}")
    try:
        columns = {_plain_name(name): column for name, column in reader(path).items()}
    except ImportError as error:
        raise BagError(str(error)) from error
    except Exception as error:  # parsers raise many kinds on damaged files
        reason = str(error) if isinstance(error, ValueError) else repr(error)
        if _starts_with(path, _GZIP_MAGIC):
            reason = f"it is compressed: gunzip it first (as {path.name}.gz)"
        raise BagError(f"cannot read scan {path}: {reason}") from error
    if absent := [axis for axis in "xyz" if axis not in columns]:
        raise BagError(f"{path} has no {', '.join(absent)} among its fields {list(columns)}")
    if len(shapes := {columns[axis].shape for axis in "xyz"}) > 1:
        raise BagError(f"x, y and z of {path} have different shapes: {sorted(shapes)}")
    columns = {name: column for name, column in columns.items() if {column.shape} == shapes}
    height = len(columns["x"]) if columns["x"].ndim > 1 else 1
    columns = {name: column.reshape(-1) for name, column in columns.items()}
    points = np.stack([columns[axis].astype(np.float32) for axis in "xyz"], axis=1)
    intensity = next((columns[n] for n in INTENSITY_NAMES if n in columns), None)
    return Frame(
        points,
        frame_id="lidar",
        intensity=None if intensity is None else intensity.astype(np.float32),
        colour=_colour(columns),
        height=height,
    )


def _plain_name(name: str) -> str:
    """Return the name of a column in lower case, without the prefix that CloudCompare writes."""
    return name.lower().removeprefix("scalar_")


def _starts_with(path: Path, magic: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(magic)) == magic


def _colour(columns: Columns) -> npt.NDArray[np.uint8] | None:
    for names in (("red", "green", "blue"), ("r", "g", "b")):
        if all(name in columns for name in names):
            colour = np.stack([columns[name] for name in names], axis=1)
            if colour.dtype == np.uint16 and colour.max(initial=0) > 255:
                colour = colour // _COLOUR_SCALE
            return colour.astype(np.uint8) if colour.dtype.kind in "iu" else None
    packed = columns.get("rgb")
    if packed is None or packed.dtype.itemsize != 4:
        return None
    return packed.view("<u4").astype("<u4").view(np.uint8).reshape(-1, 4)[:, 2::-1].copy()


def _stamps_of(files: Sequence[Path]) -> list[int]:
    names = [file.name.partition(".")[0] for file in files]
    if all(_STAMP.fullmatch(name) for name in names):
        stamps = [int(name) * (1000 if len(name) == 16 else 1) for name in names]
        if max(stamps) < _END_OF_TIME:
            return stamps
    # Start at 1 s, since ROS takes stamp 0 as unset.
    return [round((1 + i * PERIOD) * NANOSECONDS) for i in range(len(files))]


def _columns_of(rows: npt.NDArray[Any], where: str = "the array") -> Columns:
    """Return x, y, z and intensity or colour, the columns of [N, 3 or more] or [H, W, 3 or more].

    Six columns with whole numbers from 0 to 255 in the last three have a colour.
    """
    if rows.dtype.names:
        return {name: rows[name] for name in rows.dtype.names}
    if rows.ndim not in (2, 3) or rows.shape[-1] < 3 or rows.shape[0] < 5 < rows.shape[-1]:
        raise ValueError(
            f"{where} has shape {list(rows.shape)}, not [N, 3] (x, y, z) or [N, 4] (and intensity)"
        )
    columns = np.moveaxis(rows, -1, 0)
    more = columns[3:]
    if len(more) == 3 and more.size and ((more >= 0) & (more <= 255) & (more % 1 == 0)).all():
        colours = more.astype(np.uint8)
        return dict(
            zip(("x", "y", "z", "red", "green", "blue"), (*columns[:3], *colours), strict=True)
        )
    return dict(zip(("x", "y", "z", "intensity"), columns[:4], strict=False))


def _read_bin(path: Path) -> Columns:
    values = np.fromfile(path, "<f4")
    widths = (5,) if path.name.endswith(".pcd.bin") else (4, 5)
    fitting = [width for width in widths if path.stat().st_size % (4 * width) == 0]
    if not fitting:
        raise ValueError(f"{path.stat().st_size} bytes are not points of 4 or 5 float32")
    for width in fitting:
        rows = values.reshape(-1, width)
        # With another width, coordinates are in this column.
        if np.count_nonzero(rows[:, 3] < -1.0) <= _DOUBTFUL * len(rows):
            return _columns_of(rows[:, :4])
    low, high = np.nanmin(values[3::4]), np.nanmax(values[3::4])
    raise ValueError(
        f"its points are not x, y, z, intensity as float32: the intensity would be from {low:.3g} "
        f"to {high:.3g}; save them as .npy, [N, 3] or [N, 4]"
    )


def _read_npy(path: Path) -> Columns:
    return _columns_of(np.load(path, allow_pickle=False))


def _read_npz(path: Path) -> Columns:
    with np.load(path, allow_pickle=False) as arrays:
        found = {name: arrays[name] for name in arrays.files}
    if {"x", "y", "z"} <= found.keys():
        return found
    points = next((found[n] for n in ("points", "xyz", "cloud", "data") if n in found), None)
    if points is None:
        shaped = [a for a in found.values() if a.ndim == 2 and a.shape[1] >= 3]
        if len(shaped) != 1:
            raise ValueError(f"no array 'points' among {', '.join(found)}")
        points = shaped[0]
    sizes = ((n, a) for n, a in found.items() if n not in "xyz" and a is not points)
    others = {n: a.reshape(-1) for n, a in sizes if a.size == len(points) == len(a)}
    return {**_columns_of(points), **others}


def _read_las(path: Path) -> Columns:
    try:
        import laspy
    except ImportError as error:
        raise MissingPackageError(f"{path} needs laspy: pip install 'laspy[lazrs]'") from error
    cloud = laspy.read(path)
    names = set(cloud.point_format.dimension_names)
    # Coordinates of maps are too large for float32: points are relative to the scan's centre.
    columns = {axis: np.asarray(cloud[axis], np.float64) for axis in "xyz"}
    if any(np.abs(column).max(initial=0.0) > 1e4 for column in columns.values()):
        columns = {axis: column - np.floor(np.median(column)) for axis, column in columns.items()}
    for name in ("intensity", "red", "green", "blue"):
        if name in names:
            columns[name] = np.asarray(cloud[name])
    return columns


def _read_pcd(path: Path) -> Columns:
    """Read a PCD file; see https://pointclouds.org/documentation/tutorials/pcd_file_format.html."""
    with path.open("rb") as file:
        header: dict[str, list[str]] = {}
        while "DATA" not in header:
            line = file.readline(4096)
            if not line:
                raise ValueError("the header of a PCD file is incomplete")
            words = line.decode(errors="replace").split()
            if words and not words[0].startswith("#"):
                header[words[0].upper()] = words[1:]
        data = file.read()
    if absent := [key for key in ("FIELDS", "SIZE", "TYPE") if key not in header]:
        raise ValueError(f"the header of a PCD file has no {', '.join(absent)}")
    sizes, counts = map(int, header["SIZE"]), header.get("COUNT", ["1"] * len(header["FIELDS"]))
    kinds = {"F": "f", "U": "u", "I": "i"}
    if unknown := set(header["TYPE"]) - kinds.keys():
        raise ValueError(f"type {', '.join(sorted(unknown))} of a PCD file is unknown")
    fields = [
        (name if name != "_" else f"_{i}", f"<{kinds[kind]}{size}", (int(count),))
        for i, (name, kind, size, count) in enumerate(
            zip(header["FIELDS"], header["TYPE"], sizes, counts, strict=True)
        )
    ]
    width, height = (int(header.get(name, ["1"])[0]) for name in ("WIDTH", "HEIGHT"))
    number = int(header["POINTS"][0]) if "POINTS" in header else width * height
    columns = _pcd_columns(fields, header["DATA"][0].lower(), data, number)
    if len(columns[fields[0][0]]) < number:
        raise ValueError(f"it has {len(columns[fields[0][0]])} of {number} points")
    if height > 1 and width * height == number:
        return {name: column.reshape(height, width) for name, column in columns.items()}
    return columns


def _pcd_columns(
    fields: Sequence[tuple[str, str, tuple[int]]], storage: str, data: bytes, number: int
) -> Columns:
    """Return the columns [N] of a PCD file.

    Args:
        fields: name, type and shape of each.
        storage: "ascii", "binary" or "binary_compressed".
        data: what follows the header.
        number: of points.
    """
    if storage == "ascii":
        lines = [line.split() for line in data.decode().splitlines() if line.strip()][:number]
        width = sum(count for _, _, (count,) in fields)
        if wrong := [i for i, line in enumerate(lines) if len(line) != width]:
            found = len(lines[wrong[0]])
            raise ValueError(f"point {wrong[0]} has {found} values instead of {width}")
        table = np.array(lines).reshape(-1, width)
        columns, at = {}, 0
        for name, kind, (count,) in fields:
            columns[name] = table[:number, at].astype(np.float64).astype(kind)
            at += count
        return columns
    if storage == "binary_compressed":
        packed, plain = np.frombuffer(data, "<u4", 2).tolist()
        data = _lzf(data[8 : 8 + packed], plain)
        columns, at = {}, 0
        for name, kind, (count,) in fields:  # field after field
            values = np.frombuffer(data, kind, number * count, at).reshape(number, count)
            columns[name] = values[:, 0]
            at += values.nbytes
        return columns
    if storage != "binary":
        raise ValueError(f"DATA {storage} is none of ascii, binary, binary_compressed")
    dtype = np.dtype(list(fields))
    if len(data) < number * dtype.itemsize:
        raise ValueError(f"it has {len(data) // dtype.itemsize} of {number} points")
    rows: npt.NDArray[Any] = np.frombuffer(data, dtype, number)
    return {name: rows[name][:, 0] for name, _, _ in fields}


def _lzf(data: bytes, size: int) -> bytes:
    """Decompress LZF, the compression of PCD files."""
    out, at = bytearray(), 0
    while at < len(data):
        control, at = data[at], at + 1
        if control < 32:
            out += data[at : at + control + 1]
            at += control + 1
            continue
        length = control >> 5
        if length == 7:
            length, at = length + data[at], at + 1
        start = len(out) - ((control & 31) << 8) - data[at] - 1
        at += 1
        if start < 0:
            raise ValueError("its compressed data is damaged")
        for i in range(start, start + length + 2):
            out.append(out[i])
    if len(out) != size:
        raise ValueError(f"{len(out)} bytes were decompressed instead of {size}")
    return bytes(out)


_PLY_TYPES = {
    **dict.fromkeys(("char", "int8"), "i1"),
    **dict.fromkeys(("uchar", "uint8"), "u1"),
    **dict.fromkeys(("short", "int16"), "i2"),
    **dict.fromkeys(("ushort", "uint16"), "u2"),
    **dict.fromkeys(("int", "int32"), "i4"),
    **dict.fromkeys(("uint", "uint32"), "u4"),
    **dict.fromkeys(("float", "float32"), "f4"),
    **dict.fromkeys(("double", "float64"), "f8"),
}


def _read_ply(path: Path) -> Columns:
    """Read the vertices of a PLY file, which must be its first element."""
    with path.open("rb") as file:
        if file.readline(16).removeprefix(codecs.BOM_UTF8).strip() != b"ply":
            raise ValueError("it does not begin with 'ply'")
        storage, number, element = "", 0, ""
        properties: list[tuple[str, str]] = []
        while (words := file.readline(4096).decode(errors="replace").split()) != ["end_header"]:
            if not words:
                raise ValueError("the header of a PLY file is incomplete")
            if words[0] == "format":
                storage = words[1]
            elif words[0] == "element":
                if not element and words[1] != "vertex":
                    raise ValueError(f"its first element is '{words[1]}', not 'vertex'")
                number = number if element else int(words[2])
                element = element or words[1]
                if words[1] != "vertex":
                    element = "other"
            elif words[0] == "property" and element == "vertex":
                if words[1] not in _PLY_TYPES:
                    raise ValueError(f"its vertices have a property of type '{words[1]}'")
                properties.append((words[-1], _PLY_TYPES[words[1]]))
        if storage == "ascii":
            lines = [file.readline().split() for _ in range(number)]
            if (whole := sum(len(line) == len(properties) for line in lines)) < number:
                raise ValueError(f"it has {whole} of {number} points")
            table = np.array(lines, np.float64).reshape(number, len(properties))
            return {n: table[:, i].astype(kind) for i, (n, kind) in enumerate(properties)}
        order = ">" if storage == "binary_big_endian" else "<"
        dtype = np.dtype([(name, order + kind) for name, kind in properties])
        rows = np.fromfile(file, dtype, number)
    if len(rows) != number:
        raise ValueError(f"it has {len(rows)} of {number} points")
    return {name: rows[name].astype(rows.dtype[name].newbyteorder("=")) for name, _ in properties}


_READERS: Mapping[str, Callable[[Path], Columns]] = {
    ".bin": _read_bin,
    ".pcd": _read_pcd,
    ".ply": _read_ply,
    ".npy": _read_npy,
    ".npz": _read_npz,
    ".las": _read_las,
    ".laz": _read_las,
}
