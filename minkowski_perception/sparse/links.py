# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Kernels that look back in time, in whole sequences and frame by frame.

A causal kernel has offsets in space at the same instant, and *links*: offsets in space to where a
voxel was seen last before, at most `recall` frames ago. With a recall of 1 these are the offsets
(x, y, z, -1) of a plain 4D kernel.

In a whole sequence all frames are one 4D tensor. Frame by frame, the tensor holds the present
alone, at time 0, and a `Memory` the rows that links may reach. Both give the same sums.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

import torch
from torch import Tensor, nn

from minkowski_perception.sparse.coordinates import CoordinateMap, RecentVoxels, Stride
from minkowski_perception.sparse.kernel_maps import KernelMap, Pairs
from minkowski_perception.sparse.keys import KeyLayout
from minkowski_perception.sparse.regions import CausalRegion, KernelRegion

MAX_RECALL = 32
"""Frames; far below the margin between the time indices of neighbouring keys."""


class RecallMap(KernelMap):
    """Links within a whole sequence: to when a voxel was seen last before, if that is recent.

    Args:
        frames: voxels of the sequence, time being the last axis, never strided.
        region: offsets of the links, their time being -1.
        recall: how many frames back that time may lie.
    """

    def __init__(self, frames: CoordinateMap, region: KernelRegion, recall: int) -> None:
        super().__init__(frames, frames, region)
        self._recall = recall

    @property
    def centre(self) -> None:
        """No row meets itself."""
        return None

    def neighbours(self) -> Iterator[Tensor]:
        """See `KernelMap.neighbours`."""
        keys = self.source.keys
        step = self.source.layout.delta((0,) * (self.region.dimension - 1) + (1,))
        for delta in self.deltas:
            same_instant = keys + (delta + step)
            # Time is the lowest field of a key: just below lies the same place, earlier.
            rows = torch.searchsorted(keys, same_instant) - 1
            age = same_instant - keys[rows.clamp(min=0)]
            yield torch.where((rows >= 0) & (age <= self._recall * step), rows, -1)[None]

    def _search(self, offsets: Sequence[int]) -> list[tuple[Tensor, Tensor]]:
        found = []
        for rows in torch.cat(list(self.neighbours())).unbind():
            outputs = torch.nonzero(rows >= 0)[:, 0]
            found.append((rows[outputs].int(), outputs.int()))
        return [found[k] for k in offsets]

    def _mirrored(self) -> dict[int, int]:
        return {}


class CausalMap(KernelMap):
    """Kernel map of a causal kernel: that of the present, then that of the links.

    Args:
        present: from the voxels to themselves.
        links: from what is remembered to the voxels.
        region: of the kernel: the offsets of the present, then those of the links.
        in_one: whether both sources are one, a whole sequence. Else the source's rows are those
            of the present and, after them, those remembered.
    """

    def __init__(
        self, present: KernelMap, links: KernelMap, region: KernelRegion, in_one: bool
    ) -> None:
        super().__init__(present.source, present.target, region)
        self._parts = present, links
        self._first_remembered = 0 if in_one else len(present.source)
        if not in_one:
            # In no order of keys, but rows are all that anyone asks a source for.
            keys = torch.cat([present.source.keys, links.source.keys])
            self.source = CoordinateMap(keys, present.source.layout, present.source.stride)

    @cached_property
    def centre(self) -> int | None:
        """See `KernelMap.centre`; frame by frame, no row of the source has one of its own."""
        return self._parts[0].centre if self._first_remembered == 0 else None

    @cached_property
    def pairs(self) -> Pairs:
        """All pairs of rows that meet."""
        present, links = (part.pairs for part in self._parts)
        return Pairs(
            torch.cat([present.inputs, links.inputs + self._first_remembered]),
            torch.cat([present.outputs, links.outputs]),
            (*present.starts, *(present.starts[-1] + start for start in links.starts[1:])),
        )

    def neighbours(self) -> Iterator[Tensor]:
        """See `KernelMap.neighbours`."""
        present, links = self._parts
        yield from present.neighbours()
        for rows in links.neighbours():
            yield torch.where(rows >= 0, rows + self._first_remembered, -1)


