# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Summary of a run over a recording: as JSON for programs, as a short table for people."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from minkowski_perception.accounting import Counts
from minkowski_perception.frame import Frame
from minkowski_perception.labels import UNLABELLED, LabelSet
from minkowski_perception.metrics import ConfusionMatrix, none_if_nan
from minkowski_perception.moving import MOVING, calls_moving
from minkowski_perception.scoring import Scorer


@dataclass(frozen=True)
class Summary:
    """Figures of one run.

    Attributes:
        bag: path of the recording.
        topic: its cloud topic.
        model: name of the model.
        device: PyTorch device that it ran on.
        engine: what computed the convolutions, with its precision unless float32.
        axes: of the sensor's frame, and how they are known; see `SensorAxes`.
        ego_motion: source of the sensor's poses: "bag", "kiss_icp" or "none".
        ego_motion_reason: why that source.
        ego_motion_coasted: clouds whose poses were extrapolated from the last velocity.
        received: clouds received; received = labelled + sum(dropped) + pending.
        labelled: clouds that were labelled.
        dropped: number of clouds by reason (see `accounting.DropReason`).
        pending: clouds that were neither labelled nor dropped at the end; 0 unless some were lost.
        frames_per_second: labelled clouds per second of the run, including pauses of the
            recording.
        points_per_second: points of labelled clouds per second of the run.
        latency_ms: median, p99 and mean over the labelled clouds, in milliseconds; empty if
            there are none.
        label_shares: share of all points by class name, largest first, with "unlabelled".
        miou: mean IoU over the classes in the truth; None if no point had a true class.
        iou: IoU by class name in the truth's label set.
        accuracy: share of the points with a true class that are predicted as it; None like `miou`.
        moving_share: share of the points with a value of the output "moving" that move; None
            without any.
        moving: figures of the output "moving", see `MovingScores.figures`; empty without truth.
        classes: id, name and colour (red, green, blue) of the labels, with "unlabelled".
    """

    bag: str
    topic: str
    model: str
    device: str
    engine: str
    axes: str
    ego_motion: str
    ego_motion_reason: str
    ego_motion_coasted: int
    received: int
    labelled: int
    dropped: Mapping[str, int]
    pending: int
    frames_per_second: float
    points_per_second: float
    latency_ms: Mapping[str, float]
    label_shares: Mapping[str, float]
    miou: float | None = None
    iou: Mapping[str, float] = dataclasses.field(default_factory=dict)
    accuracy: float | None = None
    moving_share: float | None = None
    moving: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    classes: Sequence[Mapping[str, Any]] = ()

    @classmethod
    def of(
        cls,
        *,
        bag: str,
        topic: str,
        model: str,
        device: str,
        engine: str,
        axes: str,
        ego_motion: str,
        ego_motion_reason: str,
        ego_motion_coasted: int,
        counts: Counts,
        seconds: float,
        latencies: Sequence[float],
        statistics: LabelStatistics,
    ) -> Summary:
        """Summarize a run.

        Args:
            bag: path of the recording.
            topic: its cloud topic.
            model: name of the model.
            device: PyTorch device that it ran on.
            engine: what computed the convolutions.
            axes: of the sensor's frame.
            ego_motion: source of the sensor's poses.
            ego_motion_reason: why that source.
            ego_motion_coasted: clouds whose poses were extrapolated.
            counts: of the clouds.
            seconds: duration of the run.
            latencies: seconds from the arrival of each labelled cloud to its labels.
            statistics: of the labels.
        """
        latency = {}
        if latencies:
            median, p99 = np.percentile(latencies, [50, 99])
            latency = {"median": median, "p99": p99, "mean": np.mean(latencies)}
        return cls(
            bag=bag,
            topic=topic,
            model=model,
            device=device,
            engine=engine,
            axes=axes,
            ego_motion=ego_motion,
            ego_motion_reason=ego_motion_reason,
            ego_motion_coasted=ego_motion_coasted,
            received=counts.received,
            labelled=counts.labelled,
            dropped={reason.value: number for reason, number in counts.dropped.items()},
            pending=counts.pending,
            frames_per_second=counts.labelled / seconds if seconds else 0.0,
            points_per_second=statistics.points / seconds if seconds else 0.0,
            latency_ms={name: 1e3 * float(value) for name, value in latency.items()},
            label_shares=statistics.shares,
            miou=none_if_nan(statistics.confusion.miou),
            iou=statistics.iou,
            accuracy=none_if_nan(statistics.confusion.accuracy),
            moving_share=statistics.moving_share,
            moving=statistics.moving,
            classes=statistics.label_set.legend(),
        )

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Summary:
        """Return the figures in the content of a summary's file, which may have other keys."""
        names = {each.name for each in dataclasses.fields(cls)}
        return cls(**{name: value for name, value in content.items() if name in names})

    def save(self, path: Path) -> None:
        """Write all figures as JSON."""
        path.write_text(json.dumps(dataclasses.asdict(self), indent=2) + "\n")

    def table(self) -> str:
        """Return the figures as lines of text, below 80 columns wide."""
        motion = f"{self.ego_motion}: {self.ego_motion_reason}"
        if self.ego_motion_coasted:
            motion += f"; {self.ego_motion_coasted} extrapolated"
        drops = ", ".join(f"{number} {reason}" for reason, number in self.dropped.items())
        rows = [
            ("recording", f"{self.bag}  {self.topic}"),
            ("model", f"{self.model} on {self.device} by {self.engine}"),
            ("axes", self.axes),
            ("ego motion", motion),
            ("received", f"{self.received} clouds"),
            ("labelled", f"{self.labelled}"),
            ("dropped", f"{sum(self.dropped.values())}" + (f"  ({drops})" if drops else "")),
        ]
        if self.pending:
            rows.append(("pending", f"{self.pending}  (neither labelled nor dropped)"))
        if self.latency_ms:
            median, p99 = self.latency_ms["median"], self.latency_ms["p99"]
            rows.append(("latency", f"{median:.0f} ms median, {p99:.0f} ms 99th percentile"))
        rows.append(
            (
                "throughput",
                f"{self.frames_per_second:.1f} clouds/s, {self.points_per_second:,.0f} points/s",
            )
        )
        if self.miou is not None:
            rows.append(("mIoU", f"{self.miou:.3f} over the {len(self.iou)} classes in the truth"))
        if self.moving_share is not None:
            rows.append(("moving", f"{self.moving_share:.1%} of the points of known motion"))
        if self.moving.get("iou") is not None:
            precision, recall = self.moving["precision"], self.moving["recall"]
            text = f"{self.moving['iou']:.3f}  (recall {recall:.3f}"
            text += ")" if precision is None else f", precision {precision:.3f})"
            rows.append(("moving IoU", text))
        lines = [f"{name:<12}{value}" for name, value in rows]
        lines += ["", f"{'class':<20}{'points':>8}" + (f"{'IoU':>8}" if self.iou else "")]
        for name in dict.fromkeys([*self.label_shares, *self.iou]):
            share = f"{self.label_shares[name]:.1%}" if name in self.label_shares else "-"
            iou = f"{self.iou[name]:.3f}" if name in self.iou else ""
            lines.append(f"{name:<20}{share:>8}{iou:>8}".rstrip())
        return "\n".join(lines)


