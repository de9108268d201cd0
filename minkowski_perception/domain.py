# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Domain monitor: whether live clouds and their labels are like those of a model's training.

The card of a model can hold, under `domain`, the interval of each statistic below over the clouds
of its training. The monitor compares the live statistics with them.

| statistic | |
|---|---|
| points | measured points of a cloud |
| median_range, far_range | median and 95th percentile of the distance of the points, m |
| lowest | 2nd percentile of the height of the points above the sensor, m |
| intensity | median of the intensity, 0 to 1 |
| rate | clouds per second |
| confidence | mean confidence of the labels |
| disagreement | share of places that two consecutive clouds label differently |
| share_of_CLASS | share of the labels |
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from minkowski_perception.codec import IntensityScale
from minkowski_perception.frame import NANOSECONDS, Frame
from minkowski_perception.labels import UNLABELLED
from minkowski_perception.networks.model import Model, available_models, read_card
from minkowski_perception.segmenter import Segmentation

Interval = tuple[float, float]

SHARE = "share_of_"
INPUT = ("points", "median_range", "far_range", "lowest", "intensity", "rate")
"""Statistics that do not depend on the model."""
_OF_SENSOR = ("points", "median_range", "far_range")
"""Input statistics that say whether a model is for such a sensor."""

_MOST_POINTS = 20_000  # of a cloud; statistics do not need more
_RECENT = 20  # clouds of which the median counts
_ENOUGH = 10  # clouds before rate and labels are judged
_PERIOD = 10  # clouds from one comparison of two consecutive ones to the next
_CELL = 0.4  # metres
_SAMPLE = 4  # one of so many cells is compared


@dataclass(frozen=True)
class _Rule:
    """When a statistic is outside the interval of the training, and what to do then.

    Attributes:
        factor: that a value may be below the low end or above the high end.
        slack: that it may be beyond this.
        below: whether low values are a reason to warn.
        above: whether high values are one.
        remedy: what to do.
    """

    factor: float
    slack: float
    remedy: str
    below: bool = True
    above: bool = True

    def holds(self, value: float, interval: Interval) -> bool:
        low, high = interval
        above_low = value >= low / self.factor - self.slack
        below_high = value <= high * self.factor + self.slack
        return (above_low or not self.below) and (below_high or not self.above)


_ANOTHER = "use a model for this sensor"
_RULES: Mapping[str, _Rule] = {
    "points": _Rule(3.0, 0.0, _ANOTHER),
    "median_range": _Rule(3.0, 0.0, _ANOTHER),
    "far_range": _Rule(2.0, 0.0, _ANOTHER),
    "lowest": _Rule(
        1.0, 1.5, "check the mount of the sensor and whether z of its frame points up"
    ),
    "intensity": _Rule(8.0, 0.0, "set intensity_full_scale to the sensor's largest intensity"),
    "rate": _Rule(2.0, 0.0, "expect worse labels of moving things"),
    "confidence": _Rule(1.0, 0.1, "set min_confidence to drop doubtful labels", above=False),
    "disagreement": _Rule(1.5, 0.02, "check the source of ego motion", below=False),
    SHARE: _Rule(1.5, 0.25, "look at the labels before you rely on them", below=False),
}


