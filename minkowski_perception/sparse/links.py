# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Kernel maps of causal kernels, for whole sequences and frame by frame.

A causal kernel has spatial offsets within the current frame, and *links*: spatial offsets to the
last earlier frame, at most `recall` frames ago, in which that voxel was occupied. With a recall of
1, links are the offsets (x, y, z, -1) of a plain 4D kernel.

A whole sequence is one 4D tensor. Frame by frame, the tensor holds the current frame at time 0,
and a `Memory` holds the earlier rows that links can reach. Both give the same sums.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from minkowski_perception.sparse.coordinates import CoordinateMap, RecentVoxels, Stride
from minkowski_perception.sparse.kernel_maps import KernelMap, Pairs, Search
from minkowski_perception.sparse.keys import KeyLayout
from minkowski_perception.sparse.regions import CausalRegion, KernelRegion
from minkowski_perception.sparse.support import SupportMemory

MAX_RECALL = 32
"""Maximum recall in frames; well below the margin of the time axis in a key."""


class RecallMap(KernelMap):
    """Kernel map of the links within a whole sequence.

    Args:
        frames: voxels of the sequence; time is the last axis and has stride 1.
        region: offsets of the links, with time -1.
        recall: maximum number of frames that links reach back.
    """

    def __init__(self, frames: CoordinateMap, region: KernelRegion, recall: int) -> None:
        super().__init__(frames, frames, region)
        self._recall = recall

    @property
    def centre(self) -> None:
        """None: links never pair a row with itself."""
        return None

    @property
    def repeats_inputs(self) -> bool:
        """True: if a voxel is unoccupied in a frame, links of later frames reach further back."""
        return True

    @property
    def searches(self) -> None:
        """None: a voxel is looked up in several frames."""
        return None

    @property
    def _reach(self) -> int:
        """Key difference between the last frame and the earliest one that links reach.

        Time is the lowest field of a key, so the largest key within reach is the last frame that
        has the voxel.
        """
        step = self.source.layout.delta((0,) * (self.region.dimension - 1) + (1,))
        return (self._recall - 1) * step

    def _look_up(self, deltas: Sequence[int]) -> Iterator[Tensor]:
        keys = self.source.keys
        for delta in deltas:
            last = keys + delta
            rows = torch.searchsorted(keys, last, right=True) - 1
            near = last - keys[rows.clamp(min=0)] <= self._reach
            yield torch.where((rows >= 0) & near, rows, -1)[None]

    def _mirrored(self) -> dict[int, int]:
        return {}


class CausalMap(KernelMap):
    """Kernel map of a causal kernel: the offsets of the current frame, then the links.

    Args:
        present: map from the voxels to themselves.
        links: map from the earlier voxels to the voxels.
        region: offsets of `present`, then those of `links`.
        same_source: whether both maps have the same source, a whole sequence. Otherwise the source
            rows are those of `present`, followed by those of `links`.
    """

    def __init__(
        self, present: KernelMap, links: KernelMap, region: KernelRegion, same_source: bool
    ) -> None:
        super().__init__(present.source, present.target, region)
        self._parts = present, links
        self._first_remembered = 0 if same_source else len(present.source)
        if not same_source:
            # These keys are not sorted; only the number of rows is used.
            keys = torch.cat([present.source.keys, links.source.keys])
            self.source = CoordinateMap(keys, present.source.layout, present.source.stride)

    @cached_property
    def centre(self) -> int | None:
        """See `KernelMap.centre`; None frame by frame, where source and target rows differ."""
        return self._parts[0].centre if self._first_remembered == 0 else None

    @property
    def repeats_inputs(self) -> bool:
        """See `KernelMap.repeats_inputs`."""
        return self._parts[1].repeats_inputs

    @cached_property
    def pairs(self) -> Pairs:
        """All pairs of input and output rows."""
        present, links = (part.pairs for part in self._parts)
        return Pairs(
            torch.cat([present.inputs, links.inputs + self._first_remembered]),
            torch.cat([present.outputs, links.outputs]),
            (*present.starts, *(present.starts[-1] + start for start in links.starts[1:])),
        )

    @property
    def searches(self) -> tuple[Search, ...] | None:
        """See `KernelMap.searches`."""
        present, links = (part.searches for part in self._parts)
        if present is None or links is None:
            return None
        return *present, *(each._replace(first_row=self._first_remembered) for each in links)

    def neighbours(self) -> Iterator[Tensor]:
        """See `KernelMap.neighbours`."""
        present, links = self._parts
        yield from present.neighbours()
        for rows in links.neighbours():
            yield torch.where(rows >= 0, rows + self._first_remembered, -1)


