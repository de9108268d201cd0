# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Frame in, labels out: the only entrance to the algorithm.

Node, bag labeller, evaluation and tests all call it, so they cannot disagree.
"""

from __future__ import annotations

import copy
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from minkowski_perception.codec import IntensityScale
from minkowski_perception.device import (
    choose_device,
    deterministic_algorithms,
    prepare_determinism,
)
from minkowski_perception.frame import Frame
from minkowski_perception.labels import UNLABELLED, LabelSet
from minkowski_perception.motion.deskew import deskew
from minkowski_perception.networks.blocks import SPATIAL_DIMENSION
from minkowski_perception.networks.heads import CLASSES, HEADS, missing_value
from minkowski_perception.networks.model import Model, load_model
from minkowski_perception.settings import EXECUTION_CHOICES, Settings
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
from minkowski_perception.trial import trial_frame
from minkowski_perception.voxels import VoxelFrame, stack_in_time, voxelize

_TRIAL_POINTS = {"cpu": 6000, "cuda": 60_000}
"""For a GPU as many as it takes until the work counts, not the calls."""


@dataclass(frozen=True)
class Segmentation:
    """Outputs for the points of a frame.

    Attributes:
        labels: [N] uint8, ids of the model's label set; 255 for points that are in no voxel (not
            finite, exactly at the sensor, or kilometres away).
        confidence: [N] float32, probability of the label, 0 where there is none.
        timings: seconds by stage: "deskew", "voxelize", "network", "crf", "average" and "slice",
            those that ran.
        frame_count: frames that the outputs rest on: those of the window; with incremental
            execution all since the stream's start.
        voxel_count: voxels that the network computed.
        outputs: [N] of each head but the classes, by name: float32, NaN where there is no value;
            or integers, the type's largest where there is none.
    """

    labels: npt.NDArray[np.uint8]
    confidence: npt.NDArray[np.float32]
    timings: dict[str, float]
    frame_count: int
    voxel_count: int
    outputs: dict[str, npt.NDArray[Any]] = field(default_factory=dict)

    def fields(self, palette: npt.NDArray[np.uint8]) -> dict[str, npt.NDArray[Any]]:
        """Return the outputs as fields of a cloud, for `append_fields`.

        Args:
            palette: [256, 3] uint8, colour by label.
        """
        colours = palette[self.labels]
        return {
            "label": self.labels,
            "confidence": self.confidence,
            "rgb": colours,
            **self.outputs,
        }


@dataclass(frozen=True)
class Probabilities:
    """Outputs for the voxels of a frame.

    Attributes:
        voxels: M, and which points are in them.
        values: [M, K] float32 on the CPU, probabilities of the classes, averaged over the last
            frames where the segmenter averages.
        timings: as in `Segmentation`, but for "slice".
        frame_count: see `Segmentation`.
        voxel_count: see `Segmentation`.
        outputs: [M] on the CPU of each head but the classes, by name.
    """

    voxels: VoxelFrame
    values: torch.Tensor
    timings: dict[str, float]
    frame_count: int
    voxel_count: int
    outputs: dict[str, torch.Tensor]


class Segmenter:
    """A model, and the recent frames of one stream.

    Args:
        model: what to run.
        device: where.
        execution: "incremental" computes each frame once and keeps what later ones look back to,
            for causal networks; "window" computes the last frames together; "auto" is incremental
            where the network is causal and no window is asked for.
        window: frames that the network sees together with execution "window"; None for the number
            it was trained on.
        crf: whether the model's CRF refines the network's answer; None where it has one.
        averaging: frames, this one among them, over which each voxel's class probabilities are
            averaged; 1 for none of it; see `TemporalAverage`. Frames without a pose, and models
            whose voxels start at each frame's own corner (shift "minimum"), are never averaged: no
            place is known to keep its voxel.
        deskew: whether clouds with per-point times are de-skewed by their motion; see `deskew`.
        intensity_full_scale: the sensor's largest intensity (1, 255, ...); None to detect it.
        max_gap: see `Continuity`.
        max_step_back: see `Continuity`.
        engine: see `choose_engine`.
        precision: see `choose_engine`.
        deterministic: give the same bits in every run, on CUDA too.

    Raises:
        ValueError: a value that is not possible; the valid ones are named.
    """

    def __init__(
        self,
        model: Model,
        *,
        device: str = "auto",
        execution: str = "auto",
        window: int | None = None,
        crf: bool | None = None,
        averaging: int = Settings.averaging,
        deskew: bool = True,
        intensity_full_scale: float | None = None,
        max_gap: float = 1.0,
        max_step_back: float = 1.0,
        engine: str = "auto",
        precision: str = "auto",
        deterministic: bool = False,
    ) -> None:
        self.device = choose_device(device)
        self.model = model
        self.deskews = deskew
        self._new_stream = partial(Continuity, max_gap, max_step_back)
        self._new_scale = partial(IntensityScale, intensity_full_scale)
        self.averaging = averaging
        self._new_execution, self._trial_length = self._plan(execution, window)
        self._check_crf(crf)
        self._deterministic = deterministic and self.device.type == "cuda"
        if self._deterministic:
            prepare_determinism()
        model.network.to(self.device)
        if model.crf is not None:
            model.crf.to(self.device)
        self._choice = choose_engine(
            engine, model.network.class_logits, self._trial, self.device, precision, deterministic
        )
        self._runner = Runner(
            model, self.device, self._choice.engine, model.crf is not None and crf is not False
        )
        self._begin()

    def _plan(
        self, execution: str, window: int | None
    ) -> tuple[Callable[[Runner], Execution], int]:
        """How to make the execution that is asked for, and frames that engines are tried on."""
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
        self._runner = copy.copy(self._runner)
        self._execution = self._new_execution(self._runner)
        self._average = TemporalAverage(self.averaging)

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
        """What runs the network, and why."""
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
        self._average = TemporalAverage(1 if self.model.input.shift == "minimum" else frames)

    @property
    def resets(self) -> Counter[str]:
        """How often the stream started anew, by reason."""
        return self._continuity.resets

    @property
    def state_bytes(self) -> int:
        """Memory of all that is kept of the stream's frames."""
        return self._execution.nbytes + self._average.nbytes

    def reset(self) -> None:
        """Forget the stream: the next frame is a first one."""
        self._continuity.clear()
        self._forget()

    def _forget(self) -> None:
        self._execution.clear()
        self._average.clear()

    def state(self) -> dict[str, torch.Tensor]:
        """All that is kept of the stream, as tensors by name (for safetensors, say)."""
        scale = self.intensity_scale.full_scale
        return {
            "intensity_full_scale": torch.tensor(scale, dtype=torch.float64),
            **{f"continuity.{name}": t for name, t in self._continuity.state().items()},
            **{f"execution.{name}": t for name, t in self._execution.state().items()},
            **{f"average.{name}": t for name, t in self._average.state().items()},
        }

    def restore(self, state: Mapping[str, torch.Tensor]) -> None:
        """Go on where `state` was taken, by a segmenter of the same model and execution.

        Raises:
            ValueError: it was taken by another one; the stream has started anew.
        """
        self.reset()
        self._execution.restore(part(state, "execution."))
        self._average.restore(part(state, "average."))
        self._continuity.restore(part(state, "continuity."))
        self.intensity_scale.full_scale = float(state["intensity_full_scale"])

    def continues(self, frame: Frame) -> bool:
        """Whether a frame goes on with the stream; see `Continuity.continues`."""
        return self._continuity.continues(frame)

    def segment(self, frame: Frame) -> Segmentation:
        """Label every point of a frame, seen together with those before it.

        Args:
            frame: N points; its pose places it among the frames before it.

        Raises:
            OutOfOrderError: the frame is not later than the last one; nothing changes.
            ValueError: the model needs a field that the cloud does not have.
        """
        found = self.probabilities(frame)
        started = time.perf_counter()
        probability, best = found.values.max(dim=1)
        labels = on_points(best.to(torch.uint8), found.voxels, UNLABELLED)
        confidence = on_points(probability, found.voxels, 0.0)
        outputs = {
            name: on_points(values, found.voxels, missing_value(values.dtype))
            for name, values in found.outputs.items()
        }
        timings = found.timings | {"slice": time.perf_counter() - started}
        return Segmentation(
            labels, confidence, timings, found.frame_count, found.voxel_count, outputs
        )

    def probabilities(self, frame: Frame) -> Probabilities:
        """Return the outputs of all heads for voxels; `segment` without the points.

        Raises:
            OutOfOrderError, ValueError: as `segment`.
        """
        voxels, scores, timings = self._score(frame)
        started = time.perf_counter()
        outputs = {name: HEADS[name].output(each).cpu() for name, each in scores.logits.items()}
        values = outputs.pop(CLASSES)
        if self._average.length > 1 and frame.pose is not None and len(values):
            values = self._average(voxels, values)
            timings["average"] = time.perf_counter() - started
        frame_count = self._execution.frames
        if frame.pose is None or frame_count < 2:
            outputs |= {
                name: torch.full_like(each, missing_value(each.dtype))
                for name, each in outputs.items()
                if HEADS[name].needs_motion
            }
        return Probabilities(voxels, values, timings, frame_count, scores.voxel_count, outputs)

    def scores(self, frame: Frame) -> tuple[VoxelFrame, torch.Tensor]:
        """Return a frame's voxels and their class logits, [M, K] float32, before any averaging.

        Raises:
            OutOfOrderError, ValueError: as `segment`.
        """
        voxels, scores, _ = self._score(frame)
        return voxels, scores.logits[CLASSES].cpu()

    @torch.inference_mode()
    def _score(self, frame: Frame) -> tuple[VoxelFrame, Scores, dict[str, float]]:
        """Return a frame's voxels, their logits, and seconds by stage."""
        timings = {}
        started = time.perf_counter()
        before = self._continuity.admit(frame)
        if before is None:
            self._forget()
        elif self.deskews and frame.time is not None and before.pose is not None:
            frame = deskew(frame, before.pose, before.stamp)
            timings["deskew"] = time.perf_counter() - started
            started = time.perf_counter()
        intensity = (
            None if frame.intensity is None else self.intensity_scale.normalise(frame.intensity)
        )
        voxels = voxelize(frame, self.model.input, intensity, self.model.network.dimension)
        timings["voxelize"] = time.perf_counter() - started
        if not voxels.valid.any():
            heads = self.model.network.options.heads
            none = {name: torch.zeros(0, channels) for name, channels in heads.items()}
            return voxels, Scores(none, 0, {}), timings | {"network": 0.0}
        with deterministic_algorithms() if self._deterministic else nullcontext():
            scores = self._execution.scores(voxels)
        return voxels, scores, timings | dict(scores.seconds)

    def _trial(self) -> Trial:
        """Voxels and features of a made-up street, as the network sees them."""
        dimension, length = self.model.network.dimension, self._trial_length
        frames = (trial_frame(_TRIAL_POINTS[self.device.type] // length, i) for i in range(length))
        voxels = [voxelize(f, self.model.input, f.intensity, dimension) for f in frames]
        coordinates, features = stack_in_time(voxels)
        return coordinates[:, : dimension + 1].to(self.device), features.to(self.device)


def on_points(values: torch.Tensor, voxels: VoxelFrame, missing: float) -> npt.NDArray[Any]:
    """Return the values [M] of voxels for the points [N] of their frame.

    Args:
        values: on the CPU.
        voxels: of the frame.
        missing: value of the points that are in no voxel.
    """
    rows = voxels.quantization.slice(values).numpy()
    spread = np.full(len(voxels.valid), missing, rows.dtype)
    spread[voxels.valid] = rows
    return spread
