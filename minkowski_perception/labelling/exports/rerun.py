# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""A recording of Rerun: clouds by class over time, at the poses of the sensor."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from minkowski_perception.labelling.exports import ExportError
from minkowski_perception.labelling.output import Output
from minkowski_perception.labels import LabelSet
from minkowski_perception.stream import Labelled

_WORLD, _SENSOR, _CLOUD = "world", "world/sensor", "world/sensor/cloud"


class RerunFile(Output):
    """File `labelled.rrd`, with the classes as annotation context.

    Args:
        folder: gets the file.
        label_set: of the labels.

    Raises:
        ExportError: the Rerun SDK is not installed.
    """

    def __init__(self, folder: Path, label_set: LabelSet) -> None:
        try:
            import rerun
        except ImportError as error:
            raise ExportError("--export rrd needs Rerun: pip install rerun-sdk") from error
        self._rerun = rerun
        self._recording = rerun.RecordingStream("minkowski_perception")
        self._recording.save(folder / "labelled.rrd")
        classes = [(each["id"], each["name"], each["colour"]) for each in label_set.legend()]
        self._recording.log(_WORLD, rerun.AnnotationContext(classes), static=True)
        self._recording.log(_WORLD, rerun.ViewCoordinates.RIGHT_HAND_Z_UP, static=True)

    def add(self, labelled: Labelled, received_at: int) -> None:
        """See `Output.add`."""
        rerun, frame, result = self._rerun, labelled.received, labelled.result
        self._recording.set_time("stamp", timestamp=np.datetime64(frame.stamp, "ns"))
        if frame.pose is not None:
            rotation = Rotation.from_matrix(frame.pose[:3, :3]).as_quat()
            transform = rerun.Transform3D(
                translation=frame.pose[:3, 3], quaternion=rerun.Quaternion(xyzw=rotation)
            )
            self._recording.log(_SENSOR, transform)
        cloud = rerun.Points3D(frame.points[frame.valid], class_ids=result.labels[frame.valid])
        self._recording.log(_CLOUD, cloud)
        values = {"confidence": result.confidence, **result.outputs}
        self._recording.log(
            _CLOUD, rerun.AnyValues(**{name: v[frame.valid] for name, v in values.items()})
        )

    def close(self) -> None:
        """See `Output.close`."""
        self._recording.disconnect()
