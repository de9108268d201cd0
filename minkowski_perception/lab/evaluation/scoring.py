# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Let a model label sequences, and count how good it was."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Protocol

from tqdm import tqdm

from minkowski_perception.frame import Frame
from minkowski_perception.lab.evaluation import EvaluationError
from minkowski_perception.lab.evaluation.tally import Tally
from minkowski_perception.labels import LabelSet
from minkowski_perception.segmenter import Segmentation


class Labeller(Protocol):
    """What labels the frames of a stream: a `Segmenter`, or what stands in for one."""

    @property
    def label_set(self) -> LabelSet:
        """The classes of its labels."""

    def reset(self) -> None:
        """Forget the stream: the next frame is a first one."""

    def segment(self, frame: Frame) -> Segmentation:
        """Label every point of the next frame of the stream."""


def chosen(
    sequences: Mapping[str, Sequence[Frame]], names: Sequence[str] | None
) -> dict[str, Sequence[Frame]]:
    """Return the sequences of these names, or all, in the order of the data set.

    Raises:
        EvaluationError: there is none of a name; those that there are are listed.
    """
    unknown = [name for name in names or () if name not in sequences]
    if unknown:
        raise EvaluationError(
            f"no sequence {', '.join(unknown)}; there are {', '.join(sequences)}"
        )
    return {name: sequences[name] for name in sequences if names is None or name in names}


def evaluate(
    labeller: Labeller,
    truth: LabelSet,
    sequences: Mapping[str, Sequence[Frame]],
    limit: int | None = None,
    ranges: Sequence[float] | None = None,
) -> Tally:
    """Label frames and count.

    Args:
        labeller: starts anew with each sequence.
        truth: label set of the frames' labels.
        sequences: by name. Frames without labels are labelled too, as they are part of the
            stream, and do not count.
        limit: most frames of each sequence.
        ranges: see `Tally`.

    Raises:
        EvaluationError: no frame has labels.
        LabelSetError: the model's labels cannot be told in `truth`.
        OutOfOrderError, ValueError: as `Segmenter.segment`.
    """
    tally = Tally(truth, labeller.label_set, ranges)
    # Told before hours of work: where the first frames have none, no other has.
    if all(frame.labels is None for s in sequences.values() for frame in islice(s, 1)):
        raise EvaluationError(f"no labels to score by in {_listed(sequences)}")
    lengths = [len(s) if limit is None else min(limit, len(s)) for s in sequences.values()]
    with tqdm(desc="evaluating", total=sum(lengths), unit=" frames", disable=None) as bar:
        for (name, frames), length in zip(sequences.items(), lengths, strict=True):
            tally.begin(name)
            labeller.reset()
            for index, frame in enumerate(islice(frames, length)):
                started = time.perf_counter()
                said = labeller.segment(frame)
                tally.add(index, frame, said, time.perf_counter() - started)
                bar.set_postfix(mIoU=f"{tally.all['classes'].miou:.3f}", refresh=False)
                bar.update()
    if not tally.scored:
        raise EvaluationError(
            f"no point in {_listed(sequences)} has a label of a class of '{truth.name}'"
        )
    return tally


def _listed(sequences: Mapping[str, Sequence[Frame]]) -> str:
    names = list(sequences)
    return f"sequence {names[0]}" if len(names) == 1 else f"{len(names)} sequences"
