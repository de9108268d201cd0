# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
from unittest import mock

import pytest
import torch
from clips import at_time, batch_of
from hypothesis import given, settings
from hypothesis import strategies as st

from minkowski_perception.sparse import (
    MAX_RECALL,
    CausalConvolution,
    CausalRegion,
    Convolution,
    KernelRegion,
    Memory,
    SparseTensor,
    causal,
    kernel_maps,
)
from minkowski_perception.sparse.engines.base import EngineError
from minkowski_perception.sparse.links import RecallMap
from minkowski_perception.sparse.selection import load_engine

LINKS = {"voxel": (1, 1, 1), "cube": (3, 3, 3)}


def random_frames(seed, count, voxels=60, channels=3):
    """Return frames (voxels [M, 3], features); some voxels recur from frame to frame."""
    generator = torch.Generator().manual_seed(seed)
    frames = []
    for _ in range(count):
        positions = torch.randint(-4, 4, (voxels, 3), generator=generator)
        positions = torch.unique(positions, dim=0)
        frames.append((positions, torch.randn(len(positions), channels, generator=generator)))
    return frames


def by_brute_force(layer, frames, time):
    """Sum over offsets; a link takes the last earlier frame in which its voxel is occupied."""
    tables = [
        dict(zip(map(tuple, positions.tolist()), features, strict=True))
        for positions, features in frames[: time + 1]
    ]
    rows = []
    for position in frames[time][0].tolist():
        total = torch.zeros(layer.kernel.shape[2], dtype=torch.float64)
        for offset, weight in zip(layer.region.offsets, layer.kernel.double(), strict=True):
            neighbour = tuple(p + o for p, o in zip(position, offset[:3], strict=True))
            if offset[3] == 0:
                ages = [0]
            else:
                ages = [
                    a
                    for a in range(1, layer.recall + 1)
                    if a <= time and neighbour in tables[time - a]
                ]
            for age in ages[:1]:
                if neighbour in tables[time - age]:
                    total += tables[time - age][neighbour].double() @ weight
        rows.append(total)
    return torch.stack(rows)


@given(
    st.integers(0, 10_000), st.integers(1, 4), st.sampled_from(sorted(LINKS)), st.integers(1, 6)
)
@settings(max_examples=25, deadline=None)
def test_links_reach_the_last_frame_of_a_voxel_in_a_sequence_and_frame_by_frame(
    seed, recall, link, count
):
    frames = random_frames(seed, count)
    layer = CausalConvolution(3, 4, causal((3, 3, 3), LINKS[link]), recall).eval()
    memory = Memory(recall)
    with torch.inference_mode():
        whole = layer(batch_of([frames]))
        for time, (positions, features) in enumerate(frames):
            expected = by_brute_force(layer, frames, time)
            torch.testing.assert_close(
                whole.at(at_time(positions, time)).double(), expected, atol=1e-5, rtol=1e-5
            )
            memory.begin()
            present = layer(SparseTensor(features, at_time(positions, 0), memory=memory))
            memory.keep()
            torch.testing.assert_close(
                present.at(at_time(positions, 0)).double(), expected, atol=1e-5, rtol=1e-5
            )


@given(
    st.integers(0, 10_000), st.integers(2, 5), st.sampled_from(sorted(LINKS)), st.integers(0, 7)
)
@settings(max_examples=50, deadline=None)
def test_the_compiled_search_finds_the_same_links_as_pytorch(seed, recall, link, count):
    # Frame 2 is empty, and so is the whole sequence if the count is 0.
    frames = [
        (positions[:0], features[:0]) if time in (2, count) else (positions, features)
        for time, (positions, features) in enumerate(random_frames(seed, count + 1))
    ]
    tensor = batch_of([frames])
    region = causal((3, 3, 3), LINKS[link]).links
    maps = RecallMap(tensor.map, region, recall), RecallMap(tensor.map, region, recall)
    with mock.patch.object(kernel_maps, "match", None):
        expected = maps[1].pairs
    assert maps[0].pairs.starts == expected.starts
    torch.testing.assert_close(maps[0].pairs.inputs, expected.inputs, rtol=0, atol=0)
    torch.testing.assert_close(maps[0].pairs.outputs, expected.outputs, rtol=0, atol=0)


