# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Map of the voxels of a stream, with what all frames say about each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from minkowski_perception.frame import NANOSECONDS
from minkowski_perception.labels import LabelSet
from minkowski_perception.moving import calls_moving
from minkowski_perception.sparse import KeyLayout
from minkowski_perception.streaming.averaging import LEAST_PROBABILITY
from minkowski_perception.voxels import ORIGIN_GRID, VoxelInput, Voxels

_LAYOUT = KeyLayout.for_dimension(3)
_MOST_FRAMES = 32
"""A mean over more frames weighs like one over this many, so that changes show."""


@dataclass(frozen=True)
class LabelledMap:
    """Voxels of a map, in the odometry frame.

    Attributes:
        points: [V, 3] float64, centres of the voxels, metres.
        labels: [V] uint8, ids of the label set.
        confidence: [V] float32, probability of the label.
        moving: [V] float32, probability that what was seen there moved; NaN where unknown.
        age: [V] float32, seconds before the stamp at which the voxel was last seen.
        stamp: nanoseconds, when the latest voxel was seen.
        label_set: the classes of the labels.
    """

    points: npt.NDArray[np.float64]
    labels: npt.NDArray[np.uint8]
    confidence: npt.NDArray[np.float32]
    moving: npt.NDArray[np.float32]
    age: npt.NDArray[np.float32]
    stamp: int
    label_set: LabelSet

    def __len__(self) -> int:
        return len(self.points)

    def fields(self) -> dict[str, npt.NDArray[Any]]:
        """Return the voxels as the fields of a cloud, for `encode_fields`."""
        return {
            **dict(zip("xyz", self.points.astype(np.float32).T, strict=True)),
            "label": self.labels,
            "confidence": self.confidence,
            "moving": self.moving,
            "age": self.age,
            "rgb": self.label_set.shown_palette[self.labels],
        }


