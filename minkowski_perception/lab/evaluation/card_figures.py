# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Measures `calibration` and `domain` of a model card on labelled frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp
from tqdm import tqdm

from minkowski_perception.domain import StreamStatistics
from minkowski_perception.frame import Frame
from minkowski_perception.lab.evaluation import EvaluationError
from minkowski_perception.labels import LabelSet
from minkowski_perception.metrics import true_labels
from minkowski_perception.segmenter import Probabilities, Segmenter
from minkowski_perception.temperature import LIMITS, TemperatureScaling

POINTS = (2, 5)
"""Edges of the bins of points per voxel."""

_SAMPLE = 4000  # points of a frame
_LEAST = 500  # points of a bin that has a temperature of its own
_INTERVAL = (1.0, 99.0)  # percentiles
_DIGITS = 3

Floats = npt.NDArray[np.floating]


@dataclass(frozen=True)
class CardFigures:
    """Content of two keys of a card.

    Attributes:
        calibration: fitted to the frames.
        domain: interval of each statistic over the frames.
    """

    calibration: TemperatureScaling
    domain: Mapping[str, tuple[float, float]]

    def changes(self) -> dict[str, Any]:
        """Return both as plain data for `change_card`."""
        calibration = {k: v for k, v in vars(self.calibration).items() if v not in ((), None)}
        return {"calibration": _plain(calibration), "domain": _plain(self.domain)}


def measure(
    segmenter: Segmenter,
    truth: LabelSet,
    sequences: Mapping[str, Sequence[Frame]],
    ranges: Sequence[float],
    limit: int | None = None,
    fitted_on: str | None = None,
) -> CardFigures:
    """Fit temperatures to the averaged probabilities of frames, and measure their statistics.

    Args:
        segmenter: its model has no calibration.
        truth: label set of the frames' labels.
        sequences: by name.
        ranges: edges of the bins of range, metres.
        limit: largest number of frames of each sequence.
        fitted_on: the data in words.

    Raises:
        EvaluationError: no point has a true class, or the model has a calibration already.
        LabelSetError: no mapping from `truth` to the model's label set.
    """
    if segmenter.model.calibration is not None:
        raise EvaluationError("temperatures are fitted to a model without a calibration")
    to_model = segmenter.label_set.mapping_from(truth)
    samples = _Samples(ranges, POINTS)
    found: dict[str, list[float]] = {}
    for name, frames in sequences.items():
        segmenter.reset()
        statistics = StreamStatistics(segmenter.intensity_scale.declared)
        for frame in tqdm(islice(frames, limit), name, unit=" frames", disable=None):
            outputs = segmenter.probabilities(frame)
            if frame.labels is not None:
                samples.add(frame, outputs, to_model[true_labels(frame)])
            for key, value in statistics.update(frame, segmenter.sliced(outputs)).items():
                found.setdefault(key, []).append(value)
    domain = {name: _interval(values) for name, values in found.items()}
    return CardFigures(samples.fit(len(segmenter.label_set), fitted_on), domain)


class _Samples:
    """Log-probabilities and true classes of sampled points, with their bins."""

    def __init__(self, ranges: Sequence[float], points: Sequence[int]) -> None:
        shape = [[1.0] * (len(points) + 1)] * (len(ranges) + 1)
        self._grid = TemperatureScaling(
            tuple(map(tuple, shape)), tuple(map(float, ranges)), tuple(points)
        )
        self._rng = np.random.default_rng(0)
        self._logits: list[Floats] = []
        self._truth: list[npt.NDArray[np.uint8]] = []
        self._bins: list[npt.NDArray[np.intp]] = []

    def add(self, frame: Frame, outputs: Probabilities, truth: npt.NDArray[np.uint8]) -> None:
        """Add points of a frame with their true class [N] in the model's classes."""
        voxels = outputs.voxels
        rows, true = voxels.quantization.inverse.numpy(), truth[voxels.valid]
        known = np.flatnonzero(true < outputs.values.shape[1])
        chosen = self._rng.permutation(known)[:_SAMPLE]
        counts = voxels.quantization.counts()
        of_range, of_points = self._grid.bins(voxels.distances(frame), counts)
        bins = (of_range * (len(self._grid.points) + 1) + of_points).numpy()
        self._logits.append(np.log(outputs.values.numpy()[rows[chosen]].clip(1e-30)))
        self._truth.append(true[chosen])
        self._bins.append(bins[rows[chosen]])

    def fit(self, classes: int, fitted_on: str | None) -> TemperatureScaling:
        """Return the temperatures; bins with few points get that of all points.

        Raises:
            EvaluationError: there are no points.
        """
        if not sum(map(len, self._truth)):
            raise EvaluationError("no point of the frames has a class of the model")
        logits, truth = np.concatenate(self._logits), np.concatenate(self._truth)
        bins = np.concatenate(self._bins)
        overall = best_temperature(logits, truth)
        rows, columns = len(self._grid.ranges) + 1, len(self._grid.points) + 1
        fitted = [
            best_temperature(logits[bins == i], truth[bins == i])
            if np.count_nonzero(bins == i) >= _LEAST
            else overall
            for i in range(rows * columns)
        ]
        table = np.round(fitted, _DIGITS).reshape(rows, columns)
        return TemperatureScaling(
            tuple(map(tuple, table.tolist())), self._grid.ranges, self._grid.points, (), fitted_on
        )


def best_temperature(logits: Floats, truth: npt.NDArray[np.integer]) -> float:
    """Return the temperature with the least negative log-likelihood.

    Args:
        logits: [N, K].
        truth: [N], true classes.
    """
    own = logits[np.arange(len(truth)), truth]

    def loss(log_temperature: float) -> float:
        scale = np.exp(-log_temperature)
        return float((logsumexp(scale * logits, axis=1) - scale * own).mean())

    return float(np.exp(minimize_scalar(loss, bounds=np.log(LIMITS), method="bounded").x))


def _interval(values: Sequence[float]) -> tuple[float, float]:
    low, high = np.percentile(values, _INTERVAL)
    return float(low), float(high)


def _plain(value: Any) -> Any:
    """Return mappings and lists as YAML writes them, with rounded numbers."""
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value