def test_links_of_later_frames_to_the_same_voxel_all_count_in_its_gradient():
    layer = CausalConvolution(2, 3, causal((1, 1, 1), (3, 3, 3)), recall=20)
    neighbours = torch.tensor([[1, 0, 0]])
    later = [(neighbours, torch.ones(1, 2))] * 20
    frames = [(torch.zeros(1, 3).long(), torch.ones(1, 2)), *later]
    tensor = batch_of([frames])
    tensor.features.requires_grad_()
    layer(tensor).features.sum().backward()
    offset = layer.region.offsets.index((-1, 0, 0, -1))
    present = layer.region.offsets.index((0, 0, 0, 0))
    expected = 20 * layer.kernel[offset].sum(dim=1) + layer.kernel[present].sum(dim=1)
    torch.testing.assert_close(tensor.features.grad[0], expected)


def test_a_causal_kernel_with_a_recall_of_one_is_a_plain_4d_kernel():
    region = causal((3, 3, 3), (3, 3, 3))
    plain = Convolution(3, 4, KernelRegion(region.offsets))
    layer = CausalConvolution(3, 4, region)
    layer.load_state_dict(plain.state_dict())
    tensor = batch_of([random_frames(1, 4)])
    torch.testing.assert_close(layer(tensor).features, plain(tensor).features)


def test_gradients_flow_through_links():
    layer = CausalConvolution(2, 2, causal((1, 1, 1), (1, 1, 1)), recall=3).double()
    position = torch.zeros(1, 3, dtype=torch.long)
    features = torch.randn(2, 2, dtype=torch.float64, requires_grad=True)
    coordinates = torch.cat([at_time(position, 0), at_time(position, 2)])
    layer(SparseTensor(features, coordinates)).features[1].sum().backward()
    torch.testing.assert_close(features.grad[0], layer.kernel[1].sum(dim=1))
    torch.testing.assert_close(features.grad[1], layer.kernel[0].sum(dim=1))


@pytest.mark.parametrize("name", ["numba", "spconv", "minkowski", "spconv_triton"])
@pytest.mark.parametrize("recall", [1, 3])
def test_every_engine_matches_pytorch_on_links(name, recall):
    device = torch.device("cuda" if name == "spconv_triton" else "cpu")
    if device.type == "cuda" and not torch.cuda.is_available():
        pytest.skip("spconv_triton needs a CUDA device")
    try:
        engine = load_engine(name, device)()
    except EngineError as error:
        pytest.skip(str(error))
    frames = random_frames(2, 4)
    layer = CausalConvolution(3, 4, causal((3, 3, 3), (3, 3, 3)), recall).eval().to(device)
    memories = Memory(recall), Memory(recall)
    with torch.inference_mode():
        for positions, features in frames:
            results = []
            for memory, runs in zip(memories, (None, engine), strict=True):
                memory.begin()
                results.append(
                    layer(
                        SparseTensor(
                            features.to(device),
                            at_time(positions, 0).to(device),
                            engine=runs,
                            memory=memory,
                        )
                    )
                )
                memory.keep()
            torch.testing.assert_close(
                results[0].features, results[1].features, atol=1e-5, rtol=1e-4
            )


def test_memory_is_bounded_by_the_voxels_of_the_recalled_frames():
    layer = CausalConvolution(3, 4, causal((3, 3, 3), (1, 1, 1)), recall=2).eval()
    memory = Memory(2)
    held = []
    with torch.inference_mode():
        for time in range(6):
            position = torch.tensor([[10 * time, 0, 0]])  # A new voxel in each frame.
            memory.begin()
            layer(SparseTensor(torch.ones(1, 3), at_time(position, 0), memory=memory))
            memory.keep()
            held.append(memory.nbytes)
    row = 3 * 4 + 8 + 8
    assert held == [row, *([2 * row] * 5)]


def test_a_frame_that_is_not_kept_is_not_remembered():
    layer = CausalConvolution(3, 4, causal((1, 1, 1), (1, 1, 1))).eval()
    memory = Memory()
    tensor = [random_frames(3, 1)[0] for _ in range(2)]
    with torch.inference_mode():
        for positions, features in tensor:
            memory.begin()
            layer(SparseTensor(features, at_time(positions, 0), memory=memory))
    assert memory.nbytes == 0


