# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""System tests of the node in its own process, over DDS: valid, malformed and missing data."""

import signal
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs rclpy: a ROS 2 installation or its wheels")
pytest.importorskip("open3d", reason="needs open3d to simulate clouds")

from lifecycle_msgs.msg import Transition
from rig import assert_balanced, cloud_message, odometry_message, stamped
from sensor_msgs.msg import PointCloud2
from tiny_models import save_tiny

from minkowski_perception.lab.simulation.drive import simulate_drive
from minkowski_perception.labels import UNLABELLED, LabelSet
from minkowski_perception.motion.registration import Registration
from minkowski_perception.segmenter import Segmenter

pytestmark = pytest.mark.system


@pytest.fixture(scope="session")
def drive():
    return list(simulate_drive(4007, "vlp16", 6))


def column(message, name):
    """Return a field of a cloud, read with the message's own description."""
    field = next(f for f in message.fields if f.name == name)
    kind = {2: "u1", 7: "<f4"}[field.datatype]
    rows = np.frombuffer(message.data, np.uint8).reshape(-1, message.point_step)
    size = np.dtype(kind).itemsize
    return np.ascontiguousarray(rows[:, field.offset : field.offset + size]).view(kind)[:, 0]


def test_the_node_gives_the_labels_of_the_segmenter(rig, drive):
    running = rig(ego_motion="odometry", ego_motion_timeout=10.0).ready()
    running.wait_for(lambda: running.odometry.get_subscription_count() > 0)
    segmenter = Segmenter.load(engine="torch")
    for i, frame in enumerate(drive, start=1):
        running.odometry.publish(odometry_message(frame))
        sent = cloud_message(frame)
        running.publish(sent)
        running.wait_for(lambda expected=i: len(running.labelled) == expected)
        received = running.labelled[-1]

        assert received.header == sent.header
        assert (received.height, received.width) == (sent.height, sent.width)
        names = [f.name for f in received.fields]
        assert names == [*(f.name for f in sent.fields), "label", "confidence", "rgb", "moving"]
        for name in ("x", "y", "z", "intensity"):
            assert np.array_equal(column(received, name), column(sent, name))
        expected = segmenter.segment(frame)
        assert np.array_equal(column(received, "label"), expected.labels)
        np.testing.assert_allclose(column(received, "confidence"), expected.confidence, atol=1e-5)
        moving = expected.outputs["moving"]
        assert np.isnan(moving).all() == (i == 1)  # known from the second cloud on
        np.testing.assert_allclose(column(received, "moving"), moving, atol=1e-5)
        packed = segmenter.label_set.shown_palette[expected.labels].astype(np.uint32)
        packed = packed[:, 0] << 16 | packed[:, 1] << 8 | packed[:, 2]
        assert np.array_equal(column(received, "rgb").view(np.uint32), packed)
    values = running.fresh_values()
    assert (values["received"], values["labelled"]) == ("6", "6")
    assert values["execution"] == segmenter.execution == "incremental"
    assert (values["engine"], values["engine_reason"]) == ("torch", "torch was requested")
    assert float(values["network_ms"]) > 0.0
    assert running.status.name == "minkowski_perception: labelling"
    assert running.status.hardware_id == "/cloud"
    running.wait_for(lambda: running.legends)
    texts = [marker.text for marker in running.legends[-1].markers]
    assert tuple(texts) == LabelSet.load("semantickitti19").names
    assert running.stop() == 0


def test_an_empty_cloud_and_a_cloud_of_nan_are_published_unlabelled(rig, drive):
    running = rig().ready()
    frame = drive[0].subset(np.zeros(len(drive[0]), bool))
    running.publish(cloud_message(frame))
    running.wait_for(lambda: len(running.labelled) == 1)
    assert running.labelled[0].width == 0
    frame = drive[1].subset(np.arange(len(drive[1])) < 100)
    frame.points[:] = np.nan
    running.publish(cloud_message(frame))
    running.wait_for(lambda: len(running.labelled) == 2)
    assert (column(running.labelled[1], "label") == UNLABELLED).all()
    assert (column(running.labelled[1], "confidence") == 0.0).all()
    assert running.fresh_values()["labelled"] == "2"


