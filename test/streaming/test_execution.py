# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Tests that incremental execution equals the causal network on a sequence as one tensor."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from minkowski_perception.frame import Frame
from minkowski_perception.labels import LabelSet
from minkowski_perception.networks import build_network
from minkowski_perception.networks.crf import TrilateralCRF
from minkowski_perception.networks.model import Model
from minkowski_perception.segmenter import Segmenter
from minkowski_perception.sparse import Convolution, SparseTensor
from minkowski_perception.voxels import VoxelInput, stack_in_time, voxelize

SPEC = VoxelInput.from_dict({"voxel_size": 0.05, "features": ["one", "z", "range", "intensity"]})
LABELS = LabelSet.load("semantickitti19")
PLACEMENTS = {
    "voxels": (("voxel",) * 5, 1),
    "cubes": (("cube",) * 5, 1),
    "mixed": (("none", "voxel", "voxel", "cube", "cube"), 1),
    "memory": (("voxel", "none", "cube", "voxel", "cube"), 4),
    "support": (("voxel", "voxel", "cube", "cube", "cube"), 4),
    "support alone": (("none",) * 5, 1),
}
SUPPORT = {"support": 10, "support alone": 3}


def causal_model(placement="mixed", name="MinkUNet14A", crf=None, seed=0):
    torch.manual_seed(seed)
    links, recall = PLACEMENTS[placement]
    support = {"support": SUPPORT[placement]} if placement in SUPPORT else {}
    network = build_network(
        name,
        in_channels=4,
        heads={"classes": 19},
        dimension=4,
        kernel="causal",
        links=links,
        recall=recall,
        width=0.25,
        **support,
    )
    with torch.no_grad():
        for layer in network.modules():
            # With weights as small as fresh ones, the past hardly changes the logits.
            if isinstance(layer, Convolution) and not layer.pointwise:
                layer.kernel *= 4.0
    if support:
        for vector in network.support.parameters():
            torch.nn.init.normal_(vector)
    return Model("random", network.eval(), LABELS, SPEC, 3, {}, crf)


def drive(frames, seed=0, points=400, step=1.0):
    """Yield frames of a sensor that turns and moves; each has a part of the points around it.

    With voxels of 5 cm the origin of their coordinates moves every 12.8 metres.
    """
    rng = np.random.default_rng(seed)
    world = rng.uniform([-4.0, -3.0, -0.6], [frames * step + 4.0, 3.0, 0.6], (60 * frames, 3))
    for index in range(frames):
        pose = np.eye(4)
        pose[:3, :3] = Rotation.from_euler("z", 0.1 * index).as_matrix()
        pose[:3, 3] = index * step, 0.2 * np.sin(index), 0.05 * np.cos(index)
        near = world[np.abs(world[:, 0] - index * step) < 4.0]
        seen = near[rng.random(len(near)) < 0.7][:points]
        cloud = ((seen - pose[:3, 3]) @ pose[:3, :3]).astype(np.float32)
        intensity = rng.random(len(cloud)).astype(np.float32)
        yield Frame(cloud, index * 10**8, "lidar", intensity=intensity, pose=pose)


def expected_logits(model, frames):
    """Return each frame's logits from one pass over all frames, and their spread."""
    voxels = [voxelize(f, SPEC, f.intensity) for f in frames]
    coordinates, features = stack_in_time(voxels)
    with torch.inference_mode():
        logits = model.network.class_logits(SparseTensor(features, coordinates)).at(coordinates)
    return logits.split([len(v.coordinates) for v in voxels]), logits.std()


@pytest.mark.parametrize(
    ("name", "placement"),
    [
        *itertools.product(["MinkUNet14A", "SPVCNN-W16"], sorted(PLACEMENTS.keys() - SUPPORT)),
        *itertools.product(["MinkUNet14A"], SUPPORT),
    ],
)
def test_incremental_execution_gives_the_logits_of_the_whole_sequence(name, placement):
    model = causal_model(placement, name)
    frames = list(drive(32))
    segmenter = Segmenter(model, precision="float32")
    assert segmenter.execution == "incremental"
    origins = set()
    expected, spread = expected_logits(model, frames)
    for frame, logits in zip(frames, expected, strict=True):
        voxels, found = segmenter.scores(frame)
        origins.add(int(voxels.origin[0]))
        assert (found - logits).abs().max() < 1e-4 * spread
    assert len(origins) > 2
    assert not segmenter.resets
    alone, _ = expected_logits(model, frames[-1:])
    assert (alone[0] - found).abs().max() > 1e-2 * spread  # The past matters.


