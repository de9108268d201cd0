# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Two schedules of a network on a stream: a window of frames at once, or frame by frame.

Windowed execution takes any network: the last T frames are one 4D tensor, so a frame is computed
T times. Incremental execution takes causal networks: each frame is computed once, and features
that later frames read through links are kept. Its logits equal those of the whole sequence as one
4D tensor, from the stream's start on.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from minkowski_perception.networks.crf import CRFState
from minkowski_perception.networks.heads import CLASSES
from minkowski_perception.networks.model import Model
from minkowski_perception.sparse import Capacities, Engine, Memory, SparseTensor
from minkowski_perception.sparse.keys import on_device
from minkowski_perception.streaming.inputs import Placed
from minkowski_perception.streaming.stage_clock import StageClock
from minkowski_perception.voxels import Voxels


@dataclass
class Runner:
    """A model on a device, run by an engine.

    Attributes:
        model: its network is on the device.
        device: of network and CRF.
        engine: computes the convolutions.
        use_crf: whether the model's CRF refines the class logits.
    """

    model: Model
    device: torch.device
    engine: Engine
    use_crf: bool

    def logits(
        self,
        coordinates: Tensor,
        features: Tensor,
        memory: Memory | None = None,
        capacities: Capacities | None = None,
        in_order: bool = True,
    ) -> dict[str, SparseTensor]:
        """Run the network, and return its logits by head.

        Args:
            coordinates: [N, 5] int64 [batch, x, y, z, t] on the device; a 3D network does not
                see the time.
            features: [N, C] float32, on the device.
            memory: of the frames before.
            capacities: see `SparseTensor`.
            in_order: see `SparseTensor`.
        """
        tensor = SparseTensor(
            features,
            coordinates[:, : self.model.network.dimension + 1],
            engine=self.engine,
            clip=self.model.input.boundary == "clip",
            memory=memory,
            capacities=capacities,
            in_order=in_order,
        )
        logits: dict[str, SparseTensor] = self.model.network(tensor)
        return logits


@dataclass(frozen=True)
class Scores:
    """Logits of a frame's voxels.

    Attributes:
        logits: by head, [M, C] float32, row by row of the frame's voxels; those of the classes
            refined by the CRF where it is in use. With capacities, rows of padding follow.
        clock: of the stages "network" and, where it ran, "crf".
    """

    logits: Mapping[str, Tensor]
    clock: StageClock