def test_moving_is_a_field_and_its_share_is_in_the_diagnostics(rig, drive, tmp_path):
    heads = {"classes": 19, "moving": 1}
    save_tiny(tmp_path / "tiny", dimension=4, kernel="causal", heads=heads)
    card = str(tmp_path / "tiny.yaml")
    running = rig(model=card, ego_motion="none").ready()
    for i, frame in enumerate(drive[:2], start=1):
        running.publish(cloud_message(frame))
        running.wait_for(lambda expected=i: len(running.labelled) == expected)
        if i == 1:
            assert running.fresh_values()["moving_share"] == "unknown"
    assert [f.name for f in running.labelled[1].fields][-2:] == ["rgb", "moving"]
    first, second = (column(cloud, "moving") for cloud in running.labelled)
    assert np.isnan(first).all()
    share = np.count_nonzero(second > 0.5) / np.count_nonzero(~np.isnan(second))
    assert float(running.fresh_values()["moving_share"]) == pytest.approx(share, abs=1e-4)


def test_malformed_clouds_are_dropped_and_the_next_cloud_is_labelled(rig, drive):
    running = rig().ready()
    short = cloud_message(drive[0])
    short.data = short.data[:100]
    no_x = cloud_message(drive[1])
    no_x.fields = [f for f in no_x.fields if f.name != "x"]
    wild = cloud_message(drive[2])
    wild.fields[0].datatype = 77
    bare = stamped(PointCloud2(), drive[3].stamp)
    bare.width, bare.height = 5, 1
    for message in (short, no_x, wild, bare):
        running.publish(message)
    assert running.values["dropped_malformed"] == "4"
    assert "malformed" in running.values["last_refusal"]
    running.publish(cloud_message(drive[4]))
    running.wait_for(lambda: len(running.labelled) == 1)
    values = running.fresh_values()
    assert (values["received"], values["labelled"], values["dropped"]) == ("5", "1", "4")


def test_a_cloud_out_of_order_is_dropped_and_a_bag_that_loops_starts_a_new_stream(rig, drive):
    running = rig().ready()
    for frame in drive[:3]:
        running.publish(cloud_message(frame))
    running.publish(cloud_message(drive[1]))
    assert running.values["dropped_out_of_order"] == "1"
    late = drive[-1].stamp + 100 * 10**9
    running.publish(cloud_message(drive[3], stamp=late))
    assert running.values["resets_gap"] == "1"
    for frame in drive[:2]:  # the bag starts again, 100 s earlier
        running.publish(cloud_message(frame))
    assert running.values["resets_time_jump"] == "1"
    running.publish(cloud_message(drive[2], frame_id="another"))
    values = running.fresh_values()
    assert values["resets_frame_changed"] == "1"
    assert (values["received"], values["labelled"], values["dropped"]) == ("8", "7", "1")


def test_a_cloud_without_a_pose_is_dropped_and_the_next_one_with_a_pose_is_labelled(rig, drive):
    running = rig(ego_motion="odometry", ego_motion_timeout=0.2).ready()
    running.wait_for(lambda: running.odometry.get_subscription_count() > 0)
    running.publish(cloud_message(drive[0]))
    assert running.values["dropped_no_pose"] == "1"
    assert "no odometry on both sides of stamp" in running.values["last_refusal"]
    running.odometry.publish(odometry_message(drive[1]))
    running.publish(cloud_message(drive[1]))
    running.wait_for(lambda: len(running.labelled) == 1)
    values = running.fresh_values()
    assert (values["received"], values["labelled"], values["dropped"]) == ("2", "1", "1")


def labels_of(segmenter, motion, frames):
    """Yield the labels that the node should give: each frame located, then segmented."""
    for frame in frames:
        if not segmenter.continues(frame):
            motion.reset()
        pose = motion.locate(frame)
        yield segmenter.segment(replace(frame, pose=pose)).labels


