# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The trilateral-stationary CRF of Choy et al. 2019: mean field in space, time and chroma.

What differs, on purpose, from its code in SpatioTemporalSegmentation: where voxels share a node,
the node's unary is their mean, not their sum, and each voxel adds the message to its own logits;
the kernel starts at zero, where the network's scores are left alone; chroma is 0 to 1, and that of
what the network sees; in training the filter is always on, not in every second step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from minkowski_perception.sparse import (
    CoordinateMap,
    CoordinateRangeError,
    Engine,
    KernelMap,
    KernelRegion,
    KeyLayout,
    Quantization,
    convolve,
    cross,
    quantize,
)

Chroma = Literal["none", "intensity", "colour"]

CHROMA_FEATURES: Mapping[str, tuple[str, ...]] = {
    "none": (),
    "intensity": ("intensity",),
    "colour": ("red", "green", "blue"),
}
"""The features of a voxel that each kind of chroma is made of."""

_SPACE = slice(1, 4)
_SIGMAS_SPACE = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_SLACK = 1e-4
"""Of a cell: colours are whole 255ths, and those on a border shall not be rounded below it."""


@dataclass(frozen=True)
class CRFState:
    """What the next frame needs to know of those before it.

    Attributes:
        nodes: [M, 1 + D] int64, [batch, x, y, z, (chroma,) t], frame by frame, each in canonical
            order: space in voxels, a node's least corner; t in frames, 0 being the newest.
        marginals: [M, K], each node's probabilities.
    """

    nodes: Tensor
    marginals: Tensor

    @property
    def bytes(self) -> int:
        """Memory that it takes."""
        return self.nodes.nbytes + self.marginals.nbytes

    def tensors(self) -> dict[str, Tensor]:
        """Return it as plain tensors by name, to be saved; `CRFState(**tensors)` restores it."""
        return {"nodes": self.nodes, "marginals": self.marginals}

    def rebased(self, shift: Tensor) -> CRFState:
        """Return the state for coordinates whose origin moved.

        Args:
            shift: [3] integers, new origin - old origin, in voxels; multiples of sigma_space.
        """
        nodes = self.nodes.clone()
        nodes[:, _SPACE] -= shift.to(nodes)
        return CRFState(nodes, self.marginals)

    def aged(self, frames: int) -> CRFState:
        """Return the state as it is so many frames later."""
        nodes = self.nodes.clone()
        nodes[:, -1] -= frames
        return CRFState(nodes, self.marginals)


