# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The trilateral-stationary CRF of Choy et al. 2019: mean field in space, time and chroma.

It differs from the code of SpatioTemporalSegmentation on purpose: the unary of a node is the mean
of its voxels, not their sum, and each voxel adds the message to its own logits; the kernel is
initialised to zero, which leaves the scores unchanged; chroma is 0 to 1, and is read from the
network's features; in training the filter is always on, not in every second step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minkowski_perception.schema import Range, check_at, read
from minkowski_perception.sparse import (
    Capacities,
    CoordinateMap,
    CoordinateRangeError,
    Engine,
    KernelMap,
    KernelRegion,
    KeyLayout,
    convolve,
    cross,
    quantize,
    softmax,
)
from minkowski_perception.sparse.capacity import PADDING, rows_of
from minkowski_perception.sparse.keys import on_device

Chroma = Literal["none", "intensity", "colour"]

CHROMA_FEATURES: Mapping[str, tuple[str, ...]] = {
    "none": (),
    "intensity": ("intensity",),
    "colour": ("red", "green", "blue"),
}
"""Features of a voxel that each kind of chroma consists of."""

_SPACE = slice(1, 4)
_SLACK = 1e-4
"""Of a cell: colours are whole 255ths, and rounding must not move those on a border below it."""


@dataclass(frozen=True)
class CRFSettings:
    """Settings of a `TrilateralCRF`; `crf` of a model card.

    Attributes:
        chroma: the lattice's axes of chroma, see `CHROMA_FEATURES`. The lattice is 4D without
            them, 5D with intensity, 7D with colour.
        sigma_space: width of a cell, voxels; a power of two, so that cells stay the same when the
            origin of the odometry frame changes.
        sigma_time: frames between a node and its neighbours in time.
        sigma_chroma: depth of a cell along each axis of chroma, which runs from 0 to 1.
        iterations: of mean field.
        causal: look at the past alone. Frames are then settled one after the other, each on the
            final marginals of the one before: `TrilateralCRF.forward` over a sequence equals
            `step` frame by frame. Otherwise all frames are settled together, each with its
            neighbours on both sides.

    Raises:
        SchemaError: the keys of the lattice have no room for sigma_time or sigma_chroma.
    """

    chroma: Chroma = "none"
    sigma_space: Literal[1, 2, 4, 8, 16, 32, 64, 128, 256] = 1
    sigma_time: int = 1
    sigma_chroma: float = 0.1
    iterations: Annotated[int, Range(1, 100)] = 3
    causal: bool = False

    def __post_init__(self) -> None:
        """Check the limits that depend on the lattice."""
        layout = KeyLayout.for_dimension(self.dimension)
        low, high = layout.limits[4]
        check_at("sigma_time", Range(1, layout.margins[-1]), self.sigma_time)
        check_at("sigma_chroma", Range(1.0 / (high - low), 1.0), self.sigma_chroma)

    @property
    def dimension(self) -> int:
        """Dimension of the lattice."""
        return 4 + len(CHROMA_FEATURES[self.chroma])


@dataclass(frozen=True)
class CRFState:
    """Nodes of past frames that the next frame has as neighbours.

    Attributes:
        nodes: [M, 1 + D] int64, [batch, x, y, z, (chroma,) t], frame by frame, each in canonical
            order: x, y, z of a node's least corner, voxels; t in frames, 0 for the newest. Rows of
            batch -1 are padding.
        marginals: [M, K], probabilities of each node.
    """

    nodes: Tensor
    marginals: Tensor

    @property
    def bytes(self) -> int:
        """Size in memory."""
        return self.nodes.nbytes + self.marginals.nbytes

    def tensors(self) -> dict[str, Tensor]:
        """Return its tensors by name, for saving; `CRFState(**tensors)` restores it."""
        kept = self.nodes[:, 0] >= 0
        return {"nodes": self.nodes[kept], "marginals": self.marginals[kept]}

    def rebased(self, shift: Tensor) -> CRFState:
        """Return the state for coordinates whose origin moved.

        Args:
            shift: [3] integers, new origin - old origin, in voxels; multiples of sigma_space.
        """
        nodes = self.nodes.clone()
        nodes[:, _SPACE] -= shift.to(nodes)
        return CRFState(nodes, self.marginals)

    def aged(self, frames: int) -> CRFState:
        """Return the state for a newest frame that is `frames` later."""
        nodes = self.nodes.clone()
        nodes[:, -1] -= frames
        return CRFState(nodes, self.marginals)