def test_registration_starts_again_when_the_bag_loops(rig, drive):
    pytest.importorskip("kiss_icp", reason="needs kiss-icp: pip install kiss-icp")
    running = rig().ready()
    late = [replace(frame, stamp=frame.stamp + 10 * 10**9) for frame in drive[:4]]
    frames = [*late, *drive[:4]]
    for i, frame in enumerate(frames, start=1):
        running.publish(cloud_message(frame))
        running.wait_for(lambda expected=i: len(running.labelled) == expected)
    expected = labels_of(Segmenter.load(engine="torch"), Registration(), frames)
    for message, labels in zip(running.labelled, expected, strict=True):
        assert np.array_equal(column(message, "label"), labels)
    values = running.fresh_values()
    assert (values["ego_motion"], values["resets_time_jump"]) == ("kiss_icp", "1")
    assert "no odometry on '/odometry'" in values["ego_motion_reason"]
    assert "resets_pose_jump" not in values
    running.wait_for_output("ego motion 'kiss_icp': ")


def test_auto_finds_odometry_and_chooses_again_after_it_has_ended(rig, drive):
    running = rig(max_gap=1.0, ego_motion_timeout=0.3).ready()
    running.wait_for(lambda: running.odometry.get_subscription_count() > 0)
    for frame in drive[:3]:
        running.odometry.publish(odometry_message(frame))
        running.publish(cloud_message(frame))
    assert running.fresh_values()["ego_motion"] == "odometry"
    # Odometry ends but the stream continues: clouds are dropped until a gap starts a new stream.
    running.publish(cloud_message(drive[3]))
    values = running.fresh_values()
    assert (values["ego_motion"], values["dropped_no_pose"]) == ("odometry", "1")
    for frame in drive[4:]:
        running.publish(cloud_message(frame, stamp=frame.stamp + 2 * 10**9))
    values = running.fresh_values()
    assert values["ego_motion"] in ("kiss_icp", "none")
    assert "odometry on '/odometry' is -" in values["ego_motion_reason"]
    assert (values["labelled"], values["dropped"], values["resets_gap"]) == ("5", "1", "1")


def test_the_latest_cloud_of_a_burst_is_labelled_and_all_are_counted(rig, drive):
    running = rig().ready()
    burst = [cloud_message(drive[0], stamp=drive[0].stamp + i * 10**8) for i in range(40)]
    for message in burst:
        running.clouds.publish(message)
        running.executor.spin_once(timeout_sec=0.0)
    newest = burst[-1].header.stamp
    running.wait_for(lambda: running.labelled and running.labelled[-1].header.stamp == newest)
    running.wait_for(
        lambda: running.values["pending"] == "0" and running.values["received"] != "0"
    )
    values = running.fresh_values()
    assert int(values["labelled"]) == len(running.labelled)
    assert int(values["dropped_superseded"]) == int(values["received"]) - len(running.labelled) > 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_shutdown_during_a_frame_is_orderly_and_all_clouds_are_counted(rig, drive, number):
    running = rig().ready()
    for i in range(8):
        running.clouds.publish(cloud_message(drive[0], stamp=drive[0].stamp + i * 10**8))
    running.wait_for(lambda: running.labelled)
    assert running.stop(number) == 0
    assert running.values["state"] == "finalized"
    assert running.values["pending"] == "0"
    assert_balanced(running.values)


def test_lifecycle_transitions_can_be_repeated(rig, drive):
    running = rig(autostart=False).ready("unconfigured")
    for i, frame in enumerate(drive[:2]):
        assert running.change_state(Transition.TRANSITION_CONFIGURE)
        running.ready("inactive")
        running.wait_for(lambda: running.clouds.get_subscription_count() > 0)
        running.publish(cloud_message(frame))
        assert running.values["dropped_inactive"] == str(i + 1)
        assert running.change_state(Transition.TRANSITION_ACTIVATE)
        running.publish(cloud_message(frame))
        assert running.values["labelled"] == str(i + 1)
        assert running.change_state(Transition.TRANSITION_DEACTIVATE)
        assert running.change_state(Transition.TRANSITION_CLEANUP)
        running.ready("unconfigured")
        running.wait_for(lambda: running.clouds.get_subscription_count() == 0)
    values = running.fresh_values()
    assert (values["received"], values["labelled"], values["dropped"]) == ("4", "2", "2")
    assert running.stop() == 0