class Execution(ABC):
    """Runs a network on the frames of one stream, in order.

    Args:
        runner: computes the logits.

    Attributes:
        capacities: of the stream's frames; None where its engine uses none.
    """

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self.capacities = Capacities() if runner.engine.uses_capacities else None
        self._origin: Tensor | None = None
        self._marginals: CRFState | None = None
        self._new_marginals: CRFState | None = None

    def begin(self, origin: Tensor) -> None:
        """Start the stream's next frame: the state moves to its origin [3] int64, on the CPU."""
        before, self._origin = self._origin, origin
        if before is not None and not torch.equal(before, origin):
            self._shift(origin - before)

    def _shift(self, offset: Tensor) -> None:
        """Move the state to an origin that is [3] int64 voxels further."""
        if self._marginals is not None:
            self._marginals = self._marginals.rebased(offset)

    @abstractmethod
    def scores(self, placed: Placed, clock: StageClock) -> Scores:
        """Return the logits of a frame that has voxels, and started with `begin`.

        It does not become part of the state before `keep`. With capacities, it can be computed
        again.

        Args:
            placed: voxels of the frame.
            clock: for the stages.
        """

    @property
    def kept(self) -> tuple[Any, ...]:
        """What is kept on the device, as dataclasses, dictionaries and tuples of tensors."""
        return (self._marginals,)

    @property
    def next(self) -> tuple[Any, ...]:
        """What is to be kept after the frame, as `kept`."""
        return (self._new_marginals,)

    @abstractmethod
    def keep(self, kept: tuple[Any, ...], voxels: int) -> None:
        """Finish the frame, which has so many voxels: keep this from now on."""

    def fail(self) -> None:  # noqa: B027
        """Give up a frame after an error in it; forget the stream if part of it was freed."""

    def move(self, kept: tuple[Any, ...]) -> None:
        """Keep the same in other tensors."""
        (self._marginals,) = kept

    @property
    @abstractmethod
    def frames(self) -> int:
        """Number of frames that the last logits rest on."""

    @property
    @abstractmethod
    def voxel_count(self) -> int:
        """Number of voxels that the last frame took, those of earlier frames included."""

    @property
    def repeats(self) -> bool:
        """Whether frames can take the same steps on tensors of the same shapes."""
        return True

    @property
    def nbytes(self) -> int:
        """Bytes of the state."""
        return 0 if self._marginals is None else self._marginals.bytes

    def clear(self) -> None:
        """Forget the stream: the next frame is a first one."""
        self._origin = None
        self._marginals = None

    def state(self) -> dict[str, Tensor]:
        """Return the state as tensors by name."""
        state = {} if self._origin is None else {"origin": self._origin}
        if self._marginals is not None:
            state |= {f"crf.{name}": t for name, t in self._marginals.tensors().items()}
        return state

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Replace the state by one that `state` returned.

        Raises:
            ValueError: it is not a state of this network.
        """
        self.clear()
        origin = state.get("origin")
        self._origin = None if origin is None else origin.cpu()  # as voxels are
        if marginals := self._on_device(part(state, "crf.")):
            self._marginals = CRFState(**marginals)

    def _on_device(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: tensor.to(self._runner.device) for name, tensor in state.items()}

    def _refined(self, logits: Tensor, space: Tensor, features: Tensor) -> Tensor:
        """Return the newest frame's class logits [M, K], refined by a step of the CRF.

        Args:
            logits: [M, K] of the network.
            space: [M, 4] int64 [batch, x, y, z].
            features: [M, C] inputs of the network.
        """
        model = self._runner.model
        assert model.crf is not None
        refined, self._new_marginals = model.crf.step(
            logits,
            space,
            model.chroma(features),
            self._marginals,
            engine=self._runner.engine,
            capacities=self.capacities,
        )
        return refined


class WindowExecution(Execution):
    """The last frames of a stream as one 4D tensor.

    Args:
        runner: computes the logits.
        length: frames that the window holds at most, 1 or more.
    """

    def __init__(self, runner: Runner, length: int) -> None:
        super().__init__(runner)
        self._frames: deque[Voxels] = deque(maxlen=length)
        self._new_frame: Placed | None = None

    @property
    def length(self) -> int:
        """Frames that the window holds at most."""
        assert self._frames.maxlen is not None
        return self._frames.maxlen

    @property
    def frames(self) -> int:
        """See `Execution.frames`."""
        return len(self._frames)

    @property
    def nbytes(self) -> int:
        """See `Execution.nbytes`."""
        kept = sum(f.coordinates.nbytes + f.features.nbytes for f in self._frames)
        return super().nbytes + kept

    def clear(self) -> None:
        """See `Execution.clear`."""
        super().clear()
        self._frames.clear()

    @property
    def voxel_count(self) -> int:
        """See `Execution.voxel_count`."""
        return sum(len(frame.features) for frame in self._frames)

    @property
    def repeats(self) -> bool:
        """See `Execution.repeats`; the earlier frames of a window have any number of voxels."""
        return self.length == 1

    def _stacked(self, placed: Placed) -> tuple[Tensor, Tensor]:
        """Return coordinates [N, 5] and features [N, C] of the window, the newest frame last."""
        assert self._origin is not None
        earlier = [*self._frames][max(0, len(self._frames) + 1 - self.length) :]
        if not earlier:
            return placed.coordinates, placed.features
        coordinates, features = [], []
        for time, frame in enumerate(earlier):
            offset = (frame.origin - self._origin).tolist()
            space = frame.coordinates + on_device(tuple(offset), frame.coordinates.device)
            coordinates.append(F.pad(F.pad(space, (1, 0)), (0, 1), value=time))
            features.append(frame.features)
        newest = F.pad(placed.coordinates[:, :-1], (0, 1), value=len(earlier))
        return torch.cat([*coordinates, newest]), torch.cat([*features, placed.features])

    def scores(self, placed: Placed, clock: StageClock) -> Scores:
        """See `Execution.scores`."""
        self._new_frame = placed
        self._new_marginals = None  # stale ones are of no use when the CRF is switched on again
        coordinates, features = self._stacked(placed)
        # Frames are stacked by time, so the last rows are the voxels of this frame, and padding.
        first = len(features) - len(placed.features)
        newest = slice(first, None)
        logits = self._runner.logits(
            coordinates, features, capacities=self.capacities, in_order=first == 0
        )
        crf = self._runner.model.crf if self._runner.use_crf else None
        # A causal CRF steps frame by frame; it keeps each frame's marginals as the newest one.
        together = crf is not None and self.length > 1 and not crf.causal
        values = {
            name: each.in_input_order(
                slice(None) if together and name == CLASSES else newest
            ).float()
            for name, each in logits.items()
        }
        clock.end("network")
        if crf is not None:
            classes = values[CLASSES]
            if together:
                chroma = self._runner.model.chroma(features)
                engine = self._runner.engine
                classes = crf(classes, coordinates, chroma, engine, self.capacities)[newest]
            else:
                classes = self._refined(classes, coordinates[newest, :4], features[newest])
            values[CLASSES] = classes
            clock.end("crf")
        return Scores(values, clock)

    def keep(self, kept: tuple[Any, ...], voxels: int) -> None:
        """See `Execution.keep`."""
        self.move(kept)
        assert self._new_frame is not None
        assert self._origin is not None
        coordinates, features = (
            tensor[:voxels] for tensor in (self._new_frame.coordinates, self._new_frame.features)
        )
        self._frames.append(Voxels(coordinates[:, 1:-1], self._origin, features))

    def state(self) -> dict[str, Tensor]:
        """See `Execution.state`."""
        state = super().state()
        for i, frame in enumerate(self._frames):
            state |= {f"window.{i}.{name}": value for name, value in vars(frame).items()}
        return state

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """See `Execution.restore`."""
        super().restore(state)
        for i in range(len(part(state, "window."))):
            if frame := part(state, f"window.{i}."):
                origin = frame.pop("origin").cpu()  # as voxels have it
                self._frames.append(Voxels(origin=origin, **self._on_device(frame)))


class IncrementalExecution(Execution):
    """Frame by frame; links read the features that earlier frames left in memory.

    Args:
        runner: computes the logits; its network is causal.

    Raises:
        ValueError: the network is not causal.
    """

    def __init__(self, runner: Runner) -> None:
        super().__init__(runner)
        network = runner.model.network
        if not network.causal:
            raise ValueError(
                "execution 'incremental' needs a causal 4D network; the network of model "
                f"'{runner.model.name}' is not causal: choose 'window'"
            )
        # With capacities, a frame may have to be computed again.
        frees = self.capacities is None
        self._memory = Memory(network.recall, network.support_channels, frees)
        self._count = 0
        self._voxels = 0

    @property
    def frames(self) -> int:
        """Number of frames since the stream's start."""
        return self._count

    @property
    def nbytes(self) -> int:
        """See `Execution.nbytes`."""
        return super().nbytes + self._memory.nbytes

    def clear(self) -> None:
        """See `Execution.clear`."""
        super().clear()
        self._memory.clear()
        self._count = self._voxels = 0

    @property
    def voxel_count(self) -> int:
        """See `Execution.voxel_count`."""
        return self._voxels

    def _shift(self, offset: Tensor) -> None:
        """See `Execution._shift`."""
        super()._shift(offset)
        self._memory.shift((*(-offset).tolist(), 0))

    def scores(self, placed: Placed, clock: StageClock) -> Scores:
        """See `Execution.scores`."""
        # The frame and all that is remembered have time 0, so that time never overflows.
        self._new_marginals = None  # stale ones are of no use when the CRF is switched on again
        coordinates, features = placed.coordinates, placed.features
        self._memory.begin()
        logits = self._runner.logits(coordinates, features, self._memory, self.capacities)
        values = {name: each.in_input_order().float() for name, each in logits.items()}
        self._memory.finish()
        clock.end("network")
        if self._runner.use_crf:
            values[CLASSES] = self._refined(values[CLASSES], coordinates[:, :4], features)
            clock.end("crf")
        return Scores(values, clock)

    @property
    def kept(self) -> tuple[Any, ...]:
        """See `Execution.kept`."""
        return *super().kept, self._memory.kept

    @property
    def next(self) -> tuple[Any, ...]:
        """See `Execution.next`."""
        return *super().next, self._memory.next

    def keep(self, kept: tuple[Any, ...], voxels: int) -> None:
        """See `Execution.keep`."""
        self.move(kept)
        self._count += 1
        self._voxels = voxels

    def fail(self) -> None:
        """See `Execution.fail`."""
        if self.capacities is None:
            self.clear()

    def move(self, kept: tuple[Any, ...]) -> None:
        """See `Execution.move`."""
        self._marginals, memory = kept
        self._memory.kept = memory

    def state(self) -> dict[str, Tensor]:
        """See `Execution.state`."""
        names = {layer: name for name, layer in self._layers.items()}
        memory = {f"memory.{name}": value for name, value in self._memory.state(names).items()}
        return {**super().state(), **memory, "count": torch.tensor(self._count)}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """See `Execution.restore`."""
        if "count" not in state:
            raise ValueError("the state is not one of incremental execution: 'count' is missing")
        super().restore(state)
        self._memory.restore(self._on_device(part(state, "memory.")), self._layers)
        self._count = int(state["count"])

    @property
    def _layers(self) -> dict[str, torch.nn.Module]:
        return dict(self._runner.model.network.linked_layers)


def part(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors whose names begin with a prefix, by the rest of their names."""
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
