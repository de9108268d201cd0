# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""First pass over a recording: its frames go to files, and what a model says of them to places."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from minkowski_perception.accounting import DropReason
from minkowski_perception.frame import Frame
from minkowski_perception.lab.adaptation.errors import AdaptationError
from minkowski_perception.lab.adaptation.places import Keys, Places, place_keys
from minkowski_perception.lab.datasets.stored import write_frame
from minkowski_perception.motion.deskew import deskew
from minkowski_perception.motion.ego_motion import EgoMotion
from minkowski_perception.moving import MOVING, calls_moving
from minkowski_perception.segmenter import Probabilities, Segmentation, Segmenter
from minkowski_perception.stream import Dropped, Stream

LEAST_CLOUDS = 5
"""Clouds of the shortest recording."""
_HELD_OUT = 0.2
_LEAST_HELD_OUT = 2
"""Share, and least number, of the clouds of a recording that are held out: its last ones."""
_SURE = 0.5
"""Probability above which a frame is sure of its own label."""
_OF_MODELS = {"label", "confidence"}
"""Fields that `label` and the node add to a cloud."""


class Teacher(Segmenter):
    """A segmenter that keeps what it said of the voxels of the last frame, as `found`."""

    found: Probabilities

    def _segment(self, frame: Frame) -> Segmentation:
        self.found = self.probabilities(frame)
        return self.sliced(self.found)


def voxel_keys(found: Probabilities) -> Keys:
    """Return the keys [M] of the places of a frame's voxels."""
    return place_keys((found.voxels.coordinates + found.voxels.origin).numpy())


@dataclass(frozen=True)
class Recording:
    """Clouds of a recording.

    Attributes:
        name: of the recording.
        messages: receive time, nanoseconds, and sensor_msgs/PointCloud2, in time order.
        count: number of clouds, at most.
        motion: source of the poses.
    """

    name: str
    messages: Iterable[tuple[int, Any]]
    count: int
    motion: EgoMotion


@dataclass(frozen=True)
class Seen:
    """What a model alone says of a frame of N points in M voxels.

    Attributes:
        file: of the frame.
        keys: [M], of the places of its voxels.
        voxel_of: [N] int32, voxel of each point.
        labels: [M] uint8.
        sure: [M] bool, whether it is sure of the label.
        moves: [M] bool, whether the head "moving" says so; None without that head.
    """

    file: Path
    keys: Keys
    voxel_of: npt.NDArray[np.int32]
    labels: npt.NDArray[np.uint8]
    sure: npt.NDArray[np.bool_]
    moves: npt.NDArray[np.bool_] | None


@dataclass
class Stretch:
    """Frames of a recording without a break: they share an odometry frame.

    Attributes:
        name: of the recording, with a number.
        held_out: whether it is not trained on.
        places: what the frames say.
        frames: in time order.
    """

    name: str
    held_out: bool
    places: Places
    frames: list[Seen] = field(default_factory=list)


def observe(recording: Recording, teacher: Teacher, folder: Path, level: bool) -> list[Stretch]:
    """Label the clouds of a recording, and write their frames to files.

    Frames have their poses, upright axes and intensity from 0 to 1; points that are in no voxel
    are left out. The last clouds are stretches of their own, which are held out.

    Args:
        recording: see `Recording`.
        teacher: at the start of a stream.
        folder: for the files.
        level: see `Stream`.

    Raises:
        AdaptationError: there are too few clouds, the motion is unknown, the clouds have labels of
            a model, or the model needs a field that they lack.
        BagError: the recording is corrupt.
    """
    motion, name = recording.motion, recording.name
    if type(motion) is EgoMotion:
        raise AdaptationError(
            f"{name}: the motion of the sensor is unknown: {motion.reason}. Labels are averaged "
            "over time in the odometry frame: record odometry or TF, or install kiss-icp"
        )
    if recording.count < LEAST_CLOUDS:
        raise AdaptationError(
            f"{name} is too short: it has {recording.count} clouds, and {LEAST_CLOUDS} are needed"
        )
    train = recording.count - max(_LEAST_HELD_OUT, round(_HELD_OUT * recording.count))
    stream = Stream(teacher, motion, level=level)
    stretches: list[Stretch] = []
    mark: Any = None
    before: Frame | None = None
    messages = tqdm(recording.messages, f"observing {name}", recording.count, unit="cloud")
    for number, (received_at, message) in enumerate(messages):
        if {each.name for each in message.fields} >= _OF_MODELS:
            raise AdaptationError(
                f"{name}: the clouds have fields 'label' and 'confidence', which `label` and the "
                "node write; adapt takes the recordings that these were made from"
            )
        try:
            labelled = stream.label(message, received_at)
        except Dropped as drop:
            if drop.reason is DropReason.UNSUITABLE:
                raise AdaptationError(f"{name}: {drop}") from drop
            continue
        frame, found = labelled.frame, teacher.found
        if frame.pose is None or not found.voxels.valid.any():
            continue
        odometry = (teacher.resets.total(), len(stream.level.found))
        before = before if odometry == mark else None
        held_out = number >= train
        if before is None or held_out != stretches[-1].held_out:
            title = f"{name}_{len(stretches)}"
            stretches.append(Stretch(title, held_out, Places(len(teacher.label_set))))
        path = folder / f"{name}_{number:06d}.npz"
        write_frame(path, _stored(frame, before, teacher))
        mark, before = odometry, frame
        _add(stretches[-1], path, frame, found)
    return stretches


def _stored(frame: Frame, before: Frame | None, teacher: Teacher) -> Frame:
    """Return the points of a frame that are in a voxel, as the network saw them."""
    if teacher.deskews and frame.time is not None and before is not None:
        assert before.pose is not None
        frame = deskew(frame, before.pose, before.stamp)
    intensity = frame.intensity
    if intensity is not None:
        scale = np.float32(teacher.intensity_scale.full_scale)
        intensity = np.nan_to_num(intensity / scale).clip(0.0, 1.0).astype(np.float32)
    kept = replace(frame, intensity=intensity, time=None, labels=None, moving=None)
    return kept.subset(teacher.found.voxels.valid)


def _add(stretch: Stretch, path: Path, frame: Frame, found: Probabilities) -> None:
    assert frame.pose is not None
    voxels, keys = found.voxels, voxel_keys(found)
    points = frame.points[voxels.valid]
    ranges = np.zeros(len(keys), np.float32)
    voxel_of = voxels.quantization.inverse.numpy().astype(np.int32)
    ranges[voxel_of] = np.sqrt(np.einsum("ij,ij->i", points, points))
    alone = found.alone.numpy()
    labels = alone.argmax(axis=1).astype(np.uint8)
    values = found.outputs.get(MOVING)
    moves = None if values is None else calls_moving(values.numpy())
    still = slice(None) if moves is None else ~moves  # what moves says nothing of its place
    stretch.places.add(keys[still], alone[still], ranges[still])
    stretch.frames.append(Seen(path, keys, voxel_of, labels, alone.max(axis=1) > _SURE, moves))
