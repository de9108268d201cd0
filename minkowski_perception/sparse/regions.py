# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Kernel regions: which neighbours a convolution looks at, and in which order.

An offset is the input's coordinate minus the output's, in steps of the input's stride. The orders
are those of MinkowskiEngine, so that its checkpoints fit: the cube runs with the first axis
fastest; the cross has the centre first, then +1, ..., -1, ... axis by axis; the hybrid has the
centre first, then grows axis by axis (offset lists of MinkowskiEngine 0.4).
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
    """The offsets of a kernel.

    Attributes:
        offsets: K offsets of D integers each; position k belongs to the weights' slice k.
    """

    offsets: Offsets

    def __post_init__(self) -> None:
        """Check that the offsets are of one dimension and differ.

        Raises:
            ValueError: they do not; the message shows them.
        """
        if not self.offsets or len({len(o) for o in self.offsets}) != 1:
            raise ValueError(f"offsets must be of one dimension and not none: {self.offsets}")
        if len(set(self.offsets)) != len(self.offsets):
            raise ValueError(f"an offset stands twice in {self.offsets}")

    def __len__(self) -> int:
        return len(self.offsets)

    @property
    def dimension(self) -> int:
        """Number of axes."""
        return len(self.offsets[0])


@dataclass(frozen=True)
class CausalRegion(KernelRegion):
    """Offsets in space at the same instant, and behind them *links*, one step back in time.

    Time is the last axis.

    Raises:
        ValueError: an offset is neither, or a link stands before an offset of the present.
    """

    def __post_init__(self) -> None:
        """Check the order of the offsets."""
        super().__post_init__()
        times = [offset[-1] for offset in self.offsets]
        if not set(times) <= {0, -1} or times != sorted(times, reverse=True) or times[0] != 0:
            raise ValueError(f"a causal kernel has times 0, then -1; not {times}")

    @cached_property
    def present(self) -> KernelRegion:
        """The offsets at the same instant."""
        return KernelRegion(tuple(o for o in self.offsets if o[-1] == 0))

    @cached_property
    def links(self) -> KernelRegion | None:
        """The offsets back in time, if there are any."""
        links = tuple(o for o in self.offsets if o[-1] != 0)
        return KernelRegion(links) if links else None


def causal(sizes: Sequence[int], links: Sequence[int] = ()) -> CausalRegion:
    """Return a box of space at the same instant and, one step back, the box that links span.

    Args:
        sizes: of the box in space.
        links: of the box at the instant before, likewise, with as many axes; none where empty.
    """
    present = tuple((*offset, 0) for offset in cube(sizes).offsets)
    past = tuple((*offset, -1) for offset in cube(links).offsets) if links else ()
    return CausalRegion(present + past)


def _reach(size: int) -> range:
    """Offsets along one axis: symmetric for odd sizes, from 0 up for even ones."""
    return range(size) if size % 2 == 0 else range(-(size // 2), size // 2 + 1)


def cube(sizes: Sequence[int]) -> KernelRegion:
    """Return all offsets of a box of `sizes`, the first axis fastest."""
    _check_sizes(sizes)
    reversed_offsets = itertools.product(*(_reach(size) for size in reversed(sizes)))
    return KernelRegion(tuple(tuple(reversed(o)) for o in reversed_offsets))


def cross(sizes: Sequence[int]) -> KernelRegion:
    """Return the centre and the offsets along the axes: 1 + sum(size - 1) of them.

    Raises:
        ValueError: a size is even: a cross has a centre.
    """
    _check_sizes(sizes, odd="a cross")
    offsets = [(0,) * len(sizes)]
    for axis, size in enumerate(sizes):
        reach = size // 2
        for step in [*range(1, reach + 1), *range(-reach, 0)]:
            offsets.append(_along(axis, step, len(sizes)))
    return KernelRegion(tuple(offsets))


def hybrid(sizes: Sequence[int], cross_axes: Sequence[int] = ()) -> KernelRegion:
    """Return a cube over most axes and a cross along `cross_axes` (time, as a rule).

    In 4D with sizes (3, 3, 3, 3) and cross axis 3 these are the paper's 27 + 2 offsets.

    Raises:
        ValueError: a size is even, or an axis does not exist.
    """
    _check_sizes(sizes, odd="a hybrid kernel")
    if not set(cross_axes) <= set(range(len(sizes))):
        raise ValueError(f"cross axes {list(cross_axes)} are not all among 0 to {len(sizes) - 1}")
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
    """Sizes of the largest box, as `cube` makes it, that a region holds; None without a centre."""
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
