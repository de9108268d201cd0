# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Tests of support rows against dictionaries of voxels."""

import pytest
import torch
from clips import at_time, batch_of
from hypothesis import given, settings
from hypothesis import strategies as st

from minkowski_perception.sparse import (
    MAX_RECALL,
    Convolution,
    Memory,
    SparseTensor,
    Support,
    TransposedConvolution,
    causal,
    cube,
)

CHANNELS = 3


def random_clip(seed, count, voxels=40):
    """Return frames (voxels [M, 3], features [M, 3]); some voxels recur, a frame may be empty."""
    generator = torch.Generator().manual_seed(seed)
    frames = []
    for _ in range(count):
        size = int(torch.randint(0, voxels, (1,), generator=generator))
        positions = torch.unique(torch.randint(-3, 3, (size, 3), generator=generator), dim=0)
        frames.append((positions, torch.randn(len(positions), CHANNELS, generator=generator)))
    return frames


def support(reach, seed=0):
    """Return a layer with random weights."""
    layer = Support(CHANNELS, reach)
    torch.manual_seed(seed)
    for vector in layer.parameters():
        torch.nn.init.normal_(vector)
    return layer.eval()


def by_dictionary(layer, clip, time):
    """Return the features of a frame's occupied and added voxels, by voxel."""
    found = {}
    for age in range(min(layer.reach, time), -1, -1):
        positions, features = clip[time - age]
        for voxel, vector in zip(map(tuple, positions.tolist()), features, strict=True):
            aged = vector * layer.gate + layer.offset + age / layer.reach * layer.ageing
            found[voxel] = aged if age else vector
    return found


def by_voxel(tensor, batch=0, time=0):
    rows = (tensor.coordinates[:, 0] == batch) & (tensor.coordinates[:, -1] == time)
    voxels = map(tuple, tensor.coordinates[rows, 1:-1].tolist())
    return dict(zip(voxels, tensor.features[rows], strict=True))


def assert_equal(found, expected):
    assert found.keys() == expected.keys()
    for voxel, vector in expected.items():
        torch.testing.assert_close(found[voxel], vector)


@given(st.integers(0, 10_000), st.integers(1, 4), st.lists(st.integers(1, 7), min_size=1))
@settings(max_examples=40, deadline=None)
def test_a_frame_gets_the_voxels_of_recent_frames_in_a_batch_of_clips(seed, reach, counts):
    layer = support(reach, seed)
    clips = [random_clip(seed + i, count) for i, count in enumerate(counts[:3])]
    with torch.no_grad():
        together = layer(batch_of(clips))
        assert (together.map.keys[1:] > together.map.keys[:-1]).all()
        for batch, clip in enumerate(clips):
            for time, (positions, _) in enumerate(clip):
                expected = by_dictionary(layer, clip, time) if len(positions) else {}
                assert_equal(by_voxel(together, batch, time), expected)


@given(st.integers(0, 10_000), st.integers(1, 4), st.integers(1, 7))
@settings(max_examples=40, deadline=None)
def test_frame_by_frame_a_stream_gets_the_same_voxels(seed, reach, count):
    layer = support(reach, seed)
    clip = [frame for frame in random_clip(seed, count) if len(frame[0])]
    memory = Memory(support_channels=CHANNELS)
    with torch.inference_mode():
        for time in range(len(clip)):
            assert_equal(
                by_voxel(step(layer, memory, clip[time])), by_dictionary(layer, clip, time)
            )


def step(layer, memory, frame, keep=True):
    memory.begin()
    positions, features = frame
    out = layer(SparseTensor(features, at_time(positions, 0), memory=memory))
    if keep:
        memory.keep()
    return out


def test_a_new_layer_adds_features_as_they_were():
    voxel = torch.zeros(1, 3, dtype=torch.long)
    clip = [(voxel, torch.randn(1, CHANNELS)), (voxel + 1, torch.randn(1, CHANNELS))]
    found = by_voxel(Support(CHANNELS, 2)(batch_of([clip])), time=1)
    assert_equal(found, {(0, 0, 0): clip[0][1][0], (1, 1, 1): clip[1][1][0]})


def test_gradients_reach_the_weights_and_the_frame_that_saw_a_voxel():
    layer = support(4)
    voxel = torch.zeros(1, 3, dtype=torch.long)
    features = torch.randn(2, CHANNELS, requires_grad=True)
    coordinates = torch.cat([at_time(voxel, 0), at_time(voxel + 1, 2)])
    out = layer(SparseTensor(features, coordinates))
    by_voxel(out, time=2)[0, 0, 0].sum().backward()
    torch.testing.assert_close(layer.gate.grad, features[0])
    torch.testing.assert_close(layer.offset.grad, torch.ones(CHANNELS))
    torch.testing.assert_close(layer.ageing.grad, torch.full((CHANNELS,), 0.5))
    torch.testing.assert_close(features.grad[0], layer.gate)
    assert (features.grad[1] == 0).all()