def cloud_statistics(frame: Frame) -> dict[str, float]:
    """Return the statistics of a cloud alone; empty without measured points."""
    rows = np.flatnonzero(frame.measured)
    if not len(rows):
        return {}
    count = float(len(rows))
    rows = rows[:: -(-len(rows) // _MOST_POINTS)]
    points = frame.points[rows]
    distances = np.sqrt(np.einsum("ij,ij->i", points, points))
    pose = frame.upright if frame.pose is None else frame.pose
    heights = points @ pose[2, :3].astype(np.float32)
    median, far = np.percentile(distances, (50, 95))
    return {
        "points": count,
        "median_range": float(median),
        "far_range": float(far),
        "lowest": float(np.percentile(heights, 2)),
    }


def label_statistics(result: Segmentation) -> dict[str, float]:
    """Return the statistics of the labels of a cloud; empty without labels."""
    counts = torch.bincount(torch.from_numpy(result.labels), minlength=UNLABELLED + 1).numpy()
    counts = counts[: len(result.names)]
    total = int(counts.sum())
    if not total:
        return {}
    shares = {f"{SHARE}{n}": float(c / total) for n, c in zip(result.names, counts, strict=True)}
    return {"confidence": float(result.confidence.sum() / total), **shares}


class StreamStatistics:
    """Statistics of the clouds of one stream and of their labels, one cloud after another.

    Args:
        intensity_full_scale: the sensor's largest intensity; None to detect it.
    """

    def __init__(self, intensity_full_scale: float | None = None) -> None:
        self._scale = IntensityScale(intensity_full_scale)
        self._before: Frame | None = None
        self._places: tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]] | None = None
        self._index = -1

    def update(self, frame: Frame, result: Segmentation) -> dict[str, float]:
        """Return the statistics of the next cloud that are known, by name."""
        self._index += 1
        found = cloud_statistics(frame)
        if found and frame.intensity is not None:
            sample = frame.intensity[:: 1 + len(frame) // _MOST_POINTS]
            intensity = self._scale.normalise(sample)
            if intensity is not None:
                found["intensity"] = float(np.median(intensity))
        before, self._before = self._before, frame
        if before is not None and frame.stamp > before.stamp:
            found["rate"] = NANOSECONDS / (frame.stamp - before.stamp)
        return found | label_statistics(result) | self._disagreement(frame, result)

    def _disagreement(self, frame: Frame, result: Segmentation) -> dict[str, float]:
        """Compare a cloud with the one before it, once in `_PERIOD` clouds."""
        places, self._places = self._places, None
        if frame.pose is None or self._index % _PERIOD > 1:
            return {}
        now = _labelled_cells(frame, result.labels)
        if self._index % _PERIOD == 0:
            self._places = now
            return {}
        if places is None:
            return {}
        _, first, second = np.intersect1d(
            places[0], now[0], assume_unique=True, return_indices=True
        )
        if not len(first):
            return {}
        return {"disagreement": float((places[1][first] != now[1][second]).mean())}


def _labelled_cells(
    frame: Frame, labels: npt.NDArray[np.uint8]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
    """Return the keys of a sample of the cells of the odometry frame, and a label in each."""
    places = frame.odometry_points.T / _CELL
    x, y, z = np.abs(places) < 2**19
    rows = np.flatnonzero((labels != UNLABELLED) & x & y & z)
    x, y, z = cells = np.floor(places.take(rows, axis=1)).astype(np.int64)
    sampled = np.flatnonzero((x + y + z) % _SAMPLE == 0)
    x, y, z = cells.take(sampled, axis=1) + 2**19
    unique, first = np.unique(x + (y << 20) + (z << 40), return_index=True)
    return unique, labels[rows[sampled[first]]]


class DomainMonitor:
    """Compares the statistics of a stream with those of its model's training.

    Args:
        model: of the stream.
        intensity_full_scale: as the segmenter has it.

    Attributes:
        warnings: what is outside the training, with value, interval and remedy; "" if nothing is,
            or the card has no `domain`.
    """

    def __init__(self, model: Model, intensity_full_scale: float | None = None) -> None:
        self._model = model.name
        self._domain: Mapping[str, Interval] = model.domain or {}
        self._statistics = StreamStatistics(intensity_full_scale)
        self._recent: dict[str, deque[float]] = {}
        self._clouds = 0
        self._suited: str | None = None
        self.warnings: tuple[str, ...] = ()

    def update(self, frame: Frame, result: Segmentation) -> None:
        """Count the next labelled cloud."""
        if not self._domain:
            return
        self._clouds += 1
        for name, value in self._statistics.update(frame, result).items():
            self._recent.setdefault(name, deque(maxlen=_RECENT)).append(value)
        live = {name: float(np.median(values)) for name, values in self._recent.items()}
        at_once = [name for name in live if name in INPUT and name != "rate"]
        names = at_once if self._clouds < _ENOUGH else list(live)
        outside = [name for name in names if not _fits(name, live[name], self._domain)]
        if self._suited is None and any(name in _OF_SENSOR for name in outside):
            self._suited = suited_model(live, frame, self._model)
        self.warnings = tuple(self._warning(name, live[name]) for name in outside)

    def _warning(self, name: str, value: float) -> str:
        low, high = self._domain[name]
        remedy = _rule(name).remedy
        if name in _OF_SENSOR and self._suited:
            remedy = f"use model {self._suited}"
        return f"{name} {value:.3g} (training: {low:.3g} to {high:.3g}): {remedy}"


def suited_model(live: Mapping[str, float], frame: Frame, besides: str) -> str:
    """Return the name of a model of the package for such a sensor; "" if there is none.

    Args:
        live: statistics of the stream.
        frame: one of its clouds.
        besides: name of the model in use.
    """
    for name in available_models():
        card = read_card(name)
        coloured = "red" in card.input.features
        if name == besides or not card.domain or (coloured and frame.colour is None):
            continue
        if all(_fits(each, live[each], card.domain) for each in _OF_SENSOR if each in live):
            return name
    return ""


def _rule(name: str) -> _Rule:
    return _RULES[SHARE if name.startswith(SHARE) else name]


def _fits(name: str, value: float, domain: Mapping[str, Interval]) -> bool:
    return name not in domain or _rule(name).holds(value, domain[name])