class Memory:
    """Input features of the layers with links, remembered from the recent frames of a stream.

    For each voxel of the last `recall` frames, it holds the features of the last frame in which
    the voxel was occupied. Its size is bounded by the voxels of `recall` frames.

    Args:
        recall: number of frames for which a voxel is remembered; the largest of the layers.
        support_channels: of the features of support rows; 0 for a network without these.
        frees: whether the features that a layer remembers are freed once it has read them. A
            frame that is begun must then be kept, or the memory cleared.

    Attributes:
        support: what the support rows of the next frame come from.
    """

    def __init__(self, recall: int = 1, support_channels: int = 0, frees: bool = False) -> None:
        self._recall = recall
        self._support_channels = support_channels
        self._frees = frees
        self.support = SupportMemory(support_channels)
        self._levels: dict[Stride, RecentVoxels] = {}
        self._features: dict[nn.Module, Tensor] = {}
        self._new_voxels: dict[Stride, CoordinateMap] = {}
        self._new_features: dict[nn.Module, Tensor] = {}
        self._strides: dict[nn.Module, Stride] = {}
        self._maps: dict[tuple[Stride, KernelRegion], CausalMap] = {}
        self._next: tuple[dict[Stride, RecentVoxels], dict[nn.Module, Tensor]] | None = None

    def begin(self) -> None:
        """Start a frame; discard one that was started but not kept."""
        self.support.begin()
        self._new_voxels.clear()
        self._new_features.clear()
        self._maps.clear()
        self._next = None

    def inputs(self, layer: nn.Module, features: Tensor, coordinates: CoordinateMap) -> Tensor:
        """Record a layer's input features [N, C]; return them followed by the remembered ones."""
        self._new_voxels[coordinates.stride] = coordinates
        self._strides[layer] = coordinates.stride
        read = self._features.pop if self._frees else self._features.get
        remembered = read(layer, None)
        both = features
        if remembered is not None:
            both = torch.cat([features, remembered.to(features.dtype)])
        self._new_features[layer] = features if self._recall == 1 else both
        return both

    def kernel_map(self, present: KernelMap, region: CausalRegion) -> CausalMap:
        """Return the kernel map of this frame, built once per stride and region.

        Args:
            present: map of the region's offsets within the frame.
            region: a region with links.
        """
        key = present.target.stride, region
        if key not in self._maps:
            assert region.links is not None
            # Remembered voxels have the same time index as the current frame.
            offsets = tuple((*offset[:-1], 0) for offset in region.links.offsets)
            level = self._level(present.target)
            links = KernelMap(level.map, present.target, KernelRegion(offsets))
            self._maps[key] = CausalMap(present, links, region, same_source=False)
        return self._maps[key]

    def _level(self, like: CoordinateMap) -> RecentVoxels:
        known = self._levels.get(like.stride)
        if known is not None:
            return known
        none = CoordinateMap(like.keys[:0], like.layout, like.stride, like.capacities)
        return RecentVoxels.of(none)

    @property
    def kept(self) -> tuple[Any, ...]:
        """What is remembered, as dictionaries and tuples of tensors and maps."""
        return self._levels, self._features, self.support.kept

    @kept.setter
    def kept(self, kept: tuple[Any, ...]) -> None:
        self._levels, self._features, self.support.kept = kept
        self.begin()

    @property
    def next(self) -> tuple[Any, ...]:
        """What is remembered from now on, as `kept`, once `finish` has computed it."""
        assert self._next is not None
        return *self._next, self.support.next

    def finish(self) -> None:
        """Compute what is remembered from now on, without voxels older than `recall` frames."""
        levels, kept = dict(self._levels), dict(self._features)
        for stride, seen in self._new_voxels.items():
            layers = [layer for layer in self._new_features if self._strides[layer] == stride]
            if self._recall == 1 or stride not in self._levels:
                levels[stride] = RecentVoxels.of(seen)
                for layer in layers:
                    kept[layer] = self._new_features[layer]
                continue
            level, rows = self._levels[stride].updated(seen, self._recall)
            levels[stride] = level
            for layer in layers:
                # index_select is many times faster than indexing with brackets.
                kept[layer] = self._new_features[layer].index_select(0, rows)
        self._next = levels, kept

    def keep(self) -> None:
        """Finish the frame: remember it."""
        if self._next is None:
            self.finish()
        self.kept = self.next

    def clear(self) -> None:
        """Forget all frames."""
        self.support.clear()
        self._levels.clear()
        self._features.clear()
        self.begin()

    def shift(self, offset: Sequence[int]) -> None:
        """Shift all voxels by [D], a multiple of all strides; drop those out of range."""
        self.support.shift(offset)
        for stride, level in self._levels.items():
            moved, rows = level.shifted(offset)
            self._levels[stride] = moved
            for layer, features in self._features.items():
                if self._strides[layer] == stride:
                    self._features[layer] = features.index_select(0, rows)

    @property
    def nbytes(self) -> int:
        """Size of the remembered tensors in bytes."""
        levels = [t for level in self._levels.values() for t in (level.map.keys, level.age)]
        return self.support.nbytes + sum(t.nbytes for t in (*levels, *self._features.values()))

    def state(self, names: Mapping[nn.Module, str]) -> dict[str, Tensor]:
        """Return the remembered tensors by name.

        Args:
            names: names of the layers with links.
        """
        state = {f"support.{name}": tensor for name, tensor in self.support.state().items()}
        for stride, level in self._levels.items():
            name = _stride_name(stride)
            rows = slice(level.map.count)
            state |= {f"keys.{name}": level.map.keys[rows], f"age.{name}": level.age[rows]}
        for layer, features in self._features.items():
            stride = self._strides[layer]
            rows = slice(self._levels[stride].map.count)
            state[f"features.{names[layer]}.{_stride_name(stride)}"] = features[rows]
        return {name: tensor.clone() for name, tensor in state.items()}

    def restore(self, state: Mapping[str, Tensor], layers: Mapping[str, nn.Module]) -> None:
        """Replace the contents by a saved state.

        Args:
            state: result of `state`; an empty one clears the memory.
            layers: layers with links by name.

        Raises:
            ValueError: the state does not match these layers; the message names the mismatch.
        """
        restored = Memory(self._recall, self._support_channels, self._frees)
        prefix = "support."
        restored.support.restore(
            {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        )
        for key, tensor in state.items():
            kind, _, rest = key.partition(".")
            name, _, stride_name = rest.rpartition(".")
            if kind != "features":
                continue
            keys, age = state.get(f"keys.{stride_name}"), state.get(f"age.{stride_name}")
            if name not in layers or keys is None or age is None:
                raise ValueError(f"state entry '{key}' has no matching layer or voxels")
            shape = [len(keys), layers[name].in_channels]
            if list(tensor.shape) != shape or age.shape != keys.shape:
                raise ValueError(f"{key} must have shape {shape}, not {list(tensor.shape)}")
            if (keys[1:] <= keys[:-1]).any():
                raise ValueError(f"keys.{stride_name} are not in ascending order")
            stride = tuple(int(step) for step in stride_name.split("x"))
            layout = KeyLayout.for_dimension(len(stride))
            restored._levels[stride] = RecentVoxels(CoordinateMap(keys, layout, stride), age)
            restored._features[layers[name]] = tensor
            restored._strides[layers[name]] = stride
        if state and len(restored._features) != len(layers):
            missing = [n for n, layer in layers.items() if layer not in restored._features]
            raise ValueError(f"the state lacks the features of {', '.join(missing)}")
        self.clear()
        self.__dict__.update(restored.__dict__)


def _stride_name(stride: Stride) -> str:
    return "x".join(map(str, stride))
