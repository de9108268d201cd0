# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Frame in, labels out: the only entrance to the algorithm.

Node, bag labeller, evaluation and tests all call it, so they cannot disagree.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from minkowski_perception.axes import SensorAxes
from minkowski_perception.codec import IntensityScale
from minkowski_perception.device import (
    choose_device,
    deterministic_algorithms,
    prepare_determinism,
)
from minkowski_perception.frame import Frame
from minkowski_perception.labels import UNLABELLED, LabelSet
from minkowski_perception.motion.deskew import deskew
from minkowski_perception.motion.jumps import MotionLimits
from minkowski_perception.moving import MOVING
from minkowski_perception.networks.blocks import SPATIAL_DIMENSION
from minkowski_perception.networks.heads import CLASSES, HEADS, missing_value
from minkowski_perception.networks.model import Model, load_model
from minkowski_perception.settings import AXES_CHOICES, EXECUTION_CHOICES, Settings
from minkowski_perception.sparse import CapacityError, largest
from minkowski_perception.sparse.capacity import PADDING, Packed
from minkowski_perception.sparse.selection import EngineChoice, Trial, choose_engine
from minkowski_perception.streaming.averaging import TemporalAverage
from minkowski_perception.streaming.continuity import Continuity
from minkowski_perception.streaming.execution import (
    Execution,
    IncrementalExecution,
    Runner,
    Scores,
    WindowExecution,
    part,
)
from minkowski_perception.streaming.frame_graph import (
    FrameGraph,
    copy_all,
    device_tensors,
    in_place,
)
from minkowski_perception.streaming.inputs import FrameInput, Placed, VoxelizedFrame
from minkowski_perception.streaming.map import LabelledMap, VoxelMap
from minkowski_perception.streaming.residuals import RangeHistory
from minkowski_perception.streaming.stage_clock import StageClock
from minkowski_perception.trial import trial_frame
from minkowski_perception.voxels import PointLimits, VoxelFrame, stack_in_time, voxelize

if TYPE_CHECKING:
    from minkowski_perception.streaming.device_voxels import DeviceVoxelizer

_TRIAL_POINTS = {"cpu": 6000, "cuda": 60_000}
"""For a GPU as many as it takes until the work counts, not the calls."""


ENTROPY = "entropy"
"""Name of the output with the entropy of the class probabilities."""

_Result = tuple[StageClock, list[str], Packed]
_Computed = tuple[_Result, torch.Tensor, Any]

_LABEL, _CONFIDENCE = "label", "confidence"
_AVERAGED = "averaged classes"
"""Name of the averaged class probabilities among the outputs for voxels."""
_OF_VOXELS = "voxels."
"""Prefix of outputs for voxels among those for points."""
_COUNT = "number of voxels"
"""Name of that number among the outputs, where only the device knows it."""

_Results = Callable[[Scores, Placed], Mapping[str, torch.Tensor]]
"""From the logits of a frame and its voxels to outputs by name, on the device."""

_SHOWN = 3
"""Classes that the repr of a segmentation names."""


@dataclass(frozen=True, repr=False)
class Segmentation:
    """Outputs for the points of a frame.

    Attributes:
        labels: [N] uint8, ids of the model's label set; 255 for points that are in no voxel (not
            finite, exactly at the sensor, or kilometres away) or below the least confidence.
        confidence: [N] float32, probability of the likeliest class, 0 for points in no voxel.
        label_set: the classes of the labels.
        timings: seconds by stage: "deskew", "voxelize", "network", "crf", "heads" (from logits to
            outputs), "average", "map" and "slice", those that ran.
        frame_count: frames that the outputs rest on: those of the window; with incremental
            execution all since the stream's start.
        voxel_count: voxels that the network computed.
        outputs: [N] of each head but the classes, by name: float32, NaN where there is no value;
            or integers, the type's largest where there is none. Where the segmenter computes it,
            also `entropy`, float32, of the class probabilities in nats: 0 if one is 1, and the
            logarithm of the number of classes if all are equal; NaN for points in no voxel.
        thinned: points without a label because of the segmenter's limits.
    """

    labels: npt.NDArray[np.uint8]
    confidence: npt.NDArray[np.float32]
    label_set: LabelSet
    timings: dict[str, float]
    frame_count: int
    voxel_count: int
    outputs: dict[str, npt.NDArray[Any]] = field(default_factory=dict)
    thinned: int = 0

    @property
    def names(self) -> tuple[str, ...]:
        """Class names; the position is the label."""
        return self.label_set.names

    def fields(self) -> dict[str, npt.NDArray[Any]]:
        """Return the outputs as fields of a cloud, for `append_fields`."""
        return {
            "label": self.labels,
            "confidence": self.confidence,
            "rgb": self.label_set.shown_palette.take(self.labels, axis=0),
            **self.outputs,
        }

    def __repr__(self) -> str:
        points = np.bincount(self.labels, minlength=UNLABELLED + 1)
        common = [label for label in np.argsort(-points, kind="stable")[:_SHOWN] if points[label]]
        names = {**dict(enumerate(self.names)), UNLABELLED: "unlabelled"}
        shares = [f"{names[label]} {points[label] / len(self.labels):.0%}" for label in common]
        if more := np.count_nonzero(points) - len(common):
            shares.append(f"{more} more")
        return f"Segmentation({len(self.labels)} points: {', '.join(shares) or 'none'})"