@pytest.mark.parametrize("placement", ["cubes", "support"])
def test_without_poses_the_past_is_joined_in_the_frame_of_the_sensor(placement):
    model = causal_model(placement)
    frames = [replace(frame, pose=None) for frame in drive(12)]
    segmenter = Segmenter(model, engine="torch")
    expected, spread = expected_logits(model, frames)
    for frame, logits in zip(frames, expected, strict=True):
        found = segmenter.scores(frame)[1]
        assert (found - logits).abs().max() < 1e-4 * spread
    alone = segmenter.another_stream().scores(frames[-1])[1]
    assert (alone - found).abs().max() > 1e-3 * spread


def test_after_an_error_within_a_frame_the_next_one_is_a_first_one(monkeypatch):
    model = causal_model("memory")
    segmenter = Segmenter(model, engine="torch")
    *frames, last = drive(4)
    for frame in frames[:2]:
        segmenter.scores(frame)
    network = type(model.network)
    with monkeypatch.context() as patched:
        # All layers with links have run by then.
        patched.setattr(network, "forward", lambda self, t: self.backbone(t) / 0)
        with pytest.raises(TypeError):
            segmenter.scores(frames[2])
    assert segmenter.scores(last)[1].equal(segmenter.another_stream().scores(last)[1])


@given(
    st.integers(0, 1000),
    st.sampled_from(sorted(PLACEMENTS)),
    st.lists(st.sampled_from(["next", "drop", "gap", "reset", "empty", "save"]), max_size=12),
)
@settings(max_examples=20, deadline=None)
def test_logits_stay_equal_after_drops_resets_and_restored_states(seed, placement, events):
    model = causal_model(placement)
    segmenter = Segmenter(model, engine="torch")
    frames = list(drive(len(events) + 2, seed, points=60))
    pieces, late = [[]], 0
    found = []
    for frame, event in zip(frames, ["next", *events, "next"], strict=True):
        if event == "drop":
            continue
        if event == "gap":
            late += 5 * 10**9
        frame.stamp += late
        if event == "reset":
            segmenter.reset()
        if event == "empty":  # a cloud without measurements is not part of the sequence
            segmenter.segment(
                Frame(np.zeros((3, 3), np.float32), frame.stamp, "lidar", pose=frame.pose)
            )
            continue
        if event == "save":
            state = segmenter.state()
            segmenter = segmenter.another_stream()
            segmenter.restore(state)
        if event in ("gap", "reset"):
            pieces.append([])
        pieces[-1].append(frame)
        found.append(segmenter.scores(frame)[1])
    answers = iter(found)
    for piece in filter(None, pieces):
        expected, spread = expected_logits(model, piece)
        for logits in expected:
            assert (next(answers) - logits).abs().max() < 1e-4 * spread


