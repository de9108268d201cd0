# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Support rows: voxels of recent frames that the present frame lacks.

A voxel of one stride is a *support row* of a frame if the frame does not occupy it, and one of the
last `reach` frames does. It has the features of the most recent of these. Its age is the number of
frames since then; occupied voxels have age 0. Support rows themselves are never remembered as
occupied, so a voxel is forgotten `reach` frames after it was last seen.

A whole sequence is one 4D tensor, and `extended` finds the support rows of all its frames. Frame
by frame, a `SupportMemory` holds the voxels of recent frames. Both give the same rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from minkowski_perception.sparse.coordinates import CoordinateMap, RecentVoxels
from minkowski_perception.sparse.keys import KeyLayout


def extended(frames: CoordinateMap, reach: int) -> tuple[CoordinateMap, Tensor, Tensor]:
    """Return the voxels of a whole sequence with the support rows of all frames.

    Args:
        frames: N voxels of the sequence; time is the last axis and has stride 1.
        reach: largest age; below the margin of the time axis in a key.

    Returns:
        M voxels; [M] int64, the row in `frames` of the features of each; [M] int64, its age.
    """
    keys = frames.keys
    if len(keys) == 0:
        return frames, torch.zeros_like(keys), torch.zeros_like(keys)
    batch, time = frames.coordinates[:, 0], frames.coordinates[:, -1]
    # Time is the lowest field of a key. So a row repeats once for each following frame, until
    # the next row of the same voxel; rows of other voxels are further away than `reach`.
    repeats = (time.max() - time + 1).clamp(max=reach + 1)
    repeats[:-1] = torch.minimum(repeats[:-1], keys.diff())
    rows = torch.arange(len(keys), device=keys.device).repeat_interleave(repeats)
    firsts = repeats.cumsum(0) - repeats
    ages = torch.arange(len(rows), device=keys.device) - firsts.index_select(0, rows)
    # Frames without voxels have no support rows.
    frame = batch * 2 ** frames.layout.bits[-1] + time
    occupied = torch.isin(frame.index_select(0, rows) + ages, frame.unique())
    rows, ages = rows[occupied], ages[occupied]
    keys = keys.index_select(0, rows) + ages
    return CoordinateMap(keys, frames.layout, frames.stride), rows, ages


class SupportMemory:
    """Voxels of the recent frames of a stream, with their features.

    Its size is bounded by the voxels of the last `reach` + 1 frames.

    Args:
        channels: C of the features; 0 if nothing is remembered.

    Attributes:
        kept: the remembered voxels and their features [N, C]; None before the first frame.
    """

    def __init__(self, channels: int = 0) -> None:
        self._channels = channels
        self.kept: tuple[RecentVoxels, Tensor] | None = None
        self._new: tuple[RecentVoxels, Tensor] | None = None

    def extended(
        self, frame: CoordinateMap, features: Tensor, reach: int
    ) -> tuple[CoordinateMap, Tensor, Tensor]:
        """Return the voxels of the stream's next frame with its support rows.

        Args:
            frame: N voxels, at time 0.
            features: [N, C] of these.
            reach: largest age.

        Returns:
            M voxels; [M, C], their features; [M] int64, their ages.
        """
        if self.kept is None:
            self._new = RecentVoxels.of(frame), features
        else:
            known, remembered = self.kept
            # A remembered age is that in the next frame: one more than in this one.
            voxels, rows = known.updated(frame, reach + 1, "support")
            both = torch.cat([features, remembered.to(features.dtype)])
            self._new = voxels, both.index_select(0, rows)
        voxels, features = self._new
        return voxels.map, features, voxels.age - 1

    def begin(self) -> None:
        """Start a frame; discard one that was started but not kept."""
        self._new = None

    @property
    def next(self) -> tuple[RecentVoxels, Tensor] | None:
        """What is remembered after this frame, as `kept`."""
        return self.kept if self._new is None else self._new

    def keep(self) -> None:
        """Finish the frame: remember it."""
        self.kept = self.next
        self.begin()

    def clear(self) -> None:
        """Forget all frames."""
        self.kept = self._new = None

    def shift(self, offset: Sequence[int]) -> None:
        """Shift all voxels by [D], a multiple of the stride; drop those out of range."""
        if self.kept is not None:
            voxels, features = self.kept
            moved, rows = voxels.shifted(offset)
            self.kept = moved, features.index_select(0, rows)

    @property
    def nbytes(self) -> int:
        """Size of the remembered tensors in bytes."""
        if self.kept is None:
            return 0
        voxels, features = self.kept
        return voxels.map.keys.nbytes + voxels.age.nbytes + features.nbytes

    def state(self) -> dict[str, Tensor]:
        """Return the remembered tensors by name."""
        if self.kept is None:
            return {}
        voxels, features = self.kept
        rows = slice(voxels.map.count)
        return {
            "stride": torch.tensor(voxels.map.stride),
            "keys": voxels.map.keys[rows],
            "age": voxels.age[rows],
            "features": features[rows],
        }

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Replace the contents by a saved state.

        Args:
            state: result of `state`; an empty one clears the memory.

        Raises:
            ValueError: the state does not match these channels; the message names the mismatch.
        """
        self.clear()
        if not state:
            return
        missing = [name for name in ("stride", "keys", "age", "features") if name not in state]
        if missing:
            raise ValueError(f"the state of the support rows lacks {', '.join(missing)}")
        stride, keys, age, features = (state[n] for n in ("stride", "keys", "age", "features"))
        shape = [len(keys), self._channels]
        if list(features.shape) != shape:
            raise ValueError(
                f"support.features must have shape {shape}, not {list(features.shape)}"
            )
        if age.shape != keys.shape:
            raise ValueError(f"support.age must have as many rows as keys, {len(keys)}")
        if (keys[1:] <= keys[:-1]).any():
            raise ValueError("support.keys are not in ascending order")
        layout = KeyLayout.for_dimension(len(stride))
        voxels = CoordinateMap(keys, layout, tuple(stride.tolist()))
        self.kept = RecentVoxels(voxels, age), features
