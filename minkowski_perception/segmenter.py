# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Frame in, labels out: the only entrance to the algorithm.

Node, bag labeller, evaluation and tests all call it, so they cannot disagree.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from minkowski_perception.codec import IntensityScale
from minkowski_perception.frame import Frame
from minkowski_perception.labels import UNLABELLED, LabelSet
from minkowski_perception.networks.minkunet import SPATIAL_DIMS
from minkowski_perception.networks.model import DEFAULT_MODEL, Model, load_model
from minkowski_perception.sparse import SparseTensor
from minkowski_perception.sparse.engines.selection import EngineChoice, Trial, choose_engine
from minkowski_perception.sparse.threads import set_thread_count
from minkowski_perception.temporal.window import SlidingWindow
from minkowski_perception.trial import trial_frame
from minkowski_perception.voxels import stack_in_time, voxelize

_TRIAL_POINTS = {"cpu": 6000, "cuda": 60_000}
"""For a GPU as many as it takes until the work counts, not the calls."""

_CUBLAS_WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"


@dataclass(frozen=True)
class Segmentation:
    """Labels of a frame.

    Attributes:
        labels: [N] uint8, ids of the model's label set; 255 for points that have no place in a
            voxel (not finite, exactly at the sensor, or kilometres away).
        confidence: [N] float32, probability of the label, 0 where there is none.
        timings: seconds by stage: "voxelize", "network", "slice".
        window: frames that the network saw together.
        voxels: voxels that it saw.
    """

    labels: npt.NDArray[np.uint8]
    confidence: npt.NDArray[np.float32]
    timings: dict[str, float]
    window: int
    voxels: int


