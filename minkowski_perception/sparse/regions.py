# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Kernel regions: the ordered neighbour offsets of a convolution.

An offset is the input coordinate minus the output coordinate, in units of the input stride. The
order is that of MinkowskiEngine, so that its checkpoints can be loaded. In a cube, the first axis
changes fastest. A cross has the centre first, then +1, ..., -1, ... for each axis. A hybrid has
the centre first, then grows axis by axis (offset lists of MinkowskiEngine 0.4).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property

Offsets = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class KernelRegion:
    """Offsets of a kernel.

    Attributes:
        offsets: K offsets of D integers each; offset k belongs to slice k of the weights.
    """

    offsets: Offsets

    def __post_init__(self) -> None:
        """Check the offsets.

        Raises:
            ValueError: offsets are empty, differ in dimension or are not unique.
        """
        if not self.offsets or len({len(o) for o in self.offsets}) != 1:
            raise ValueError(f"offsets must be of one dimension and not empty: {self.offsets}")
        if len(set(self.offsets)) != len(self.offsets):
            raise ValueError(f"duplicate offsets in {self.offsets}")

    def __len__(self) -> int:
        return len(self.offsets)

    @property
    def dimension(self) -> int:
        """Number of axes."""
        return len(self.offsets[0])


@dataclass(frozen=True)
class CausalRegion(KernelRegion):
    """Spatial offsets within the current frame, followed by *links* to the previous time step.

    Time is the last axis.

    Raises:
        ValueError: an offset has a time other than 0 or -1, or a link precedes a spatial offset.
    """

    def __post_init__(self) -> None:
        """Check the order of the offsets."""
        super().__post_init__()
        times = [offset[-1] for offset in self.offsets]
        if not set(times) <= {0, -1} or times != sorted(times, reverse=True) or times[0] != 0:
            raise ValueError(f"times of a causal kernel must be 0, then -1, not {times}")

    @cached_property
    def present(self) -> KernelRegion:
        """Offsets within the current frame."""
        return KernelRegion(tuple(o for o in self.offsets if o[-1] == 0))

    @cached_property
    def links(self) -> KernelRegion | None:
        """Offsets to the previous time step; None if there are none."""
        links = tuple(o for o in self.offsets if o[-1] != 0)
        return KernelRegion(links) if links else None


def causal(sizes: Sequence[int], links: Sequence[int] = ()) -> CausalRegion:
    """Return a spatial box in the current frame and a box of links to the previous time step.

    Args:
        sizes: sizes of the spatial box.
        links: sizes of the box of links, with the same number of axes; empty for no links.
    """
    present = tuple((*offset, 0) for offset in cube(sizes).offsets)
    past = tuple((*offset, -1) for offset in cube(links).offsets) if links else ()
    return CausalRegion(present + past)


def _reach(size: int) -> range:
    """Return the offsets along one axis: symmetric for odd sizes, starting at 0 for even ones."""
    return range(size) if size % 2 == 0 else range(-(size // 2), size // 2 + 1)


def cube(sizes: Sequence[int]) -> KernelRegion:
    """Return all offsets of a box of `sizes`; the first axis changes fastest."""
    _check_sizes(sizes)
    reversed_offsets = itertools.product(*(_reach(size) for size in reversed(sizes)))
    return KernelRegion(tuple(tuple(reversed(o)) for o in reversed_offsets))


def cross(sizes: Sequence[int]) -> KernelRegion:
    """Return the centre and the offsets along the axes: 1 + sum(size - 1) of them.

    Raises:
        ValueError: a size is even, so there is no centre.
    """
    _check_sizes(sizes, odd="a cross")
    offsets = [(0,) * len(sizes)]
    for axis, size in enumerate(sizes):
        reach = size // 2
        for step in [*range(1, reach + 1), *range(-reach, 0)]:
            offsets.append(_along(axis, step, len(sizes)))
    return KernelRegion(tuple(offsets))


def hybrid(sizes: Sequence[int], cross_axes: Sequence[int] = ()) -> KernelRegion:
    """Return a cube over most axes and a cross along `cross_axes` (usually time).

    In 4D with sizes (3, 3, 3, 3) and cross axis 3, these are the 27 + 2 offsets of Choy et al.
    2019.

    Raises:
        ValueError: a size is even, or an axis does not exist.
    """
    _check_sizes(sizes, odd="a hybrid kernel")
    if not set(cross_axes) <= set(range(len(sizes))):
        raise ValueError(f"cross axes must be 0 to {len(sizes) - 1}, not {list(cross_axes)}")
    offsets = [(0,) * len(sizes)]
    for axis, size in enumerate(sizes):
        if axis in cross_axes:
            continue
        steps = [step for step in _reach(size) if step != 0]
        for offset in tuple(offsets):
            offsets += [(*offset[:axis], step, *offset[axis + 1 :]) for step in steps]
    for axis in cross_axes:
        offsets += [_along(axis, step, len(sizes)) for step in _reach(sizes[axis]) if step != 0]
    return KernelRegion(tuple(offsets))


@cache
def inscribed_box(region: KernelRegion) -> tuple[int, ...] | None:
    """Return the sizes of the largest `cube` within a region; None if it has no centre."""
    offsets = set(region.offsets)
    extents = (len(set(steps)) for steps in zip(*region.offsets, strict=True))
    sizes = itertools.product(*(range(1, extent + 1) for extent in extents))
    boxes = (box for box in sizes if offsets.issuperset(cube(box).offsets))
    return max(boxes, key=math.prod, default=None)


def _along(axis: int, step: int, dimension: int) -> tuple[int, ...]:
    return tuple(step if a == axis else 0 for a in range(dimension))


def _check_sizes(sizes: Sequence[int], odd: str = "") -> None:
    if not sizes or min(sizes) < 1:
        raise ValueError(f"kernel sizes must be 1 or more, not {list(sizes)}")
    if odd and any(size % 2 == 0 for size in sizes):
        raise ValueError(f"{odd} needs odd sizes, not {list(sizes)}")