class Memory:
    """What the frames of a stream leave for those after them.

    For each layer with links: its input features on the voxels of the last frames, each voxel as
    it was last seen. Bounded by the voxels of `recall` frames.

    Args:
        recall: frames for which a voxel is remembered after it was seen; that of the layers.
    """

    def __init__(self, recall: int = 1) -> None:
        self._recall = recall
        self._levels: dict[Stride, RecentVoxels] = {}
        self._features: dict[nn.Module, Tensor] = {}
        self._seen: dict[Stride, CoordinateMap] = {}
        self._noted: dict[nn.Module, Tensor] = {}
        self._strides: dict[nn.Module, Stride] = {}
        self._maps: dict[tuple[Stride, KernelRegion], CausalMap] = {}

    def begin(self) -> None:
        """Start with a frame, in place of one that was started and never kept."""
        self._seen.clear()
        self._noted.clear()
        self._maps.clear()

    def inputs(self, layer: nn.Module, features: Tensor, coordinates: CoordinateMap) -> Tensor:
        """Note a layer's input features [N, C]; return them and, behind, those remembered."""
        self._seen[coordinates.stride] = coordinates
        self._strides[layer] = coordinates.stride
        remembered = self._features.get(layer)
        both = features
        if remembered is not None:
            both = torch.cat([features, remembered.to(features.dtype)])
        self._noted[layer] = features if self._recall == 1 else both
        return both

    def kernel_map(self, present: KernelMap, region: CausalRegion) -> CausalMap:
        """Kernel map of this frame's voxels; built once a stride and region.

        Args:
            present: of the region's offsets at the same instant.
            region: with links.
        """
        key = present.target.stride, region
        if key not in self._maps:
            assert region.links is not None
            # What is remembered lies at the time of the present: there is but one.
            offsets = tuple((*offset[:-1], 0) for offset in region.links.offsets)
            level = self._level(present.target)
            links = KernelMap(level.map, present.target, KernelRegion(offsets))
            self._maps[key] = CausalMap(present, links, region, in_one=False)
        return self._maps[key]

    def _level(self, like: CoordinateMap) -> RecentVoxels:
        known = self._levels.get(like.stride)
        if known is not None:
            return known
        return RecentVoxels.of(CoordinateMap(like.keys[:0], like.layout, like.stride))

    def keep(self) -> None:
        """Remember the frame, which is done, and forget what was seen too long ago."""
        for stride, seen in self._seen.items():
            layers = [layer for layer in self._noted if self._strides[layer] == stride]
            if self._recall == 1 or stride not in self._levels:
                self._levels[stride] = RecentVoxels.of(seen)
                for layer in layers:
                    self._features[layer] = self._noted[layer]
                continue
            level, rows = self._levels[stride].followed_by(seen, self._recall)
            self._levels[stride] = level
            for layer in layers:
                # Not by an index in brackets, which takes many times as long.
                self._features[layer] = self._noted[layer].index_select(0, rows)
        self.begin()

    def clear(self) -> None:
        """Forget everything: the next frame is a first one."""
        self._levels.clear()
        self._features.clear()
        self.begin()

    def shift(self, offset: Sequence[int]) -> None:
        """Move all voxels by an offset [D], a multiple of all strides; those out of range go."""
        for stride, level in self._levels.items():
            moved, rows = level.shifted(torch.tensor(offset, device=level.age.device))
            self._levels[stride] = moved
            for layer, features in self._features.items():
                if self._strides[layer] == stride:
                    self._features[layer] = features.index_select(0, rows)

    @property
    def nbytes(self) -> int:
        """Bytes of all that is remembered."""
        levels = [t for level in self._levels.values() for t in (level.map.keys, level.age)]
        return sum(t.nbytes for t in (*levels, *self._features.values()))

    def state(self, names: Mapping[nn.Module, str]) -> dict[str, Tensor]:
        """All that is remembered, as tensors by name.

        Args:
            names: of the layers with links.
        """
        state: dict[str, Tensor] = {}
        for stride, level in self._levels.items():
            name = _spelt(stride)
            state |= {f"keys.{name}": level.map.keys, f"age.{name}": level.age}
        for layer, features in self._features.items():
            name = f"{names[layer]}.{_spelt(self._strides[layer])}"
            state[f"features.{name}"] = features
        return {name: tensor.clone() for name, tensor in state.items()}

    def restore(self, state: Mapping[str, Tensor], layers: Mapping[str, nn.Module]) -> None:
        """Remember what `state` has, and nothing else.

        Args:
            state: as `state` gave it; nothing where it is empty.
            layers: the layers with links by name.

        Raises:
            ValueError: the state is not one of these layers; what does not fit is named.
        """
        restored = Memory(self._recall)
        for key, tensor in state.items():
            kind, _, rest = key.partition(".")
            name, _, spelt = rest.rpartition(".")
            if kind != "features":
                continue
            keys, age = state.get(f"keys.{spelt}"), state.get(f"age.{spelt}")
            if name not in layers or keys is None or age is None:
                raise ValueError(f"{key} has no layer or no voxels to belong to")
            wanted = [len(keys), layers[name].in_channels]
            if list(tensor.shape) != wanted or age.shape != keys.shape:
                raise ValueError(f"{key} must have shape {wanted}, not {list(tensor.shape)}")
            if (keys[1:] <= keys[:-1]).any():
                raise ValueError(f"keys.{spelt} are not in ascending order")
            stride = tuple(int(step) for step in spelt.split("x"))
            layout = KeyLayout.for_dimension(len(stride))
            restored._levels[stride] = RecentVoxels(CoordinateMap(keys, layout, stride), age)
            restored._features[layers[name]] = tensor
            restored._strides[layers[name]] = stride
        if state and len(restored._features) != len(layers):
            missing = [n for n, layer in layers.items() if layer not in restored._features]
            raise ValueError(f"the state lacks the features of {', '.join(missing)}")
        self.clear()
        self.__dict__.update(restored.__dict__)


def _spelt(stride: Stride) -> str:
    return "x".join(map(str, stride))