def choose_device(name: str) -> torch.device:
    """Return the device of a name: "auto" is CUDA where there is one, else the CPU.

    Raises:
        ValueError: an unknown name, or a device that this machine does not have.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cpu":
        return torch.device("cpu")
    if name.partition(":")[0] == "cuda":
        index = name.partition(":")[2]
        count = torch.cuda.device_count()
        if (index or "0").isdigit() and int(index or 0) < count:
            return torch.device(name)
        raise ValueError(f"device '{name}' is not here: PyTorch sees {count} CUDA devices")
    raise ValueError(f"device must be 'auto', 'cpu', 'cuda' or 'cuda:N', not '{name}'")


def use_threads(count: int = 0) -> None:
    """Run networks of this process on so many CPU threads; 0 is for all cores.

    PyTorch's own loops then take all cores but one: their threads wait for the slowest of them
    spinning, so that any other work of the machine delays each loop by a time slice, a hundredfold
    of the loop's own time. Our compiled loops divide their work finely and wait asleep.
    """
    cores = len(os.sched_getaffinity(0))
    torch.set_num_threads(count or max(1, cores - 1))
    set_thread_count(count or cores)


def _prepare_determinism() -> None:
    """Tell cuBLAS, before it starts, to give the same bits in every run.

    Raises:
        ValueError: it is too late for that.
    """
    if torch.cuda.is_initialized() and _CUBLAS_WORKSPACE not in os.environ:
        raise ValueError(
            f"CUDA runs already: for deterministic results set {_CUBLAS_WORKSPACE}=:4096:8 in the "
            "environment of this process"
        )
    os.environ.setdefault(_CUBLAS_WORKSPACE, ":4096:8")


@contextmanager
def _deterministic_algorithms() -> Iterator[None]:
    """Let PyTorch use none but algorithms that give the same bits in every run."""
    before = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warn_only)


class Segmenter:
    """A model, and the recent frames of one stream.

    Args:
        model: what to run.
        device: where.
        window: frames that the network sees together; None for the number it was trained on.
        intensity_full_scale: the sensor's largest intensity (1, 255, ...); None to detect it.
        max_gap: see `SlidingWindow`.
        max_step_back: see `SlidingWindow`.
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
        window: int | None = None,
        intensity_full_scale: float | None = None,
        max_gap: float = 1.0,
        max_step_back: float = 1.0,
        engine: str = "auto",
        precision: str = "auto",
        deterministic: bool = False,
    ) -> None:
        self.device = choose_device(device)
        self.model = model
        self.intensity_scale = IntensityScale(intensity_full_scale)
        length = model.window if window is None else window
        if length > 1 and model.network.dims == SPATIAL_DIMS:
            raise ValueError(f"model '{model.name}' is 3D: its window is 1 frame, not {length}")
        self._window = SlidingWindow(length, max_gap, max_step_back)
        self._deterministic = deterministic and self.device.type == "cuda"
        if self._deterministic:
            _prepare_determinism()
        self._network = model.network.to(self.device)
        self._choice = choose_engine(
            engine, self._network, self._trial, self.device, precision, deterministic
        )

    @classmethod
    def load(
        cls,
        model: str | Path = DEFAULT_MODEL,
        *,
        device: str = "auto",
        window: int | None = None,
        intensity_full_scale: float | None = None,
        engine: str = "auto",
        precision: str = "auto",
        deterministic: bool = False,
    ) -> Segmenter:
        """Load a model by name or path.

        Raises:
            ModelError: the model cannot be loaded.
            ValueError: as the constructor.
        """
        return cls(
            load_model(model),
            device=device,
            window=window,
            intensity_full_scale=intensity_full_scale,
            engine=engine,
            precision=precision,
            deterministic=deterministic,
        )

    @property
    def engine(self) -> EngineChoice:
        """What runs the network, and why."""
        return self._choice

    @property
    def label_set(self) -> LabelSet:
        """The classes of the labels."""
        return self.model.label_set

    @property
    def window_length(self) -> int:
        """Frames that the network sees together at most."""
        return self._window.length

    @property
    def resets(self) -> Counter[str]:
        """How often the window started anew, by reason."""
        return self._window.resets

    def reset(self) -> None:
        """Forget the stream: the next frame is a first one."""
        self._window.clear()

    def continues(self, frame: Frame) -> bool:
        """Whether a frame goes on with the stream; see `SlidingWindow.continues`."""
        return self._window.continues(frame)

    def segment(self, frame: Frame) -> Segmentation:
        """Label every point of a frame, seen together with those before it.

        Args:
            frame: N points; its pose places it among the frames before it.

        Raises:
            OutOfOrderError: the frame is not later than the last one; nothing changes.
            ValueError: the model needs a field that the cloud does not have.
        """
        started = time.perf_counter()
        self._window.admit(frame)
        intensity = (
            None if frame.intensity is None else self.intensity_scale.normalise(frame.intensity)
        )
        dims = self._network.dims
        voxels = voxelize(frame, self.model.input, intensity, dims)
        labels = np.full(len(frame), UNLABELLED, dtype=np.uint8)
        confidence = np.zeros(len(frame), dtype=np.float32)
        if not voxels.valid.any():
            timings = {"voxelize": time.perf_counter() - started, "network": 0.0, "slice": 0.0}
            return Segmentation(labels, confidence, timings, len(self._window), 0)
        self._window.push(voxels)
        coordinates, features = stack_in_time(self._window.frames)
        voxelized = time.perf_counter()

        # Frames are stacked by time, so the last rows are the voxels of this frame.
        newest = len(voxels.coordinates)
        probability, best = self._classify(coordinates[:, : dims + 1], features, newest)
        classified = time.perf_counter()

        labels[voxels.valid] = voxels.quantization.slice(best).numpy()
        confidence[voxels.valid] = voxels.quantization.slice(probability).numpy()
        timings = {
            "voxelize": voxelized - started,
            "network": classified - voxelized,
            "slice": time.perf_counter() - classified,
        }
        return Segmentation(labels, confidence, timings, len(self._window), len(coordinates))

    @torch.inference_mode()
    def _classify(
        self, coordinates: torch.Tensor, features: torch.Tensor, newest: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Probability float32 and class uint8, [newest] each, of the last of voxels [M, 1 + D]."""
        coordinates = coordinates.to(self.device)
        clip = self.model.input.boundary == "clip"
        tensor = SparseTensor(
            features.to(self.device), coordinates, engine=self._choice.engine, clip=clip
        )
        with _deterministic_algorithms() if self._deterministic else nullcontext():
            logits = self._network(tensor).at(coordinates[-newest:])
        probability, best = torch.softmax(logits, dim=1).max(dim=1)
        return probability.cpu(), best.to(torch.uint8).cpu()

    def _trial(self) -> Trial:
        """Voxels and features of a made-up street, as the network sees them."""
        dims, length = self._network.dims, self._window.length
        frames = (trial_frame(_TRIAL_POINTS[self.device.type] // length, i) for i in range(length))
        voxels = [voxelize(f, self.model.input, f.intensity, dims) for f in frames]
        coordinates, features = stack_in_time(voxels)
        return coordinates[:, : dims + 1].to(self.device), features.to(self.device)