@pytest.mark.parametrize("recall", [1, 3])
def test_a_memory_that_frees_what_was_read_gives_the_same_sums(recall):
    layer = CausalConvolution(3, 4, causal((3, 3, 3), (3, 3, 3)), recall).eval()
    memories = Memory(recall), Memory(recall, frees=True)
    with torch.inference_mode():
        for positions, features in random_frames(5, 4):
            found = []
            for memory in memories:
                memory.begin()
                found.append(layer(SparseTensor(features, at_time(positions, 0), memory=memory)))
                read = memory.nbytes
                memory.keep()
            assert read < memories[0].nbytes
            assert torch.equal(*(tensor.features for tensor in found))


def test_memory_can_be_shifted_and_drops_voxels_out_of_range():
    layer = CausalConvolution(3, 4, causal((1, 1, 1), (1, 1, 1))).eval()
    memory = Memory()
    far = torch.tensor([[0, 0, 0], [24_500, 0, 0]])
    features = torch.randn(2, 3)
    with torch.inference_mode():
        memory.begin()
        layer(SparseTensor(features, at_time(far, 0), memory=memory))
        memory.keep()
        memory.shift((512, 256, 0, 0))
        moved = SparseTensor(
            torch.zeros(1, 3), at_time(torch.tensor([[512, 256, 0]]), 0), memory=memory
        )
        linked = layer(moved).features
    torch.testing.assert_close(linked[0], features[0] @ layer.kernel[1])
    assert memory.nbytes == 1 * (3 * 4 + 16)


def test_a_state_is_restored_exactly_and_refused_for_other_layers():
    layer = CausalConvolution(3, 4, causal((3, 3, 3), (3, 3, 3)), recall=3).eval()
    frames = random_frames(4, 5)
    memory = Memory(3)

    def step(memory, frame):
        memory.begin()
        out = layer(SparseTensor(frame[1], at_time(frame[0], 0), memory=memory))
        memory.keep()
        return out.features

    with torch.inference_mode():
        for frame in frames[:3]:
            step(memory, frame)
        state = memory.state({layer: "first"})
        expected = [step(memory, frame) for frame in frames[3:]]
        other = Memory(3)
        other.restore(state, {"first": layer})
        found = [step(other, frame) for frame in frames[3:]]
    assert all(torch.equal(a, b) for a, b in zip(expected, found, strict=True))
    with pytest.raises(ValueError, match=r"'features\.first.* has no matching layer"):
        Memory(3).restore(state, {"second": layer})
    with pytest.raises(ValueError, match="lacks the features of second"):
        Memory(3).restore(
            state, {"first": layer, "second": CausalConvolution(1, 1, layer._region)}
        )
    for kind, change, message in (
        ("features", lambda t: t[:-1], "must have shape"),
        ("features", lambda t: t[:, :2], "must have shape"),
        ("keys", lambda t: t.flip(0), "ascending"),
    ):
        wrong = {k: change(v) if k.startswith(kind) else v for k, v in state.items()}
        with pytest.raises(ValueError, match=message):
            Memory(3).restore(wrong, {"first": layer})


def test_a_causal_region_separates_present_offsets_and_links():
    region = causal((3, 3, 3), (1, 1, 1))
    assert len(region.present) == 27
    assert region.links.offsets == ((0, 0, 0, -1),)
    assert causal((3, 3, 3)).links is None
    with pytest.raises(ValueError, match="must be 0, then -1"):
        CausalRegion(((0, 0, 0, -1), (0, 0, 0, 0)))
    with pytest.raises(ValueError, match="must be 0, then -1"):
        CausalRegion(((0, 0, 0, 0), (0, 0, 0, 1)))


def test_causal_convolutions_need_links_and_a_valid_recall():
    with pytest.raises(ValueError, match="without links needs Convolution"):
        CausalConvolution(3, 4, causal((3, 3, 3)))
    for recall in (0, MAX_RECALL + 1):
        with pytest.raises(ValueError, match=f"not {recall}"):
            CausalConvolution(3, 4, causal((3, 3, 3), (1, 1, 1)), recall)