def test_two_streams_of_one_network_are_independent():
    model = causal_model("cubes")
    left = Segmenter(model, engine="torch")
    right = left.another_stream()
    streams = [list(drive(5, seed)) for seed in (1, 2)]
    for frames in zip(*streams, strict=True):
        for segmenter, frame in zip((left, right), frames, strict=True):
            found = segmenter.scores(frame)[1]
            alone = expected_logits(model, streams[segmenter is right][: frame.stamp // 10**8 + 1])
            assert (found - alone[0][-1]).abs().max() < 1e-4 * alone[1]
    assert left.model.network is right.model.network
    assert left.engine is right.engine


def test_a_window_of_a_causal_network_equals_a_sequence_of_its_frames():
    model = causal_model("voxels")
    frames = list(drive(5))
    segmenter = Segmenter(model, execution="window", window=2, engine="torch")
    assert segmenter.execution == "window 2"
    for frame in frames:
        found = segmenter.scores(frame)[1]
    expected, spread = expected_logits(model, frames[-2:])
    assert (found - expected[-1]).abs().max() < 1e-4 * spread


@pytest.mark.parametrize("execution", ["incremental", "window"])
def test_a_crf_steps_frame_by_frame_and_can_be_switched_and_saved(execution):
    torch.manual_seed(3)
    crf = TrilateralCRF(19, chroma="intensity", sigma_space=2, causal=True).eval()
    torch.nn.init.normal_(crf.kernel, std=0.3)
    model = causal_model(crf=crf)
    frames = list(drive(6))
    whole = Segmenter(model, execution=execution, engine="torch")
    assert whole.crf
    off = Segmenter(model, execution=execution, engine="torch", crf=False)
    for frame in frames:
        refined = whole.scores(frame)[1]
        plain = off.scores(frame)[1]
        assert not torch.equal(refined, plain)
        assert "crf" in whole.another_stream().segment(frame).timings
        assert "crf" not in off.another_stream().segment(frame).timings
    off.crf = True
    later = next(iter(drive(7)))
    later.stamp, later.pose = 6 * 10**8, frames[-1].pose
    restored = whole.another_stream()
    restored.restore(whole.state())
    assert torch.equal(restored.scores(later)[1], whole.scores(later)[1])
    if execution == "incremental":
        voxels, logits = Segmenter(model, crf=False, engine="torch").scores(frames[0])
        space = torch.nn.functional.pad(voxels.coordinates, (1, 0))
        with torch.inference_mode():
            expected, _ = crf.step(logits, space, model.chroma(voxels.features))
        first = Segmenter(model, engine="torch").scores(frames[0])[1]
        torch.testing.assert_close(first, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("causal", [False, True])
def test_in_a_window_a_causal_crf_steps_frame_by_frame_and_others_refine_the_window(causal):
    torch.manual_seed(3)
    crf = TrilateralCRF(19, sigma_space=2, causal=causal).eval()
    torch.nn.init.normal_(crf.kernel, std=0.3)
    model = causal_model(crf=crf)
    segmenter = Segmenter(model, execution="window", window=2, engine="torch")
    frames, state = [], None
    for frame in drive(4):
        frames.append(voxelize(frame, SPEC, frame.intensity))
        coordinates, features = stack_in_time(frames[-2:])
        newest = coordinates[:, 4] == coordinates[:, 4].max()
        with torch.no_grad():
            logits = model.network.class_logits(SparseTensor(features, coordinates)).at(
                coordinates
            )
            if causal:
                if state is not None:
                    state = state.rebased(frames[-1].origin - frames[-2].origin)
                expected, state = crf.step(logits[newest], coordinates[newest, :4], None, state)
            else:
                expected = crf(logits, coordinates)[newest]
        torch.testing.assert_close(segmenter.scores(frame)[1], expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("placement", SUPPORT)
def test_support_rows_are_restored_bit_by_bit(placement):
    model = causal_model(placement)
    segmenter = Segmenter(model, engine="torch")
    frames = list(drive(20))
    for frame in frames[:8]:
        segmenter.segment(frame)
    restored = segmenter.another_stream()
    restored.restore(segmenter.state())
    assert restored.state_bytes == segmenter.state_bytes
    for frame in frames[8:]:
        assert torch.equal(restored.scores(frame)[1], segmenter.scores(frame)[1])
    with pytest.raises(ValueError, match=r"support\.features must have shape"):
        Segmenter(causal_model(), engine="torch").restore(segmenter.state())


@pytest.mark.parametrize("placement", ["memory", *SUPPORT])
def test_the_state_is_bounded_and_a_reset_frees_it(placement):
    segmenter = Segmenter(causal_model(placement), engine="torch")
    held = []
    for frame in drive(30, points=100):
        segmenter.segment(frame)
        held.append(segmenter.state_bytes)
    assert 0 < max(held[15:]) < 1.5 * max(held[5:15])
    segmenter.reset()
    assert segmenter.state_bytes == 0


def test_a_state_of_another_execution_is_refused_and_the_stream_restarts():
    model = causal_model()
    incremental = Segmenter(model, engine="torch")
    window = Segmenter(model, execution="window", engine="torch")
    frames = list(drive(2))
    window.segment(frames[0])
    incremental.segment(frames[0])
    with pytest.raises(ValueError, match="not one of incremental execution"):
        incremental.restore(window.state())
    assert incremental.segment(frames[1]).frame_count == 1


def test_impossible_executions_are_refused_with_what_is_possible():
    model = causal_model()
    with pytest.raises(
        ValueError, match="execution must be one of auto, window, incremental, not 'fast'"
    ):
        Segmenter(model, execution="fast", engine="torch")
    with pytest.raises(ValueError, match="has no window"):
        Segmenter(model, execution="incremental", window=3, engine="torch")
    symmetric = replace(model, network=model.network.twin(4, "hybrid"))
    with pytest.raises(ValueError, match=r"needs a causal 4D network.*choose 'window'"):
        Segmenter(symmetric, execution="incremental", engine="torch")
    with pytest.raises(ValueError, match="has no CRF"):
        Segmenter(model, crf=True, engine="torch")
    segmenter = Segmenter(model, engine="torch")
    with pytest.raises(ValueError, match="has no CRF"):
        segmenter.crf = True