def test_coarser_layers_see_the_added_voxels_and_finer_ones_do_not():
    positions = torch.tensor([[0, 0, 0], [4, 0, 0]])
    clip = [(positions, torch.randn(2, CHANNELS)), (positions[:1], torch.randn(1, CHANNELS))]
    halves = (2, 2, 2, 1)
    down, again = (Convolution(CHANNELS, CHANNELS, cube(halves), halves) for _ in range(2))
    up, last = (TransposedConvolution(CHANNELS, CHANNELS, cube(halves), halves) for _ in range(2))
    block = Convolution(CHANNELS, CHANNELS, causal((3, 3, 3)))
    tensor = batch_of([clip])
    added = support(3)(block(down(tensor)))
    coarse = again(block(added))
    assert by_voxel(coarse, time=1).keys() == {(0, 0, 0), (4, 0, 0)}
    medium = up(coarse)
    assert by_voxel(medium, time=1).keys() == {(0, 0, 0), (4, 0, 0)}
    assert medium.map is added.map
    fine = last(medium)
    assert fine.map is tensor.map
    expected = [medium.at(at_time(positions[:1], 1))[0] @ last.kernel[0]]
    torch.testing.assert_close(by_voxel(fine, time=1)[0, 0, 0], *expected)


def test_precision_of_the_features_is_kept():
    clip = random_clip(1, 3)
    tensor = batch_of([clip])
    assert support(2)(tensor.replace(tensor.features.bfloat16())).features.dtype == torch.bfloat16


def test_a_clip_without_voxels_is_possible():
    empty = SparseTensor(torch.zeros(0, CHANNELS), torch.zeros(0, 5, dtype=torch.long))
    assert len(support(2)(empty)) == 0


def test_memory_is_bounded_by_the_voxels_of_the_reach():
    layer, memory, held = support(2), Memory(support_channels=CHANNELS), []
    with torch.inference_mode():
        for time in range(6):
            position = torch.tensor([[10 * time, 0, 0]])  # A new voxel in each frame.
            step(layer, memory, (position, torch.ones(1, CHANNELS)))
            held.append(memory.nbytes)
    row = 4 * CHANNELS + 8 + 8
    assert held == [row, 2 * row, *([3 * row] * 4)]
    memory.clear()
    assert memory.nbytes == 0


def test_a_frame_that_is_not_kept_is_not_remembered():
    layer, memory = support(2), Memory(support_channels=CHANNELS)
    voxel = torch.zeros(1, 3, dtype=torch.long)
    with torch.inference_mode():
        step(layer, memory, (voxel, torch.ones(1, CHANNELS)), keep=False)
        out = step(layer, memory, (voxel + 1, torch.ones(1, CHANNELS)))
    assert by_voxel(out).keys() == {(1, 1, 1)}


def test_remembered_voxels_can_be_shifted_and_are_dropped_out_of_range():
    layer, memory = support(2), Memory(support_channels=CHANNELS)
    far = torch.tensor([[0, 0, 0], [24_500, 0, 0]])
    features = torch.randn(2, CHANNELS)
    with torch.inference_mode():
        step(layer, memory, (far, features))
        memory.shift((512, 256, 0, 0))
        out = step(layer, memory, (far[:1], features[:1]))
    assert by_voxel(out).keys() == {(0, 0, 0), (512, 256, 0)}


def test_a_state_is_restored_exactly_and_refused_if_it_does_not_fit():
    layer, memory = support(3), Memory(support_channels=CHANNELS)
    clip = [frame for frame in random_clip(4, 12) if len(frame[0])]
    with torch.inference_mode():
        for frame in clip[:3]:
            step(layer, memory, frame)
        state = memory.state({})
        expected = [step(layer, memory, frame) for frame in clip[3:]]
        other = Memory(support_channels=CHANNELS)
        other.restore(state, {})
        found = [step(layer, other, frame) for frame in clip[3:]]
    for a, b in zip(expected, found, strict=True):
        assert torch.equal(a.features, b.features)
        assert torch.equal(a.map.keys, b.map.keys)
    with pytest.raises(ValueError, match=r"support.features must have shape \[\d+, 0\]"):
        Memory().restore(state, {})
    for kind, change, message in (
        ("support.features", lambda t: t[:-1], "must have shape"),
        ("support.age", lambda t: t[:-1], "must have as many rows"),
        ("support.keys", lambda t: t.flip(0), "ascending"),
    ):
        wrong = state | {kind: change(state[kind])}
        with pytest.raises(ValueError, match=message):
            Memory(support_channels=CHANNELS).restore(wrong, {})
    del state["support.age"]
    with pytest.raises(ValueError, match="lacks age"):
        Memory(support_channels=CHANNELS).restore(state, {})


def test_an_impossible_reach_is_refused():
    for reach in (0, MAX_RECALL + 1):
        with pytest.raises(
            ValueError, match=f"reach must be 1 to {MAX_RECALL} frames, not {reach}"
        ):
            Support(CHANNELS, reach)
