# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import pytest

from minkowski_perception.datasets.bags import BagReader

pytestmark = pytest.mark.system
TOPIC = "/minkowski_perception/labelled"


def test_the_node_and_the_labeller_give_the_same_bytes(demo_run, drive, command, tmp_path):
    labelled = command("label", drive, "--out", tmp_path, "--deterministic")
    assert labelled.returncode == 0, labelled.stderr

    with BagReader(demo_run.out / "labelled") as node, BagReader(tmp_path / "labelled") as offline:
        pairs = list(
            zip(
                (m for _, m in node.clouds(TOPIC)),
                (m for _, m in offline.clouds(TOPIC)),
                strict=True,
            )
        )

    assert len(pairs) == 6
    for online, offline in pairs:
        for name in ("height", "width", "point_step", "row_step", "is_bigendian", "is_dense"):
            assert getattr(online, name) == getattr(offline, name), name
        assert online.header.frame_id == offline.header.frame_id
        assert online.header.stamp.nanosec == offline.header.stamp.nanosec
        assert [(f.name, f.offset, f.datatype, f.count) for f in online.fields] == [
            (f.name, f.offset, f.datatype, f.count) for f in offline.fields
        ]
        assert online.data.tobytes() == offline.data.tobytes()
