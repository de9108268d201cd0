# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The layout of SemanticKITTI, which its API, point_labeler and this package read.

`sequences/00` has `velodyne/*.bin` (x, y, z, intensity 0 to 1 as float32), `labels/*.label` (ids
as uint32), `times.txt` (seconds from the first cloud) and, where the motion is known, `poses.txt`
and `calib.txt`. Points that are not finite are left out. Beside it are `labels.yaml`, for the
option --config of the API, and `labels.xml`, for point_labeler.

See https://github.com/PRBonn/semantic-kitti-api and https://github.com/jbehley/point_labeler.
"""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt
import yaml

from minkowski_perception.frame import NANOSECONDS
from minkowski_perception.labelling.output import Output
from minkowski_perception.labels import MOVING_IDS, UNLABELLED, UNLABELLED_COLOUR, LabelSet
from minkowski_perception.moving import MOVING, calls_moving
from minkowski_perception.stream import Labelled

_IDENTITY = "1 0 0 0 0 1 0 0 0 0 1 0"
_CALIBRATION = "".join(f"{name}: {_IDENTITY}\n" for name in ("P0", "P1", "P2", "P3", "Tr"))
"""Poses are those of the LiDAR, so that of KITTI's camera in it is the identity."""


class SemanticKitti(Output):
    """Folder `semantickitti` with one sequence.

    Args:
        folder: gets the folder.
        label_set: of the labels.
    """

    def __init__(self, folder: Path, label_set: LabelSet) -> None:
        root = folder / "semantickitti"
        self._folder = root / "sequences" / "00"
        for name in ("velodyne", "labels"):
            (self._folder / name).mkdir(parents=True)
        self._ids = RawIds(label_set)
        (root / "labels.yaml").write_text(self._ids.api_config())
        (root / "labels.xml").write_text(self._ids.labeler_config())
        self._times = (self._folder / "times.txt").open("w")
        self._poses = (self._folder / "poses.txt").open("w")
        self._count, self._first, self._all_posed = 0, 0, True

    def add(self, labelled: Labelled, received_at: int) -> None:
        """See `Output.add`."""
        frame, valid = labelled.received, labelled.received.valid
        rows = np.zeros((len(frame), 4), "<f4")
        rows[:, :3] = frame.points
        if frame.intensity is not None:
            rows[:, 3] = (frame.intensity / labelled.intensity_full_scale).clip(0.0, 1.0)
        ids = self._ids.of(labelled.result.labels, labelled.result.outputs.get(MOVING))
        name = f"{self._count:06d}"
        rows[valid].tofile(self._folder / "velodyne" / f"{name}.bin")
        ids[valid].tofile(self._folder / "labels" / f"{name}.label")
        self._first = self._first or frame.stamp
        self._times.write(f"{(frame.stamp - self._first) / NANOSECONDS:.9f}\n")
        if frame.pose is None:
            self._all_posed = False
        else:
            self._poses.write(" ".join(map(repr, frame.pose[:3].ravel().tolist())) + "\n")
        self._count += 1

    def close(self) -> None:
        """See `Output.close`."""
        self._times.close()
        self._poses.close()
        if self._all_posed and self._count:
            (self._folder / "calib.txt").write_text(_CALIBRATION)
        else:
            (self._folder / "poses.txt").unlink(missing_ok=True)


class RawIds:
    """Ids of the files for the labels of a set.

    They are those of the set's data set if its files have an id for each class, of several ids the
    first in the label set; else the labels themselves.

    Args:
        label_set: of the labels.
    """

    def __init__(self, label_set: LabelSet) -> None:
        self._label_set = label_set
        source = next((name for name in label_set.sources if name.endswith("_raw")), "")
        moving = MOVING_IDS.get(source, range(0))
        still_ids: dict[str, int] = {}
        self._moving_ids: dict[str, int] = {}
        for raw, name in label_set.sources.get(source, {}).items():
            if isinstance(raw, int):
                (self._moving_ids if raw in moving else still_ids).setdefault(name, raw)
        if still_ids.keys() != set(label_set.names):
            still_ids = {name: i for i, name in enumerate(label_set.names)}
            self._moving_ids = {}
        self.unlabelled = UNLABELLED if 0 in still_ids.values() else 0
        self._ids = {name: still_ids[name] for name in label_set.names}
        self._still = self._table(self._ids)
        self._moves = self._table({**self._ids, **self._moving_ids})

    def _table(self, ids: dict[str, int]) -> npt.NDArray[np.uint32]:
        table = np.full(256, self.unlabelled, "<u4")
        table[: len(ids)] = [ids[name] for name in self._label_set.names]
        return table

    def of(
        self, labels: npt.NDArray[np.uint8], moving: npt.NDArray[np.floating] | None
    ) -> npt.NDArray[np.uint32]:
        """Return the ids of N labels.

        Args:
            labels: [N].
            moving: [N] probability that a point moves; None if it is unknown.
        """
        ids = self._still[labels]
        if moving is not None:
            moves = calls_moving(moving)
            ids[moves] = self._moves[labels[moves]]
        return ids

    def api_config(self) -> str:
        """Return the ids, names and colours in the format of the API's configurations."""
        colours = dict(zip(self._label_set.names, self._label_set.colours, strict=True))
        names = {self.unlabelled: "unlabeled"}
        names |= {raw: name for name, raw in self._ids.items()}
        names |= {raw: f"moving-{name}" for name, raw in self._moving_ids.items()}
        learning = {self.unlabelled: 0}
        for i, name in enumerate(self._label_set.names, start=1):
            learning |= {each[name]: i for each in (self._moving_ids, self._ids) if name in each}
        inverse = {0: self.unlabelled}
        inverse |= {i: self._ids[n] for i, n in enumerate(self._label_set.names, start=1)}
        colour_map = {
            raw: list(colours.get(name.removeprefix("moving-"), UNLABELLED_COLOUR))[::-1]
            for raw, name in names.items()
        }
        config = {
            "labels": names,
            "color_map": colour_map,  # blue, green, red
            "content": dict.fromkeys(names, 0.0),
            "learning_map": learning,
            "learning_map_inv": inverse,
            "learning_ignore": {i: i == 0 for i in inverse},
            "split": {"train": [], "valid": [0], "test": []},
        }
        return str(yaml.safe_dump(config, sort_keys=False, default_flow_style=None))

    def labeler_config(self) -> str:
        """Return the ids, names and colours in the format of point_labeler."""
        config = ElementTree.Element("config")
        colours = dict(zip(self._label_set.names, self._label_set.colours, strict=True))
        ids = {"unlabeled": self.unlabelled, **self._ids}
        for name, raw in ids.items():
            label = ElementTree.SubElement(config, "label")
            entries = {
                "id": raw,
                "name": name,
                "description": "",
                "color": " ".join(map(str, colours.get(name, UNLABELLED_COLOUR))),
                "root": "void" if name == "unlabeled" else "classes",
            }
            if name in self._moving_ids:
                entries["moving"] = self._moving_ids[name]
            for key, value in entries.items():
                ElementTree.SubElement(label, key).text = str(value)
        ElementTree.indent(config)
        return ElementTree.tostring(config, encoding="unicode") + "\n"