def test_configure_fails_with_invalid_parameters_and_names_the_valid_ones(rig):
    for parameters, expected in (
        (
            {"ego_motion": "guess"},
            "ego_motion must be one of auto, tf, odometry, kiss_icp, none, not 'guess'",
        ),
        ({"window": 99}, "window"),
        ({"model": "no_such_model"}, "unknown model 'no_such_model'; choose one of"),
        (
            {"engine": "abacus"},
            "engine must be one of auto, torch, numba, triton, spconv_triton, spconv",
        ),
        ({"device": "tpu"}, "device must be 'auto', 'cpu', 'cuda' or 'cuda:N', not 'tpu'"),
        ({"threads": "many"}, "threads"),
    ):
        running = rig(**parameters).ready("unconfigured")
        assert expected in running.status.message
        running.wait_for_output(expected)
        running.stop()


def test_parameter_and_latency_budget_switch_the_crf_between_clouds(rig, drive, tmp_path):
    save_tiny(tmp_path / "tiny", crf=True, dimension=4, kernel="causal")
    running = rig(model=tmp_path / "tiny.yaml", ego_motion="none", latency_budget=1e-6).ready()

    def label(frame):
        running.publish(cloud_message(frame))
        return running.fresh_values()

    values = label(drive[0])
    assert (values["execution"], values["crf"], values["load_level"]) == (
        "incremental",
        "true",
        "full",
    )
    assert float(values["crf_ms"]) > 0.0
    assert float(values["state_mb"]) > 0.0
    assert running.set_parameter("crf", False)
    assert label(drive[1])["crf"] == "false"
    assert running.set_parameter("crf", True)
    assert label(drive[2])["crf"] == "true"
    assert running.set_parameter("averaging", 2)
    for i in range(22):
        running.publish(cloud_message(replace(drive[3], stamp=drive[3].stamp + i * 10**8)))
    values = running.fresh_values()
    assert (values["crf"], values["load_level"]) == ("false", "without_crf")
    assert (values["averaging"], values["labelled"]) == ("2", "25")


def test_the_map_is_latched_and_in_the_frame_of_the_odometry(rig, drive):
    running = rig(
        ego_motion="odometry", ego_motion_timeout=10.0, map=True, map_moving=True
    ).ready()
    running.wait_for(lambda: running.odometry.get_subscription_count() > 0)
    segmenter = Segmenter.load(engine="torch", map=True, map_moving=True)
    for frame in drive[:3]:
        running.odometry.publish(odometry_message(frame))
        running.publish(cloud_message(frame))
        segmenter.segment(frame)
    first, second = [], []
    running.subscribe_latched("map", first.append)
    running.wait_for(lambda: first)
    running.fresh_values()  # more than a second passes
    assert len(first) == 1  # nothing changed
    [message] = first
    expected = segmenter.labelled_map()
    assert message.header == stamped(PointCloud2(), drive[2].stamp, "odom").header
    np.testing.assert_array_equal(column(message, "label"), expected.labels)
    np.testing.assert_allclose(column(message, "x"), expected.points[:, 0], rtol=1e-6)
    np.testing.assert_allclose(column(message, "age"), expected.age)
    np.testing.assert_allclose(column(message, "moving"), expected.moving, atol=1e-5)
    assert float(running.values["map_ms"]) > 0.0
    running.subscribe_latched("map", second.append)
    running.wait_for(lambda: second)
    assert second == first
    running.odometry.publish(odometry_message(drive[3]))
    running.publish(cloud_message(drive[3]))
    running.wait_for(lambda: len(first) == 2)
    assert first[1].header.stamp != first[0].header.stamp
    running.odometry.publish(odometry_message(drive[4]))
    running.clouds.publish(cloud_message(drive[4]))
    running.wait_for(lambda: len(running.labelled) == 5)
    assert running.stop() == 0
    assert first[-1].header.stamp == cloud_message(drive[4]).header.stamp


def test_without_the_setting_there_is_no_map(rig, drive):
    running = rig().ready()
    running.publish(cloud_message(drive[0]))
    assert running.node.count_publishers("/minkowski_perception/map") == 0
    assert running.node.count_publishers("/minkowski_perception/labelled") == 1
    assert "map_ms" not in running.fresh_values()
