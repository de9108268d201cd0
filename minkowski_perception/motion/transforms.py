# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Tree of the transforms between frames, from /tf and /tf_static."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minkowski_perception.frame import named_axes, nanoseconds, upright
from minkowski_perception.motion.poses import Pose, PoseBuffer, pose_matrix

_STILL = 1e-9
"""Largest change, in metres or of a matrix entry, of a transform that never changes."""


def plain(frame_id: str) -> str:
    """Return the name of a frame without the leading slashes of ROS 1."""
    return frame_id.lstrip("/")


def message_pose(position: Any, orientation: Any) -> Pose:
    """Return the pose of a ROS position or translation and a quaternion; see `pose_matrix`."""
    return pose_matrix(
        (position.x, position.y, position.z),
        (orientation.x, orientation.y, orientation.z, orientation.w),
    )


@dataclass
class _Edge:
    """Transforms from a frame to its parent."""

    parent: str
    static: bool
    first: Pose
    latest: Pose
    count: int = 0
    changes: bool = False
    samples: PoseBuffer = field(default_factory=lambda: PoseBuffer(sys.maxsize))

    def add(self, stamp: int, pose: Pose) -> None:
        self.count += 1
        self.latest = pose
        if not self.static:
            self.changes = self.changes or bool(np.abs(pose - self.first).max() > _STILL)
            self.samples.add(stamp, pose)

    @property
    def still(self) -> bool:
        """Whether the transform never changes; unknown, so false, with one sample on /tf."""
        return self.static or (self.count > 1 and not self.changes)

    def at(self, stamp: int) -> Pose | None:
        return self.latest if self.static else self.samples.at(stamp)


class TransformTree:
    """Tree of the frames that transforms connect.

    A frame with several parents, as when two nodes publish its pose, keeps the parent that was
    told most often.

    Attributes:
        edges: by child frame.
        invalid: descriptions of transforms that are not finite or have no rotation.
    """

    def __init__(self) -> None:
        self.edges: dict[str, _Edge] = {}
        self._told: dict[tuple[str, str], _Edge] = {}
        self.invalid: set[str] = set()

    def add(self, transform: Any, static: bool) -> None:
        """Add a geometry_msgs/TransformStamped; ignore it if it is invalid."""
        parent, child = plain(transform.header.frame_id), plain(transform.child_frame_id)
        try:
            pose = message_pose(transform.transform.translation, transform.transform.rotation)
        except ValueError:
            self.invalid.add(f"'{child}' in '{parent}'")
            return
        edge = self._told.get((child, parent))
        if edge is None:
            edge = self._told[child, parent] = _Edge(parent, static, pose, pose)
        edge.add(nanoseconds(transform.header.stamp), pose)
        if edge.count > self.edges.setdefault(child, edge).count:
            self.edges[child] = edge

    def replace_static(self, transform: Any) -> None:
        """Add a static transform in place of earlier ones of its child frame."""
        latest = TransformTree()
        latest.add(transform, static=True)
        self.edges.update(latest.edges)  # at once: another thread may read
        self.invalid.update(latest.invalid)

    def above(self, frame: str) -> list[str]:
        """Return the frame and its ancestors, up to the root."""
        frames = [plain(frame)]
        while (edge := self.edges.get(frames[-1])) and edge.parent not in frames:
            frames.append(edge.parent)
        return frames

    def mount(self, frame: str) -> Pose | None:
        """Return the pose of a frame in the highest one to which all transforms are still."""
        pose, top = np.eye(4), plain(frame)
        seen = {top}
        while (edge := self.edges.get(top)) and edge.still and edge.parent not in seen:
            pose, top = edge.latest @ pose, edge.parent
            seen.add(top)
        return upright(named_axes(top)) @ pose if len(seen) > 1 else None

    def path(self, frame: str, fixed_frame: str) -> _Path | None:
        """Return the path from a frame to a fixed one; None if they are in separate trees."""
        rise, fall = self.above(frame), self.above(fixed_frame)
        common = next((f for f in rise if f in fall), None)
        if common is None:
            return None
        rise, fall = rise[: rise.index(common)], fall[: fall.index(common)]
        return _Path([self.edges[f] for f in rise], [self.edges[f] for f in fall])


@dataclass
class _Path:
    """Transforms between two frames: from each up to their lowest common ancestor."""

    rise: list[_Edge]
    fall: list[_Edge]

    def stamps(self) -> list[int]:
        """Return all stamps of the moving transforms, sorted."""
        moving = (edge for edge in [*self.rise, *self.fall] if not edge.static)
        return sorted({stamp for edge in moving for stamp in edge.samples.stamps})

    def still(self) -> bool:
        """Return whether no transform ever changes."""
        return all(edge.still for edge in [*self.rise, *self.fall])

    def at(self, stamp: int) -> Pose | None:
        """Return [4, 4] from the first frame to the second; None if unknown at the stamp."""
        rise, fall = self._product(self.rise, stamp), self._product(self.fall, stamp)
        return None if rise is None or fall is None else np.linalg.inv(fall) @ rise

    @staticmethod
    def _product(edges: list[_Edge], stamp: int) -> Pose | None:
        product = np.eye(4)
        for edge in edges:
            pose = edge.at(stamp)
            if pose is None:
                return None
            product = pose @ product
        return product