class TrilateralCRF(nn.Module):
    """Refines scores of voxels by those of voxels near in space, time and chroma.

    Nodes are cells of a lattice: sigma_space voxels wide, one frame long, and sigma_chroma deep
    along each axis of chroma. A node never joins frames: moving objects are not smeared, and the
    result does not depend on the first frame of a window. With node scores U and marginals Q, from
    Q = softmax(U) on,

        message = sum over k of Q[node + offset_k] @ kernel[k];    Q = softmax(U + message)

    is repeated `iterations` times over one kernel map. The kernel is the same everywhere
    (stationary): a cross with a full matrix between classes at each offset, initialised to zero.

    With sigma_space 1 each voxel is a node, and no node has a neighbour along chroma: chroma then
    only separates neighbours of different chroma.

    Args:
        num_classes: K.
        settings: fields of `CRFSettings`.

    Attributes:
        kernel: [V, K, K], in the order of `region`: (K of the neighbour, K of the node).
        region: offsets along [x, y, z, (chroma,) t]: 9 in 4D, 11 in 5D, 15 in 7D; one less if
            causal.

    Raises:
        SchemaError: a setting is unknown or not possible; the possible ones are named.
    """

    def __init__(self, num_classes: int, **settings: Any) -> None:
        super().__init__()
        self._settings = read(CRFSettings, settings)
        self.num_classes = num_classes
        self.chroma = self._settings.chroma
        self.sigma_space = self._settings.sigma_space
        self._space_bits = self.sigma_space.bit_length() - 1
        self.sigma_time = self._settings.sigma_time
        self.sigma_chroma = self._settings.sigma_chroma
        self.iterations = self._settings.iterations
        self.causal = self._settings.causal
        dimension = self._settings.dimension
        self._layout = KeyLayout.for_dimension(dimension)
        self.region = _region(dimension, self.sigma_time, self.causal)
        self.kernel = nn.Parameter(torch.zeros(len(self.region), num_classes, num_classes))

    @property
    def settings(self) -> dict[str, Any]:
        """Arguments that build it again, without the number of classes; `crf` of a card."""
        return asdict(self._settings)

    def forward(
        self,
        logits: Tensor,
        coordinates: Tensor,
        chroma: Tensor | None = None,
        engine: Engine | None = None,
        capacities: Capacities | None = None,
    ) -> Tensor:
        """Refine the scores of voxels of one or more frames.

        Args:
            logits: [N, K] of the network.
            coordinates: [N, 5] int64 [batch, x, y, z, t], t in frames; in any order, relative to
                any origin that is a multiple of sigma_space.
            chroma: [N, C], clamped to 0 to 1; None for a CRF without chroma.
            engine: engine for inference; None for plain PyTorch.
            capacities: of frames whose coordinates end with padding, for a CRF that is not causal;
                None without padding.

        Returns:
            [N, K] refined logits; their softmax is the marginals.

        Raises:
            ValueError: shapes do not fit.
            CoordinateRangeError: the voxels exceed the range of the lattice's keys.
        """
        self._check(logits, coordinates, 5, chroma)
        if len(logits) == 0:
            return logits
        if not self.causal:
            cells = self._cells(coordinates, chroma)
            return self._settle(logits, cells, None, engine, capacities)[0]
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
        capacities: Capacities | None = None,
    ) -> tuple[Tensor, CRFState]:
        """Refine the scores of the newest frame; earlier frames keep their marginals.

        Its neighbours in the past are the nodes of the state that are sigma_time frames old. It
        has none in the future, whether the CRF is causal or not.

        Args:
            logits: [M, K] of the network.
            coordinates: [M, 4] int64 [batch, x, y, z].
            chroma: as in `forward`.
            state: of the last step, `rebased` where the origin moved; None at first.
            elapsed: frames since the last step; more than 1 where frames were lost.
            engine: as in `forward`.
            capacities: of a frame whose coordinates end with padding, as the state then does;
                origins move by multiples of sigma_space, which is not checked. None without
                padding.

        Returns:
            [M, K] refined logits, and the state for the next step.

        Raises:
            ValueError: shapes do not fit, elapsed is below 1, or the state was rebased by other
                than a multiple of sigma_space.
            CoordinateRangeError: as in `forward`.
        """
        self._check(logits, coordinates, 4, chroma)
        if elapsed < 1:
            raise ValueError(f"elapsed must be 1 frame or more, not {elapsed}")
        cells = self._cells(F.pad(coordinates, (0, 1)), chroma)
        past = None if state is None else state.aged(elapsed)
        if len(logits) == 0:
            scores, state = logits, CRFState(cells, logits)
        else:
            scores, state = self._settle(logits, cells, past, engine, capacities)
        if past is not None and self.sigma_time > 1:  # frames that a later step needs
            kept = past.nodes[:, -1] > -self.sigma_time
            if capacities is not None:
                kept[-1] = True  # a row of padding
                kept = capacities.select("CRF's earlier nodes", kept)
            state = CRFState(
                torch.cat([past.nodes[kept], state.nodes]),
                torch.cat([past.marginals[kept], state.marginals]),
            )
        return scores, state

    def _settle(
        self,
        logits: Tensor,
        cells: Tensor,
        past: CRFState | None,
        engine: Engine | None,
        capacities: Capacities | None = None,
    ) -> tuple[Tensor, CRFState]:
        """Run mean field; return refined logits [N, K] and the nodes with their marginals."""
        # Centred, since keys in 7D have few bits; a shift of the lattice does not change results.
        low, high = torch.aminmax(cells, dim=0)
        origin = F.pad((low + high)[1:] >> 1, (1, 0))
        try:
            voxels = quantize(cells - origin, capacities, "CRF's nodes")
        except CoordinateRangeError as error:
            raise CoordinateRangeError(f"the CRF's lattice: {error}") from error
        layout = self._layout
        nodes = CoordinateMap(voxels.keys, layout, (1,) * layout.dimension, capacities)
        # With capacities the host does not know the number of nodes.
        known = len(voxels.first) == len(voxels.inverse)
        alone = known if capacities is None else self.sigma_space == 1
        unary = voxels.reduce(logits, "first" if alone else "mean")  # the mean of one is exact
        before = None if past is None else self._message_of(past, nodes, origin, engine)
        kernel_map = KernelMap(nodes, nodes, self.region)
        marginals = softmax(unary)
        for _ in range(self.iterations):
            message = self._convolve(marginals, kernel_map, engine)
            if before is not None:
                message = message + before
            marginals = softmax(unary + message)
        corners = voxels.coordinates + origin
        corners[:, _SPACE] *= self.sigma_space
        if capacities is not None:
            corners[:, 0].masked_fill_(voxels.keys == PADDING, -1)
        return logits + voxels.slice(message), CRFState(corners, marginals)

    def _convolve(self, marginals: Tensor, kernel_map: KernelMap, engine: Engine | None) -> Tensor:
        if engine is None or torch.is_grad_enabled():
            return convolve(marginals, self.kernel, kernel_map)
        weights = engine.weights(self, self.kernel, None, None)
        return engine.convolve(marginals, weights, kernel_map)

    def _message_of(
        self, past: CRFState, nodes: CoordinateMap, origin: Tensor, engine: Engine | None
    ) -> Tensor:
        """Return the message [M, K] of the frame sigma_time back, constant in the mean field."""
        cells, marginals, padded = past.nodes.clone(), past.marginals, nodes.capacities is not None
        if not padded and (cells[:, _SPACE] & (self.sigma_space - 1)).any():
            raise ValueError(
                f"a state can be rebased by multiples of sigma_space, {self.sigma_space}, alone"
            )
        cells[:, _SPACE] >>= self._space_bits
        cells -= origin
        low, high = (
            on_device(ends, cells.device) for ends in zip(*self._layout.limits, strict=True)
        )
        near = ((cells >= low) & (cells <= high)).all(dim=1)
        near &= cells[:, -1] == -self.sigma_time
        if padded:
            rows = rows_of(near, len(near))
            near = near.index_select(0, rows)
            cells, marginals = cells.index_select(0, rows), marginals.index_select(0, rows)
        elif not near.all():
            cells, marginals = cells[near], marginals[near]
        keys = self._layout.packed(cells)
        if padded:
            keys.masked_fill_(~near, PADDING)
        source = CoordinateMap(keys, self._layout, nodes.stride, nodes.capacities)
        back = KernelMap(source, nodes, KernelRegion(self.region.offsets[-1:]))
        if engine is None or not engine.uses_capacities:
            return convolve(marginals, self.kernel[-1:], back)
        return engine.convolve(marginals, engine.prepare(self.kernel[-1:], None, True), back)

    def _cells(self, coordinates: Tensor, chroma: Tensor | None) -> Tensor:
        """Return the cell of each voxel, [N, 1 + D] int64, with the time of the voxel."""
        columns = [
            coordinates[:, :1],
            coordinates[:, _SPACE] >> self._space_bits,
            coordinates[:, 4:],
        ]
        if chroma is not None:
            steps = chroma.detach().double().clamp(0.0, 1.0) / self.sigma_chroma
            columns.insert(2, torch.floor(steps + _SLACK).long())
        return torch.cat(columns, dim=1).long()

    def _check(
        self, logits: Tensor, coordinates: Tensor, columns: int, chroma: Tensor | None
    ) -> None:
        count = len(logits)
        wanted = {
            "logits": (logits, (count, self.num_classes)),
            "coordinates": (coordinates, (count, columns)),
        }
        axes = len(CHROMA_FEATURES[self.chroma])
        if (chroma is None) != (axes == 0):
            raise ValueError(
                f"a CRF of chroma '{self.chroma}' needs chroma [N, {axes}]"
                if axes
                else "a CRF of chroma 'none' takes no chroma"
            )
        if chroma is not None:
            wanted["chroma"] = (chroma, (count, axes))
        for name, (tensor, shape) in wanted.items():
            if tensor.shape != shape:
                raise ValueError(f"{name} must have shape {list(shape)}, not {list(tensor.shape)}")

    def extra_repr(self) -> str:
        """Describe the lattice."""
        return ", ".join(f"{name}={value!r}" for name, value in self.settings.items())


def _region(dimension: int, sigma_time: int, causal: bool) -> KernelRegion:
    """Return the cross; its last offset is the past, the one before it, if any, the future."""
    offsets = [
        (*offset[:-1], offset[-1] * sigma_time) for offset in cross((3,) * dimension).offsets
    ]
    if causal:
        del offsets[-2]
    return KernelRegion(tuple(offsets))