class LabelStatistics:
    """Statistics of the labels of a run: how frequent they are, and their score if truth is known.

    Args:
        label_set: set of the labels.
        truth_set: set of the true labels, in which labels are scored.
    """

    def __init__(self, label_set: LabelSet, truth_set: LabelSet) -> None:
        self.label_set = label_set
        self._truth_set = truth_set
        self._histogram = np.zeros(256, dtype=np.int64)
        self._moving = self._of_known_motion = 0
        self._scorer: Scorer | None = None

    def add(
        self,
        frame: Frame,
        labels: npt.NDArray[np.uint8],
        outputs: Mapping[str, npt.NDArray[Any]] | None = None,
    ) -> None:
        """Count the labels of one cloud.

        Args:
            frame: N points, with true labels if the cloud carries any.
            labels: [N] predicted ids, 255 where unlabelled.
            outputs: further outputs [N] by name.

        Raises:
            LabelSetError: the frame has true labels, and no mapping leads to their set.
        """
        self._histogram += np.bincount(labels, minlength=256)
        if outputs and MOVING in outputs:
            self._moving += int(np.count_nonzero(calls_moving(outputs[MOVING])))
            self._of_known_motion += int(np.count_nonzero(~np.isnan(outputs[MOVING])))
        if frame.labels is not None:
            self._scorer = self._scorer or Scorer(self._truth_set, self.label_set)
            self._scorer.add(frame, labels, outputs=outputs)

    @property
    def points(self) -> int:
        """Number of points."""
        return int(self._histogram.sum())

    @property
    def shares(self) -> dict[str, float]:
        """Share of the points by class name, largest first, of the classes that occur."""
        names = {**dict(enumerate(self.label_set.names)), UNLABELLED: "unlabelled"}
        order = np.argsort(-self._histogram, kind="stable")
        return {
            names[int(label)]: float(self._histogram[label] / self.points)
            for label in order[self._histogram[order] > 0]
        }

    @property
    def moving_share(self) -> float | None:
        """Share of the points of known motion that move; None without any."""
        return self._moving / self._of_known_motion if self._of_known_motion else None

    @property
    def moving(self) -> Mapping[str, Any]:
        """Figures of the output "moving"; empty if no cloud says which points truly move."""
        if self._scorer is None or MOVING not in self._scorer.outputs:
            return {}
        figures = self._scorer.outputs[MOVING].figures()
        return figures if figures["coverage"] is not None else {}

    @property
    def confusion(self) -> ConfusionMatrix:
        """Confusion of the labels with the truth, in the truth's label set."""
        if self._scorer is None:
            return ConfusionMatrix(len(self._truth_set))
        return self._scorer.all["classes"]

    @property
    def iou(self) -> dict[str, float]:
        """IoU by class name, of the classes in the truth."""
        iou = zip(self._truth_set.names, self.confusion.iou, strict=True)
        return {name: float(value) for name, value in iou if not np.isnan(value)}