@dataclass(frozen=True)
class Probabilities:
    """Outputs for the voxels of a frame.

    Attributes:
        voxels: M, and which points are in them.
        values: [M, K] float32 on the CPU, probabilities of the classes, averaged over the last
            frames where the segmenter averages.
        alone: [M, K], those of this frame, not averaged.
        timings: as in `Segmentation`, but for "slice".
        frame_count: see `Segmentation`.
        voxel_count: see `Segmentation`.
        outputs: [M] on the CPU of each head but the classes, by name.
    """

    voxels: VoxelFrame
    values: torch.Tensor
    alone: torch.Tensor
    timings: dict[str, float]
    frame_count: int
    voxel_count: int
    outputs: dict[str, torch.Tensor]


class Segmenter:
    """A model, and its memory of the recent frames of one stream.

    Args:
        model: what to run; `Segmenter.load` takes a model's name or path.
        device: "auto", "cpu", "cuda" or "cuda:N".
        execution: "incremental" computes each frame once and keeps the features that later ones
            look back to, for causal networks; "window" computes the last frames together; "auto"
            is incremental where the network is causal and no window is given.
        window: frames that execution "window" computes together; None for the number that the
            model was trained on.
        crf: whether the model's CRF refines the network's answer; None where it has one.
        averaging: frames, this one among them, over which each voxel's class probabilities are
            averaged; 1 for none; see `TemporalAverage`. Frames without a pose, and models whose
            voxels start at each frame's own corner (shift "minimum"), are never averaged: their
            voxels do not stay in place from frame to frame.
        min_confidence: least confidence of a label; points below it get no label.
        entropy: whether the outputs have the entropy of the class probabilities, see
            `Segmentation`.
        map: whether to remember the voxels of the stream; see `labelled_map`. Frames without a
            pose are not remembered.
        map_range: metres; see `VoxelMap`.
        map_voxels: see `VoxelMap`.
        map_moving: whether the map includes moving things; see `VoxelMap.labelled`.
        axes: of the sensor's frame, "ros" or "optical", for frames without a pose; "auto" to find
            out; see `SensorAxes`.
        deskew: whether clouds with per-point times are de-skewed by their motion; see `deskew`.
        intensity_full_scale: the sensor's largest intensity (1, 255, ...); None to detect it.
        max_gap: seconds; see `Continuity`.
        max_step_back: seconds; see `Continuity`.
        max_speed: metres per second; see `MotionLimits`.
        max_acceleration: metres per second squared; see `MotionLimits`.
        engine: see `choose_engine`; or that of another segmenter of the model, to share it.
        precision: see `choose_engine`.
        deterministic: give the same bits in every run, on CUDA too.

    Attributes:
        limits: on the points and voxels of a frame; can be set while the stream goes on.

    Raises:
        TypeError: `model` is no `Model`.
        ValueError: a value is not possible; the valid ones are named.
    """

    def __init__(
        self,
        model: Model,
        *,
        device: str = Settings.device,
        execution: str = Settings.execution,
        window: int | None = None,
        crf: bool | None = None,
        averaging: int = Settings.averaging,
        min_confidence: float = Settings.min_confidence,
        entropy: bool = Settings.entropy,
        map: bool = Settings.map,
        map_range: float = Settings.map_range,
        map_voxels: int = Settings.map_voxels,
        map_moving: bool = Settings.map_moving,
        axes: str = Settings.axes,
        deskew: bool = Settings.deskew,
        intensity_full_scale: float | None = None,
        max_gap: float = Settings.max_gap,
        max_step_back: float = Settings.max_step_back,
        max_speed: float = Settings.max_speed,
        max_acceleration: float = Settings.max_acceleration,
        engine: str | EngineChoice = Settings.engine,
        precision: str = Settings.precision,
        deterministic: bool = Settings.deterministic,
    ) -> None:
        if not isinstance(model, Model):
            raise TypeError(
                f"Segmenter takes a Model, not {model!r:.80}; load one by name or path: "
                f"Segmenter.load({str(model)!r:.80})"
            )
        self.device = choose_device(device)
        self.model = model
        self.deskews = deskew
        limits = MotionLimits(max_speed, max_acceleration)
        self._new_stream = partial(Continuity, max_gap, max_step_back, limits)
        self._new_scale = partial(IntensityScale, intensity_full_scale)
        if axes not in AXES_CHOICES:
            raise ValueError(f"axes must be one of {', '.join(AXES_CHOICES)}, not '{axes}'")
        self._new_axes = partial(SensorAxes, axes)
        self._average = TemporalAverage(1)
        self.averaging = averaging
        self.min_confidence = min_confidence
        self._with_entropy = entropy
        self.limits = PointLimits()
        if map and model.input.shift == "minimum":
            raise ValueError(
                f"model '{model.name}' has no map: its voxels start at each frame's own corner"
            )
        self._new_map = partial(
            VoxelMap, model.label_set, model.input, map_range, map_voxels, map_moving
        )
        self._map = self._new_map() if map else None
        self._new_execution, self._trial_length = self._plan(execution, window)
        self._check_crf(crf)
        self._deterministic = deterministic and self.device.type == "cuda"
        if self._deterministic:
            prepare_determinism()
        model.network.to(self.device)
        if model.crf is not None:
            model.crf.to(self.device)
        self._choice = (
            engine
            if isinstance(engine, EngineChoice)
            else choose_engine(
                engine,
                model.network.class_logits,
                self._trial,
                self.device,
                precision,
                deterministic,
            )
        )
        self._runner = Runner(
            model, self.device, self._choice.engine, model.crf is not None and crf is not False
        )
        self._begin()

    def _plan(
        self, execution: str, window: int | None
    ) -> tuple[Callable[[Runner], Execution], int]:
        """Return what makes the requested execution, and how many frames try the engines."""
        network = self.model.network
        if execution not in EXECUTION_CHOICES:
            raise ValueError(
                f"execution must be one of {', '.join(EXECUTION_CHOICES)}, not '{execution}'"
            )
        if execution == "incremental" and window is not None:
            raise ValueError(
                "execution 'incremental' has no window: give none, or choose 'window'"
            )
        if execution == "incremental" or (
            execution == "auto" and network.causal and window is None
        ):
            return IncrementalExecution, 2
        length = self.model.window if window is None else window
        if length < 1:
            raise ValueError(f"the window must be 1 frame or more, not {length}")
        if length > 1 and network.dimension == SPATIAL_DIMENSION:
            raise ValueError(
                f"model '{self.model.name}' is 3D: its window is 1 frame, not {length}"
            )
        return partial(WindowExecution, length=length), length

    def _begin(self) -> None:
        self._continuity = self._new_stream()
        self.intensity_scale = self._new_scale()
        self.axes = self._new_axes()
        self._runner = copy.copy(self._runner)
        self._execution = self._new_execution(self._runner)
        self._average = TemporalAverage(self.averaging, self.device)
        capacities = self._execution.capacities is not None
        self._graph: FrameGraph[_Result] = FrameGraph(
            self.device.type == "cuda" and capacities and self._execution.repeats
        )
        self._voxelizer = self._new_voxelizer() if capacities else None
        self._ranges = RangeHistory(self.model.input.residuals)
        self._map = None if self._map is None else self._new_map()

    def _new_voxelizer(self) -> DeviceVoxelizer | None:
        """Return what voxelizes frames on the device; None if the CPU does.

        A map and range residuals need the voxels there.
        """
        from minkowski_perception.streaming.device_voxels import DeviceVoxelizer

        model = self.model
        if self._map is not None or not DeviceVoxelizer.accepts(model.input):
            return None
        return DeviceVoxelizer(
            model.input, model.network.dimension, self.device, model.calibration is not None
        )

    def __repr__(self) -> str:
        return (
            f"Segmenter(model '{self.model.name}', {len(self.label_set)} classes, on "
            f"{self.device} by {self.engine}, execution {self.execution})"
        )

    @classmethod
    def load(cls, model: str | Path = Settings.model, **settings: Any) -> Segmenter:
        """Load a model by name or path; `settings` are those of the constructor.

        Raises:
            ModelError: the model cannot be loaded.
            ValueError: as the constructor.
        """
        return cls(load_model(model), **settings)

    def another_stream(self) -> Segmenter:
        """Return a segmenter of another stream over the same network and engine."""
        other = copy.copy(self)
        other._begin()
        return other

    @property
    def engine(self) -> EngineChoice:
        """Engine that computes the convolutions, and why it was chosen."""
        return self._choice

    @property
    def label_set(self) -> LabelSet:
        """The classes of the labels."""
        return self.model.label_set

    @property
    def execution(self) -> str:
        """How frames are run: "incremental", or "window" with its largest number of frames."""
        if isinstance(self._execution, WindowExecution):
            return f"window {self._execution.length}"
        return "incremental"

    @property
    def crf(self) -> bool:
        """Whether the CRF refines the network's answer; can be set while the stream goes on.

        Raises:
            ValueError: it is set, and the model has none.
        """
        return self._runner.use_crf

    @crf.setter
    def crf(self, on: bool) -> None:
        self._check_crf(on)
        self._runner.use_crf = on

    def _check_crf(self, on: bool | None) -> None:
        if on and self.model.crf is None:
            raise ValueError(f"model '{self.model.name}' has no CRF: crf cannot be on")

    @property
    def averaging(self) -> int:
        """Frames that probabilities are averaged over; can be set while the stream goes on.

        Raises:
            ValueError: it is set to less than 1.
        """
        return self._average.length

    @averaging.setter
    def averaging(self, frames: int) -> None:
        if frames < 1:
            raise ValueError(f"averaging must be over 1 frame or more, not {frames}")
        self._average.length = 1 if self.model.input.shift == "minimum" else frames
        if self._average.length == 1:
            self._average.clear()

    @property
    def graphs(self) -> bool:
        """Whether frames are CUDA graphs where possible; can be set for measurements."""
        return self._graph.enabled

    @graphs.setter
    def graphs(self, on: bool) -> None:
        self._graph = FrameGraph(on)

    @property
    def resets(self) -> Counter[str]:
        """How often the stream was reset, by reason."""
        return self._continuity.resets

    @property
    def state_bytes(self) -> int:
        """Bytes that are kept of the stream's frames."""
        return sum(each.nbytes for each in self._memories.values())

    def reset(self, reason: str = "") -> None:
        """Forget the stream: the next frame starts a new one.

        Args:
            reason: under which `resets` counts it; "" to not count it.
        """
        if reason:
            self.resets[reason] += 1
        self._continuity.clear()
        self._forget()

    def _forget(self) -> None:
        for each in self._memories.values():
            each.clear()

    @property
    def _memories(self) -> dict[str, Execution | TemporalAverage | RangeHistory | VoxelMap]:
        """What keeps something of the stream's frames, by its name in the state."""
        memories: dict[str, Execution | TemporalAverage | RangeHistory | VoxelMap] = {
            "execution": self._execution,
            "average": self._average,
            "ranges": self._ranges,
        }
        return memories if self._map is None else {**memories, "map": self._map}

    def labelled_map(self) -> LabelledMap | None:
        """Return the map of the stream so far; None if the segmenter keeps none."""
        return None if self._map is None else self._map.labelled()

    def state(self) -> dict[str, torch.Tensor]:
        """Return all that is kept of the stream, as tensors by name.

        They share no memory with the segmenter or each other, so `safetensors` can save them.
        """
        state = {
            "intensity_scale": torch.from_numpy(self.intensity_scale.state()),
            "axes": torch.tensor(list(self.axes.state()), dtype=torch.uint8),
        }
        for key, each in {"continuity": self._continuity, **self._memories}.items():
            state |= {f"{key}.{name}": t for name, t in each.state().items()}
        return {name: t.clone(memory_format=torch.contiguous_format) for name, t in state.items()}

    def restore(self, state: Mapping[str, torch.Tensor]) -> None:
        """Continue from a state, of a segmenter of the same model and execution, on any device.

        A map is restored if both segmenters keep one.

        Raises:
            ValueError: the state is of another model or execution; a new stream starts.
        """
        self.reset()
        self.restore_memory(state)
        state = {name: tensor.cpu() for name, tensor in state.items()}
        self._continuity.restore(part(state, "continuity."))
        self.intensity_scale.restore(state["intensity_scale"].numpy())
        self.axes.restore(bytes(state["axes"].tolist()))

    def recall(self, frame: Frame, outputs: Mapping[str, npt.NDArray[Any]]) -> Segmentation:
        """Return outputs that are known as `segment` returns them; the network does not run.

        All but its memory follows the frame. After the last such frame `restore_memory` sets that.

        Args:
            frame: N points, the stream's next frame.
            outputs: [N], those of `Segmentation.fields`, without the colour.

        Raises:
            OutOfOrderError: the frame is not later than the last one; nothing changes.
        """
        self._admitted(frame)
        return self._segmentation(dict(outputs), {}, 0, 0)

    def restore_memory(self, state: Mapping[str, torch.Tensor]) -> None:
        """Replace what the network, the averages and the map keep by that of a `state`.

        Raises:
            ValueError: the state is of another model or execution.
        """
        # On the CPU, as all but the execution keeps it; that moves its part to the device.
        state = {name: tensor.cpu() for name, tensor in state.items()}
        for key, each in self._memories.items():
            each.restore(part(state, f"{key}."))

    def skip(self, stamp: int, frame_id: str) -> None:
        """Note a frame that was received but is not segmented; see `Continuity.skip`."""
        self._continuity.skip(stamp, frame_id)

    def oriented(self, frame: Frame) -> Frame:
        """Return the stream's next frame with its axes; see `SensorAxes`.

        The stream starts anew if those of the frames before were assumed, and wrong.
        """
        if frame.axes is not None:
            return frame
        if self.axes.update(frame.points, frame.height, frame.frame_id):
            self.reset()
        return replace(frame, axes=self.axes.axes)

    def continues(self, frame: Frame) -> bool:
        """Whether a frame continues the stream; see `Continuity.continues`."""
        return self._continuity.continues(frame)

    def segment(
        self,
        points: Frame | npt.ArrayLike,
        *,
        intensity: npt.ArrayLike | None = None,
        colour: npt.ArrayLike | None = None,
        time: npt.ArrayLike | None = None,
        stamp: int | None = None,
        pose: npt.ArrayLike | None = None,
    ) -> Segmentation:
        """Label every point of a frame, together with the frames before it.

        `Frame`s, and arrays with a stamp, make a stream. An array without a stamp is a single
        shot: it is labelled alone, and the stream does not change.

        Args:
            points: a frame of N points; or an array [N, 3] of x, y, z in metres in the sensor's
                frame, or [N, 4] with intensity. Arrays may be of any number type, lists or
                PyTorch tensors.
            intensity: [N], in the sensor's unit.
            colour: [N, 3] uint8, red, green, blue.
            time: [N], seconds from the stamp at which each point was measured.
            stamp: nanoseconds.
            pose: [4, 4], takes points of the sensor's frame to the odometry frame.

        Raises:
            OutOfOrderError: the frame is not later than the last one; nothing changes.
            TypeError: an argument is no array of numbers, or is given beside a `Frame`.
            ValueError: a shape does not fit, or the cloud lacks a field that the model needs.
        """
        columns = {"intensity": intensity, "colour": colour, "time": time, "pose": pose}
        if isinstance(points, Frame):
            given = [name for name, column in columns.items() if column is not None]
            given += [] if stamp is None else ["stamp"]
            if given:
                raise TypeError(f"set {', '.join(given)} on the Frame, not beside it")
            return self._segment(points)
        frame = Frame.from_array(points, stamp=stamp or 0, **columns)
        return (self.another_stream() if stamp is None else self)._segment(frame)

    def _segment(self, frame: Frame) -> Segmentation:
        frame, intensity, timings = self._admitted(frame)
        if self._voxelizer is not None and self.limits.keep_all_of(len(frame)) and len(frame):
            return self._segment_points(frame, intensity, timings)
        voxels = self._voxelized(frame, intensity, timings)
        mapped = self._map is not None and frame.pose is not None

        def results(scores: Scores, placed: Placed) -> dict[str, torch.Tensor]:
            outputs = self._outputs(placed, frame, scores)
            alone = outputs.pop(CLASSES)
            points = self._sliced(outputs.pop(_AVERAGED, alone), outputs, placed.rows)
            scores.clock.end("slice")
            of_voxels = {CLASSES: alone, **outputs} if mapped else {}
            return {**points, **{_OF_VOXELS + name: each for name, each in of_voxels.items()}}

        key = "points", mapped, self.min_confidence, self._with_entropy
        clock, found = self._computed_from_voxels(voxels, frame, key, results)
        _add_seconds(timings, clock.seconds())
        of_voxels = part(found, _OF_VOXELS)
        points = {name: each for name, each in found.items() if not name.startswith(_OF_VOXELS)}
        self._remove_unknown(points, frame)
        self._remove_unknown(of_voxels, frame)
        self._add_to_map(voxels, frame, of_voxels, timings)
        started = perf_counter()
        spread = _spread(points, voxels)
        _add_seconds(timings, {"slice": perf_counter() - started})
        voxel_count = self._voxel_count(len(voxels.coordinates))
        return self._segmentation(spread, timings, voxel_count, voxels.thinned)

    def _segment_points(
        self, frame: Frame, intensity: npt.NDArray[np.float32] | None, timings: dict[str, float]
    ) -> Segmentation:
        """Label the points of a frame, which become voxels on the device."""
        from minkowski_perception.streaming.device_voxels import PointFrame

        assert self._voxelizer is not None

        def results(scores: Scores, placed: Placed) -> dict[str, torch.Tensor]:
            outputs = self._outputs(placed, frame, scores)
            values = outputs.pop(CLASSES)
            points = self._sliced(outputs.pop(_AVERAGED, values), outputs, placed.rows)
            assert placed.outside is not None
            points = {
                name: each.masked_fill(placed.outside, _missing(name, each.dtype))
                for name, each in points.items()
            }
            scores.clock.end("slice")
            return points

        given = PointFrame(frame, intensity, self._voxelizer)
        key = "points", self.min_confidence, self._with_entropy
        clock, found = self._computed(given, frame, key, results)
        count = int(found.pop(_COUNT))
        _add_seconds(timings, clock.seconds())
        self._remove_unknown(found, frame)
        points = {name: each[: len(frame)].numpy() for name, each in found.items()}
        return self._segmentation(points, timings, self._voxel_count(count), 0)

    def sliced(self, found: Probabilities) -> Segmentation:
        """Return the outputs for the points of a frame, given those for its voxels."""
        started = perf_counter()
        rows = found.voxels.quantization.inverse
        spread = _spread(self._sliced(found.values, found.outputs, rows), found.voxels)
        timings = found.timings | {"slice": perf_counter() - started}
        return self._segmentation(spread, timings, found.voxel_count, found.voxels.thinned)

    def _sliced(
        self, values: torch.Tensor, outputs: Mapping[str, torch.Tensor], rows: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Return the outputs for points, by name of their field, on the device.

        Args:
            values: [M, K] probabilities of the classes.
            outputs: [M] of the other heads, by name.
            rows: [N] int64, the voxel of each point.
        """
        probability, best = largest(values)
        best = best.to(torch.uint8).masked_fill(probability < self.min_confidence, UNLABELLED)
        of_voxels = {_LABEL: best, _CONFIDENCE: probability, **outputs}
        if self._with_entropy:
            of_voxels[ENTROPY] = torch.special.entr(values).sum(dim=1)
        return {name: each.index_select(0, rows) for name, each in of_voxels.items()}

    def _segmentation(
        self,
        points: dict[str, npt.NDArray[Any]],
        timings: dict[str, float],
        voxel_count: int,
        thinned: int,
    ) -> Segmentation:
        return Segmentation(
            points.pop(_LABEL),
            points.pop(_CONFIDENCE),
            self.label_set,
            timings,
            self._execution.frames,
            voxel_count,
            points,
            thinned,
        )

    def _voxel_count(self, voxels: int) -> int:
        """Return the voxels that the network computed for a frame of so many."""
        return self._execution.voxel_count if voxels else 0

    def probabilities(self, frame: Frame) -> Probabilities:
        """Return the outputs of all heads for voxels; `segment` without the points.

        Raises:
            OutOfOrderError, ValueError: as `segment`.
        """
        frame, intensity, timings = self._admitted(frame)
        voxels = self._voxelized(frame, intensity, timings)
        clock, outputs = self._computed_from_voxels(
            voxels, frame, "voxels", lambda scores, placed: self._outputs(placed, frame, scores)
        )
        _add_seconds(timings, clock.seconds())
        self._remove_unknown(outputs, frame)
        self._add_to_map(voxels, frame, outputs, timings)
        count = len(voxels.coordinates)
        outputs = {name: each[:count] for name, each in outputs.items()}
        alone = outputs.pop(CLASSES)
        values = outputs.pop(_AVERAGED, alone)
        frames, voxel_count = self._execution.frames, self._voxel_count(count)
        return Probabilities(voxels, values, alone, timings, frames, voxel_count, outputs)

    def _remove_unknown(self, outputs: dict[str, torch.Tensor], frame: Frame) -> None:
        """Replace the outputs that need motion where it is not known."""
        if not self._knows_motion(frame):
            outputs |= {
                name: torch.full_like(each, missing_value(each.dtype))
                for name, each in outputs.items()
                if name in HEADS and HEADS[name].needs_motion
            }

    def _add_to_map(
        self,
        voxels: VoxelFrame,
        frame: Frame,
        outputs: Mapping[str, torch.Tensor],
        timings: dict[str, float],
    ) -> None:
        """Add the outputs for the voxels of a frame to the map, if there is one."""
        if self._map is None or frame.pose is None:
            return
        started = perf_counter()
        rows = slice(len(voxels.coordinates))
        moving = outputs[MOVING][rows] if MOVING in outputs else None
        self._map.add(voxels, outputs[CLASSES][rows], moving, frame.pose[:3, 3], frame.stamp)
        timings["map"] = perf_counter() - started

    def _knows_motion(self, frame: Frame) -> bool:
        """Return whether the outputs of the frame rest on motion, for heads that need it."""
        has_past = self._execution.frames > 1 or self._ranges.compared
        return frame.pose is not None and has_past

    def scores(self, frame: Frame) -> tuple[VoxelFrame, torch.Tensor]:
        """Return a frame's voxels and their class logits, [M, K] float32, before any averaging.

        Raises:
            OutOfOrderError, ValueError: as `segment`.
        """
        frame, intensity, timings = self._admitted(frame)
        voxels = self._voxelized(frame, intensity, timings)
        _, logits = self._computed_from_voxels(
            voxels, frame, "logits", lambda scores, _: scores.logits
        )
        return voxels, logits[CLASSES][: len(voxels.coordinates)]

    def _outputs(self, placed: Placed, frame: Frame, scores: Scores) -> dict[str, torch.Tensor]:
        """Return the outputs of all heads for the voxels of a frame, on the device.

        Where classes are averaged, there is also `_AVERAGED`.
        """
        logits = dict(scores.logits)
        if self.model.calibration is not None and placed.density is not None:
            logits[CLASSES] = self.model.calibration(logits[CLASSES], *placed.density)
        outputs = {name: HEADS[name].output(each) for name, each in logits.items()}
        scores.clock.end("heads")
        if self._average.length > 1 and frame.pose is not None and len(placed.keys):
            capacities = self._execution.capacities
            outputs[_AVERAGED] = self._average.averaged(placed.keys, outputs[CLASSES], capacities)
            scores.clock.end("average")
        return outputs

    def _computed_from_voxels(
        self, voxels: VoxelFrame, frame: Frame, key: Hashable, results: _Results
    ) -> tuple[StageClock, dict[str, torch.Tensor]]:
        """Return what `_computed` returns for a frame with its voxels, of which there may be none.

        The points of `results` are those in a voxel.
        """
        if len(voxels.coordinates):
            density = None
            if self.model.calibration is not None:
                density = voxels.distances(frame), voxels.quantization.counts()
            given = VoxelizedFrame(voxels, self.device, density)
            clock, found = self._computed(given, frame, key, results)
            found.pop(_COUNT, None)
            return clock, found
        heads = self.model.network.options.heads
        clock = StageClock(self.device)
        clock.end("network")
        none = {name: torch.zeros(0, channels) for name, channels in heads.items()}
        quantization = voxels.quantization
        placed = Placed(
            quantization.coordinates, voxels.features, quantization.keys, quantization.inverse
        )
        return clock, dict(results(Scores(none, clock), placed))

    @torch.inference_mode()
    def _computed(
        self, given: FrameInput, frame: Frame, key: Hashable, results: _Results
    ) -> tuple[StageClock, dict[str, torch.Tensor]]:
        """Return the stages of a frame and, on the CPU, what is made of its logits.

        Args:
            given: what the frame is computed from.
            frame: the frame.
            key: of all settings that `results` depends on.
            results: what is made of them.
        """
        execution, average = self._execution, self._average
        with deterministic_algorithms() if self._deterministic else nullcontext():
            while True:
                former = execution.kept, average.kept
                average.begin(None if frame.pose is None else given.origin)
                execution.begin(given.origin)
                clock = StageClock(self.device)
                inputs = given.tensors(execution.capacities)
                if execution.capacities is not None:
                    self._move_into(former)
                    try:
                        return self._computed_in_capacities(
                            given, inputs, clock, frame, key, results
                        )
                    except CapacityError:
                        continue
                try:
                    placed = given.placed(inputs, None)
                    found = results(execution.scores(placed, clock), placed)
                    copies = {name: each.cpu() for name, each in found.items()}
                except BaseException:
                    execution.fail()
                    raise
                execution.keep(execution.next, len(placed.keys))
                average.keep(average.next)
                return clock, copies

    def _move_into(self, former: tuple[Any, Any]) -> None:
        """Move what is kept into the memory in which it was before its origin moved."""
        kept, self._average.kept = in_place((self._execution.kept, self._average.kept), former)
        self._execution.move(kept)

    def _computed_in_capacities(
        self,
        given: FrameInput,
        inputs: Sequence[torch.Tensor],
        clock: StageClock,
        frame: Frame,
        key: Hashable,
        results: _Results,
    ) -> tuple[StageClock, dict[str, torch.Tensor]]:
        """Return what `_computed` returns, by a CUDA graph where the same was computed before.

        The outputs have also the number of voxels. The state stays as it is if that is 0.

        Raises:
            CapacityError: the frame has to be computed again.
        """
        execution, average, capacities = self._execution, self._average, self._execution.capacities
        assert capacities is not None

        def compute(inputs: Sequence[torch.Tensor]) -> _Computed:
            capacities.begin()
            stages = clock.again()
            placed = given.placed(inputs, capacities)
            stages.end("voxelize")
            found = dict(results(execution.scores(placed, stages), placed))
            found[_COUNT] = (placed.keys != PADDING).sum()
            packed = capacities.packed(list(found.values()))
            return (stages, list(found), packed), packed.raw, (execution.next, average.next)

        sizes = frozenset(capacities.sizes.items())
        key = given.kind, key, sizes, self.crf, self.averaging, frame.pose is None
        kept = execution.kept, average.kept
        (stages, names, packed), replayed = self._graph.computed(key, inputs, kept, compute)
        found = dict(zip(names, capacities.fetched(packed), strict=True))
        voxels = int(found[_COUNT])
        if replayed is not None:
            stages = clock.again()
            stages.end("network")  # and all that follows, as a graph has no stages
        if not voxels:
            return stages, found
        if replayed is None:
            kept = in_place((execution.next, average.next), kept)
        else:
            copy_all(device_tensors(kept), replayed)
        execution.keep(kept[0], voxels)
        average.keep(kept[1])
        return stages, found

    @torch.inference_mode()
    def _admitted(
        self, frame: Frame
    ) -> tuple[Frame, npt.NDArray[np.float32] | None, dict[str, float]]:
        """Admit the stream's next frame.

        Returns:
            the frame with its axes, de-skewed; its intensity [N], 0 to 1, or None; seconds of the
            stages so far.
        """
        timings = {}
        started = perf_counter()
        frame = self.oriented(frame)
        before = self._continuity.admit(frame)
        if before is None:
            self._forget()
        elif self.deskews and frame.time is not None and before.pose is not None:
            frame = deskew(frame, before.pose, before.stamp)
            timings["deskew"] = perf_counter() - started
            started = perf_counter()
        intensity = frame.intensity
        if intensity is not None:
            intensity = self.intensity_scale.normalise(intensity)
        timings["voxelize"] = perf_counter() - started
        return frame, intensity, timings

    @torch.inference_mode()
    def _voxelized(
        self,
        frame: Frame,
        intensity: npt.NDArray[np.float32] | None,
        timings: dict[str, float],
    ) -> VoxelFrame:
        """Return the voxels of an admitted frame, from the CPU; note the time of it."""
        started = perf_counter()
        voxels = voxelize(
            frame, self.model.input, intensity, self.model.network.dimension, self.limits
        )
        voxels = self._ranges.extended(voxels, frame)
        _add_seconds(timings, {"voxelize": perf_counter() - started})
        return voxels

    def _trial(self) -> Trial:
        """Voxels and features of a made-up street, as the network sees them."""
        dimension, length = self.model.network.dimension, self._trial_length
        frames = (trial_frame(_TRIAL_POINTS[self.device.type] // length, i) for i in range(length))
        ranges = RangeHistory(self.model.input.residuals)
        voxels = [
            ranges.extended(voxelize(f, self.model.input, f.intensity, dimension), f)
            for f in frames
        ]
        coordinates, features = stack_in_time(voxels)
        return coordinates[:, : dimension + 1].to(self.device), features.to(self.device)


def on_points(values: torch.Tensor, voxels: VoxelFrame, missing: float) -> npt.NDArray[Any]:
    """Return the values [M] of voxels for the points [N] of their frame.

    Args:
        values: on the CPU.
        voxels: of the frame.
        missing: value of the points that are in no voxel.
    """
    return _on_all(voxels.quantization.slice(values), voxels, missing)


def _on_all(values: torch.Tensor, voxels: VoxelFrame, missing: float) -> npt.NDArray[Any]:
    """Return the values of the points in voxels for all points [N] of their frame."""
    spread = np.full(len(voxels.valid), missing, values.numpy().dtype)
    spread[voxels.valid] = values.numpy()
    return spread


def _spread(points: Mapping[str, torch.Tensor], voxels: VoxelFrame) -> dict[str, npt.NDArray[Any]]:
    """Return the outputs of the points in voxels for all points of their frame, by name.

    Args:
        points: for each point in a voxel; padding may follow.
        voxels: of the frame.
    """
    count = len(voxels.quantization.inverse)
    return {
        name: _on_all(each[:count], voxels, _missing(name, each.dtype))
        for name, each in points.items()
    }


def _missing(name: str, dtype: torch.dtype) -> float:
    """Return the value of an output for points that are in no voxel."""
    return {_LABEL: UNLABELLED, _CONFIDENCE: 0.0}.get(name, missing_value(dtype))


def _add_seconds(timings: dict[str, float], more: Mapping[str, float]) -> None:
    for stage, seconds in more.items():
        timings[stage] = timings.get(stage, 0.0) + seconds