class TrilateralCRF(nn.Module):
    """Refines the scores of voxels by those near them in space, time and chroma.

    Nodes are the cells of a lattice that voxels fall into: sigma_space voxels wide, one frame
    long, and sigma_chroma deep along each axis of chroma. Frames are never joined in a node: what
    moves is not smeared, and nothing hangs on where a window begins. With node scores U and
    marginals Q, from Q = softmax(U) on,

        message = sum over k of Q[node + offset_k] @ kernel[k];    Q = softmax(U + message)

    is repeated `iterations` times over one kernel map. The kernel is one and the same everywhere
    (stationary), a cross with a full matrix between classes at each offset; it is initialised to
    zero.

    Where sigma_space is 1 a voxel is a node, and no node has a neighbour along chroma: chroma then
    only parts neighbours that differ in it.

    Args:
        num_classes: K.
        chroma: axes of the lattice beside space and time: those of `CHROMA_FEATURES`. The lattice
            is 4D without any, 5D with intensity, 7D with colour.
        sigma_space: voxels; a power of two up to 256, so that cells stay where they are when the
            odometry frame is given another origin.
        sigma_time: frames between a node and its neighbours in time.
        sigma_chroma: of a chroma from 0 to 1.
        iterations: of mean field.
        causal: look at the past alone. Frames are then settled one after the other, each on the
            final marginals of the one before: `forward` over a sequence equals `step` frame by
            frame. Otherwise all frames are settled together, each seeing those on both sides.

    Attributes:
        kernel: [V, K, K], in the order of `region`: (K of the neighbour, K of the node).
        region: offsets along [x, y, z, (chroma,) t]: 9 in 4D, 11 in 5D, 15 in 7D; one less if
            causal.

    Raises:
        ValueError: a value is not possible; the possible ones are named.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        chroma: Chroma = "none",
        sigma_space: int = 1,
        sigma_time: int = 1,
        sigma_chroma: float = 0.1,
        iterations: int = 3,
        causal: bool = False,
    ) -> None:
        super().__init__()
        if chroma not in CHROMA_FEATURES:
            choices = "', '".join(CHROMA_FEATURES)
            raise ValueError(f"chroma must be one of '{choices}', not {chroma!r}")
        dimension = 4 + len(CHROMA_FEATURES[chroma])
        self._layout = KeyLayout.for_dimension(dimension)
        if sigma_space not in _SIGMAS_SPACE:
            raise ValueError(f"sigma_space must be one of {_SIGMAS_SPACE}, not {sigma_space!r}")
        _check_whole("sigma_time", sigma_time, self._layout.margins[-1])
        _check_whole("iterations", iterations, 100)
        low, high = self._layout.limits[4]
        if not 1.0 / (high - low) <= sigma_chroma <= 1.0:
            raise ValueError(
                f"sigma_chroma must be {1.0 / (high - low):.3f} to 1, not {sigma_chroma}"
            )
        self.num_classes = num_classes
        self.chroma = chroma
        self.sigma_space = sigma_space
        self.sigma_time = sigma_time
        self.sigma_chroma = sigma_chroma
        self.iterations = iterations
        self.causal = causal
        self.region = _region(dimension, sigma_time, causal)
        self.kernel = nn.Parameter(torch.zeros(len(self.region), num_classes, num_classes))

    @property
    def settings(self) -> dict[str, Any]:
        """What to build it with again, the number of classes aside: the `crf` of a model card."""
        names = ("chroma", "sigma_space", "sigma_time", "sigma_chroma", "iterations", "causal")
        return {name: getattr(self, name) for name in names}

    def forward(
        self,
        logits: Tensor,
        coordinates: Tensor,
        chroma: Tensor | None = None,
        engine: Engine | None = None,
    ) -> Tensor:
        """Refine the scores of voxels of one or more frames.

        Args:
            logits: [N, K] of the network.
            coordinates: [N, 5] int64 [batch, x, y, z, t], t in frames; in any order, relative to
                any origin that is a multiple of sigma_space.
            chroma: [N, C], 0 to 1 (what is outside counts as the end); None if there is none.
            engine: what convolves in inference; None for plain PyTorch.

        Returns:
            [N, K] refined logits; their softmax are the marginals.

        Raises:
            ValueError: shapes do not fit.
            CoordinateRangeError: the voxels spread further than keys of the lattice reach.
        """
        self._check(logits, coordinates, 5, chroma)
        if len(logits) == 0:
            return logits
        if not self.causal:
            return self._settle(logits, self._cells(coordinates, chroma), None, engine)[0]
        frames, frame_of = torch.unique(coordinates[:, 4], return_inverse=True)
        state: CRFState | None = None
        rows, scores = [], []
        before = 0
        for i, t in enumerate(frames.tolist()):
            rows.append(torch.nonzero(frame_of == i)[:, 0])
            refined, state = self.step(
                logits[rows[-1]],
                coordinates[rows[-1], :4],
                None if chroma is None else chroma[rows[-1]],
                state,
                elapsed=t - before if state is not None else 1,
                engine=engine,
            )
            scores.append(refined)
            before = t
        return torch.cat(scores)[torch.argsort(torch.cat(rows))]

    def step(
        self,
        logits: Tensor,
        coordinates: Tensor,
        chroma: Tensor | None = None,
        state: CRFState | None = None,
        *,
        elapsed: int = 1,
        engine: Engine | None = None,
    ) -> tuple[Tensor, CRFState]:
        """Refine the scores of the newest frame; those before it stay as they were settled.

        Neighbours in the past are the marginals that the state keeps, of the frame sigma_time
        back; in the future there are none, whether the CRF is causal or not.

        Args:
            logits: [M, K] of the network.
            coordinates: [M, 4] int64 [batch, x, y, z].
            chroma: as in `forward`.
            state: what the last step returned, `rebased` where the origin moved; None at first.
            elapsed: frames since then, more than 1 where frames were lost.
            engine: as in `forward`.

        Returns:
            [M, K] refined logits, and the state for the next step.

        Raises:
            ValueError: shapes do not fit, the frame is not later than the last one, or the state
                was moved by no multiple of sigma_space.
            CoordinateRangeError: as in `forward`.
        """
        self._check(logits, coordinates, 4, chroma)
        if elapsed < 1:
            raise ValueError(f"a frame must be later than the last one, not by {elapsed} frames")
        cells = self._cells(torch.nn.functional.pad(coordinates, (0, 1)), chroma)
        past = None if state is None else state.aged(elapsed)
        if len(logits) == 0:
            scores, state = logits, CRFState(cells, logits)
        else:
            scores, state = self._settle(logits, cells, past, engine)
        if past is not None:
            # Frames that the next step may look back to; with a sigma_time of 1 there are none.
            kept = past.nodes[:, -1] > -self.sigma_time
            state = CRFState(
                torch.cat([past.nodes[kept], state.nodes]),
                torch.cat([past.marginals[kept], state.marginals]),
            )
        return scores, state

    def _settle(
        self, logits: Tensor, cells: Tensor, past: CRFState | None, engine: Engine | None
    ) -> tuple[Tensor, CRFState]:
        """Run mean field; return refined logits [N, K] and the nodes with their marginals."""
        # Keys are short in 7D; any shift of the whole lattice gives the same.
        origin = torch.div(cells.amin(dim=0) + cells.amax(dim=0), 2, rounding_mode="floor")
        origin[0] = 0
        try:
            voxels = quantize(cells - origin)
        except CoordinateRangeError as error:
            raise CoordinateRangeError(f"the CRF's lattice: {error}") from error
        layout = self._layout
        nodes = CoordinateMap(layout.pack(voxels.coordinates), layout, (1,) * layout.dimension)
        unary = _mean(voxels, logits)
        before = None if past is None else self._message_of(past, nodes, origin)
        kernel_map = KernelMap(nodes, nodes, self.region)
        marginals = torch.softmax(unary, dim=1)
        for _ in range(self.iterations):
            message = self._convolve(marginals, kernel_map, engine)
            if before is not None:
                message = message + before
            marginals = torch.softmax(unary + message, dim=1)
        corners = voxels.coordinates + origin
        corners[:, _SPACE] *= self.sigma_space
        return logits + voxels.slice(message), CRFState(corners, marginals)

    def _convolve(self, marginals: Tensor, kernel_map: KernelMap, engine: Engine | None) -> Tensor:
        if engine is None or torch.is_grad_enabled():
            return convolve(marginals, self.kernel, kernel_map)
        weights = engine.weights(self, self.kernel, None, None)
        return engine.convolve(marginals, weights, kernel_map)

    def _message_of(self, past: CRFState, nodes: CoordinateMap, origin: Tensor) -> Tensor:
        """Message [M, K] of the frame sigma_time back: a constant of the mean field."""
        cells = past.nodes.clone()
        if (cells[:, _SPACE] % self.sigma_space).any():
            raise ValueError(f"a state moves by multiples of sigma_space, {self.sigma_space}")
        cells[:, _SPACE] //= self.sigma_space
        cells -= origin
        limits = torch.tensor(self._layout.limits, device=cells.device)
        near = (cells[:, -1] == -self.sigma_time) & (
            (cells >= limits[:, 0]) & (cells <= limits[:, 1])
        ).all(dim=1)
        source = CoordinateMap(self._layout.pack(cells[near]), self._layout, nodes.stride)
        back = KernelMap(source, nodes, KernelRegion(self.region.offsets[-1:]))
        return convolve(past.marginals[near], self.kernel[-1:], back)

    def _cells(self, coordinates: Tensor, chroma: Tensor | None) -> Tensor:
        """[N, 1 + D] int64: cell of each voxel, the time being that of the voxel."""
        columns = [
            coordinates[:, :1],
            torch.div(coordinates[:, _SPACE], self.sigma_space, rounding_mode="floor"),
            coordinates[:, 4:],
        ]
        if chroma is not None:
            steps = chroma.detach().double().clamp(0.0, 1.0) / self.sigma_chroma
            columns.insert(2, torch.floor(steps + _SLACK).long())
        return torch.cat(columns, dim=1).long()

    def _check(
        self, logits: Tensor, coordinates: Tensor, columns: int, chroma: Tensor | None
    ) -> None:
        voxels = len(logits)
        wanted = {
            "logits": (logits, (voxels, self.num_classes)),
            "coordinates": (coordinates, (voxels, columns)),
        }
        axes = len(CHROMA_FEATURES[self.chroma])
        if (chroma is None) != (axes == 0):
            raise ValueError(
                f"chroma [N, {axes}] is needed by a CRF of chroma '{self.chroma}'"
                if axes
                else "a CRF of chroma 'none' takes no chroma"
            )
        if chroma is not None:
            wanted["chroma"] = (chroma, (voxels, axes))
        for name, (tensor, shape) in wanted.items():
            if tensor.shape != shape:
                raise ValueError(f"{name} must have shape {list(shape)}, not {list(tensor.shape)}")

    def extra_repr(self) -> str:
        """Describe the lattice."""
        return ", ".join(f"{name}={value!r}" for name, value in self.settings.items())


def _region(dimension: int, sigma_time: int, causal: bool) -> KernelRegion:
    """Return the cross; its last two offsets are the future and the past, its last the past."""
    offsets = [
        (*offset[:-1], offset[-1] * sigma_time) for offset in cross((3,) * dimension).offsets
    ]
    if causal:
        del offsets[-2]
    return KernelRegion(tuple(offsets))


def _mean(voxels: Quantization, values: Tensor) -> Tensor:
    """Mean of the values in each node, which takes no sum where all nodes are of one voxel."""
    alone = len(voxels.first) == len(voxels.inverse)
    return voxels.reduce(values, "first" if alone else "mean")


def _check_whole(name: str, value: int, most: int) -> None:
    if value not in range(1, most + 1):
        raise ValueError(f"{name} must be a whole number from 1 to {most}, not {value!r}")