class VoxelMap:
    """Running means over all frames that saw a voxel, for the voxels around the sensor.

    A voxel's label is the class with the largest geometric mean of probabilities over the frames
    in which it was seen. Each frame counts once, as the network (and its CRF) sees it alone:
    averaged probabilities would count a frame several times.

    After each frame, voxels beyond the range of the sensor's voxel are dropped; then, if there are
    too many, those that were seen longest ago, and of one frame the first in order of keys.

    Args:
        label_set: classes of the probabilities.
        spec: how points become voxels; its shift is "none".
        max_range: metres from the sensor; at most about 49,000 voxels, the range of keys.
        max_voxels: largest number of voxels, 1 or more.
        keep_moving: whether `labelled` includes what moves, or may move.
    """

    # The keys are sorted. Evidence is in slots, in any order, so that a frame moves little memory:
    # `_slots` has the slot of each key.

    def __init__(
        self,
        label_set: LabelSet,
        spec: VoxelInput,
        max_range: float,
        max_voxels: int,
        keep_moving: bool,
    ) -> None:
        self._label_set = label_set
        self._voxel_size = spec.voxel_size
        self._centre = 0.5 if spec.rounding == "floor" else 0.0
        limit = _LAYOUT.limits[1][1] - 2 * ORIGIN_GRID
        self._range = min(int(max_range / spec.voxel_size), limit)
        self._max_voxels = max_voxels
        self._keep_moving = keep_moving
        self.clear()

    def __len__(self) -> int:
        """Return the number of voxels, those that `labelled` leaves out among them."""
        return len(self._keys)

    def clear(self) -> None:
        """Drop all voxels."""
        self._keys = torch.zeros(0, dtype=torch.int64)
        self._slots = torch.zeros(0, dtype=torch.int32)
        self._free = torch.zeros(0, dtype=torch.int32)
        self._origin = self._sensor = torch.zeros(3, dtype=torch.int64)
        self._columns = self._new_columns(0)

    def _new_columns(self, count: int) -> dict[str, Tensor]:
        """Return the evidence of `count` voxels that no frame has seen."""
        return {
            "stamp": torch.zeros(count, dtype=torch.int64),
            "log_probabilities": torch.zeros(count, len(self._label_set), dtype=torch.float16),
            "frames": torch.zeros(count, dtype=torch.uint8),
            "moving": torch.full((count,), torch.nan),
            "moving_frames": torch.zeros(count, dtype=torch.uint8),
            "label": torch.zeros(count, dtype=torch.uint8),
            "confidence": torch.zeros(count),
        }

    @torch.inference_mode()
    def add(
        self,
        voxels: Voxels,
        probabilities: Tensor,
        moving: Tensor | None,
        position: npt.ArrayLike,
        stamp: int,
    ) -> None:
        """Add a frame.

        Args:
            voxels: M voxels of the frame.
            probabilities: [M, K] float32, class probabilities of this frame alone.
            moving: [M] float32, probability that the voxel moves, NaN where unknown; None if
                nothing is known.
            position: [3], of the sensor in the odometry frame, metres.
            stamp: nanoseconds, later than that of the last frame.
        """
        absolute = np.floor(np.asarray(position) / self._voxel_size).astype(np.int64)
        self._follow(voxels.origin, torch.from_numpy(absolute) - voxels.origin)
        chosen = self._within_range(voxels.coordinates)
        coordinates = voxels.coordinates.index_select(0, chosen)
        keys = _LAYOUT.pack(F.pad(coordinates, (1, 0)))
        slots = self._find_or_insert(keys, stamp)

        columns = self._columns
        seen = columns["frames"].index_select(0, slots).clamp(max=_MOST_FRAMES - 1) + 1
        means = columns["log_probabilities"].index_select(0, slots).float()
        now = probabilities.index_select(0, chosen).clamp(min=LEAST_PROBABILITY).log()
        means += (now - means) / seen[:, None]
        confidence, label = torch.softmax(means, dim=1).max(dim=1)
        columns["log_probabilities"][slots] = means.half()
        columns["frames"][slots] = seen
        columns["confidence"][slots] = confidence
        columns["label"][slots] = label.to(torch.uint8)
        if moving is not None:
            self._add_moving(slots, moving.index_select(0, chosen))

    def _add_moving(self, slots: Tensor, moving: Tensor) -> None:
        known = ~moving.isnan()
        slots, moving = slots[known], moving[known]
        columns = self._columns
        seen = columns["moving_frames"].index_select(0, slots).clamp(max=_MOST_FRAMES - 1) + 1
        mean = columns["moving"].index_select(0, slots).nan_to_num(0.0)
        columns["moving"][slots] = mean + (moving - mean) / seen
        columns["moving_frames"][slots] = seen

    def labelled(self) -> LabelledMap:
        """Return the voxels with their labels, in the order of their coordinates.

        Unless moving things are kept, voxels are left out whose mean probability of moving is
        above one half, and, where it is unknown, those of the classes that can move: without
        motion, parked and moving things look alike, and what moves leaves a trail.
        """
        names = ("stamp", "label", "confidence", "moving")
        stamp, label, confidence, moving = (
            self._columns[name].index_select(0, self._slots).numpy() for name in names
        )
        latest = int(stamp.max(initial=0))
        kept = np.ones(len(self), dtype=np.bool_)
        if not self._keep_moving:
            can_move = np.isin(label, self._label_set.movable_ids)
            kept = ~np.where(np.isnan(moving), can_move, calls_moving(moving))
        coordinates = _LAYOUT.unpack(self._keys[torch.from_numpy(kept)])[:, 1:] + self._origin
        return LabelledMap(
            (coordinates.numpy() + self._centre) * self._voxel_size,
            label[kept],
            confidence[kept],
            moving[kept],
            ((latest - stamp[kept]) / NANOSECONDS).astype(np.float32),
            latest,
            self._label_set,
        )

    @property
    def nbytes(self) -> int:
        """Size of the state in bytes."""
        return sum(
            t.nbytes for t in (self._keys, self._slots, self._free, *self._columns.values())
        )

    def state(self) -> dict[str, Tensor]:
        """Return the state as tensors by name; empty if the map is."""
        if not len(self):
            return {}
        columns = {n: c.index_select(0, self._slots) for n, c in self._columns.items()}
        return {"voxels": self._keys, "origin": self._origin, "sensor": self._sensor, **columns}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Replace the state by one that `state` returned; the oldest voxels beyond the limit go.

        Raises:
            ValueError: the tensors have other names or another number of classes.
        """
        self.clear()
        if not state:
            return
        names = {"voxels", "origin", "sensor", *self._columns}
        if state.keys() != names:
            raise ValueError(
                f"the state of a map has {', '.join(sorted(names))}, not "
                f"{', '.join(sorted(state))}"
            )
        classes = state["log_probabilities"].shape[1]
        if classes != len(self._label_set):
            raise ValueError(f"the map's state has {classes} classes, not {len(self._label_set)}")
        self._keys, self._origin, self._sensor = (
            state[name].clone() for name in ("voxels", "origin", "sensor")
        )
        self._columns = {name: state[name].clone() for name in self._columns}
        self._slots = torch.arange(len(self._keys), dtype=torch.int32)
        self._drop_oldest(len(self) - self._max_voxels)

    def _follow(self, origin: Tensor, sensor: Tensor) -> None:
        """Make the keys relative to a frame's origin; drop voxels out of range of the sensor.

        Args:
            origin: [3] int64, the voxel that coordinates are relative to.
            sensor: [3] int64, the sensor's voxel, relative to `origin`.
        """
        rebased = not torch.equal(origin, self._origin)
        if not rebased and torch.equal(sensor, self._sensor):
            return
        coordinates = _LAYOUT.unpack(self._keys)[:, 1:] + (self._origin - origin)
        self._origin, self._sensor = origin, sensor
        kept = self._within_range(coordinates)
        self._keep(kept)
        if rebased:
            # In range of keys: their limit is beyond the largest range and an origin's distance.
            self._keys = _LAYOUT.pack(F.pad(coordinates.index_select(0, kept), (1, 0)))

    def _within_range(self, coordinates: Tensor) -> Tensor:
        """Return the rows of the voxels [N, 3] that are in range, at most the number allowed.

        Of more, it returns the nearest.
        """
        squares = ((coordinates - self._sensor) ** 2).sum(dim=1)
        rows = (squares <= self._range**2).nonzero()[:, 0]
        if len(rows) > self._max_voxels:
            nearest = squares[rows].argsort(stable=True)[: self._max_voxels]
            rows = rows[nearest].sort().values
        return rows

    def _find_or_insert(self, keys: Tensor, stamp: int) -> Tensor:
        """Return the slots [M] int64 of the voxels of a frame, and note when they were seen.

        Args:
            keys: [M] int64, sorted, no more than may be kept.
            stamp: nanoseconds.
        """
        rows, known = self._find(keys)
        self._columns["stamp"][self._slots[rows[known]].long()] = stamp
        new = len(keys) - int(known.sum())
        if (excess := len(self) + new - self._max_voxels) > 0:
            self._drop_oldest(excess)
            rows, known = self._find(keys)
        if new:
            slots = self._take_slots(new)
            for name, column in self._new_columns(new).items():
                self._columns[name][slots.long()] = column
            self._columns["stamp"][slots.long()] = stamp
            self._keys = _insert(self._keys, rows[~known], keys[~known])
            self._slots = _insert(self._slots, rows[~known], slots)
            inserted_before = (~known).cumsum(0) - (~known).long()
            rows = rows + inserted_before
        return self._slots.index_select(0, rows).long()

    def _find(self, keys: Tensor) -> tuple[Tensor, Tensor]:
        """Return the row at which each key is, or would be inserted, and whether it is there."""
        rows = torch.searchsorted(self._keys, keys)
        known = rows < len(self)
        known[known.clone()] = self._keys[rows[known]] == keys[known]
        return rows, known

    def _take_slots(self, count: int) -> Tensor:
        """Return free slots [count]; more are made where there are too few."""
        if (lacking := count - len(self._free)) > 0:
            slots = len(self._slots) + len(self._free)
            more = max(lacking, min(slots // 2, self._max_voxels - slots))
            made = torch.arange(slots, slots + more, dtype=torch.int32)
            self._free = torch.cat([self._free, made])
            added = self._new_columns(more)
            self._columns = {n: torch.cat([c, added[n]]) for n, c in self._columns.items()}
        taken, self._free = self._free[:count], self._free[count:]
        return taken

    def _drop_oldest(self, count: int) -> None:
        """Drop the voxels that were seen longest ago, none if the count is not positive."""
        if count <= 0:
            return
        stamps = self._columns["stamp"].index_select(0, self._slots)
        last = stamps.kthvalue(count).values
        dropped = stamps < last
        ties = (stamps == last).nonzero()[:, 0]
        dropped[ties[: count - int(dropped.sum())]] = True
        self._keep((~dropped).nonzero()[:, 0])

    def _keep(self, rows: Tensor) -> None:
        """Drop all voxels but those of some rows, ascending."""
        if len(rows) == len(self):
            return
        dropped = torch.ones(len(self), dtype=torch.bool)
        dropped[rows] = False
        self._free = torch.cat([self._free, self._slots[dropped]])
        self._keys = self._keys.index_select(0, rows)
        self._slots = self._slots.index_select(0, rows)


def _insert(values: Tensor, rows: Tensor, new: Tensor) -> Tensor:
    """Return the values [N] with new ones inserted before some rows, ascending."""
    return torch.from_numpy(np.insert(values.numpy(), rows.numpy(), new.numpy()))
